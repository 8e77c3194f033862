"""Runs of the simulated world that go on as new, with signals on their way and purchases under way.

Law of this file: what a run does bears the number of its incarnation, so that nothing is right twice.
"""

import asyncio
import random

from holdfast.sdk.continuing import continue_as_new
from holdfast.sdk.definitions import signal, workflow
from tests.simulation.provider import receipt
from tests.simulation.workflows import EFFECTS, SIGNAL, act

KIND = "renewed"
ONE_IN = 4
"""So many worlds have one such run among them."""


@workflow
async def renewed(run: str, size: int, how: str, life: int = 0, heard: list[str] | None = None) -> list[str]:
    """One message an incarnation; a step is given up by the end of each, a purchase is waited for."""
    left = asyncio.ensure_future(act(run, f"left-{life}"))
    buying = asyncio.ensure_future(EFFECTS[how].options(id=f"buy-{life}")(run, f"bought-{life}"))
    await act(run, f"begun-{life}")
    told = sorted([*(heard or []), await signal(SIGNAL, str)])
    if life < size:
        if life % 2:
            await asyncio.wait([buying, left])
        return continue_as_new(run, size, how, life + 1, told)
    return [*told, await buying]


def chosen(chance: random.Random) -> bool:
    """Draw whether a world has such a run."""
    return chance.randrange(ONE_IN) == 0


def messages(size: int) -> int:
    """Tell how many messages such a run hears, one an incarnation."""
    return size + 1


def result(run: str, size: int) -> list[str]:
    """Tell the one right result."""
    return [*(f"{run}-{n}" for n in range(messages(size))), receipt(run, f"bought-{size}")]
