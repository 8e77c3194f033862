"""The codec: from values to the bytes on the wire, and back.

Laws of this port (its conformance suite holds every adapter to them):
- What is encoded decodes to an equal value; bytes of every released version of a record decode for ever.
- Encoded bytes are self-describing: Avro single-object encoding, or the Confluent wire format where a registry is set.
- Readers accept both, and JSON where the contract says so.
- A record of another release is read by its writer's schema, once the codec has learned it: fields that are not known
  here are passed over, fields that are missing have their defaults. A codec asks nobody: who feeds it sees to that.
"""

from collections.abc import Sequence
from typing import Protocol

from holdfast.core.commands import Addressed, ExecuteStep, RunOutcome, StepResult
from holdfast.core.events import Event
from holdfast.ports.log import Headers
from holdfast.ports.schemas import WriterSchema


class Unreadable(Exception):
    """Bytes that are no record of ours; `reason` is one word for machines, the text tells what was found."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class UnknownSchema(Unreadable):
    """A record of a schema or a type that this codec has not met. It may be a newer release's: learn, and try again."""


class Newer(Unreadable):
    """A record of a `release` that knows more: whole and registered, but not to be read here. It is no dead letter.

    `run_id` is that of the run which a command or a result is for, if the record has such a field.
    """

    def __init__(self, reason: str, text: str, release: str, run_id: str = "") -> None:
        super().__init__(reason, text)
        self.release = release
        self.run_id = run_id


class Codec(Protocol):
    """Values and bytes."""

    def schemas(self, release: str) -> Sequence[WriterSchema]:
        """Give all that this codec writes with, to be registered as of `release`."""

    def learn(self, schemas: Sequence[WriterSchema]) -> None:
        """Read from now on what was written with these, too; those that are known already change nothing."""

    def knows(self, data: bytes) -> bool:
        """Tell whether the schema of a stored record is known."""

    def encode_event(self, event: Event) -> bytes:
        """Encode an event once: these bytes are stored, and published as they are."""

    def decode_event(self, kind: str, data: bytes) -> Event:
        """Decode a stored event; `kind` is the name of its class.

        Raises:
            Newer: an event that this release does not know, and what it cannot make of a newer release's schema.
            UnknownSchema: to be learned.
            Unreadable: broken bytes.
        """

    def wire(self, data: bytes) -> bytes:
        """Put the header in front that the wire wants: with a registry, the Confluent one, else the fingerprint."""

    def encode_command(self, addressed: Addressed) -> tuple[str, bytes]:
        """Encode a StartRun, SignalRun, CancelRun, TerminateRun, ResumeRun or PurgeRun: its ce_type and bytes."""

    def decode_command(self, headers: Headers, value: bytes) -> Addressed:
        """Decode a record of the commands topic: Avro (either framing), or JSON as the contract says.

        A SignalRun without message id gets `ce_source` + `ce_id`.

        Raises:
            Newer: a command of a newer release, whose schema was learned; with its run id.
            UnknownSchema: `unknown_schema`, `unknown_type`; to be learned, else it is nobody's.
            Unreadable: `unreadable` (no Avro, no JSON), `run_id` (missing or bad).
        """

    def encode_task(self, task: ExecuteStep) -> bytes: ...

    def decode_task(self, value: bytes) -> ExecuteStep:
        """Decode a record of a tasks topic; raises `Unreadable`."""

    def encode_result(self, result: StepResult) -> bytes: ...

    def decode_result(self, value: bytes) -> StepResult:
        """Decode a record of the results topic; raises `Unreadable`, and `Newer` with the run id."""

    def encode_outcome(self, outcome: RunOutcome) -> bytes: ...

    def decode_outcome(self, value: bytes) -> RunOutcome:
        """Decode a record of the outcomes topic; raises `Unreadable`."""
