"""A newer release, as far as its records tell: each has one field more, and one event type is new."""

import copy
import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from holdfast.adapters.avro import AvroCodec, schemas
from holdfast.adapters.avro.records import RECORDS
from holdfast.core.commands import Addressed, ExecuteStep, RunOutcome, SignalRun, StepResult
from holdfast.core.events import Event, SignalReceived
from holdfast.ports.log import Headers
from holdfast.ports.schemas import WriterSchema

RELEASE = "9.0"
NEW_TYPE = "SignalNoted"
OLD = AvroCodec()


def newer_schema(name: str) -> schemas.Schema:
    """The schema of the newer release: one field more in every record, those inside others too."""
    schema = copy.deepcopy(schemas.current()[name])
    _widen(schema)
    return schema


def _widen(schema: Any) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _widen(branch)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            _widen(field["type"])
        if schema.get("type") == "record":
            schema["fields"].append({"name": "added", "type": ["null", "string"], "default": None})


NEW_SCHEMA: schemas.Schema = {
    "type": "record",
    "name": NEW_TYPE,
    "namespace": schemas.NAMESPACE,
    "fields": [{"name": "run_id", "type": "string"}, {"name": "note", "type": "string"}],
}
SCHEMAS = {name: newer_schema(name) for name in RECORDS} | {NEW_TYPE: NEW_SCHEMA}


def written(name: str, fields: Any) -> bytes:
    """A record as the newer release writes it."""
    buffer = BytesIO()
    schemaless_writer(buffer, schemas.parsed(SCHEMAS[name]), fields)
    return b"\xc3\x01" + schemas.mark(SCHEMAS[name]) + buffer.getvalue()


def rewritten(data: bytes, name: str) -> bytes:
    """A record of ours, as the newer release would have written it."""
    fields: Any = schemaless_reader(BytesIO(data[10:]), schemas.parsed(schemas.current()[name]), None)
    return written(name, {**fields, "added": "news"})


class NewerCodec(AvroCodec):
    """The codec of the newer release: it writes more, and reads what every release wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.learn(self.schemas(RELEASE))

    def schemas(self, release: str) -> Sequence[WriterSchema]:
        return [
            WriterSchema(schemas.mark(schema), name, schemas.canonical(schema), RELEASE)
            for name, schema in SCHEMAS.items()
        ]

    def encode_event(self, event: Event) -> bytes:
        return rewritten(super().encode_event(event), type(event).__name__)

    def encode_command(self, addressed: Addressed) -> tuple[str, bytes]:
        ce_type, value = super().encode_command(addressed)
        return ce_type, rewritten(value, type(addressed.command).__name__)

    def encode_task(self, task: ExecuteStep) -> bytes:
        return rewritten(super().encode_task(task), "ExecuteStep")

    def encode_result(self, result: StepResult) -> bytes:
        return rewritten(super().encode_result(result), "StepResult")

    def encode_outcome(self, outcome: RunOutcome) -> bytes:
        return rewritten(super().encode_outcome(outcome), "RunOutcome")


def noted(run_id: str = "r") -> bytes:
    """A record of the type that is new."""
    return written(NEW_TYPE, {"run_id": run_id, "note": "n"})


def told(data: bytes) -> dict[str, Any]:
    """All fields of a record of the newer release."""
    schema = next(one for one in SCHEMAS.values() if schemas.mark(one) == data[2:10])
    fields: Any = schemaless_reader(BytesIO(data[10:]), schemas.parsed(json.loads(schemas.canonical(schema))), None)
    return dict(fields)


class FutureCodec(NewerCodec):
    """The codec of a release that says signals in a new type, on the way and in history."""

    def encode_event(self, event: Event) -> bytes:
        data = super().encode_event(event)
        return written(NEW_TYPE, {"run_id": "", "note": data.hex()}) if isinstance(event, SignalReceived) else data

    def decode_event(self, kind: str, data: bytes) -> Event:
        return super().decode_event(kind, unwrapped(data))

    def knows(self, data: bytes) -> bool:
        return data.startswith(_NOTED) or super().knows(data)

    def encode_command(self, addressed: Addressed) -> tuple[str, bytes]:
        ce_type, value = super().encode_command(addressed)
        if not isinstance(addressed.command, SignalRun):
            return ce_type, value
        return f"holdfast.{NEW_TYPE}.v1", written(NEW_TYPE, {"run_id": addressed.run_id, "note": value.hex()})

    def decode_command(self, headers: Headers, value: bytes) -> Addressed:
        return super().decode_command(headers, unwrapped(value))


_NOTED = b"\xc3\x01" + schemas.mark(NEW_SCHEMA)


def unwrapped(data: bytes) -> bytes:
    """What a record of the new type holds; any other as it is."""
    return bytes.fromhex(told(data)["note"]) if data.startswith(_NOTED) else data
