"""Records of the public wire: CloudEvents headers in Kafka's binary mode.

Source of the header names: CloudEvents 1.0.2, Kafka protocol binding, section 3.2.
"""

import datetime as dt
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

from holdfast.core.commands import Addressed, Command, ExecuteStep, RunOutcome, SignalRun, StepResult
from holdfast.core.events import SignalRefused
from holdfast.core.identity import event_id, shard_of
from holdfast.core.messages import Send
from holdfast.core.run import UNFIT_SIGNAL
from holdfast.ports.codec import Codec
from holdfast.ports.journal import StoredEvent
from holdfast.ports.log import Headers, Outgoing, Record
from holdfast.ports.topics import Topics

AVRO = b"application/avro"
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_LAST = 253_402_300_799_999_999
"""Microseconds: the last instant of the year 9999."""
_VERSION = ("ce_specversion", b"1.0")
_CONTENT = ("content-type", AVRO)
ERROR_LIMIT = 2_000
OURS = "holdfast_"
"""What the headers that are ours begin with."""
REDRIVEN = "holdfast_redriven"
"""Header: the identity of a record that was a dead letter, `redriven/<how often>/<where it stood, hashed>`."""
_REDRIVEN_ID = re.compile(r"redriven/(\d{1,9})/[0-9a-f]{32}")


@lru_cache(maxsize=64)  # all of a commit bears one time
def rfc3339(micros: int) -> str:
    """Write a time as CloudEvents wants it."""
    return (_EPOCH + dt.timedelta(microseconds=min(micros, _LAST))).isoformat()


def trace_of(run: str, incarnation: int) -> str:
    """Name the trace of a run (W3C Trace Context, 32 hexadecimal digits), from its identity."""
    return blake2b(f"{run}/{incarnation}".encode(), digest_size=16).hexdigest()


