"""Holdfast: durable execution for workflows and agents, on Kafka, PostgreSQL and Redis, or on one file."""

from holdfast.client import Client, RunCancelled, RunExists, RunFailed, RunHandle, RunTerminated
from holdfast.sdk.definitions import Retry, StepError, days, hours, minutes, seconds, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import NotSent, Refused
from holdfast.sdk.values import GIVEN

__all__ = [
    "GIVEN",
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
    "effect",
    "hours",
    "minutes",
    "seconds",
    "signal",
    "step",
    "workflow",
]
