"""A process meets what a newer release has written: the run waits for one that can read it, and nothing is lost."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.avro import AvroCodec
from holdfast.adapters.sqlite import EmbeddedLog, SqliteDeferredInputs, SqliteLedger, SqliteSchemas, SqliteStore
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import Addressed, CancelRun, Command
from holdfast.ports.deferred import DeferredInputs
from holdfast.ports.log import Outgoing
from holdfast.sdk.definitions import signal, step, workflow
from tests.integration.commandline import done, holdfast
from tests.integration.running import (
    DEADLINE,
    NAMESPACE,
    Process,
    assert_nothing_open,
    assert_whole,
    install,
    signal_of,
    start,
)
from tests.unit.newer import NEW_TYPE, FutureCodec, written

NEWER, OLDER = "9.0", "0.1.0"
FUTURE = FutureCodec()


@step
async def newer_step(number: int) -> int:
    return number + 1


@workflow
async def newer_adds(name: str) -> list[int]:
    """Each signal is a number; the step after it tells that the run went on."""
    return [await newer_step(await signal(name, int)) for _ in range(3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


class Told(EmbeddedLog):
    """The log in the file, which notes what is published to it."""

    def __init__(self, store: SqliteStore, said: list[Outgoing]) -> None:
        super().__init__(store)
        self.said = said

    async def publish(self, records: Sequence[Outgoing]) -> Any:
        self.said += records
        return await super().publish(records)


@asynccontextmanager
async def release(
    path: Path, version: str, *, publishes: bool = False, said: list[Outgoing] | None = None
) -> AsyncIterator[Process]:
    """A process of a release; what it publishes is noted in `said`."""
    if not path.exists():
        await install(path)
    file = SqliteStore(path)
    await file.open()
    log = EmbeddedLog(file) if said is None else Told(file, said)
    await log.open()
    codec = FutureCodec() if version == NEWER else AvroCodec()
    schemas = SchemaCache(codec, SqliteSchemas(file))
    await schemas.register(version)
    running = Process(
        file,
        SqliteLedger(file),
        log,
        f"of {version}",
        codec=codec,
        schemas=schemas,
        deferred=SqliteDeferredInputs(file),
        publishes=publishes,
    )
    try:
        await running.begin()
        yield running
        running.check()
    finally:
        await running.crash()
        await file.close()


async def newer_command(running: Process, run_id: str, command: Command) -> None:
    """Send a command as a client of the newer release does."""
    ce_type, value = FUTURE.encode_command(Addressed(run_id, command))
    headers = (("ce_type", ce_type.encode()), ("ce_id", b"1"), ("ce_source", b"/test"))
    await running.log.publish([Outgoing(f"{NAMESPACE}.commands.v1", run_id.encode(), value, headers)])


def waiting(running: Process) -> DeferredInputs:
    assert isinstance(running.store, SqliteStore)
    return SqliteDeferredInputs(running.store)


async def until_waiting(running: Process, run_id: str, inputs: int) -> None:
    """Wait until so many inputs are kept, and all that was sent is acknowledged."""
    await running.until_empty_log()
    (found,) = [one for one in await waiting(running).waiting(10) if one.run_id == run_id]
    assert found.inputs == inputs
    assert found.release == NEWER


async def until_nothing_waits(running: Process) -> None:
    async with asyncio.timeout(DEADLINE):
        while await waiting(running).waiting(10):
            await asyncio.sleep(0.01)


async def begun_by_the_newer(path: Path, *, publishes: bool = False) -> None:
    async with release(path, NEWER, publishes=publishes) as newer:
        await newer.submit("r", start("newer_adds", "n"))
        await newer.submit("r", signal_of("n", 1, "m1"))
        await newer.until_recorded("r", "StepCompleted")


async def assert_all_is_well(running: Process, run_id: str, result: Any) -> None:
    assert await running.result(run_id) == result
    await until_nothing_waits(running)
    await running.until_empty_log()
    assert await running.dead_letters(0) == []
    await assert_whole(running.store, run_id, codec=FUTURE)
    await assert_nothing_open(running.store)


async def test_a_history_with_an_event_that_is_not_known_is_left_to_a_newer_process(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await begun_by_the_newer(file)
    async with release(file, OLDER) as older:
        with caplog.at_level(logging.WARNING):
            await older.send("r", signal_of("n", 2, "m2"))
            await older.send("r", signal_of("n", 3, "m3"))
            await until_waiting(older, "r", 2)
        assert "run r waits for a newer release: a SignalNoted is not known to this release" in caplog.text
        assert (await older.kinds("r"))[-1] == "StepCompleted"
        await older.submit("other", start("newer_adds", "n"))  # all other runs go on
        for number in range(3):
            await older.submit("other", signal_of("n", number, f"m{number}"))
        assert await older.result("other") == [1, 2, 3]
    async with release(file, NEWER) as newer:
        await assert_all_is_well(newer, "r", [2, 3, 4])


async def test_a_command_that_is_not_known_waits_and_what_comes_after_it_waits_behind_it(file: Path) -> None:
    async with release(file, NEWER):
        pass  # its schemas are registered
    async with release(file, OLDER) as older:
        await older.submit("r", start("newer_adds", "n"))
        await newer_command(older, "r", signal_of("n", 1, "m1"))
        await older.send("r", signal_of("n", 2, "m2"))
        await older.send("r", signal_of("n", 3, "m3"))
        await until_waiting(older, "r", 3)
        assert await older.kinds("r") == ["RunStarted"]
    async with release(file, NEWER) as newer:
        await assert_all_is_well(newer, "r", [2, 3, 4])


async def test_a_process_that_serves_already_learns_of_the_newer_release_from_the_record(file: Path) -> None:
    async with release(file, OLDER) as older:
        await older.submit("r", start("newer_adds", "n"))
        await older.submit("r", signal_of("n", 1, "m1"))
        await SqliteSchemas(older.store).register(FUTURE.schemas(NEWER))  # type: ignore[arg-type]  # it is one
        await newer_command(older, "r", signal_of("n", 2, "m2"))
        await until_waiting(older, "r", 1)
    async with release(file, NEWER) as newer:
        await newer.submit("r", signal_of("n", 3, "m3"))
        await assert_all_is_well(newer, "r", [2, 3, 4])


async def test_an_older_process_after_an_older_one_keeps_the_order(file: Path) -> None:
    await begun_by_the_newer(file)
    for number in (2, 3):
        async with release(file, OLDER) as older:
            await older.send("r", signal_of("n", number, f"m{number}"))
            await until_waiting(older, "r", number - 1)
    async with release(file, NEWER) as newer:
        await assert_all_is_well(newer, "r", [2, 3, 4])


async def test_a_result_of_a_step_is_kept_too(file: Path) -> None:
    """The newer process dies with a step open; the older one is handed its result by the log."""
    async with release(file, NEWER) as newer:
        await newer.submit("r", start("newer_adds", "n"))
        await newer.submit("r", signal_of("n", 1, "m1"))
        await newer.until_recorded("r", "StepScheduled")
    async with release(file, OLDER) as older:
        for number in (2, 3):
            await older.send("r", signal_of("n", number, f"m{number}"))
        await older.until_empty_log()
    async with release(file, NEWER) as newer:
        await assert_all_is_well(newer, "r", [2, 3, 4])


def header(record: Outgoing, name: str) -> str:
    return dict(record.headers)[name].decode()


async def test_what_an_older_process_cannot_publish_is_published_by_the_newer(file: Path) -> None:
    """The newer one has committed and died; the older one takes over its outbox."""
    async with release(file, NEWER, publishes=True) as newer:
        await newer.submit("r", start("newer_adds", "n"))
        await newer.orchestrator._publisher.drained()  # noqa: SLF001 - what follows is not published
        newer.orchestrator._publisher.put = lost  # type: ignore[method-assign,assignment]  # noqa: SLF001 - as by a crash
        await newer.submit("r", signal_of("n", 1, "m1"))
    async with release(file, OLDER, publishes=True) as older:
        kept = await waiting(older).waiting(10)
        assert [one.run_id for one in kept] == ["r"]
    said: list[Outgoing] = []
    async with release(file, NEWER, publishes=True, said=said) as newer:
        for number in (2, 3):
            await newer.send("r", signal_of("n", number, f"m{number}"))
        assert await newer.result("r") == [2, 3, 4]
        await until_nothing_waits(newer)
    told = [header(one, "ce_id") for one in said if one.topic == f"{NAMESPACE}.events.v1"]
    assert told[:2] == ["r/0/2", "r/0/3"]  # the first event went out before


async def lost(_: object) -> None:
    """Nothing is published any more."""


async def test_a_command_of_which_not_even_the_run_can_be_read_waits_alone(file: Path) -> None:
    async with release(file, NEWER):
        pass
    async with release(file, OLDER) as older:
        await older.submit("r", start("newer_adds", "n"))
        value = written(NEW_TYPE, {"run_id": "no / run id", "note": ""})
        await older.log.publish([Outgoing(f"{NAMESPACE}.commands.v1", b"no / run id", value, ())])
        await older.until_empty_log()
        (found,) = await waiting(older).waiting(10)
        assert (found.run_id, found.inputs) == ("", 1)
        await older.submit("r", signal_of("n", 1, "m1"))  # nobody waits behind it
        await older.until_recorded("r", "StepCompleted")


async def test_a_cancel_that_was_kept_is_heard(file: Path) -> None:
    await begun_by_the_newer(file)
    async with release(file, OLDER) as older:
        await older.submit("r", CancelRun(reason="enough"))  # handed over in memory
        await until_waiting(older, "r", 1)
    async with release(file, NEWER) as newer:
        await newer.until_status("r", "CANCELLED")


async def test_doctor_and_show_name_a_run_that_waits(file: Path) -> None:
    folder = file.parent
    settings = {"HOLDFAST_STORE": f"sqlite:///{file}", "HOLDFAST_NAMESPACE": NAMESPACE, "HOLDFAST_SHARDS": "8"}
    done(folder, "install", **settings)
    await begun_by_the_newer(file)
    async with release(file, OLDER) as older:
        await older.submit("known", start("newer_adds", "n"))
        await newer_command(older, "known", signal_of("n", 1, "m1"))
        await older.send("r", signal_of("n", 2, "m2"))
        await until_waiting(older, "r", 1)
    told = holdfast(folder, "doctor", **settings).stdout
    for run in ("r", "known"):
        assert f"run {run}, shard" in told
        assert "waits for a newer release, at least 9.0: 1 inputs are kept: upgrade the orchestrators" in told
    shown = {run: json.loads(done(folder, "show", run, "--json", **settings)) for run in ("r", "known")}
    assert all("a SignalNoted is not known to this release" in view["waiting"] for view in shown.values())
    assert (shown["r"]["status"], shown["known"]["steps"]) == ("RUNNING", [])
    assert "known waits for a newer release: a SignalNoted is not" in done(folder, "show", "known", **settings)
