"""Families of the simulated world: runs that call runs, and the one right end of each.

Laws of this file:
- The run id of a child is known from its parent's alone, so that a child's steps bear the name of their own run.
- A child that waits for ever ends only by its parent, whatever dies meanwhile.
"""

import asyncio
import random
from typing import Any

from holdfast.core.run import CANCELLED, COMPLETED, FAILED, TERMINATED
from holdfast.sdk.definitions import ChildFailed, detached, signal, workflow
from tests.simulation.provider import receipt
from tests.simulation.workflows import act, bought

KINDS = ("gatherer", "impatient", "leaver", "orphaned")
ONE_IN = 4
"""So many worlds have one family among them."""

End = tuple[str, Any]


# -- children


@workflow
async def kid(run: str, size: int, how: str) -> str:
    return await act(run, "kid")


@workflow
async def buying_kid(run: str, size: int, how: str) -> str:
    return str(await bought(run, "toy", how))


@workflow
async def failing_kid(run: str, size: int, how: str) -> None:
    await act(run, "try")
    raise RuntimeError(f"{run} was to fail")


@workflow
async def patient_kid(run: str, size: int, how: str) -> None:
    """Waits for ever; what it has begun is made good when it is cancelled."""
    await act(run, "begin")
    try:
        await signal("never")
    except asyncio.CancelledError:
        await act(run, "undo")
        raise


# -- parents


@workflow
async def gatherer(run: str, size: int, how: str) -> list[str]:
    """Children side by side, one that fails, and one whose id is another run's."""
    done = list(await asyncio.gather(*(kid(f"{run}:kid#{n + 1}", size, how) for n in range(size + 1))))
    done.append(await buying_kid(f"{run}:buying_kid#1", size, how))
    try:
        await failing_kid(f"{run}:failing_kid#1", size, how)
    except ChildFailed as failed:
        done.append(failed.status)
    try:
        await kid.options(id=run)(run, size, how)
    except ChildFailed as refused:
        done.append(refused.failure.type)
    return done


@workflow
async def impatient(run: str, size: int, how: str) -> str:
    """Waits for a child for some time, and has it stopped then."""
    try:
        async with asyncio.timeout(0.3 * size):
            await patient_kid(f"{run}:patient_kid#1", size, how)
    except TimeoutError:
        return str(await bought(run, "instead", how))
    return "no child comes back by itself"


@workflow
async def leaver(run: str, size: int, how: str) -> str:
    """Ends before its children: one stays, one is cancelled, one is terminated."""
    await detached(kid, f"{run}:kid#1", size, how)
    left = [
        asyncio.ensure_future(patient_kid.options(parent_close="cancel")(f"{run}:patient_kid#1", size, how)),
        asyncio.ensure_future(patient_kid.options(id=f"{run}-t")(f"{run}-t", size, how)),
    ]
    done = await act(run, "leave")
    return done if not any(one.done() for one in left) else "a child has ended by itself"


@workflow
async def orphaned(run: str, size: int, how: str) -> None:
    """Terminated from outside, with its children open."""
    await asyncio.gather(
        patient_kid.options(parent_close="cancel")(f"{run}:patient_kid#1", size, how),
        patient_kid.options(id=f"{run}-t")(f"{run}-t", size, how),
    )


def chosen(chance: random.Random) -> str | None:
    """Draw a family, or none."""
    return chance.choice(KINDS) if chance.randrange(ONE_IN) == 0 else None


def ends_of(run: str, kind: str, size: int) -> dict[str, End]:
    """Tell the right end of a parent and of all its children."""
    match kind:
        case "gatherer":
            kids = [f"{run}:kid#{n + 1}" for n in range(size + 1)]
            done = [f"{one}:kid" for one in kids]
            toy = receipt(f"{run}:buying_kid#1", "toy")
            return {
                run: (COMPLETED, [*done, toy, FAILED, "RunExists"]),
                **{one: (COMPLETED, f"{one}:kid") for one in kids},
                f"{run}:buying_kid#1": (COMPLETED, toy),
                f"{run}:failing_kid#1": (FAILED, None),
            }
        case "impatient":
            return {run: (COMPLETED, receipt(run, "instead")), f"{run}:patient_kid#1": (CANCELLED, None)}
        case "leaver":
            return {
                run: (COMPLETED, f"{run}:leave"),
                f"{run}:kid#1": (COMPLETED, f"{run}:kid#1:kid"),
                f"{run}:patient_kid#1": (CANCELLED, None),
                f"{run}-t": (TERMINATED, None),
            }
        case _:
            return {
                run: (TERMINATED, None),
                f"{run}:patient_kid#1": (CANCELLED, None),
                f"{run}-t": (TERMINATED, None),
            }
