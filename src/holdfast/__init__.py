"""Holdfast: durable execution for workflows and agents, on Kafka, PostgreSQL and Redis, or on one file."""

from holdfast.client import Client, RunCancelled, RunExists, RunFailed, RunHandle, RunTerminated
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

__all__ = [
    "GIVEN",
    "ChildFailed",
    "Client",
    "NotSent",
    "Refused",
    "Retry",
    "RunCancelled",
    "RunExists",
    "RunFailed",
    "RunHandle",
    "RunTerminated",
    "StepError",
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
