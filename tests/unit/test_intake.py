"""What comes in, in slices: nothing is lost, and what failed comes before what is new."""

import asyncio

import pytest

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.app.orchestrator.draft import Input, Redirect, positions_of
from holdfast.app.orchestrator.intake import (
    BACKLOG,
    RESULTS_BACKLOG,
    SLICE,
    SLICE_BYTES,
    SWEPT_BACKLOG,
    SWEPT_SHARE,
    Intake,
)
from holdfast.app.orchestrator.record_reader import RecordReader, as_command
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import (
    Addressed,
    CancelRun,
    CompleteStep,
    FailStep,
    FireTimer,
    HearLedger,
    StepResult,
)
from holdfast.core.effects import STATES, SUCCEEDED
from holdfast.core.identity import shard_of
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.retry import Failure
from holdfast.ports.log import Record
from holdfast.ports.topics import Topics

SHARDS = 16
CODEC = AvroCodec()
TOPICS = Topics("t")


def intake() -> Intake:
    reader = RecordReader(CODEC, Wire(TOPICS, CODEC, SHARDS), SHARDS, SchemaCache(CODEC))
    return Intake(reader=reader, shards=SHARDS)


def inputs(*names: str) -> list[Input]:
    return [Input(0, name, FireTimer(timer_id="timer#1")) for name in names]


def names(slice_: list[Input]) -> list[str]:
    return [one.run_id for one in slice_]


def record(
    run_id: str, partition: int | None = None, value: bytes | None = None, topic: str = TOPICS.commands
) -> Record:
    ce_type, data = CODEC.encode_command(Addressed(run_id, CancelRun(reason="x")))
    shard = shard_of(run_id, SHARDS) if partition is None else partition
    headers = (("ce_type", ce_type.encode()), ("mine", b"\x00\xff"))
    return Record(topic, shard, 7, run_id.encode(), data if value is None else value, headers)


async def test_slices_are_cut_and_keep_the_order() -> None:
    box = intake()
    box.put(inputs(*(f"r{number}" for number in range(SLICE + 10))))
    first, second = await box.next_slice(), await box.next_slice()
    assert (len(first), len(second)) == (SLICE, 10)
    assert names(first + second) == [f"r{number}" for number in range(SLICE + 10)]


async def test_what_failed_comes_before_what_waits_and_that_before_what_is_new() -> None:
    box = intake()
    box.put(inputs("new"))
    box.after_those(inputs("put back"))
    box.again(inputs("failed second"))
    box.again(inputs("failed first"))
    assert len(box) == 4
    assert [names(await box.next_slice()) for _ in range(4)] == [
        ["failed first"], ["failed second"], ["put back"], ["new"],
    ]  # fmt: skip


async def test_who_waits_for_a_slice_is_woken() -> None:
    for put in (Intake.put, Intake.again, Intake.after_those):
        box = intake()
        waiting = asyncio.create_task(box.next_slice())
        await asyncio.sleep(0)
        put(box, inputs("a"))
        async with asyncio.timeout(5):
            assert names(await waiting) == ["a"]


async def test_a_command_comes_with_its_record() -> None:
    box = intake()
    box.put_records([record("r1")])
    (one,) = await box.next_slice()
    assert (one.run_id, one.command, one.shard) == ("r1", CancelRun(reason="x"), shard_of("r1", SHARDS))
    assert one.origin == record("r1")


async def test_results_become_commands() -> None:
    box = intake()
    failure = Failure("OSError", "x")
    box.put_result(StepResult(run_id="r", incarnation=2, step_id="s#1", attempt=3, result=NOTHING))
    box.put_result(StepResult(run_id="r", incarnation=2, step_id="s#1", attempt=3, error=failure))
    first, second = await box.next_slice()
    assert first.command == CompleteStep(step_id="s#1", attempt=3, result=NOTHING)
    assert second.command == FailStep(step_id="s#1", attempt=3, error=failure)
    assert first.incarnation == second.incarnation == 2
    assert first.as_result() == StepResult(run_id="r", incarnation=2, step_id="s#1", attempt=3, result=NOTHING)


