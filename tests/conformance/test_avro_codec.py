"""The Avro codec keeps the laws of the port, with a schema registry and without; fastavro is the judge of its bytes."""

import copy
from io import BytesIO
from typing import Any

import msgspec
import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.adapters.avro import AvroCodec, compiled, schemas
from holdfast.adapters.avro.records import RECORDS
from holdfast.core.commands import Addressed, ExecuteStep, RunOutcome, SignalRun, StartRun, StepResult
from holdfast.core.events import RunParked, StepCompleted
from holdfast.core.payload import Payload
from holdfast.ports.codec import Unreadable
from holdfast.testing.conformance.codec import COMMANDS, EVENTS, CodecConformance, values

PLAIN = AvroCodec()
IDS = {name: 100_000 + number for number, name in enumerate(RECORDS)}


class TestWithoutARegistry(CodecConformance):
    @pytest.fixture
    def codec(self) -> AvroCodec:
        return PLAIN


class TestWithARegistry(CodecConformance):
    @pytest.fixture
    def codec(self) -> AvroCodec:
        return AvroCodec(IDS)


def judged(name: str, fields: Any) -> bytes:
    """What fastavro writes."""
    buffer = BytesIO()
    schemaless_writer(buffer, schemas.parsed(schemas.current()[name]), fields)
    return buffer.getvalue()


def single_object(schema: schemas.Schema, fields: Any) -> bytes:
    """A record by another writer, with another schema."""
    buffer = BytesIO()
    schemaless_writer(buffer, schemas.parsed(schema), fields)
    return b"\xc3\x01" + schemas.mark(schema) + buffer.getvalue()


@settings(deadline=None)
@given(EVENTS | values(ExecuteStep) | values(StepResult) | values(RunOutcome))
def test_the_bytes_are_those_of_fastavro_and_fastavro_reads_them(value: msgspec.Struct) -> None:
    name = type(value).__name__
    schema = schemas.current()[name]
    fields = msgspec.to_builtins(value, builtin_types=(bytes,))
    body = compiled.encoder(schema)(value)
    assert body == judged(name, fields)
    read: Any = schemaless_reader(BytesIO(body), schemas.parsed(schema), None)
    assert msgspec.convert(read, type(value)) == value


@settings(deadline=None)
@given(COMMANDS)
def test_the_bytes_of_a_command_are_those_of_fastavro(addressed: Addressed) -> None:
    name = type(addressed.command).__name__
    fields: Any = msgspec.to_builtins(addressed.command, builtin_types=(bytes,))
    fields |= {"run_id": addressed.run_id, "incarnation": addressed.incarnation}
    assert PLAIN.encode_command(addressed)[1][10:] == judged(name, fields)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_a_long_comes_back_from_its_bytes(number: int) -> None:
    raw = compiled.write_long(number)
    assert compiled.read_long(raw, 0) == (number, len(raw))


@pytest.mark.parametrize("raw", [b"\xff" * 9 + b"\x02", b"\xff" * 11, b"\x80" * 10 + b"\x01"])
def test_a_number_of_more_than_64_bits_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        compiled.read_long(raw, 0)


def test_a_number_of_more_than_64_bits_is_not_written() -> None:
    with pytest.raises(OverflowError):
        PLAIN.encode_event(StepCompleted(step_id="s", attempt=2**63, result=Payload()))


def test_arrays_and_maps_in_several_blocks_are_read() -> None:
    assert compiled.read_pairs(b"\x02\x02a\x02b" + b"\x01\x08\x02c\x02d" + b"\x00", 0) == ({"a": "b", "c": "d"}, 12)
    assert compiled.read_texts(b"\x04\x02a\x02b" + b"\x01\x04\x02c" + b"\x00", 0) == (("a", "b", "c"), 10)


def test_a_record_begins_with_the_marker_and_the_fingerprint_of_its_schema() -> None:
    event = RunParked(reason="unknown_workflow")
    fingerprint = schemas.mark(schemas.current()["RunParked"])
    assert PLAIN.encode_event(event) == b"\xc3\x01" + fingerprint + b"\x20unknown_workflow\x00"


def test_with_a_registry_stored_bytes_stay_and_the_wire_has_its_id_in_front() -> None:
    event = RunParked(reason="unknown_workflow")
    codec = AvroCodec({"RunParked": 258})
    stored = codec.encode_event(event)
    assert stored == PLAIN.encode_event(event)
    assert codec.wire(stored) == b"\x00\x00\x00\x01\x02" + stored[10:]


def test_a_record_that_the_registry_does_not_have_keeps_its_fingerprint() -> None:
    stored = PLAIN.encode_event(RunParked(reason="unknown_workflow"))
    assert AvroCodec({"StartRun": 258}).wire(stored) == stored


