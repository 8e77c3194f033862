"""Dead letters given back to their topic: handled once, and honest about it."""

from pathlib import Path

import pytest

from holdfast.app.client.dead_letters import DeadLetters, Found, Refused, Wanted
from holdfast.app.records import REDRIVEN, Wire, times_redriven
from holdfast.core.commands import Addressed, CancelRun, Command
from holdfast.ports.log import Outgoing, Record
from holdfast.ports.topics import Topics
from holdfast.sdk.definitions import signal, workflow
from tests.integration.bus import running, settings_on
from tests.integration.running import CODEC, NAMESPACE, SHARDS, FastClock, Process, header, process, signal_of
from tests.servers import Servers

TOPIC = Topics(NAMESPACE)
FAST = 10_000


@workflow
async def redrive_wait(count: int) -> list[int]:
    return [await signal("go", int) for _ in range(count)]


ANY = Wanted()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


def letters_of(engine: Process) -> DeadLetters:
    return DeadLetters(engine.log, engine.store, FastClock(), TOPIC.dlq)


async def redriven(engine: Process, wanted: Wanted = ANY) -> tuple[int, list[Refused]]:
    letters = letters_of(engine)
    number, refused = 0, list[Refused]()
    async for count, left in letters.redrive(wanted, await letters.find(wanted), rate=FAST):
        number, refused = number + count, refused + left
    return number, refused


async def put_dead(engine: Process, run: str, command: Command, *, offset: int = 7, reason: str = "unreadable") -> None:
    """Leave a command as a dead letter that could be handled by now."""
    ce_type, value = CODEC.encode_command(Addressed(run, command))
    headers = (("ce_type", ce_type.encode()), ("ce_id", b"one"), ("ce_source", b"/shop"), ("traceparent", b"00-x"))
    record = Record(TOPIC.commands, 3, offset, run.encode(), value, headers)
    await engine.log.publish([Wire(TOPIC, CODEC, SHARDS).dead(record, reason, "why")])


async def test_a_redriven_signal_is_taken_once_however_often_it_is_redriven(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("redrive_wait", "r", 2)
        await put_dead(engine, "r", signal_of("go", 1, "m1"))

        assert await redriven(engine) == (1, [])
        assert await redriven(engine) == (1, [])
        await engine.send("r", signal_of("go", 2, "m2"))

        assert await engine.result("r") == [1, 2]


async def test_a_signal_that_was_heard_and_refused_is_heard_again_when_it_is_redriven(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("redrive_wait", "r", 1)
        await engine.send("r", signal_of("go", "one", "m1"))
        await engine.dead_letters()

        await redriven(engine)

        first, again = await engine.dead_letters(2)
        assert [header(one, "holdfast_error_class") for one in (first, again)] == ["unfit_signal", "unfit_signal"]
        assert [times_redriven(one) for one in (first, again)] == [0, 1]


async def test_one_that_dies_again_says_how_often_it_was_redriven(file: Path) -> None:
    async with process(file) as engine:
        await put_dead(engine, "unknown", CancelRun(message_id="c1"))

        await redriven(engine)
        *_, once = await engine.dead_letters(2)
        await redriven(engine, Wanted(error_class="run_unknown"))
        *_, twice = await engine.dead_letters(3)

        assert [header(one, "holdfast_error_class") for one in (once, twice)] == ["run_unknown", "run_unknown"]
        assert [times_redriven(one) for one in (once, twice)] == [1, 2]
        assert header(once, "holdfast_source_topic") == TOPIC.commands


async def test_a_redriven_record_keeps_its_key_its_value_and_the_headers_of_its_sender(file: Path) -> None:
    async with process(file, begin=False) as engine:
        await put_dead(engine, "r", signal_of("go", 1, "m1"))
        await redriven(engine)

        tail = await engine.log.tail(TOPIC.commands, earliest=True)
        await tail.watch(range(SHARDS))
        (record,) = await tail.poll(1.0, 10)
        await tail.close()

    names = [name for name, _ in record.headers]
    assert record.key == b"r"
    assert CODEC.decode_command(record.headers, record.value) == Addressed("r", signal_of("go", 1, "m1"))
    assert names == ["ce_type", "ce_id", "ce_source", "traceparent", REDRIVEN]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(error_class="run_ended"),
        Wanted(run="b"),
        Wanted(topic=TOPIC.results),
        Wanted(since=2**60),
        Wanted(until=1),
    ],
)
async def test_a_filter_passes_over_what_it_does_not_name(file: Path, wanted: Wanted) -> None:
    async with process(file, begin=False) as engine:
        await put_dead(engine, "a", signal_of("go", 1, "m1"))

        assert await letters_of(engine).find(wanted) == Found(0, -1)
        assert await letters_of(engine).find(Wanted(error_class="unreadable", run="a", topic=TOPIC.commands)) != Found(
            0, -1
        )


async def test_a_redrive_ends_where_the_dead_letters_ended_when_it_began(file: Path) -> None:
    async with process(file, begin=False) as engine:
        await put_dead(engine, "a", signal_of("go", 1, "m1"))
        letters = letters_of(engine)
        found = await letters.find(ANY)
        await put_dead(engine, "b", signal_of("go", 1, "m1"), offset=8)

        batches = [batch async for batch in letters.redrive(ANY, found, rate=FAST)]

    assert batches == [(1, [])]


async def test_a_dead_letter_that_does_not_say_where_it_stood_is_left_and_named(file: Path) -> None:
    async with process(file, begin=False) as engine:
        await engine.log.publish([Outgoing(TOPIC.dlq, b"x", b"by hand")])
        await put_dead(engine, "a", signal_of("go", 1, "m1"))

        number, (left,) = await redriven(engine)

    assert number == 1
    assert "holdfast_source_topic" in left.why


async def test_on_kafka_a_cancellation_that_came_before_its_run_is_handled_when_it_is_redriven(
    servers: Servers, namespace: str
) -> None:
    async with running(settings_on(servers, namespace)) as here:
        here.bus.say("CancelRun", {"run_id": "r"}, ce_id="c1", key="r")
        await here.bus.dead()
        here.bus.say("StartRun", {"run_id": "r", "workflow": "redrive_wait", "input": 1}, ce_id="s1", key="r")
        await here.stored("r", "RUNNING")
        profile = here.client.profile
        letters = DeadLetters(profile.log, profile.store, profile.clock, here.bus.topic("dlq"))
        wanted = Wanted(error_class="run_unknown", run="r")

        batches = [batch async for batch in letters.redrive(wanted, await letters.find(wanted), rate=FAST)]

        assert batches == [(1, [])]
        await here.stored("r", "CANCELLED")
