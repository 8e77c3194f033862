"""A commit that fails in each way: nothing is lost, doubled or blocked."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path

import pytest

from holdfast.adapters.postgres.store import PostgresStore
from holdfast.adapters.sqlite import SqliteStore
from holdfast.app.orchestrator.draft import Input, Resend, TakeInbox
from holdfast.core import events as e
from holdfast.core.commands import AttemptStep, CompleteStep, FailStep, ResumeRun
from holdfast.core.identity import shard_of
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure
from holdfast.core.run import DeadLetter
from holdfast.ports.journal import Committed, Fenced, ShardBatch
from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptRow
from holdfast.ports.unavailable import ServerFault
from holdfast.sdk.definitions import Retry, signal, step, workflow
from tests.integration.faults import (
    Fault,
    FaultyStore,
    all_shards_stolen,
    answer_lost,
    committed_then_stolen,
    cut_off,
    one_shard_stolen,
    passes,
)
from tests.integration.running import (
    SHARDS,
    Process,
    assert_nothing_open,
    assert_whole,
    events_of,
    header,
    process,
    signal_of,
    start,
)
from tests.servers import Servers

EACH = (cut_off, answer_lost, one_shard_stolen, all_shards_stolen, committed_then_stolen)


@step
async def fault_add(number: int) -> int:
    return number + 1


@step
async def fault_echo(text: str) -> str:
    return text


@step(queue="elsewhere", retry=Retry(attempts=3, initial=1e-3, backoff=1.0))
async def fault_far(number: int) -> int:
    return number


@workflow
async def fault_three(number: int) -> int:
    first = await fault_add(number)
    await asyncio.sleep(0.01)
    told = await signal("go", int)
    return await fault_add(first + told)


@workflow
async def fault_speak(text: str) -> str:
    await fault_add(1)
    return await fault_echo(text)


@workflow
async def fault_elsewhere(number: int) -> int:
    return await fault_far(number)


@workflow
async def fault_listen() -> str:
    return await signal("go", str)


Faulty = Callable[[], FaultyStore]


@asynccontextmanager
async def faulty(
    path: Path,
    *faults: Fault,
    name: str = "p1",
    publishes: bool = True,
    begin: bool = True,
    store: Store | None = None,
) -> AsyncIterator[tuple[Process, FaultyStore]]:
    """Run a process whose next commits meet these faults; its log is in the file, and its store unless one is given."""
    stores: list[FaultyStore] = []

    def decorate(file: SqliteStore) -> FaultyStore:
        stores.append(FaultyStore(store or file))
        return stores[0]

    async with process(path, name, decorate=decorate, publishes=publishes, begin=begin) as engine:
        stores[0].faults.extend(faults)
        yield engine, stores[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


async def start_all(engine: Process, count: int) -> list[str]:
    runs = [f"r{number}" for number in range(count)]
    for number, run_id in enumerate(runs):
        await engine.start("fault_three", run_id, number)
        await engine.send(run_id, signal_of("go", number, f"m{number}"))
    return runs


async def assert_all_done(engine: Process, runs: list[str]) -> None:
    for number, run_id in enumerate(runs):
        assert await engine.result(run_id) == 2 * number + 2
    await assert_whole(engine.store, *runs)
    await assert_nothing_open(engine.store)


# ------------------------------------------------------------------------------------------------- each way, everywhere


@pytest.mark.parametrize("publishes", [False, True])
@pytest.mark.parametrize("fault", EACH)
async def test_every_other_commit_fails_and_all_runs_complete(file: Path, fault: Fault, publishes: bool) -> None:
    async with faulty(file, *(passes, fault) * 4, publishes=publishes) as (engine, store):
        runs = await start_all(engine, 30)
        await assert_all_done(engine, runs)
        assert fault.__name__ in store.met


async def test_a_store_that_is_cut_off_again_and_again_is_waited_for(file: Path) -> None:
    async with faulty(file, *(cut_off,) * 4) as (engine, _):
        runs = await start_all(engine, 5)
        await assert_all_done(engine, runs)


async def test_lost_answers_in_a_row_double_nothing(file: Path) -> None:
    async with faulty(file, *(answer_lost,) * 5) as (engine, _):
        runs = await start_all(engine, 5)
        await assert_all_done(engine, runs)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(8))
async def test_any_faults_in_any_order(file: Path, seed: int) -> None:
    chance = random.Random(seed)
    plan = [chance.choice((*EACH, passes, passes, passes)) for _ in range(15)]
    async with faulty(file, *plan, publishes=seed % 2 == 0) as (engine, _):
        runs = await start_all(engine, 20)
        await assert_all_done(engine, runs)


async def test_a_store_that_goes_away_in_mid_run_comes_back(file: Path) -> None:
    async with faulty(file) as (engine, store):
        runs = await start_all(engine, 20)
        await engine.until_recorded("r0", "StepScheduled")
        store.away = True
        await asyncio.sleep(0.2)
        store.away = False
        await assert_all_done(engine, runs)


async def test_one_stale_shard_of_two_writes_nothing_of_either(file: Path) -> None:
    async with faulty(file, begin=False) as (engine, store):
        names = iter(f"x{number}" for number in range(1000))
        low = next(name for name in names if shard_of(name, SHARDS) == 0)
        high = next(name for name in names if shard_of(name, SHARDS) == 1)
        seen: list[bool] = []

        async def steal_and_look(real: object, batch: object) -> object:
            answer = await one_shard_stolen(store.real, batch)  # type: ignore[arg-type]  # as given to a fault
            seen.append(bool(await store.real.existing([low, high])))
            return answer

        store.faults.append(steal_and_look)  # type: ignore[arg-type]  # a fault by its shape
        for run_id in (low, high):
            await engine.start("fault_three", run_id, 1)
            await engine.send(run_id, signal_of("go", 1))
        await engine.begin()
        assert [await engine.result(low), await engine.result(high)] == [4, 4]
        assert seen == [False]
        await assert_whole(engine.store, low, high)


# ------------------------------------------------------------------------------------------------------------- bad data


async def test_bad_data_of_one_run_in_a_full_slice_parks_that_run_alone(file: Path) -> None:
    async with faulty(file, begin=False) as (engine, store):
        store.refused.add(b"poison")
        good = [f"r{number}" for number in range(255)]
        for number, run_id in enumerate(good):
            if number == 100:
                await engine.start("fault_speak", "bad", "x", note="poison")
            await engine.start("fault_speak", run_id, run_id)
        await engine.begin()
        for run_id in good:
            assert await engine.result(run_id) == run_id
        parked = await engine.parked("bad")
        assert parked.reason == "refused_by_store"
        assert "holdfast resume bad" in parked.detail
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "refused_by_store"
        await assert_whole(engine.store, "bad", *good)
        await engine.submit("bad", ResumeRun(by="ada"))
        assert await engine.result("bad") == "x"


async def test_bad_data_that_a_running_run_writes_parks_it_and_mending_helps(file: Path) -> None:
    async with faulty(file, begin=False) as (engine, store):
        store.refused.add(b"poison")
        await engine.start("fault_listen", "bad")
        await engine.start("fault_listen", "ok")
        await engine.begin()
        await engine.until_recorded("bad", "RunStarted")
        await engine.send("bad", signal_of("go", "poison", "m1"))
        await engine.send("ok", signal_of("go", "fine", "m1"))
        assert await engine.result("ok") == "fine"
        assert (await engine.parked("bad")).reason == "refused_by_store"
        await engine.dead_letters()
        await engine.submit("bad", ResumeRun())
        await engine.send("bad", signal_of("go", "fine", "m2"))
        assert await engine.result("bad") == "fine"
        await assert_whole(engine.store, "bad", "ok")


async def test_a_sender_in_memory_hears_that_the_store_refused_it(file: Path) -> None:
    async with faulty(file) as (engine, store):
        await engine.submit("r", start("fault_listen"))
        store.refused.add(b"poison")
        with pytest.raises(DeadLetter, match="a value is refused"):
            await engine.submit("r", signal_of("go", "poison", "m1"))


async def test_a_signal_that_the_store_cannot_keep_makes_no_run(file: Path) -> None:
    async with faulty(file) as (engine, store):
        store.refused.add(b"poison")
        await engine.send("r", signal_of("go", "poison", "m1"))
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "refused_by_store"
        assert await engine.store.history("r") is None
        await engine.start("fault_listen", "r")
        await engine.send("r", signal_of("go", "fine", "m2"))
        assert await engine.result("r") == "fine"


async def test_a_question_that_the_store_refuses_is_one_dead_letter(file: Path) -> None:
    async with faulty(file, begin=False) as (engine, store):
        store.refused.add(b"poison")
        await engine.start("fault_listen", "r")
        await engine.send("r", signal_of("go", "x", "poison id"))
        await engine.send("r", signal_of("go", "fine", "m2"))
        await engine.send("other", signal_of("go", "x", "another poison"))
        await engine.begin()
        assert await engine.result("r") == "fine"
        assert {header(dead, "ce_subject") for dead in await engine.dead_letters(2)} == {"r", "other"}
        with pytest.raises(DeadLetter, match="a value is refused"):
            await engine.submit("r", signal_of("go", "x", "poison id"))


# ------------------------------------------------------------------------------------------------- faults of the server


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server fail for less long until its faults are no accident."""
    monkeypatch.setattr("holdfast.app.orchestrator.server_faults.LASTING", 0.3)


