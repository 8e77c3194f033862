"""What a newer release wrote is read here as far as it is known, once its schemas are learned."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings

from holdfast.adapters.avro import AvroCodec
from holdfast.adapters.avro.records import RECORDS
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import Addressed, ExecuteStep, RunOutcome, StartRun, StepResult
from holdfast.core.events import Event, RunParked, RunStarted
from holdfast.core.payload import Payload
from holdfast.ports.codec import Newer, UnknownSchema, Unreadable
from holdfast.ports.schemas import WriterSchema
from holdfast.testing.conformance.codec import COMMANDS, EVENTS, json_command, values
from tests.simulation.schemas import SchemaRows
from tests.unit.newer import NEW_TYPE, RELEASE, SCHEMAS, NewerCodec, noted, rewritten, told, written

NEWER = NewerCodec()
START = Addressed("r", StartRun(workflow="w", input=Payload(data=b"7", meta={"key": "k"})))


class Registered:
    """The schemas port over rows in memory; counts how often it is asked."""

    def __init__(self) -> None:
        self.rows = SchemaRows()
        self.asked = 0

    async def register(self, schemas: Sequence[WriterSchema]) -> None:
        self.rows.register(schemas)

    async def read(self) -> Sequence[WriterSchema]:
        self.asked += 1
        return list(self.rows.read())


def learned() -> AvroCodec:
    codec = AvroCodec()
    codec.learn(NEWER.schemas(RELEASE))
    return codec


OLD = learned()


@settings(deadline=None)
@given(EVENTS)
def test_an_event_with_fields_of_a_newer_release_is_read(event: Event) -> None:
    assert OLD.decode_event(type(event).__name__, NEWER.encode_event(event)) == event


@settings(deadline=None)
@given(COMMANDS)
def test_a_command_with_fields_of_a_newer_release_is_read(addressed: Addressed) -> None:
    assert OLD.decode_command((), NEWER.encode_command(addressed)[1]) == addressed


@settings(deadline=None)
@given(values(ExecuteStep), values(StepResult), values(RunOutcome))
def test_tasks_results_and_outcomes_of_a_newer_release_are_read(
    task: ExecuteStep, result: StepResult, outcome: RunOutcome
) -> None:
    assert OLD.decode_task(NEWER.encode_task(task)) == task
    assert OLD.decode_result(NEWER.encode_result(result)) == result
    assert OLD.decode_outcome(NEWER.encode_outcome(outcome)) == outcome


def test_before_its_schema_is_learned_a_record_is_unknown_and_says_so() -> None:
    value = NEWER.encode_command(START)[1]
    codec = AvroCodec()
    assert not codec.knows(value)
    with pytest.raises(UnknownSchema):
        codec.decode_command((), value)
    codec.learn(NEWER.schemas(RELEASE))
    assert codec.knows(value)
    assert codec.decode_command((), value) == START


def test_an_event_type_of_a_newer_release_is_named_with_its_release() -> None:
    with pytest.raises(Newer, match=f"{NEW_TYPE}.*release {RELEASE}") as told_so:
        OLD.decode_event(NEW_TYPE, noted())
    assert told_so.value.release == RELEASE
    with pytest.raises(UnknownSchema):
        AvroCodec().decode_event(NEW_TYPE, noted())


def test_a_command_type_of_a_newer_release_is_named_in_avro_and_in_json() -> None:
    for headers, value in (((), noted()), (json_command(NEW_TYPE), b'{"run_id": "r", "note": "n"}')):
        with pytest.raises(Newer, match=f"{NEW_TYPE}.*release {RELEASE}"):
            OLD.decode_command(headers, value)
        with pytest.raises(UnknownSchema):
            AvroCodec().decode_command(headers, value)


def test_what_cannot_be_made_of_a_newer_schema_is_the_newer_releases() -> None:
    codec = AvroCodec()
    schema = {"type": "record", "name": "holdfast.v1.RunParked", "fields": [{"name": "reason", "type": "long"}]}
    codec.learn([WriterSchema(b"\0" * 8, "RunParked", json.dumps(schema), RELEASE)])
    with pytest.raises(Newer, match="RunParked"):
        codec.decode_event("RunParked", b"\xc3\x01" + b"\0" * 8 + b"\x02")
    codec.learn([WriterSchema(b"\1" * 8, "RunParked", "no schema", RELEASE)])
    with pytest.raises(Newer, match="not understood"):
        codec.decode_event("RunParked", b"\xc3\x01" + b"\1" * 8)


def test_bytes_of_nobody_are_still_nobodys() -> None:
    with pytest.raises(Unreadable) as refused:
        OLD.decode_command((), b"no record")
    assert not isinstance(refused.value, (Newer, UnknownSchema))


def test_a_newer_record_goes_on_the_wire_unchanged_with_all_its_fields() -> None:
    codec = AvroCodec({name: 100 + number for number, name in enumerate(RECORDS)})
    codec.learn(NEWER.schemas(RELEASE))
    stored = NEWER.encode_event(RunParked(reason="why"))
    for _ in range(2):
        assert codec.wire(stored) == stored
        codec.decode_event("RunParked", stored)
    assert told(codec.wire(stored))["added"] == "news"


def test_what_a_payload_says_of_itself_outlives_an_older_release() -> None:
    """Fields of a payload that are not known here end where a record becomes another one; `meta` never does."""
    addressed = OLD.decode_command((), NEWER.encode_command(START)[1])
    assert isinstance(addressed.command, StartRun)
    event = RunStarted(workflow="w", version="1", input=addressed.command.input)
    assert NEWER.decode_event("RunStarted", OLD.encode_event(event)) == event
    assert event.input.meta == {"key": "k"}


async def test_a_process_registers_what_it_writes_and_learns_what_others_do() -> None:
    registered = Registered()
    older, newer = AvroCodec(), NewerCodec()
    await SchemaCache(older, registered).register("0.1.0")
    assert {one.release for one in registered.rows.read()} == {"0.1.0"}
    await SchemaCache(newer, registered).register(RELEASE)
    assert {one.fingerprint for one in newer.schemas(RELEASE)} <= registered.rows.rows.keys()

    late = AvroCodec()
    await SchemaCache(late, registered).register("0.1.0")
    assert late.knows(noted())


async def test_the_store_is_asked_only_for_what_is_not_known() -> None:
    registered = Registered()
    codec = AvroCodec()
    cache = SchemaCache(codec, registered)
    await cache.register("0.1.0")
    asked = registered.asked
    own = codec.encode_event(RunParked(reason="why"))
    await cache.prepare([own])
    assert await cache.read(lambda: codec.decode_event("RunParked", own)) == RunParked(reason="why")
    assert registered.asked == asked

    registered.rows.register(NEWER.schemas(RELEASE))
    theirs = NEWER.encode_event(RunParked(reason="why"))
    assert await cache.read(lambda: codec.decode_event("RunParked", theirs)) == RunParked(reason="why")
    await cache.prepare([theirs])
    assert registered.asked == asked + 1


async def test_what_nobody_registered_stays_unknown() -> None:
    codec = AvroCodec()
    with pytest.raises(UnknownSchema):
        await SchemaCache(codec, Registered()).read(lambda: codec.decode_event(NEW_TYPE, noted()))
    with pytest.raises(UnknownSchema):
        await SchemaCache(codec).read(lambda: codec.decode_event(NEW_TYPE, noted()))


def test_the_newer_release_of_these_tests_tells_more_than_ours() -> None:
    for name in RECORDS:
        assert [field["name"] for field in SCHEMAS[name]["fields"]][-1] == "added"
    data = rewritten(OLD.encode_event(RunParked(reason="why")), "RunParked")
    assert told(data) == {"reason": "why", "detail": "", "added": "news"}
    assert msgspec.json.encode(told(written(NEW_TYPE, {"run_id": "r", "note": "n"})))
