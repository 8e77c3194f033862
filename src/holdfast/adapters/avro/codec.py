"""The Avro codec: a header that names the schema, then the body.

Laws of this file:
- The header says what a record is; a record is never guessed from its bytes, nor from the topic it came on.
- Two headers are read: Avro's single-object encoding (C3 01 and the schema's fingerprint) and the Confluent wire format
  (00 and the registry's id). No JSON text begins like either.
- What a sender got wrong is `Unreadable`, whatever its bytes make a reader stumble over.
- What a newer release wrote is read as far as it is known here, and is never the sender's fault.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, cast

import msgspec
from fastavro import schemaless_reader
from fastavro.schema import SchemaParseException, UnknownType

from holdfast.adapters.avro import json_commands, schemas
from holdfast.adapters.avro.compiled import Decode, Encode
from holdfast.adapters.avro.records import COMMANDS, RECORDS, decoder, encoder, foreign_decoder
from holdfast.core.commands import Addressed, CancelRun, ExecuteStep, RunOutcome, SignalRun, StepResult
from holdfast.core.events import TYPES, Event
from holdfast.core.identity import InvalidRunId, run_id
from holdfast.ports.codec import Newer, UnknownSchema, Unreadable
from holdfast.ports.log import Headers
from holdfast.ports.schemas import WriterSchema

Lookup = Callable[[int], schemas.Schema | None]

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"
_SINGLE_OBJECT_HEADER = 10
_CONFLUENT_HEADER = 5
_TYPE_OF = {f"holdfast.{name}.v1": name for name in json_commands.DECODERS}
_CE_TYPES = {kind: f"holdfast.{name}.v1" for name, kind in COMMANDS.items()}


class _WithRunId(msgspec.Struct):
    run_id: str


Reader = tuple[str, Decode, str]
"""The record that a schema is of, the function that reads it, and the release it was learned from, if it was."""


class AvroCodec:
    """Fulfils `ports.codec.Codec`.

    `registry` are the ids under which a schema registry knows the present schemas, by the names of their records;
    None: no registry. `lookup` finds the schema of any other id there; what it raises because the registry is out of
    reach passes through.
    """

    def __init__(self, registry: Mapping[str, int] | None = None, lookup: Lookup | None = None) -> None:
        ids = registry or {}
        self._lookup = lookup
        self._swap = bool(ids)
        self._stored: dict[str, Encode] = {}
        self._sent: dict[str, Encode] = {}
        self._swaps: dict[bytes, bytes] = {}
        self._readers: dict[bytes, Reader] = {}
        self._learned: dict[bytes, WriterSchema] = {}
        for name in RECORDS:
            schema = schemas.current()[name]
            stored = _single_object(schema)
            sent = _confluent(ids[name]) if name in ids else stored
            self._stored[name] = encoder(name, schema, stored)
            self._sent[name] = self._stored[name] if sent == stored else encoder(name, schema, sent)
            self._readers[stored] = self._readers[sent] = (name, decoder(name, schema), "")
            self._swaps[stored] = sent
        self._events = {kind: self._stored[name] for name, kind in TYPES.items()}
        for release in schemas.released().values():
            for name in release.keys() & RECORDS.keys():
                header = _single_object(release[name])
                if header not in self._readers:
                    self._readers[header] = (name, foreign_decoder(name, release[name]), "")

    def schemas(self, release: str) -> Sequence[WriterSchema]:
        return [
            WriterSchema(schemas.mark(schema), name, schemas.canonical(schema), release)
            for name, schema in schemas.current().items()
            if name in RECORDS
        ]

    def learn(self, schemas: Sequence[WriterSchema]) -> None:
        for one in schemas:
            header = SINGLE_OBJECT + one.fingerprint
            if header not in self._readers:
                self._learned[header] = one

    def knows(self, data: bytes) -> bool:
        header = data[:_SINGLE_OBJECT_HEADER]
        return header in self._readers or header in self._learned or data[:2] != SINGLE_OBJECT

    def encode_event(self, event: Event) -> bytes:
        return self._events[type(event)](event)

    def decode_event(self, kind: str, data: bytes) -> Event:
        if kind not in TYPES:
            found = self._learned.get(data[:_SINGLE_OBJECT_HEADER])
            if found is not None:
                raise _newer(found)
            raise UnknownSchema(
                "unknown_type", f"no event is named {kind!r}; a newer Holdfast may have written it: upgrade"
            )
        return cast(Event, self._read(data, kind))

    def wire(self, data: bytes) -> bytes:
        if not self._swap or not data.startswith(SINGLE_OBJECT):
            return data
        header = self._swaps.get(data[:_SINGLE_OBJECT_HEADER])
        if header is None:
            reader = self._readers.get(data[:_SINGLE_OBJECT_HEADER])
            if reader is None or reader[2]:
                return data  # a newer release's: written anew, it would lose what is not known here
            # Written with an earlier release's schema, which the registry's id of today does not describe.
            name, decode, _ = reader
            return self._sent[name](decode(data, _SINGLE_OBJECT_HEADER))
        return header + data[_SINGLE_OBJECT_HEADER:]

    def encode_command(self, addressed: Addressed) -> tuple[str, bytes]:
        kind = type(addressed.command)
        return _CE_TYPES[kind], self._encode(kind.__name__, addressed)

    def decode_command(self, headers: Headers, value: bytes) -> Addressed:
        if value[:1] in {SINGLE_OBJECT[:1], CONFLUENT}:
            addressed = cast(Addressed, self._read_addressed(value, *COMMANDS))
            _checked(addressed.run_id)
        else:
            addressed = self._from_json(headers, value)
        command = addressed.command
        if isinstance(command, (SignalRun, CancelRun)) and not command.message_id:
            found = _message_id(headers)
            if not found and isinstance(command, SignalRun):
                raise Unreadable(
                    "message_id",
                    "a SignalRun without message_id needs the headers ce_source and ce_id, to be taken once",
                )
            command = msgspec.structs.replace(command, message_id=found)
            return msgspec.structs.replace(addressed, command=command)
        return addressed

    def encode_task(self, task: ExecuteStep) -> bytes:
        return self._encode("ExecuteStep", task)

    def decode_task(self, value: bytes) -> ExecuteStep:
        return cast(ExecuteStep, self._read(value, "ExecuteStep"))

    def encode_result(self, result: StepResult) -> bytes:
        return self._encode("StepResult", result)

    def decode_result(self, value: bytes) -> StepResult:
        return cast(StepResult, self._read_addressed(value, "StepResult"))

    def encode_outcome(self, outcome: RunOutcome) -> bytes:
        return self._encode("RunOutcome", outcome)

    def decode_outcome(self, value: bytes) -> RunOutcome:
        return cast(RunOutcome, self._read(value, "RunOutcome"))

    def _encode(self, name: str, value: Any) -> bytes:
        return self._sent[name](value)

    def _read(self, data: bytes, *wanted: str) -> Any:
        (name, decode, release), start = self._reader(data)
        if name not in wanted:
            raise Unreadable("unknown_type", f"a {name} was found where {' or '.join(wanted)} is wanted")
        try:
            return decode(data, start)
        except Exception as stumbled:  # whatever bytes lead a reader to, it is the sender's
            text = _broken(name, data, stumbled)
            if release:
                raise Newer("unreadable", f"{text} (release {release} wrote it)", release) from stumbled
            raise Unreadable("unreadable", text) from stumbled

    def _read_addressed(self, data: bytes, *wanted: str) -> Any:
        try:
            return self._read(data, *wanted)
        except Newer as newer:
            newer.run_id = self._run_id_in(data)
            raise

    def _run_id_in(self, data: bytes) -> str:
        """Find the run id in a record of which this release knows nothing but its schema."""
        found = self._learned.get(data[:_SINGLE_OBJECT_HEADER])
        if found is None:
            return ""
        try:
            fields: Any = schemaless_reader(
                BytesIO(data[_SINGLE_OBJECT_HEADER:]), schemas.parsed(json.loads(found.text)), None
            )
            return run_id(fields["run_id"])
        except Exception:  # noqa: BLE001 - whatever a newer release wrote; it is kept all the same
            return ""

    def _reader(self, data: bytes) -> tuple[Reader, int]:
        if data[:2] == SINGLE_OBJECT and len(data) >= _SINGLE_OBJECT_HEADER:
            header = data[:_SINGLE_OBJECT_HEADER]
            return self._readers.get(header) or self._of_another_release(header), _SINGLE_OBJECT_HEADER
        if data[:1] == CONFLUENT and len(data) >= _CONFLUENT_HEADER:
            header = data[:_CONFLUENT_HEADER]
            return self._readers.get(header) or self._looked_up(header), _CONFLUENT_HEADER
        raise Unreadable("unreadable", f"{_found(data)}; send an Avro record of schemas/ with its header")

    def _of_another_release(self, header: bytes) -> Reader:
        found = self._learned.get(header)
        if found is None:
            mark = header[len(SINGLE_OBJECT) :].hex()
            raise UnknownSchema(
                "unknown_schema", f"no schema of this installation has the fingerprint {mark}; send one of schemas/"
            )
        if found.name not in RECORDS:
            raise _newer(found)
        try:
            decode = foreign_decoder(found.name, json.loads(found.text))
        except (ValueError, SchemaParseException, UnknownType) as refused:
            text = f"the schema of {found.name} that release {found.release} registered is not understood: {refused}"
            raise Newer("unknown_schema", text, found.release) from refused
        reader = self._readers[header] = (found.name, decode, found.release)
        return reader

    def _from_json(self, headers: Headers, value: bytes) -> Addressed:
        stated = _header(headers, "content-type").partition(";")[0].strip().lower() == "application/json"
        if not stated and not value.lstrip()[:1] == b"{":
            raise Unreadable("unreadable", f"{_found(value)}; send an Avro record with its header, or a JSON object")
        ce_type = _header(headers, "ce_type")
        name = _TYPE_OF.get(ce_type)
        if name is None:
            raise self._no_command(ce_type, value)
        try:
            value.decode()
            written = json_commands.DECODERS[name].decode(value)
            command = written.command()
        except Exception as stumbled:  # as in `_read`
            raise Unreadable("unreadable", f"no {name} in JSON: {stumbled}") from stumbled
        return Addressed(_checked(written.run_id), command)

    def _no_command(self, ce_type: str, value: bytes) -> Unreadable:
        for one in self._learned.values():
            if one.name not in RECORDS and ce_type == f"holdfast.{one.name}.v1":
                newer = _newer(one)
                with suppress(msgspec.MsgspecError, InvalidRunId):
                    newer.run_id = run_id(msgspec.json.decode(value, type=_WithRunId).run_id)
                return newer
        found = f"ce_type is {ce_type!r}" if ce_type else "the header ce_type is missing"
        return UnknownSchema("unknown_type", f"{found}; JSON commands need one of {', '.join(_TYPE_OF)}")

    def _looked_up(self, header: bytes) -> Reader:
        number = int.from_bytes(header[1:], "big")
        schema = None if self._lookup is None else self._lookup(number)
        if schema is None:
            where = "no schema registry is set here" if self._lookup is None else "the schema registry does not know it"
            raise Unreadable("unknown_schema", f"schema id {number}: {where}; set one, or send single-object encoding")
        name = str(schema.get("name", "")).rpartition(".")[2]
        if name not in RECORDS:
            raise Unreadable("unknown_type", f"schema id {number} is of {name!r}, which is no record of schemas/")
        try:
            reader = self._readers[header] = (name, foreign_decoder(name, schema), "")
        except (SchemaParseException, UnknownType) as refused:
            raise Unreadable("unknown_schema", f"schema id {number} is no Avro schema: {refused}") from refused
        return reader


def _newer(found: WriterSchema) -> Newer:
    text = f"a {found.name} is not known to this release; release {found.release} wrote it: upgrade this process"
    return Newer("unknown_type", text, found.release)


def _single_object(schema: schemas.Schema) -> bytes:
    return SINGLE_OBJECT + schemas.mark(schema)


def _confluent(number: int) -> bytes:
    return CONFLUENT + number.to_bytes(4, "big")


def _checked(text: object) -> str:
    if text is None:
        raise Unreadable("run_id", "the value has no run_id; put one into it (the record's key is not asked)")
    try:
        return run_id(text)
    except InvalidRunId as refused:
        raise Unreadable("run_id", str(refused)) from refused


def _message_id(headers: Headers) -> str:
    # A source alone would make all signals of one producer the same signal.
    if ce_id := _header(headers, "ce_id"):
        return f"{_header(headers, 'ce_source')}/{ce_id}"
    return ""


def _header(headers: Headers, name: str) -> str:
    for key, value in headers:
        if key.lower() == name:
            return value.decode("utf-8", "replace")
    return ""


def _found(data: bytes) -> str:
    return f"{len(data)} bytes that begin with {data[:8].hex(' ')}" if data else "an empty value"


def _broken(name: str, data: bytes, stumbled: Exception) -> str:
    return f"no {name} in {len(data)} bytes: {type(stumbled).__name__} {stumbled}".rstrip()
