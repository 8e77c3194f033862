"""What the storm is made of does what it says: links, clocks that are off, disks that are full."""

import asyncio
import errno
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from examples.demo.processes import free_port
from tests.chaos.faults import KINDS
from tests.chaos.proxy import HOST, Link
from tests.chaos.storm import Plan
from tests.chaos.world import Dials, built_shim, open_disk, preloaded

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for place in (0, 4096):
    try:
        os.pwrite(file, bytes(4096), place)
    except OSError as error:
        print(error.errno)
    else:
        print("written")
"""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Link, Ends, Ends]]:
    """A link with one connection: this side and the far side."""
    arrived: asyncio.Queue[Ends] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: arrived.put_nowait(ends), HOST, 0)
    target = server.sockets[0].getsockname()[1]
    async with Link("here-there", target, free_port()) as link:
        near = await asyncio.open_connection(HOST, link.port)
        far = await arrived.get()
        while not link.connections:
            await asyncio.sleep(0.01)
        try:
            yield link, near, far
        finally:
            for _, writer in (near, far):
                writer.transport.abort()
            server.close()


async def test_a_quiet_link_passes_on_bytes_and_ends() -> None:
    async with connected() as (_, (near_in, near_out), (far_in, far_out)):
        near_out.write(b"question")
        assert await far_in.readexactly(8) == b"question"
        near_out.write_eof()
        assert await far_in.read() == b""
        far_out.write(b"answer")
        far_out.close()
        assert await near_in.read() == b"answer"


async def test_a_cut_link_ends_both_ways_and_takes_new_connections() -> None:
    async with connected() as (link, (near_in, _), (far_in, _far_out)):
        link.cut()
        for end in (near_in, far_in):
            with pytest.raises(ConnectionResetError):
                await end.read()
        _, again = await asyncio.open_connection(HOST, link.port)
        again.transport.abort()


async def test_a_slow_link_delivers_later() -> None:
    async with connected() as (link, (_, near_out), (far_in, _far_out)):
        link.delay, began = 0.2, time.monotonic()
        near_out.write(b"late")
        assert await far_in.readexactly(4) == b"late"
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("seed", range(4))
async def test_of_a_half_closed_connection_one_way_has_ended_and_the_other_goes_on(seed: int) -> None:
    async with connected() as (link, near, far):
        link.half_close(random.Random(seed))
        reads = [asyncio.ensure_future(one.read(1)) for one in (near[0], far[0])]
        ended, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        assert [read.result() for read in ended] == [b""]
        writer, other = (near[1], reads[1]) if reads[0] in ended else (far[1], reads[0])
        writer.write(b"x")
        assert await other == b"x"


@pytest.mark.parametrize("seed", range(4))
async def test_of_a_muted_connection_one_way_says_nothing_any_more(seed: int) -> None:
    async with connected() as (link, near, far):
        link.mute(random.Random(seed))
        reads = [asyncio.ensure_future(one.read(1)) for one in (near[0], far[0])]
        for _, writer in (near, far):
            writer.write(b"x")
        ended, silent = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        assert [read.result() for read in ended] == [b"x"]
        (still,) = silent
        still.cancel()


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    built = built_shim(tmp_path)
    if built is None:
        pytest.skip("no C compiler (cc) here, or no 64-bit Linux, and the shim is a C file that is preloaded")
    return built


def said(shim: Path, dials: Dials, disk: Path, program: str, *words: object) -> list[str]:
    environment = os.environ | preloaded(shim, dials, disk)
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("seconds", [-86_400.5, -0.25, 0.0, 0.75, 3_600.5])
def test_a_clock_is_off_by_what_is_told_and_time_that_only_runs_is_not(
    tmp_path: Path, shim: Path, seconds: float
) -> None:
    dials = Dials(tmp_path / "dials")
    dials.clock_off(seconds)
    program = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    wall, running = time.time(), time.monotonic()
    *walls, ran = map(float, said(shim, dials, tmp_path, program))
    for told_wall in walls:
        assert -0.01 <= told_wall - wall - seconds < 10
    assert 0 <= ran - running < 10


def test_on_a_full_disk_no_file_grows_and_what_is_there_can_be_written(tmp_path: Path, shim: Path) -> None:
    dials, disk = Dials(tmp_path / "dials"), tmp_path / "disk"
    disk.mkdir()
    (disk / "file").write_bytes(bytes(4096))
    assert said(shim, dials, disk, WRITE, disk / "file") == ["written", "written"]
    (disk / "file").write_bytes(bytes(4096))
    dials.disk_full(full=True)
    assert said(shim, dials, disk, WRITE, disk / "file") == ["written", str(errno.ENOSPC)]
    assert said(shim, dials, disk, WRITE, tmp_path / "elsewhere") == ["written", "written"]
    dials.disk_full(full=False)
    assert said(shim, dials, disk, WRITE, disk / "file") == ["written", "written"]


def test_a_mounted_disk_is_full_once_it_is_filled(tmp_path: Path) -> None:
    with open_disk(tmp_path / "disk", 1) as disk:
        if not disk.mounted:
            pytest.skip("no disk may be mounted here; the shim stands for one")
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "file").write_bytes(b"x")
        disk.empty()
        (disk.folder / "file").write_bytes(b"x")


@pytest.mark.parametrize("skipped", [(), ("clock-jumped", "embedded-disk-full")])
def test_faults_are_shared_out_evenly_among_the_kinds_that_can_be_had(skipped: tuple[str, ...]) -> None:
    plan = Plan(runs=1_000, faults=100, seed=1, seconds=1.0)
    counted = Counter(plan.kinds(skipped))
    assert counted.keys() == KINDS.keys() - set(skipped)
    assert sum(counted.values()) == plan.faults
    assert max(counted.values()) - min(counted.values()) <= 1
    assert len(set(list(KINDS)[:14]) & counted.keys()) >= 12, "a short storm, too, is of many kinds"
