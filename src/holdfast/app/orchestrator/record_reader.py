"""Records of the commands and results topics, read as inputs.

Laws of this file:
- What a newer release wrote waits for one that can read it. What else cannot be read becomes a dead letter; what came
  to a foreign partition is forwarded. Each stays in line, so that its offset is acknowledged after those before it.
- A record of a schema that is not known yet stays in line too, and is read again once the schemas were asked for.
- The shard of an input is computed from its run id.
- A signal or cancellation that was redriven counts by the identity of its redrive.
"""

from collections.abc import Iterable

import msgspec

from holdfast.app.orchestrator.draft import Input, Redirect, Unread
from holdfast.app.records import Wire, redriven_id
from holdfast.app.schemas import SchemaCache
from holdfast.core import effects as ledger
from holdfast.core.commands import (
    Addressed,
    CancelRun,
    Command,
    CompleteStep,
    FailStep,
    HearLedger,
    SignalRun,
    StepResult,
)
from holdfast.core.identity import InvalidRunId, run_id, shard_of
from holdfast.core.payload import NOTHING
from holdfast.ports.codec import Codec, Newer, UnknownSchema, Unreadable
from holdfast.ports.log import Outgoing, Record


class RecordReader:
    """Makes inputs of records."""

    def __init__(self, codec: Codec, wire: Wire, shards: int, schemas: SchemaCache) -> None:
        self._codec = codec
        self._wire = wire
        self._shards = shards
        self._schemas = schemas

    def read(self, record: Record, reading: int) -> Input:
        """Make the input of a record."""
        try:
            addressed = self._addressed(record)
        except Newer as newer:
            return self._unread(record, newer, reading)
        except Unreadable as error:
            dead = self._wire.dead(record, error.reason, str(error))
            return redirect(record, dead, reading, of_unknown_schema=isinstance(error, UnknownSchema))
        shard = shard_of(addressed.run_id, self._shards)
        if shard != record.partition:
            return redirect(record, self._wire.forwarded(record, addressed.run_id), reading)
        return Input(shard, addressed.run_id, addressed.command, addressed.incarnation, record, reading=reading)

    def _unread(self, record: Record, newer: Newer, reading: int) -> Input:
        """Make the input of a record that waits for a newer release; who sent it may have said the run in its key."""
        found = newer.run_id or _run_in_key(record)
        shard = shard_of(found, self._shards) if found else record.partition
        if newer.run_id and shard != record.partition:
            return redirect(record, self._wire.forwarded(record, found), reading)
        return Input(
            record.partition, found if shard == record.partition else "", Unread(newer), None, record, reading=reading
        )

    async def read_again(self, inputs: Iterable[Input]) -> None:
        """Read in place what could not be read for want of a schema; what is nobody's becomes a dead letter.

        Raises:
            Unavailable: the store is away.
        """
        unread = [one for one in inputs if type(one.command) is Redirect and one.command.of_unknown_schema]
        if unread:
            await self._schemas.learn()
        for one in unread:
            if one.origin is not None:
                read = self.read(one.origin, one.reading)
                one.run_id, one.command, one.incarnation = read.run_id, read.command, read.incarnation
                one.shard = read.shard

    def _addressed(self, record: Record) -> Addressed:
        if record.topic == self._wire.topics.results:
            result = self._codec.decode_result(record.value)
            return Addressed(result.run_id, as_command(result), result.incarnation)
        addressed = self._codec.decode_command(record.headers, record.value)
        if isinstance(addressed.command, (SignalRun, CancelRun)) and (again := redriven_id(record)):
            # Its own message id may have been taken when it died: a signal of the wrong type was heard, and refused.
            command = msgspec.structs.replace(addressed.command, message_id=again)
            return msgspec.structs.replace(addressed, command=command)
        return addressed


def redirect(record: Record, outgoing: Outgoing, reading: int, *, of_unknown_schema: bool = False) -> Input:
    """Keep a redirected record in line, so that its offset moves only after those before it."""
    return Input(record.partition, "", Redirect(outgoing, of_unknown_schema), origin=record, reading=reading)


def _run_in_key(record: Record) -> str:
    try:
        return run_id((record.key or b"").decode())
    except (InvalidRunId, UnicodeDecodeError):
        return ""


def as_command(result: StepResult) -> Command:
    """Read a worker's word as a command to the run. Of an effect without an error only SUCCEEDED is a success."""
    unsettled = result.error is None and result.ledger not in {"", ledger.SUCCEEDED}
    if unsettled or result.ledger in {ledger.PARKED, ledger.CANCELLED}:
        return HearLedger(
            step_id=result.step_id,
            state=result.ledger,
            attempt=result.attempt,
            reason=result.reason,
            error=result.error,
        )
    if result.error is not None:
        return FailStep(
            step_id=result.step_id,
            attempt=result.attempt,
            error=result.error,
            ledger=result.ledger,
            not_before=result.not_before,
        )
    return CompleteStep(step_id=result.step_id, attempt=result.attempt, result=result.result or NOTHING)