@pytest.mark.usefixtures("soon")
async def test_a_server_that_fails_about_one_run_of_a_full_slice_parks_that_run_alone(file: Path) -> None:
    async with faulty(file, begin=False) as (engine, store):
        store.broken.add(b"too much")
        good = [f"r{number}" for number in range(255)]
        for number, run_id in enumerate(good):
            if number == 100:
                await engine.start("fault_listen", "bad")
                await engine.send("bad", signal_of("go", "too much", "m1"))
            await engine.start("fault_speak", run_id, run_id)
        await engine.begin()
        for run_id in good:
            assert await engine.result(run_id) == run_id
        parked = await engine.parked("bad")
        assert parked.reason == "refused_by_store"
        assert "out of memory" in parked.detail
        letters = await engine.dead_letters(2)  # its start and its signal, which came together
        assert {header(dead, "holdfast_error_class") for dead in letters} == {"refused_by_store"}
        await assert_whole(engine.store, "bad", *good)
        await engine.submit("bad", ResumeRun(by="ada"))
        await engine.send("bad", signal_of("go", "less", "m2"))
        assert await engine.result("bad") == "less"


@pytest.mark.usefixtures("soon")
async def test_a_server_that_fails_about_everything_is_waited_for(file: Path) -> None:
    async with faulty(file) as (engine, store):
        runs = await start_all(engine, 20)
        await engine.until_recorded("r0", "StepScheduled")
        store.is_down = True
        before = store.commits
        await engine.until(lambda: store.commits > before + 5)
        store.is_down = False
        await assert_all_done(engine, runs)


