"""Holdfast: durable execution for workflows and agents, on Kafka, PostgreSQL and Redis, or on one file.

Law of this file: an author's module loads the words that it is written in, and not the engine that runs it. The client
knows stores and logs, so its names are loaded when somebody asks for one of them.
"""

from typing import TYPE_CHECKING, Any

from holdfast.sdk.attempts import Fatal, RetryAfter
from holdfast.sdk.cancelled import cancelled
from holdfast.sdk.compensations import compensations
from holdfast.sdk.continuing import continue_as_new
from holdfast.sdk.definitions import (
    ChildFailed,
    Retry,
    StepError,
    days,
    detached,
    hours,
    minutes,
    seconds,
    signal,
    step,
    workflow,
)
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import NotSent, Refused
from holdfast.sdk.values import GIVEN

if TYPE_CHECKING:
    from holdfast.client import Client, RunCancelled, RunExists, RunFailed, RunHandle, RunPurged, RunTerminated
else:  # a checker that saw it would take every misspelt name for one of the module's

    def __getattr__(name: str) -> Any:
        if name not in {"Client", "RunCancelled", "RunExists", "RunFailed", "RunHandle", "RunPurged", "RunTerminated"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from holdfast import client

        return getattr(client, name)


__all__ = [
    "GIVEN",
    "ChildFailed",
    "Client",
    "Fatal",
    "NotSent",
    "Refused",
    "Retry",
    "RetryAfter",
    "RunCancelled",
    "RunExists",
    "RunFailed",
    "RunHandle",
    "RunPurged",
    "RunTerminated",
    "StepError",
    "cancelled",
    "compensations",
    "continue_as_new",
    "days",
    "detached",
    "effect",
    "hours",
    "minutes",
    "seconds",
    "signal",
    "step",
    "workflow",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
