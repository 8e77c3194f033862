"""What the store refuses: the one message or run that it cannot take is found by halving, and put aside whole."""

from msgspec.structs import replace

from holdfast.app.orchestrator.commit import halves
from holdfast.app.orchestrator.draft import Input, Redirect
from holdfast.app.records import Wire
from holdfast.core.commands import ParkRun, StartRun
from holdfast.core.run import DeadLetter
from holdfast.ports.log import Record

REFUSED = "refused_by_store"


def split_or_put_aside(inputs: list[Input], text: str, wire: Wire) -> list[list[Input]]:
    """Split a slice about which the store cannot even be asked; a message that stands alone becomes a dead letter."""
    slices = halves(inputs)
    if len(slices) == 1:
        slices = [[one] for one in inputs]
    if len(slices) > 1:
        return slices
    (one,) = inputs
    _refuse(one, text)
    return [[_dead(one, one.origin, text, wire)]] if one.origin is not None else []


def put_aside_or_park(inputs: list[Input], text: str, wire: Wire) -> list[Input]:
    """Park the run whose data the store refuses; what came in for it is put aside whole."""
    first = inputs[0]
    parked: list[Input] = []
    if isinstance(first.command, StartRun) and not first.refusals:
        plain = replace(first.command, attributes={})
        parked.append(Input(first.shard, first.run_id, plain, refusals=1, waiter=first.waiter))
    for one in inputs:
        if not parked or one is not first:
            _refuse(one, text)
        if one.origin is not None:
            parked.append(_dead(one, one.origin, text, wire))
    if not first.refusals:
        detail = f"the store refuses what this run was about to write: {text}\nMend it, then: holdfast resume "
        command = ParkRun(reason=REFUSED, detail=detail + first.run_id)
        parked.append(Input(first.shard, first.run_id, command, refusals=1))
    return parked


def _dead(one: Input, origin: Record, text: str, wire: Wire) -> Input:
    return Input(one.shard, "", Redirect(wire.dead(origin, REFUSED, text)), origin=origin, held=one.held)


def _refuse(one: Input, text: str) -> None:
    if one.waiter is not None and not one.waiter.done():
        one.waiter.set_exception(DeadLetter(REFUSED, text))
