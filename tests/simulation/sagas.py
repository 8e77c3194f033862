"""Sagas of the simulated world: what was bought is given back, the last first, whatever dies meanwhile.

Law of this file: of what a saga buys nothing is kept, unless the provider has never heard of it.
"""

import asyncio
import random

from holdfast.core.run import CANCELLED, COMPLETED
from holdfast.sdk.compensations import compensations
from holdfast.sdk.definitions import Retry, signal, step, workflow
from tests.simulation.workflows import REFUNDABLE, SHORT, Measured, act, bought, charge, here, refund_of

KINDS = ("undoer", "cancelled_undoer")
ONE_IN = 4
"""So many worlds have one saga among them."""


@step(retry=Retry(attempts=2, initial=0.1), timeout=SHORT)
async def close_books(run: str, what: str) -> None:
    """Undo what nobody can, before a person has mended it."""
    here().backoff(run, what)
    if run not in Measured.mended:
        raise ConnectionError("the books are locked")


async def buy_and_undo(run: str, size: int, how: str, *, waits: bool) -> None:
    async with compensations() as undo:
        for n in range(size):
            what = f"{REFUNDABLE}-{n}"
            await bought(run, what, how)
            undo.add(charge, run, refund_of(what))
        undo.add(close_books, run, "close")
        undo.add(act, run, "tell")
        if waits:
            await signal("never")
        raise LookupError(run)


@workflow
async def undoer(run: str, size: int, how: str) -> str:
    """Fails after its purchases."""
    try:
        async with asyncio.timeout(2.0):
            await buy_and_undo(run, size, how, waits=size % 2 == 0)
    except (LookupError, TimeoutError):
        return await act(run, "undone")
    return "nothing was wrong"


@workflow
async def cancelled_undoer(run: str, size: int, how: str) -> None:
    """Cancelled from outside, maybe while it undoes what it did."""
    try:
        await buy_and_undo(run, size, how, waits=size % 2 == 0)
    except LookupError:
        await signal("never")


def chosen(chance: random.Random) -> str | None:
    """Draw a saga, or none."""
    return chance.choice(KINDS) if chance.randrange(ONE_IN) == 0 else None


def end_of(run: str, kind: str) -> tuple[str, str | None]:
    """Tell the right end of a run: its status and its result."""
    return (COMPLETED, f"{run}:undone") if kind == "undoer" else (CANCELLED, None)
