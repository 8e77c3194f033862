"""The pipeline of one process, from the log to the store and back: the real loops of app/ over a real file."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from holdfast.adapters.sqlite import SqliteDeferredInputs, SqliteStore
from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.orchestrator.turn import DRAFT_BYTES
from holdfast.app.orchestrator.waiters import Lost
from holdfast.app.records import Wire
from holdfast.core import events as e
from holdfast.core.commands import Addressed, CancelRun, CompleteStep, FireTimer, ResumeRun, TerminateRun
from holdfast.core.identity import shard_of
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.run import CANCELLED, FAILED, PARKED, TERMINATED, DeadLetter
from holdfast.ports.journal import Committed, Fenced, ShardBatch, Span, StoredEvent
from holdfast.ports.log import Outgoing
from holdfast.ports.topics import Topics
from holdfast.sdk.definitions import Retry, StepError, Workflow, signal, step, versions, workflow
from tests.integration.running import (
    CODEC,
    NAMESPACE,
    SHARDS,
    assert_nothing_open,
    assert_whole,
    events_of,
    header,
    install,
    process,
    signal_of,
    start,
)

executed: Counter[str] = Counter()
trouble: dict[str, Exception] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    executed.clear()
    trouble.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step
async def pipe_add(number: int) -> int:
    executed[f"add {number}"] += 1
    return number + 1


@step(retry=Retry(attempts=4, initial=0.01, backoff=1.0))
async def pipe_flaky(name: str) -> str:
    executed[name] += 1
    if executed[name] < 3:
        raise ConnectionError("not yet")
    return name


@step(retry=Retry(attempts=1))
async def pipe_say(text: str) -> str:
    raise ValueError(text)


@step
async def pipe_length(text: str) -> int:
    return len(text)


@workflow
async def pipe_wordy(size: int) -> int:
    return sum(await asyncio.gather(*(pipe_length("x" * size) for _ in range(8))))


@step(queue="elsewhere")
async def pipe_far(number: int) -> int:
    return number


@step(retry=Retry(attempts=2, initial=1e-3, backoff=1e9, maximum=1e-3))
def pipe_odd_message() -> None:
    raise OSError("file \udcff is missing")


@workflow
async def pipe_three(number: int) -> int:
    return await pipe_add(await pipe_add(await pipe_add(number)))


@workflow
async def pipe_nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@workflow
async def pipe_retry(name: str) -> str:
    return await pipe_flaky(name)


@workflow
async def pipe_odd() -> str:
    try:
        await pipe_odd_message()
    except StepError as error:
        return error.failure.type
    return ""


@workflow
async def pipe_wait(count: int) -> list[int]:
    return [await signal("go", int) for _ in range(count)]


@workflow
async def pipe_elsewhere(number: int) -> int:
    return await pipe_far(number)


@workflow
async def pipe_exit(code: int) -> None:
    await pipe_add(code)
    raise SystemExit(code)


@workflow
async def pipe_raises(text: str) -> None:
    raise ValueError(text)


@workflow
async def pipe_troubled(name: str) -> str:
    number = await pipe_add(1)
    if name in trouble:
        raise trouble[name]
    return f"{name} {number}"


@workflow
async def pipe_far_future(seconds: float) -> None:
    await asyncio.sleep(seconds)


# ------------------------------------------------------------------------------------------------------------ the usual


async def test_a_run_completes_and_leaves_nothing_open(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_three", "r", 1)
        assert await engine.result("r") == 4
        await assert_whole(engine.store, "r")
        await assert_nothing_open(engine.store)


async def test_the_same_start_twice_is_one_run(file: Path) -> None:
    async with process(file) as engine:
        for _ in range(3):
            await engine.start("pipe_three", "r", 1)
        assert await engine.result("r") == 4
        await engine.submit("r", start("pipe_three", 1))
        await assert_whole(engine.store, "r")
        assert set(executed.values()) == {1}


async def test_a_commit_is_cut_by_the_bytes_that_it_would_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, sizes = 200_000, []
    async with process(file) as engine:
        commit = engine.store.commit

        async def listening(batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
            sizes.append(sum(len(one.data) for written in batch.values() for one in written.events))
            return await commit(batch)

        monkeypatch.setattr(engine.store, "commit", listening)
        for number in range(12):
            await engine.start("pipe_wordy", f"r{number}", size)
        for number in range(12):
            assert await engine.result(f"r{number}") == 8 * size
    assert max(sizes) < DRAFT_BYTES + 9 * size


async def test_another_start_under_the_same_id_is_a_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_three", "r", 1)
        await engine.start("pipe_three", "r", 2)
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "run_exists_differs"
        assert await engine.result("r") == 4
        with pytest.raises(DeadLetter, match="exists with another"):
            await engine.submit("r", start("pipe_three", 2))


async def test_bytes_that_nobody_can_read_are_a_dead_letter_and_the_next_message_is_handled(file: Path) -> None:
    async with process(file) as engine:
        topic = Topics(NAMESPACE).commands
        await engine.log.publish(
            [Outgoing(topic, b"r", b"\xff\x00rubbish", (("ce_type", b"holdfast.StartRun.v1"),), 0)]
        )
        await engine.start("pipe_three", "r", 1)
        assert await engine.result("r") == 4
        (dead,) = await engine.dead_letters()
        assert dead.value == b"\xff\x00rubbish"
        assert header(dead, "holdfast_source_topic") == topic


async def test_a_failing_step_is_tried_again(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_retry", "r", "x")
        assert await engine.result("r") == "x"
        assert executed["x"] == 3
        kinds = Counter(await engine.kinds("r"))
        assert (kinds["StepRetried"], kinds["StepAttempted"], kinds["StepCompleted"]) == (2, 2, 1)
        await assert_nothing_open(engine.store)


async def test_an_error_message_that_is_no_text_is_still_told(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_odd", "r")
        assert await engine.result("r") == "OSError"


async def test_a_run_is_cancelled_and_another_terminated(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_nap", "c", 1000)
        await engine.start("pipe_nap", "t", 1000)
        await engine.until_recorded("c", "TimerStarted")
        await engine.send("c", CancelRun(reason="late"))
        await engine.send("t", TerminateRun(reason="fraud"))
        await engine.until_status("c", CANCELLED)
        await engine.until_status("t", TERMINATED)
        await assert_whole(engine.store, "c", "t")
        await assert_nothing_open(engine.store)


async def test_a_command_for_a_run_that_nobody_started_is_refused(file: Path) -> None:
    async with process(file) as engine:
        for command in (CancelRun(), TerminateRun(), ResumeRun()):
            with pytest.raises(DeadLetter, match="no run"):
                await engine.submit("nobody", command)
        await engine.submit("nobody", FireTimer(timer_id="timer#1"))
        await engine.submit("nobody", start("pipe_three", 1))
        assert await engine.result("nobody") == 4


# -------------------------------------------------------------------------------------------------------------- signals


async def test_signals_before_the_start_are_delivered_once_in_order(file: Path) -> None:
    async with process(file) as engine:
        for number in (1, 2, 2, 1):
            await engine.send("r", signal_of("go", number, f"m{number}"))
        await engine.until_empty_log()
        assert await engine.store.history("r") is None
        await engine.start("pipe_wait", "r", 3)
        await engine.send("r", signal_of("go", 2, "m2"))
        await engine.send("r", signal_of("go", 3, "m3"))
        assert await engine.result("r") == [1, 2, 3]
        await assert_nothing_open(engine.store)


async def test_signals_before_the_start_outlive_the_process(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", signal_of("go", 1, "m1"))
        await engine.submit("r", signal_of("go", 2, "m2"))
    async with process(file, "p2") as engine:
        await engine.submit("r", signal_of("go", 1, "m1"))
        await engine.start("pipe_wait", "r", 2)
        assert await engine.result("r") == [1, 2]


async def test_a_message_id_counts_once(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_wait", "r", 2)
        for _ in range(3):
            await engine.send("r", signal_of("go", 1, "m1"))
        await engine.until_recorded("r", "SignalReceived")
        await engine.send("r", signal_of("go", 1, "m1"))
        await engine.send("r", signal_of("go", 2, "m2"))
        assert await engine.result("r") == [1, 2]


async def test_a_signal_to_a_run_that_ended_is_a_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_wait", "r", 1)
        await engine.send("r", signal_of("go", 1, "m1"))
        await engine.result("r")
        await engine.send("r", signal_of("go", 2, "m2"))
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "run_ended"


async def test_a_signal_of_the_wrong_type_is_a_dead_letter_and_the_run_goes_on(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_wait", "r", 1)
        await engine.send("r", signal_of("go", "one", "m1"))
        await engine.send("r", signal_of("go", 1, "m2"))
        assert await engine.result("r") == [1]
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "unfit_signal"
        assert "signal 'go' does not fit" in header(dead, "holdfast_error")
        assert CODEC.decode_command(dead.headers, dead.value) == Addressed("r", signal_of("go", "one", "m1"))
        kinds = ["RunStarted", "SignalReceived", "SignalRefused", "SignalReceived", "RunCompleted"]
        assert await engine.kinds("r") == kinds


async def test_who_hands_over_a_signal_of_the_wrong_type_hears_it(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("pipe_wait", 1))
        with pytest.raises(DeadLetter, match="signal 'go' does not fit") as refused:
            await engine.submit("r", signal_of("go", "one", "m1"))
        assert refused.value.reason == "unfit_signal"
        await engine.submit("r", signal_of("go", "one", "m1"))  # the same once more is a duplicate, and no news
        await engine.submit("r", signal_of("go", 1, "m2"))
        assert await engine.result("r") == [1]


async def test_a_refused_signal_is_refused_again_by_a_replay_and_told_by_whoever_takes_over(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", signal_of("go", "early", "m0"))
        await engine.submit("r", start("pipe_wait", 1))
        with pytest.raises(DeadLetter, match="does not fit"):
            await engine.submit("r", signal_of("go", "one", "m1"))
    async with process(file, "p2") as engine:
        await engine.submit("r", signal_of("go", 1, "m2"))
        assert await engine.result("r") == [1]
        letters = await engine.dead_letters(2)
        stored = await engine.store.history("r")
        assert stored is not None
        recovery = Recovery(engine.store, CODEC, Wire(Topics(NAMESPACE), CODEC, SHARDS))
        again = recovery.records(stored, Span("r", 0, 1, len(stored.history)))
    told = [(record.value, dict(record.headers)) for record in again if record.topic == Topics(NAMESPACE).dlq]
    heard = [(letter.value, dict(letter.headers)) for letter in letters]
    assert told == [one for number, one in enumerate(heard) if one not in heard[:number]]


# -------------------------------------------------------------------------------------------------------------- parking


async def test_an_unknown_workflow_is_a_parked_run_until_it_is_deployed(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_deployed_later", "r", 1)
        parked = await engine.parked("r")
        assert parked.reason == "unknown_workflow"
        assert "pipe_deployed_later" in parked.detail

        @workflow
        async def pipe_deployed_later(number: int) -> int:
            return await pipe_add(number)

        await engine.submit("r", ResumeRun(by="ada"))
        assert await engine.result("r") == 2
        assert pipe_deployed_later.name == "pipe_deployed_later"


async def test_an_input_that_does_not_fit_is_a_parked_run(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_three", "r", "one")
        await engine.start("pipe_three", "ok", 1)
        assert (await engine.parked("r")).reason == "unfit_input"
        assert await engine.result("ok") == 4
        row = (await engine.until_status("r", PARKED)).row
        assert row.parked == "unfit_input"


async def test_what_raises_in_the_workflow_fails_that_run_alone(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_raises", "bad", "no such frame")
        await engine.start("pipe_exit", "exit", 3)
        await engine.start("pipe_three", "ok", 1)
        assert await engine.result("ok") == 4
        for run_id, kind in (("bad", "ValueError"), ("exit", "SystemExit")):
            last = events_of(await engine.until_status(run_id, FAILED))[-1]
            assert isinstance(last, e.RunFailed)
            assert last.error.type == kind


async def test_an_error_of_the_engine_parks_one_run_and_the_slice_goes_on(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(file, begin=False) as engine:
        await engine.start("pipe_far_future", "bad", 1e300)
        for number in range(20):
            await engine.start("pipe_three", f"r{number}", number)
        await engine.begin()
        await engine.until_ended(*(f"r{number}" for number in range(20)))
        await engine.until_recorded("bad", "RunStarted", "TimerStarted")


async def test_a_history_that_this_version_cannot_read_stops_that_run_alone(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("pipe_wait", 1))
        shard = shard_of("r", SHARDS)
        row = (await engine.store.shards([shard]))[shard]
        newer = StoredEvent("r", 0, 2, "EventOfTomorrow", b"?", 2**50)
        batch = ShardBatch(row.epoch, row.last_batch + 1, row.published, events=[newer])
        assert await engine.store.commit({shard: batch}) == Committed()
    async with process(file, "p2") as engine:
        await engine.submit("r", signal_of("go", 1))
        await engine.start("pipe_three", "ok", 1)
        assert await engine.result("ok") == 4
        assert isinstance(engine.store, SqliteStore)
        (waits,) = await SqliteDeferredInputs(engine.store).waiting(10)
        assert (waits.run_id, waits.inputs) == ("r", 1)
        assert "EventOfTomorrow" in waits.reason


async def test_a_resume_right_behind_other_messages_is_not_lost(file: Path) -> None:
    trouble["r"] = ValueError("x")
    async with process(file) as engine:
        await engine.start("pipe_not_yet", "r", 2)
        await engine.parked("r")

        @workflow(name="pipe_not_yet")
        async def pipe_not_yet(count: int) -> list[int]:
            return [await signal("go", int) for _ in range(count)]

        sent = [
            engine.submit("r", signal_of("go", 1, "m1")),
            engine.submit("r", signal_of("go", 2, "m2")),
            engine.submit("r", ResumeRun(by="ada")),
        ]
        await asyncio.gather(*sent)
        assert await engine.result("r") == [1, 2]
        assert pipe_not_yet.name == "pipe_not_yet"


async def test_a_resume_that_sticks_again_says_the_new_reason(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_changing", "r", "text")
        assert (await engine.parked("r")).reason == "unknown_workflow"

        @workflow(name="pipe_changing")
        async def changing(number: int) -> int:
            return number

        await engine.submit("r", ResumeRun())
        stored = await engine.until_status("r", PARKED)
        assert stored.row.parked == "unfit_input"

        async def mended(text: str) -> str:
            return text

        versions[changing.name].add(Workflow(mended, changing.name, changing.version))  # as a deploy would
        await engine.submit("r", ResumeRun())
        assert await engine.result("r") == "text"


# --------------------------------------------------------------------------------------------- results and their shards


async def test_a_task_of_a_queue_of_others_goes_to_the_log_and_its_result_comes_back(file: Path) -> None:
    async with process(file) as engine:
        tasks = await engine.log.tasks([Topics(NAMESPACE).tasks("elsewhere")], "w", instance=None)
        await engine.start("pipe_elsewhere", "r", 5)
        (record,) = await tasks.poll(10.0, 10)
        task = engine.codec.decode_task(record.value)
        assert (task.run_id, task.step_id, task.name) == ("r", "pipe_far#1", "pipe_far")
        await engine.submit("r", CompleteStep(step_id="pipe_far#1", attempt=1, result=Payload(data=b"5")))
        assert await engine.result("r") == 5
        await tasks.close()


async def test_a_local_result_for_a_shard_that_moved_is_published(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("pipe_elsewhere", "r", 5)
        await engine.until_recorded("r", "StepScheduled")
        tail = await engine.log.tail(Topics(NAMESPACE).results)
        await tail.watch(range(SHARDS))
        await engine.store.take(range(SHARDS), "thief")
        with pytest.raises(Lost):
            # It is fenced when it commits; the sender tries again by the log.
            await engine.submit("r", CompleteStep(step_id="pipe_far#1", attempt=1, result=Payload(data=b"5")))
        (record,) = await tail.poll(10.0, 10)
        result = engine.codec.decode_result(record.value)
        assert (result.run_id, result.step_id, result.result) == ("r", "pipe_far#1", Payload(data=b"5"))
        await tail.close()
        assert await engine.result("r") == 5
        await assert_whole(engine.store, "r")


async def test_a_result_of_a_step_never_scheduled_is_a_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        with pytest.raises(DeadLetter, match="never scheduled"):
            await engine.submit("r", CompleteStep(step_id="x#1", attempt=1, result=NOTHING))


# -------------------------------------------------------------------------------------- restarts, crashes and the cache


async def test_timers_fire_in_the_next_process(file: Path) -> None:
    async with process(file) as engine:
        for number in range(20):
            await engine.start("pipe_nap", f"r{number}", 0.3)
        for number in range(20):
            await engine.until_recorded(f"r{number}", "TimerStarted")
    async with process(file, "p2") as engine:
        await engine.until_ended(*(f"r{number}" for number in range(20)))
        await assert_whole(engine.store, *(f"r{number}" for number in range(20)))
        await assert_nothing_open(engine.store)


@pytest.mark.parametrize("publishes", [False, True])
async def test_with_room_for_a_few_runs_only_nothing_but_time_is_lost(file: Path, publishes: bool) -> None:
    runs = [f"r{number}" for number in range(200)]
    async with process(file, cache_bytes=30_000, publishes=publishes) as engine:
        for number, run_id in enumerate(runs):
            await engine.start("pipe_sleepy", run_id, number)
            await engine.start("pipe_sleepy", run_id, number)
        await engine.until_ended(*runs)
        for number, run_id in enumerate(runs):
            assert await engine.result(run_id) == number + 2
            await engine.start("pipe_sleepy", run_id, number)
        await engine.until_empty_log()
        await assert_whole(engine.store, *runs)
        await assert_nothing_open(engine.store)
        assert len(engine.orchestrator.live) <= 10


@workflow
async def pipe_sleepy(number: int) -> int:
    first = await pipe_add(number)
    await asyncio.sleep(0.02 + number % 7 / 100)
    return await pipe_add(first)


@workflow
async def pipe_mixed(number: int) -> list[int]:
    first, second = await asyncio.gather(pipe_add(number), pipe_add(number + 1000))
    await asyncio.sleep(0.01)
    told = await signal("go", int)
    await pipe_flaky(f"mixed {number}")
    return [first, second, told]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(12))
async def test_a_crash_at_any_moment_changes_nothing_but_time(file: Path, seed: int) -> None:
    chance = random.Random(seed)
    runs = [f"r{number}" for number in range(12)]
    await install(file)
    told: set[str] = set()
    for life in range(40):
        async with process(file, f"p{life}", publishes=seed % 2 == 0) as engine:
            for number, run_id in enumerate(runs):
                if run_id not in told and chance.random() < 0.5:
                    await engine.start("pipe_mixed", run_id, number)
                    await engine.send(run_id, signal_of("go", number, "m"))
                    told.add(run_id)
            await asyncio.sleep(chance.random() * 0.06)
            for _ in range(chance.randrange(50)):
                await asyncio.sleep(0)
        if len(told) == len(runs) and life > 12:
            break
    async with process(file, "last") as engine:
        for number, run_id in enumerate(runs):
            assert await engine.result(run_id) == [number + 1, number + 1001, number]
        await assert_whole(engine.store, *runs)
        await assert_nothing_open(engine.store)
        rows = await engine.store.runs(limit=100)
        assert [row.run_id for row in rows] == sorted(runs)


def test_the_inputs_of_these_runs_are_json() -> None:
    assert msgspec.json.decode(start("x", {"a": 1}).input.data) == {"a": 1}