async def test_what_cannot_be_read_is_a_dead_letter_in_its_turn() -> None:
    box = intake()
    box.put_records([record("r1"), record("r2", value=b"\xff"), record("r3", topic=TOPICS.results)])
    first, second, third = await box.next_slice()
    assert first.run_id == "r1"
    for one, value in ((second, b"\xff"), (third, record("r3").value)):
        assert isinstance(one.command, Redirect)
        assert one.command.record.topic == TOPICS.dlq
        assert one.command.record.value == value
        assert ("mine", b"\x00\xff") in one.command.record.headers
        assert ("holdfast_source_offset", b"7") in one.command.record.headers
        assert one.origin is not None


async def test_what_came_to_a_foreign_partition_is_forwarded_unchanged() -> None:
    box = intake()
    home = shard_of("r1", SHARDS)
    astray = record("r1", partition=(home + 1) % SHARDS)
    box.put_records([astray])
    (one,) = await box.next_slice()
    assert isinstance(one.command, Redirect)
    sent = one.command.record
    assert (sent.topic, sent.partition, sent.key, sent.value) == (TOPICS.commands, home, b"r1", astray.value)
    assert sent.headers == (*astray.headers, ("holdfast_forwarded", b"1"))
    assert one.shard == astray.partition


async def test_what_is_not_for_us_any_more_is_taken_out_everywhere() -> None:
    box = intake()
    box.put(inputs("a", "b"))
    box.again(inputs("b", "c"))
    box.after_those(inputs("b"))
    assert names(box.discard(lambda one: one.run_id == "b")) == ["b", "b", "b"]
    assert [names(await box.next_slice()) for _ in range(2)] == [["c"], ["a"]]
    assert len(box) == 0


async def test_there_is_room_again_once_the_backlog_is_worked_off() -> None:
    box = intake()
    box.put(inputs(*("r",) * BACKLOG))
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.next_slice()
    async with asyncio.timeout(5):
        await waiting


async def test_what_was_read_before_reading_began_anew_is_not_acknowledged() -> None:
    box = intake()
    box.put_records([record("r1")], reading=1)
    box.put_records([record("r1", partition=3)], reading=2)
    read = await box.next_slice()
    assert positions_of(read, 1) == {(TOPICS.commands, shard_of("r1", SHARDS)): 8}
    assert positions_of(read, 2) == {(TOPICS.commands, 3): 8}


@pytest.mark.parametrize("state", STATES)
def test_the_ledgers_word_that_goes_to_another_owner_is_heard_as_it_was_said(state: str) -> None:
    heard = HearLedger(step_id="pay#1", state=state, attempt=2, result=NOTHING if state == SUCCEEDED else None)
    said = Input(0, "r1", heard, 0).as_result()
    assert said is not None
    expected = CompleteStep(step_id="pay#1", attempt=2, result=NOTHING) if state == SUCCEEDED else heard
    assert as_command(said) == expected


async def test_what_the_sweeper_found_has_its_share_of_a_slice_and_live_work_the_rest() -> None:
    box = intake()
    box.put_swept(inputs(*(f"s{number}" for number in range(SLICE))))
    box.put(inputs(*(f"r{number}" for number in range(SLICE))))
    taken = names(await box.next_slice())
    assert taken == [*(f"r{n}" for n in range(SLICE - SWEPT_SHARE)), *(f"s{n}" for n in range(SWEPT_SHARE))]


async def test_what_the_sweeper_found_has_a_whole_slice_where_nobody_else_waits() -> None:
    box = intake()
    box.put_swept(inputs(*(f"s{number}" for number in range(SLICE))))
    assert len(await box.next_slice()) == SLICE


async def test_live_work_has_a_slice_to_itself_where_nothing_is_overdue() -> None:
    box = intake()
    box.put(inputs(*(f"r{number}" for number in range(SLICE))))
    assert len(await box.next_slice()) == SLICE