def test_with_a_registry_single_objects_are_read_too() -> None:
    addressed = Addressed("order-1042", StartRun(workflow="w"))
    assert AvroCodec(IDS).decode_command((), PLAIN.encode_command(addressed)[1]) == addressed


def foreign_start() -> schemas.Schema:
    """How a producer in another language may see StartRun: fields of its own, in its order, less of ours."""
    schema = copy.deepcopy(schemas.current()["StartRun"])
    kept = {field["name"]: field for field in schema["fields"]}
    shop = {"name": "shop", "type": {"type": "enum", "name": "Shop", "symbols": ["NORTH", "SOUTH"]}}
    schema["fields"] = [kept["input"], shop, kept["workflow"], kept["run_id"]]
    return schema


def test_a_foreign_schema_is_looked_up_once_and_its_fields_are_matched_by_name() -> None:
    asked: list[int] = []

    def lookup(number: int) -> schemas.Schema | None:
        asked.append(number)
        return foreign_start()

    codec = AvroCodec(IDS, lookup)
    fields = {"input": {"data": b"7"}, "shop": "SOUTH", "workflow": "w", "run_id": "r"}
    value = b"\x00\x00\x00\x00\x07" + single_object(foreign_start(), fields)[10:]
    for _ in range(2):
        assert codec.decode_command((), value) == Addressed("r", StartRun(workflow="w", input=Payload(data=b"7")))
    assert asked == [7]
    with pytest.raises(Unreadable):
        codec.decode_command((), value[:-1])
    with pytest.raises(Unreadable):
        codec.decode_command((), value + b"\x00")


def test_a_foreign_record_without_what_we_need_is_unreadable() -> None:
    schema = foreign_start()
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "workflow"]
    value = single_object(schema, {"input": {"data": b"7"}, "shop": "SOUTH", "run_id": "r"})
    with pytest.raises(Unreadable, match="workflow") as refused:
        AvroCodec(IDS, lambda _: schema).decode_command((), b"\x00\x00\x00\x00\x07" + value[10:])
    assert refused.value.reason == "unreadable"


def test_a_signal_of_a_schema_without_message_id_is_named_by_its_record() -> None:
    schema = copy.deepcopy(schemas.current()["SignalRun"])
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "message_id"]
    value = single_object(schema, {"run_id": "r", "incarnation": None, "name": "n", "input": {"data": b"7"}})
    named = (("ce_source", b"shop"), ("ce_id", b"1"))
    command = AvroCodec(IDS, lambda _: schema).decode_command(named, b"\x00\x00\x00\x00\x07" + value[10:]).command
    assert command == SignalRun(name="n", message_id="shop/1", input=Payload(data=b"7"))


def test_a_foreign_schema_of_nothing_of_ours_is_an_unknown_type() -> None:
    order: schemas.Schema = {"type": "record", "name": "shop.Order", "fields": []}
    with pytest.raises(Unreadable, match="Order") as refused:
        AvroCodec(None, lambda _: order).decode_command((), b"\x00\x00\x00\x00\x07")
    assert refused.value.reason == "unknown_type"


def test_a_looked_up_schema_that_is_no_avro_is_an_unknown_schema() -> None:
    broken: schemas.Schema = {"type": "record", "name": "StartRun", "fields": [{"name": "run_id", "type": "Gone"}]}
    with pytest.raises(Unreadable, match="Gone") as refused:
        AvroCodec(None, lambda _: broken).decode_command((), b"\x00\x00\x00\x00\x07\x02r")
    assert refused.value.reason == "unknown_schema"


def test_what_an_earlier_release_wrote_is_read_and_goes_on_the_wire_with_the_schema_of_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The release before `detail` was added to RunParked.
    old = copy.deepcopy(schemas.current()["RunParked"])
    old["fields"] = [field for field in old["fields"] if field["name"] != "detail"]
    stored = single_object(old, {"reason": "unknown_workflow"})
    with pytest.raises(Unreadable) as refused:
        PLAIN.decode_event("RunParked", stored)
    assert refused.value.reason == "unknown_schema"

    monkeypatch.setattr(schemas, "released", lambda: {"0.0.9": {"RunParked": old}})
    codec = AvroCodec({"RunParked": 258})
    assert codec.decode_event("RunParked", stored) == RunParked(reason="unknown_workflow")
    assert codec.wire(stored) == b"\x00\x00\x00\x01\x02" + PLAIN.encode_event(RunParked(reason="unknown_workflow"))[10:]
    assert AvroCodec().wire(stored) == stored
