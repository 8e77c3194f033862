"""Which value is which record, and the functions between the two.

Laws of this file:
- Records of the present schemas go through `compiled`; what was written with any other schema is read by fastavro, by
  Avro's rules of resolution: fields by name, numbers widened, what is unknown here passed over.
- A field that the writer's schema lacks has the default of its struct, which is the default of the schema (tested).
- A command's record also has the address of its run; `seen` and `carried` of a signal are never on the wire.
"""

from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

import msgspec
from fastavro import schemaless_reader

from holdfast.adapters.avro import compiled
from holdfast.adapters.avro.compiled import Decode, Encode
from holdfast.adapters.avro.schemas import Schema, parsed
from holdfast.core import commands as c
from holdfast.core.events import TYPES
from holdfast.core.parent import Parent
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure, RetrySchedule

COMMANDS: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind
    for kind in (
        c.StartRun,
        c.SignalRun,
        c.CancelRun,
        c.TerminateRun,
        c.ResumeRun,
        c.PurgeRun,
        c.ResolveEffect,
        c.HearChild,
        c.CloseChild,
    )
}
RECORDS: dict[str, type[msgspec.Struct]] = {
    **TYPES,
    **COMMANDS,
    **{kind.__name__: kind for kind in (c.ExecuteStep, c.StepResult, c.RunOutcome)},
}
PARTS: dict[str, type[msgspec.Struct]] = {kind.__name__: kind for kind in (Payload, Failure, RetrySchedule, Parent)}

_LEFT_OUT = {"message_id": ""}  # the one field whose default only the wire has: our own code always names a signal
_ADDRESS = {"run_id": "value.run_id", "incarnation": "value.incarnation"}


def encoder(name: str, schema: Schema, header: bytes) -> Encode:
    """Make the function that writes a value as record `name` behind `header`."""
    if name not in COMMANDS:
        return compiled.encoder(schema, prefix=header)
    fields = {field["name"]: f"value.command.{field['name']}" for field in schema["fields"]}
    return compiled.encoder(schema, {**fields, **_ADDRESS}, prefix=header)


def decoder(name: str, schema: Schema) -> Decode:
    """Make the function that reads the body of record `name`, written with the present `schema`."""
    kinds: Mapping[str, Callable[..., Any]] = {**PARTS, name: _builder(name)}
    return compiled.decoder(schema, kinds)


def foreign_decoder(name: str, schema: Schema) -> Decode:
    """Make the function that reads the body of record `name`, written with an earlier or a foreign `schema`."""
    ready = parsed(schema)
    kind = RECORDS[name]

    def decode(data: bytes, start: int) -> Any:
        buffer = BytesIO(data)
        buffer.seek(start)
        fields: Any = schemaless_reader(buffer, ready, None)
        if buffer.tell() != len(data):
            raise ValueError(f"the record ends at byte {buffer.tell()} of {len(data)}")
        value: Any = msgspec.convert({**_LEFT_OUT, **fields}, kind)
        return c.Addressed(fields["run_id"], value, fields.get("incarnation")) if name in COMMANDS else value

    return decode


def _builder(name: str) -> Callable[..., Any]:
    kind = RECORDS[name]
    return partial(_addressed, kind) if name in COMMANDS else kind


def _addressed(kind: Callable[..., Any], run_id: str, incarnation: int | None, **fields: Any) -> c.Addressed:
    return c.Addressed(run_id, kind(**fields), incarnation)