@pytest.mark.usefixtures("soon")
async def test_a_try_that_comes_late_is_fenced_once_it_was_given_up(file: Path) -> None:
    late: list[Mapping[int, ShardBatch]] = []

    async def hangs(_: Store, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        late.append(deepcopy(batch))
        raise ServerFault("the time is over")

    async with faulty(file, begin=False) as (engine, store):
        await engine.start("fault_speak", "r", "x")
        store.faults.extend([hangs] * 8)
        await engine.begin()
        await engine.until(lambda: len(late) >= 3 and "passes" in store.met)
        assert isinstance(await store.real.commit(late[0]), Fenced)


@pytest.mark.usefixtures("soon")
async def test_a_run_that_the_server_cannot_read_stops_no_other(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("bad", start("fault_listen"))
        await engine.submit("good", start("fault_listen"))
    async with faulty(file, name="p2", begin=False) as (engine, store):
        store.unreadable.add("bad")
        await engine.send("bad", signal_of("go", "x", "m1"))
        await engine.send("good", signal_of("go", "fine", "m1"))
        await engine.begin()
        assert await engine.result("good") == "fine"
        (dead,) = await engine.dead_letters()
        assert "an invalid page" in header(dead, "holdfast_error")
        store.unreadable.clear()
        await engine.send("bad", signal_of("go", "after", "m2"))
        assert await engine.result("bad") == "after"


# ------------------------------------------------------------------------------------- what is known of a failed commit


async def test_signals_before_their_start_survive_a_failed_commit_and_an_absent_store(file: Path) -> None:
    async with faulty(file) as (engine, store):
        await engine.submit("r", signal_of("go", "early", "m1"))
        store.faults.append(one_shard_stolen)
        await engine.start("fault_listen", "other")
        await engine.until(lambda: "one_shard_stolen" in store.met)
        store.away = True
        await engine.start("fault_listen", "r")
        await asyncio.sleep(0.3)
        store.away = False
        assert await engine.result("r") == "early"


async def test_taking_over_goes_on_where_the_store_went_away(file: Path) -> None:
    async with process(file, publishes=True) as engine:
        await engine.submit("r", start("fault_elsewhere", 5))
        await engine.submit("nap", start("fault_three", 5))
        await engine.until_recorded("nap", "TimerStarted")
    async with faulty(file, name="p2", begin=False) as (engine, store):
        real, misses = store.outbox, [1, 2]

        async def outbox(*asked: object) -> object:
            if misses:
                misses.pop()
                store.away = True
            try:
                return await real(*asked)  # type: ignore[arg-type]  # as the port says
            finally:
                store.away = False

        store.outbox = outbox  # type: ignore[method-assign, assignment]  # away just here
        before = await store.real.outbox(range(SHARDS), 1_000)
        assert before, "the first process had no time to move its cursor"
        published: list[str] = []
        publish = engine.log.publish

        async def listening(records: object) -> None:
            published.extend(record.topic for record in records)  # type: ignore[attr-defined]  # as the port says
            await publish(records)  # type: ignore[arg-type]  # as the port says

        engine.log.publish = listening  # type: ignore[method-assign]  # to hear what is said again
        await engine.begin()
        assert "pipe.events.v1" in published
        await engine.send("nap", signal_of("go", 1))
        assert await engine.result("nap") == 8


# ------------------------------------------------------------------------------------------------------------- sweeping


async def test_a_stale_question_of_the_sweeper_does_not_forget_the_attempt_that_runs(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("fault_elsewhere", 5))
        shard = shard_of("r", SHARDS)
        (first,) = (await engine.store.open_attempts([shard], 2**62, 10)).rows
        error = Failure("ConnectionError", "x")
        await engine.submit("r", FailStep(step_id="fault_far#1", attempt=1, error=error))
        await engine.until_recorded("r", "StepAttempted")
        engine.orchestrator._intake.put([Input(shard, "r", Resend(first), 0)])  # noqa: SLF001 - as the sweeper does
        await engine.submit("r", AttemptStep(step_id="fault_far#1", attempt=2))
        (second,) = (await engine.store.open_attempts([shard], 2**62, 10)).rows
        assert isinstance(second, AttemptRow)
        assert second.attempt == 2
        await engine.submit("r", CompleteStep(step_id="fault_far#1", attempt=2, result=Payload(data=b"5")))
        assert await engine.result("r") == 5


@pytest.mark.parametrize(("due", "counted"), [(False, 0), (True, 3)])
async def test_only_questions_at_their_time_make_the_next_wait_longer(file: Path, *, due: bool, counted: int) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("fault_elsewhere", 5))
        shard = shard_of("r", SHARDS)
        for number in range(3):
            (row,) = (await engine.store.open_attempts([shard], 2**62, 10)).rows
            engine.orchestrator._intake.put([Input(shard, "r", Resend(row, due=due), 0)])  # noqa: SLF001 - as who takes over
            await engine.submit("r", signal_of("go", number, f"m{number}"))
        (row,) = (await engine.store.open_attempts([shard], 2**62, 10)).rows
        assert row.resends == counted


async def test_a_signal_whose_run_never_came_is_a_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", signal_of("go", "early", "m1"))
        shard = shard_of("r", SHARDS)
        (row,) = await engine.store.expired_inbox([shard], 2**62, 10)
        engine.orchestrator._intake.put([Input(shard, "r", TakeInbox(row))])  # noqa: SLF001 - as the sweeper does
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "start_missing"
        again = engine.codec.decode_command(dead.headers, dead.value)
        assert (again.run_id, again.command) == ("r", signal_of("go", "early", "m1"))
        await assert_nothing_open(engine.store)


async def test_a_signal_whose_run_came_meanwhile_is_no_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", signal_of("go", "early", "m1"))
        shard = shard_of("r", SHARDS)
        (row,) = await engine.store.expired_inbox([shard], 2**62, 10)
        await engine.submit("r", start("fault_listen"))
        engine.orchestrator._intake.put([Input(shard, "r", TakeInbox(row))])  # noqa: SLF001 - as the sweeper does
        assert await engine.result("r") == "early"
        assert not any(
            isinstance(event, e.RunParked) for event in events_of(await engine.until_status("r", "COMPLETED"))
        )
        with pytest.raises(DeadLetter, match="has ended"):
            await engine.submit("r", signal_of("go", "late", "m2"))


# --------------------------------------------------------------------------------------------------- on real PostgreSQL


@pytest.fixture
async def postgres(servers: Servers, namespace: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(servers.postgres, namespace)
    await store.install(SHARDS)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("fault", EACH)
async def test_on_postgresql_every_other_commit_fails_and_all_runs_complete(
    file: Path, postgres: PostgresStore, fault: Fault
) -> None:
    async with faulty(file, *(passes, fault) * 4, store=postgres) as (engine, store):
        runs = await start_all(engine, 30)
        await assert_all_done(engine, runs)
        assert fault.__name__ in store.met


async def test_on_postgresql_a_nul_in_one_start_of_a_full_slice_parks_that_run_alone(
    file: Path, postgres: PostgresStore
) -> None:
    async with faulty(file, begin=False, store=postgres) as (engine, _):
        good = [f"r{number}" for number in range(255)]
        for number, run_id in enumerate(good):
            if number == 100:
                await engine.start("fault_speak", "bad", "x\0y", note="a\0b")
            await engine.start("fault_speak", run_id, f"{run_id}\0")
        await engine.begin()
        for run_id in good:
            assert await engine.result(run_id) == f"{run_id}\0"
        assert (await engine.parked("bad")).reason == "refused_by_store"
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "refused_by_store"
        await assert_whole(engine.store, "bad", *good)
        await engine.submit("bad", ResumeRun(by="ada"))
        assert await engine.result("bad") == "x\0y"


async def test_on_postgresql_a_nul_in_a_message_id_is_one_dead_letter(file: Path, postgres: PostgresStore) -> None:
    async with faulty(file, store=postgres) as (engine, _):
        await engine.send("early", signal_of("go", "x", "a\0b"))
        await engine.start("fault_listen", "r")
        await engine.send("r", signal_of("go", "x", "a\0b"))
        await engine.send("r", signal_of("go", "fine\0", "m2"))
        assert await engine.result("r") == "fine\0"
        assert {header(dead, "ce_subject") for dead in await engine.dead_letters(2)} == {"early", "r"}
        assert await engine.store.history("early") is None
