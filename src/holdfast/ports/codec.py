"""The codec: from values to the bytes on the wire, and back.

Laws of this port (its conformance suite holds every adapter to them):
- What is encoded decodes to an equal value; bytes of every released version of a record decode for ever.
- Encoded bytes are self-describing: Avro single-object encoding, or the Confluent wire format where a registry is set.
- Readers accept both, and JSON where the contract says so.
"""

from typing import Protocol

from holdfast.core.commands import Addressed, ExecuteStep, RunOutcome, StepResult
from holdfast.core.events import Event
from holdfast.ports.log import Headers


class Unreadable(Exception):
    """Bytes that are no record of ours; `reason` is one word for machines, the text tells what was found."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Codec(Protocol):
    """Values and bytes."""

    def encode_event(self, event: Event) -> bytes:
        """Encode an event once: these bytes are stored, and published as they are."""

    def decode_event(self, kind: str, data: bytes) -> Event:
        """Decode a stored event; `kind` is the name of its class."""

    def wire(self, data: bytes) -> bytes:
        """Put the header in front that the wire wants: with a registry, the Confluent one, else the fingerprint."""

    def encode_command(self, addressed: Addressed) -> tuple[str, bytes]:
        """Encode a StartRun, SignalRun, CancelRun, TerminateRun or ResumeRun: its ce_type and bytes."""

    def decode_command(self, headers: Headers, value: bytes) -> Addressed:
        """Decode a record of the commands topic: Avro (either framing), or JSON as the contract says.

        A SignalRun without message id gets `ce_source` + `ce_id`.

        Raises:
            Unreadable: `unreadable` (no Avro, no JSON), `unknown_schema`, `unknown_type`, `run_id` (missing or bad).
        """

    def encode_task(self, task: ExecuteStep) -> bytes: ...

    def decode_task(self, value: bytes) -> ExecuteStep:
        """Decode a record of a tasks topic; raises `Unreadable`."""

    def encode_result(self, result: StepResult) -> bytes: ...

    def decode_result(self, value: bytes) -> StepResult:
        """Decode a record of the results topic; raises `Unreadable`."""

    def encode_outcome(self, outcome: RunOutcome) -> bytes: ...

    def decode_outcome(self, value: bytes) -> RunOutcome:
        """Decode a record of the outcomes topic; raises `Unreadable`."""
