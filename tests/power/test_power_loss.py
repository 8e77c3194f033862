"""The power fails, at any instant: nothing that was acknowledged is lost, and the next engine goes on.

Real processes work on an embedded file while a preloaded witness (shim.c) writes down every write, sync, name and
acknowledgement. A cut is made from that afterwards: the disk as it may be when the power fails after some operation
(disk.py), opened by the next process. The figures are in build/report/power.json.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest

from examples.demo.view import write_report
from holdfast import Client
from holdfast.adapters.sqlite.file import CHECKPOINT_PAGES
from holdfast.profiles import open_profile
from holdfast.profiles.profile import topics_of
from holdfast.settings import load
from tests.integration.bus import serving
from tests.integration.running import assert_whole
from tests.power import facts
from tests.power.checks import look
from tests.power.disk import MOODS, Disk, Loss
from tests.power.journal import Operation, until
from tests.power.recording import STORE, Recording, witness
from tests.power.workflows import LARGE_FROM, SIGNAL, WORD, id_of, message_of, number_of, story_of, waits
from tests.power.workload import drive

CUTS = 50
COMPLETED = 5
"""Of the cuts of a story, how many are handed to an engine that has to complete everything."""
CONTROL_CUTS = 20
FILE = str(STORE)
PATIENCE = 30.0
NEW = 900


class Tally(msgspec.Struct):
    """The figures of the report."""

    cuts: int = 0
    completed: int = 0
    acknowledged: int = 0
    lost: int = 0
    control_cuts: int = 0
    control_acknowledged: int = 0
    control_lost: int = 0


@pytest.fixture(scope="module")
def tally(shim: Path) -> Iterator[Tally]:
    counted = Tally()
    yield counted
    write_report("power", msgspec.to_builtins(counted))


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return witness(tmp_path_factory.mktemp("witness"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where cuts are laid out: in memory if that is possible, for nothing depends on the disk of this machine."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """A failing order is repeated with --randomly-seed, and so are its cuts."""
    return Random(request.config.getoption("randomly_seed", 0))


class Cut(msgspec.Struct, frozen=True):
    """A power failure: after how many operations, the file as it is then found, and what was acknowledged before."""

    moment: int
    path: Path
    told: list[facts.AnyFact]


def moments(operations: Sequence[Operation], count: int, chance: Random) -> list[int]:
    """Choose when the power fails: half of the time right after an acknowledgement, else anywhere."""
    acknowledged = [one.number + 1 for one in operations if one.kind == "M"]
    chosen = set(chance.sample(acknowledged, count // 2))
    others = [moment for moment in range(1, len(operations) + 1) if moment not in chosen]
    return sorted(chosen.union(chance.sample(others, count - len(chosen))))


def cuts(operations: Sequence[Operation], chosen: Sequence[int], folder: Path, chance: Random) -> Iterator[Cut]:
    """Let the power fail at the chosen moments, in the order of time, each with a disk of its own below `folder`."""
    disk = Disk()
    done = 0
    for moment in chosen:
        for operation in operations[done:moment]:
            disk.apply(operation)
        done = moment
        root = folder / "cut"
        root.mkdir()
        disk.lose_power(Loss(chance.choice(MOODS), chance.random() < 0.5, chance, chance.random()), root)
        if chance.random() < 0.3 and (root / STORE).exists():
            # Nobody syncs the index in shared memory; what is found of it may be anything.
            (root / STORE).with_name(f"{STORE.name}-shm").write_bytes(chance.randbytes(32_768))
        yield Cut(moment, root / STORE, facts.of(operations[:moment]))
        shutil.rmtree(root)


def count(operations: Sequence[Operation], kind: str, name: str) -> int:
    return sum(one.kind == kind and one.name == name for one in operations)


async def assert_nothing_is_lost(operations: Sequence[Operation], folder: Path, chance: Random, tally: Tally) -> None:
    commits = [fact for fact in facts.of(operations) if isinstance(fact, facts.Committed)]
    chosen = moments(operations, CUTS, chance)
    completed = chance.sample(chosen, COMPLETED)
    for cut in cuts(operations, chosen, folder, chance):
        found = await look(cut.path)
        lost = found.lost(cut.told)
        tally.cuts += 1
        tally.acknowledged += len(cut.told)
        tally.lost += len(lost)
        assert (cut.moment, lost, found.wrong, found.torn(commits)) == (cut.moment, [], (), [])
        if cut.moment in completed:
            await assert_an_engine_completes(cut)
            tally.completed += 1


async def assert_an_engine_completes(cut: Cut) -> None:
    """Serve the file: nobody starts again what was acknowledged, it all ends well, and something new goes through."""
    numbers = {number_of(fact.run_id) for fact in cut.told if isinstance(fact, facts.Started)}
    settings = load({"store": f"sqlite:///{cut.path}"}, {})
    async with asyncio.timeout(PATIENCE), serving(settings) as engine, Client(settings, engine=engine) as client:
        for number in numbers:
            if waits(number) and facts.Signalled(id_of(number), message_of(number)) not in cut.told:
                await client.signal(id_of(number), SIGNAL, WORD, message_id=message_of(number))
        results = await asyncio.gather(*(client.run(id_of(number)).result() for number in numbers))
        assert results == [story_of(number)[2] for number in numbers]
        await drive(client, NEW, tell=lambda _: None)
        await assert_whole(client.profile.store, *map(id_of, numbers))


async def test_while_one_engine_works_and_the_file_is_checkpointed_all_the_time(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 40, "--at-once", 4, "--checkpoint", 30)
    operations = recording.operations()
    assert count(operations, "S", FILE) > 10  # checkpoints
    await assert_nothing_is_lost(operations, folder, chance, tally)


async def test_while_clients_of_other_processes_write_to_the_same_file(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 15, "--beside", "20-45", "--at-once", 3, "--checkpoint", 100)
    operations = recording.operations()
    await assert_nothing_is_lost(operations, folder, chance, tally)


async def test_while_engines_come_and_go_by_death_and_in_peace(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 20, "--leave-after", 5, "--die")
    recording.run("--first", 0, "--end", 25, "--leave-after", 8, "--checkpoint", 20)
    recording.run("--first", 0, "--end", 35, "--leave-after", 20, "--die", "--checkpoint", 50)
    recording.run("--first", 0, "--end", 40)
    operations = recording.operations()
    assert count(operations, "U", f"{FILE}-wal") >= 2  # the last one out clears away
    await assert_nothing_is_lost(operations, folder, chance, tally)


async def test_while_large_payloads_fill_the_file(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", LARGE_FROM, "--end", LARGE_FROM + 18, "--at-once", 2)
    operations = recording.operations()
    assert count(operations, "W", FILE) > CHECKPOINT_PAGES
    await assert_nothing_is_lost(operations, folder, chance, tally)


async def test_while_the_disk_is_so_slow_that_commits_leave_the_event_loop(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim, POWER_SYNC_US="8000")
    recording.run("--first", 0, "--end", 30, "--at-once", 6, "--beside", "40-46")
    operations = recording.operations()
    await assert_nothing_is_lost(operations, folder, chance, tally)


async def test_while_the_file_is_being_made(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 1)
    operations = recording.operations()
    ready = until(operations, lambda one: one.kind == "M")
    for cut in cuts(operations, range(1, ready), folder, chance):
        settings = load({"store": f"sqlite:///{cut.path}"}, {})
        async with open_profile(settings, create=True) as profile:
            assert await profile.log.missing(topics_of(settings, profile.shards)) == []
        found = await look(cut.path)
        assert (cut.moment, found.wrong, len(found.numbers)) == (cut.moment, (), settings.shards)
        tally.cuts += 1


async def assert_loss_is_found(
    operations: Sequence[Operation], folder: Path, chance: Random, tally: Tally, *, damage: bool
) -> None:
    lost = 0
    for cut in cuts(operations, moments(operations, CONTROL_CUTS, chance), folder, chance):
        found = await look(cut.path)
        assert damage or found.wrong == ()
        lost += len(found.lost(cut.told))
        tally.control_cuts += 1
        tally.control_acknowledged += len(cut.told)
    tally.control_lost += lost
    assert lost > 0


async def test_the_same_check_finds_the_loss_when_commits_are_not_synced(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 20, "--at-once", 4, "--synchronous", "NORMAL")
    await assert_loss_is_found(recording.operations(), folder, chance, tally, damage=False)


async def test_the_same_check_finds_the_loss_when_the_disk_lies(
    tmp_path: Path, folder: Path, shim: Path, chance: Random, tally: Tally
) -> None:
    recording = Recording(tmp_path, shim)
    recording.run("--first", 0, "--end", 30, "--at-once", 4, "--checkpoint", 20)
    operations = recording.operations()
    folders = {"", *map(str, STORE.parents)}
    for unsynced in ({one.name for one in operations}, {FILE}, {f"{FILE}-wal"}, folders):
        obeyed = [one for one in operations if one.kind != "S" or one.name not in unsynced]
        await assert_loss_is_found(obeyed, folder, chance, tally, damage=True)
