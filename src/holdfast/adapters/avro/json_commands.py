"""Commands written as JSON, for producers without an SDK.

Laws of this file:
- The type is said by the `ce_type` header and never guessed from the fields.
- The author's `input` is kept as it was written, byte by byte.
- A null where a field may be left out means that it was left out; fields that we do not know are passed over.
"""

from typing import Any

import msgspec

from holdfast.core import commands as c
from holdfast.core.asks import FAIL, SUCCEED, VERDICTS
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.retry import Failure


class _Start(msgspec.Struct):
    workflow: str
    run_id: Any = None
    version: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    attributes: dict[str, str] | None = None

    def command(self) -> c.StartRun:
        return c.StartRun(
            workflow=self.workflow,
            version=self.version or "",
            input=_payload(self.input),
            attributes=self.attributes or {},
        )


class _Signal(msgspec.Struct):
    name: str
    run_id: Any = None
    message_id: str | None = None
    input: msgspec.Raw = msgspec.Raw()

    def command(self) -> c.SignalRun:
        return c.SignalRun(name=self.name, message_id=self.message_id or "", input=_payload(self.input))


class _Cancel(msgspec.Struct):
    run_id: Any = None
    reason: str | None = None
    message_id: str | None = None

    def command(self) -> c.CancelRun:
        return c.CancelRun(reason=self.reason or "", message_id=self.message_id or "")


class _Terminate(msgspec.Struct):
    run_id: Any = None
    reason: str | None = None

    def command(self) -> c.TerminateRun:
        return c.TerminateRun(reason=self.reason or "")


class _Resume(msgspec.Struct):
    run_id: Any = None
    by: str | None = None

    def command(self) -> c.ResumeRun:
        return c.ResumeRun(by=self.by or "")


class _Resolve(msgspec.Struct):
    step_id: str
    version: int
    verdict: str
    by: str
    reason: str
    run_id: Any = None
    result: msgspec.Raw = msgspec.Raw()
    error: str | None = None

    def command(self) -> c.ResolveEffect:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict is {self.verdict!r}, not one of {', '.join(VERDICTS)}")
        refused = Failure("Resolved", self.error or self.reason, step=self.step_id, retryable=False)
        return c.ResolveEffect(
            step_id=self.step_id,
            version=self.version,
            verdict=self.verdict,
            by=self.by,
            reason=self.reason,
            result=_payload(self.result) if self.verdict == SUCCEED else None,
            error=refused if self.verdict == FAIL else None,
        )


Written = _Start | _Signal | _Cancel | _Terminate | _Resume | _Resolve

DECODERS: dict[str, msgspec.json.Decoder[Written]] = {
    "StartRun": msgspec.json.Decoder(_Start),
    "SignalRun": msgspec.json.Decoder(_Signal),
    "CancelRun": msgspec.json.Decoder(_Cancel),
    "TerminateRun": msgspec.json.Decoder(_Terminate),
    "ResumeRun": msgspec.json.Decoder(_Resume),
    "ResolveEffect": msgspec.json.Decoder(_Resolve),
}


def _payload(raw: msgspec.Raw) -> Payload:
    data = bytes(raw)
    return Payload(data=data) if data else NOTHING