async def test_the_sweepers_lane_has_room_until_its_bound_and_again_below_it() -> None:
    box = intake()
    box.put_swept(inputs(*(f"s{number}" for number in range(SWEPT_BACKLOG))))
    assert not box.has_swept_room
    await box.next_slice()
    assert box.has_swept_room


async def test_what_the_sweeper_found_for_a_lost_shard_is_discarded() -> None:
    box = intake()
    box.put_swept(inputs("a", "b"))
    assert names(box.discard(lambda one: one.run_id == "a")) == ["a"]
    assert names(await box.next_slice()) == ["b"]


async def test_a_slice_is_cut_by_the_bytes_of_its_records() -> None:
    box = intake()
    large = record("a", value=b"\x00" * (SLICE_BYTES // 2))
    box.put_records([large] * 5)
    assert [len(await box.next_slice()) for _ in range(3)] == [2, 2, 1]


async def test_a_backlog_of_large_records_asks_for_no_more() -> None:
    box = intake()
    large = record("a", value=b"\x00" * SLICE_BYTES)
    box.put_records([large] * 8)
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.next_slice()
    await asyncio.wait_for(waiting, 5)


def result(run_id: str, number: int = 1, data: bytes = b"1") -> StepResult:
    return StepResult(run_id=run_id, incarnation=0, step_id=f"s#{number}", attempt=1, result=Payload(data=data))


async def test_the_results_of_a_huge_run_do_not_stand_before_those_of_others() -> None:
    box = intake()
    for number in range(10 * SLICE):
        box.put_result(result("huge", number))
    box.put_result(result("small"))
    box.put_result(result("little"))
    taken = names(await box.next_slice())
    assert {"small", "little"} < set(taken)
    assert len(taken) == SLICE


async def test_the_results_of_one_run_keep_their_order() -> None:
    box = intake()
    for number in range(5):
        for run_id in ("a", "b", "c"):
            box.put_result(result(run_id, number))
    taken = [one.command for one in await box.next_slice() if one.run_id == "b"]
    assert taken == [CompleteStep(step_id=f"s#{number}", attempt=1, result=Payload(data=b"1")) for number in range(5)]


async def test_records_keep_the_order_of_the_log_and_have_half_of_a_slice_beside_a_backlog_from_within() -> None:
    box = intake()
    for number in range(2 * SLICE):
        box.put_result(result("huge", number))
    box.put_records([record(f"r{number}") for number in range(SLICE)])
    first, second = await box.next_slice(), await box.next_slice()
    read = [one.run_id for one in first + second if one.origin is not None]
    assert read == [f"r{number}" for number in range(SLICE)]
    assert len([one for one in first if one.origin is not None]) == SLICE // 2


async def test_a_slice_is_cut_by_the_bytes_of_its_results() -> None:
    box = intake()
    for number in range(5):
        box.put_result(result("a", number, b"\x00" * (SLICE_BYTES // 2)))
    assert [len(await box.next_slice()) for _ in range(3)] == [2, 2, 1]


async def test_no_further_step_is_executed_while_too_many_results_wait() -> None:
    box = intake()
    for number in range(RESULTS_BACKLOG):
        box.put_result(result("huge", number))
    waiting = asyncio.create_task(box.room_for_results())
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.next_slice()
    await asyncio.wait_for(waiting, 5)


async def test_what_is_discarded_of_a_backlog_makes_room() -> None:
    box = intake()
    for number in range(RESULTS_BACKLOG):
        box.put_result(result("lost", number))
    box.put_result(result("kept"))
    waiting = asyncio.create_task(box.room_for_results())
    await asyncio.sleep(0)
    assert len(box.discard(lambda one: one.run_id == "lost")) == RESULTS_BACKLOG
    await asyncio.wait_for(waiting, 5)
    assert names(await box.next_slice()) == ["kept"]
