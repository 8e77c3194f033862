"""Parking a run for an error of the engine: that run alone, with what came in, if it can be recorded."""

from holdfast.core.commands import (
    CancelRun,
    CloseChild,
    Command,
    CompleteStep,
    FailStep,
    HearChild,
    HearLedger,
    ParkRun,
    ResolveEffect,
    ResumeRun,
    SignalRun,
    StartRun,
)
from holdfast.core.replay import Advance, advance
from holdfast.core.run import Run, decide
from holdfast.sdk.failures import describe

RECORDED = (
    StartRun,
    CompleteStep,
    SignalRun,
    CancelRun,
    FailStep,
    HearLedger,
    ResolveEffect,
    ResumeRun,
    HearChild,
    CloseChild,
)
"""What came in and may be noted without the run's code."""


def park(run: Run, command: Command | None, error: Exception) -> Advance:
    """Park a run for an error of ours; the input that met it is recorded first, if it can be."""
    parked = advance(run, None, command, 0) if isinstance(command, RECORDED) else Advance(run)
    for event in decide(parked.run, ParkRun(reason="engine_error", detail=at_fault(run, error))):
        parked.happen(event)
    return parked


def at_fault(run: Run, error: Exception) -> str:
    """Say whose fault it is, and what to do next."""
    fault = f"an error of the engine, not of the workflow: {describe(error)}"
    return f"{fault}. Report it, then: holdfast resume {run.run_id}"
