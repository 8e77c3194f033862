"""What a child process does: one call of an author's function, for a worker that does not dare to make it itself.

Laws of this file:
- The child knows the application and nothing else: no store, no log. What it needs comes with the request.
- What the function raises is told as it would be told by the worker.
"""

import inspect
from typing import Any, Final

import msgspec

from holdfast.app.executor.invocation import Invocation, Invoker, contained, origin
from holdfast.core.commands import ExecuteStep
from holdfast.core.retry import Failure
from holdfast.sdk.attempts import failed_attempt
from holdfast.sdk.definitions import Step, steps
from holdfast.sdk.effects import Effect
from holdfast.sdk.failures import failure_of
from holdfast.sdk.values import UnfitValue
from holdfast.sdk.verdicts import NotSent, Refused, Unclear


class Request(msgspec.Struct, frozen=True):
    """An attempt, with its input at hand; `asks` for the look-up of an effect instead of its function."""

    task: ExecuteStep
    data: bytes
    asks: bool = False


class Returned(msgspec.Struct, frozen=True, tag=True):
    """The encoded result; None if a look-up found nothing."""

    data: bytes | None


class Raised(msgspec.Struct, frozen=True, tag=True):
    """What the function raised; of an effect's verdict also what else it says."""

    failure: Failure
    verdict: str = ""
    stored: bool = False
    repeats: bool = False
    not_before: float | None = None


Answer = Returned | Raised

REFUSED: Final = "refused"
NOT_SENT: Final = "not_sent"
UNCLEAR: Final = "unclear"

pack = msgspec.msgpack.Encoder().encode
request_of = msgspec.msgpack.Decoder(Request).decode
answer_of = msgspec.msgpack.Decoder(Answer).decode


async def execute(request: bytes) -> bytes:
    """Make the call, and give what came of it."""
    asked = request_of(request)
    definition = steps.get(asked.task.name)
    if definition is None:
        names = ", ".join(steps.names()) or "none"
        return pack(Raised(Failure("UnknownStep", f"no {asked.task.kind} {asked.task.name!r} here (it has: {names})")))
    try:
        args, kwargs = contained(definition.shape.decode_arguments, asked.data)
    except UnfitValue as error:
        return pack(Raised(failure_of(error, asked.task.step_id, retryable=False)))
    except Exception as error:  # noqa: BLE001 - what an author's own types raise
        return pack(_raised(origin(error), asked.task.step_id))
    try:
        return pack(Returned(await _called(asked, definition, args, kwargs)))
    except Exception as error:  # noqa: BLE001 - whatever an author's function raises is told
        return pack(_raised(origin(error), asked.task.step_id))


async def _called(
    asked: Request, definition: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes | None:
    function, given, is_async = definition.function, definition.shape.given, definition.is_async
    if asked.asks and isinstance(definition, Effect) and definition.finder is not None:
        function, given = definition.finder.function, definition.finder.given
        is_async = inspect.iscoroutinefunction(function)
    if "key" in given:
        kwargs["key"] = asked.task.key
    value = await Invoker(1).run(Invocation(asked.task, function, args, kwargs, is_async))
    if asked.asks and value is None:
        return None
    data: bytes = contained(definition.shape.encode_result, value)
    return data


def _raised(error: BaseException, step_id: str) -> Raised:
    failure = failed_attempt(error, step_id)
    match error:
        case Refused():
            return Raised(failure, REFUSED, stored=error.stored)
        case NotSent():
            return Raised(failure, NOT_SENT, not_before=error.not_before)
        case Unclear():
            return Raised(failure, UNCLEAR, repeats=error.repeats, not_before=error.not_before)
        case _:
            return Raised(failure)
