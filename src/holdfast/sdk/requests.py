"""The requests that workflow code leads to: for a step that it calls, and for how it ended."""

import asyncio
from typing import Any

from holdfast.core.commands import CompleteRun, FailRun, ScheduleStep
from holdfast.core.identity import digest
from holdfast.core.payload import claim_check
from holdfast.core.replay import ProgramStuck
from holdfast.core.retry import Failure
from holdfast.sdk.definitions import Step, StepError, Workflow
from holdfast.sdk.failures import failure_of, innermost
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.values import UnfitValue


def for_step(
    step: Step[..., Any], step_id: str, data: bytes, *, key: str | None, at: int, blobs: dict[str, bytes]
) -> ScheduleStep:
    """Ask for a step with the encoded arguments `data`, at `at`; a large one of them is put into `blobs`."""
    options = step.step_options
    return ScheduleStep(
        step_id=step_id,
        name=step.name,
        kind=step.kind,
        input=claim_check(data, blobs),
        input_hash=digest(data),
        queue=options.queue,
        retry=options.retry,
        timeout=options.timeout,
        total_timeout=options.total_timeout,
        heartbeat=options.heartbeat,
        guard=options.guard,
        key=key,
        at=at,
    )


def for_end(
    main: asyncio.Task[Any], workflow: Workflow[..., Any], *, mend: str, blobs: dict[str, bytes]
) -> CompleteRun | FailRun:
    """Say how the code of a workflow ended by itself; `mend` is what to do where it cannot go on.

    Raises:
        ProgramStuck: it was stopped: the run is to be parked.
    """
    match innermost(main.exception()):
        case None:
            try:
                return CompleteRun(result=claim_check(workflow.shape.encode_result(main.result()), blobs))
            except UnfitValue as unfit:
                return FailRun(error=failure_of(unfit))
        case NotDeterministic() as refused:
            raise ProgramStuck("not_deterministic", f"{refused}\n{mend}")
        case ProgramStuck() as stuck:
            raise stuck
        case StepError(failure=Failure() as failure):  # it is the author's to change
            return FailRun(error=failure)
        case failed:
            return FailRun(error=failure_of(failed))
