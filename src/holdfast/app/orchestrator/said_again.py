"""Inputs that were handed over in memory, in the words of the log: for another owner, or for later."""

from holdfast.app.orchestrator.draft import AskAgain, Input, Resend, TakeInbox
from holdfast.app.records import Wire, trace_of
from holdfast.core import commands as c
from holdfast.ports.log import Outgoing, Record

FOUND = (Resend, AskAgain, TakeInbox, c.FireTimer, c.AttemptStep, c.HearLedger)
FROM_OUTSIDE = (c.StartRun, c.SignalRun, c.CancelRun, c.TerminateRun, c.ResumeRun, c.ResolveEffect)


def is_found(one: Input) -> bool:
    """Tell whether an input stands in the store, and is found there as often as it is looked for."""
    if one.origin is not None or not isinstance(one.command, FOUND):
        return False
    return not isinstance(one.command, c.HearLedger) or one.as_result() is None


def said_again(one: Input, wire: Wire, at: int) -> Outgoing | None:
    """Say a result, or a command of another entity, by the log; None for what is found again in the store."""
    result = one.as_result()
    if result is not None:
        return wire.result(result, at)
    if one.sent is not None:
        return wire.send(one.sent, at, trace_of(one.run_id, 0))
    return None


def as_record(one: Input, wire: Wire, at: int) -> Record | None:
    """Give the record of an input, or one that says the same; None for what is found again in the store."""
    if one.origin is not None:
        return one.origin
    if isinstance(one.command, FROM_OUTSIDE) and one.sent is None:
        return wire.command(one.run_id, one.command, at)
    said = said_again(one, wire, at)
    return None if said is None else Record(said.topic, one.shard, -1, said.key, said.value, said.headers, at // 1_000)