class Wire:
    """Makes the records of a namespace."""

    def __init__(self, topics: Topics, codec: Codec, shards: int) -> None:
        self.topics = topics
        self.shards = shards
        self._codec = codec
        self._source = ("ce_source", f"/holdfast/{topics.namespace}".encode())
        self._types: dict[str, tuple[str, bytes]] = {}

    def _headers(self, kind: str, ce_id: str, about: Headers, trace: str, seq: int) -> Headers:
        ce_type = self._types.get(kind)
        if ce_type is None:
            ce_type = self._types[kind] = ("ce_type", f"holdfast.{kind}.v1".encode())
        return (
            _VERSION,
            ("ce_id", ce_id.encode()),
            self._source,
            ce_type,
            *about,
            ("ce_sequence", b"%d" % seq),
            _CONTENT,
            ("traceparent", f"00-{trace}-{seq:016x}-01".encode()),
        )

    def events(self, stored: Sequence[StoredEvent], at: int, trace: str, cause: str) -> list[Outgoing]:
        """Publish events of one turn of a run as they are stored; `cause` is the ce_id of its first event."""
        run_id, incarnation = stored[0].run_id, stored[0].incarnation
        subject = run_id.encode()
        about, caused = _about(subject, at), ("ce_causationid", cause.encode())
        topic, partition, wire = self.topics.events, shard_of(run_id, self.shards), self._codec.wire
        made = []
        for one in stored:
            headers = self._headers(one.type, event_id(run_id, incarnation, one.seq), about, trace, one.seq)
            made.append(Outgoing(topic, subject, wire(one.data), (*headers, caused), partition, stored=True))
        return made

    def outcome(self, outcome: RunOutcome, incarnation: int, seq: int, trace: str) -> Outgoing:
        subject = outcome.run_id.encode()
        ce_id = event_id(outcome.run_id, incarnation, seq)
        headers = self._headers("RunOutcome", ce_id, _about(subject, outcome.ended_at), trace, seq)
        return Outgoing(
            topic=self.topics.outcomes,
            key=subject,
            value=self._codec.encode_outcome(outcome),
            headers=(*headers, ("ce_causationid", ce_id.encode())),
            partition=shard_of(outcome.run_id, self.shards),
            stored=True,
        )

    def task(self, task: ExecuteStep, at: int, trace: str) -> Outgoing:
        key = f"{task.run_id}/{task.step_id}".encode()
        ce_id = f"{task.run_id}/{task.incarnation}/{task.step_id}/{task.attempt}"
        headers = self._headers("ExecuteStep", ce_id, _about(task.run_id.encode(), at), trace, task.attempt)
        return Outgoing(
            topic=self.topics.tasks(task.queue), key=key, value=self._codec.encode_task(task), headers=headers
        )

    def result(self, result: StepResult, at: int, value: bytes | None = None) -> Outgoing:
        """Say a result; `value` are its bytes, if it was put into words before: they may tell more than we know."""
        subject = result.run_id.encode()
        ce_id = f"{result.run_id}/{result.incarnation}/{result.step_id}/{result.attempt}/result"
        trace = trace_of(result.run_id, result.incarnation)
        headers = self._headers("StepResult", ce_id, _about(subject, at), trace, result.attempt)
        return Outgoing(
            topic=self.topics.results,
            key=subject,
            value=self._codec.encode_result(result) if value is None else value,
            headers=headers,
            partition=shard_of(result.run_id, self.shards),
        )

    def command(self, run: str, command: Command, at: int) -> Record:
        """Say a command as a record again, when its own is long gone; it stands nowhere."""
        ce_type, value = self._codec.encode_command(Addressed(run, command))
        kind = ce_type.removeprefix("holdfast.").removesuffix(".v1")
        subject = run.encode()
        one = command.message_id if isinstance(command, SignalRun) else at
        headers = self._headers(kind, f"{run}/{kind}/{one}", _about(subject, at), trace_of(run, 0), 0)
        if _REDRIVEN_ID.fullmatch(str(one)):
            headers = (*headers, (REDRIVEN, str(one).encode()))
        return Record(self.topics.commands, shard_of(run, self.shards), -1, subject, value, headers, at // 1_000)

    def send(self, message: Send, at: int, trace: str) -> Outgoing:
        """Send a command of one entity to another, by the identity that it has from its cause."""
        ce_type, value = self._codec.encode_command(Addressed(message.to, message.command, message.incarnation))
        kind, subject = ce_type.removeprefix("holdfast.").removesuffix(".v1"), message.to.encode()
        cause = message.identity.rpartition("/")[0].encode()
        span = 1 + crc32(message.identity.encode())
        headers = self._headers(kind, message.identity, _about(subject, at), trace, span)
        return Outgoing(
            topic=self.topics.commands,
            key=subject,
            value=value,
            headers=(*headers, ("ce_causationid", cause)),
            partition=shard_of(message.to, self.shards),
        )

    def refused(self, run: str, event: SignalRefused, at: int) -> Outgoing:
        """Put a signal aside that the code of its run could not take."""
        command = SignalRun(name=event.name, message_id=event.message_id, input=event.input)
        return self.dead(self.command(run, command, at), UNFIT_SIGNAL, event.detail)

    def dead(self, record: Record, reason: str, text: str) -> Outgoing:
        """Put a record aside whole, with what is the matter and where it stood."""
        return Outgoing(
            topic=self.topics.dlq,
            key=record.key or b"",
            value=record.value,
            headers=(
                *record.headers,
                ("holdfast_error", text[:ERROR_LIMIT].encode(errors="backslashreplace")),
                ("holdfast_error_class", reason.encode()),
                ("holdfast_source_topic", record.topic.encode()),
                ("holdfast_source_partition", b"%d" % record.partition),
                ("holdfast_source_offset", b"%d" % record.offset),
            ),
        )

    def forwarded(self, record: Record, run: str) -> Outgoing:
        """Bring a record of a foreign partitioner to its own shard, unchanged."""
        return Outgoing(
            topic=record.topic,
            key=record.key or run.encode(),
            value=record.value,
            headers=(*record.headers, ("holdfast_forwarded", b"1")),
            partition=shard_of(run, self.shards),
        )


def _about(subject: bytes, at: int) -> Headers:
    return ("ce_time", rfc3339(at).encode()), ("ce_subject", subject), ("ce_correlationid", subject)


def redriven_id(record: Record) -> str:
    """Give the identity of a redriven record; empty for any other."""
    value = (header(record, REDRIVEN) or b"").decode(errors="replace")
    return value if _REDRIVEN_ID.fullmatch(value) else ""


def times_redriven(record: Record) -> int:
    """Tell how often a record was a dead letter and went back."""
    found = _REDRIVEN_ID.fullmatch(redriven_id(record))
    return 0 if found is None else int(found[1])


def header(record: Record, name: str) -> bytes | None:
    """Find a header's last value."""
    for key, value in reversed(record.headers):
        if key == name:
            return value
    return None
