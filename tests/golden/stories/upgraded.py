"""The runs of the store dumps (stores.py): each is in the middle of something when its store is dumped."""

import asyncio
from typing import Any

from holdfast import days, effect, signal, workflow
from tests.golden.stories.basics import golden_add


@workflow
async def golden_waits_for_an_upgrade(number: int) -> list[int]:
    """Has a step behind it, a timer and a signal before it."""
    done = await golden_add(number, 1)
    async with asyncio.timeout(days(36_500)):
        return [done, await signal("go", int)]


@effect(guard="at_most_once")
async def golden_unclear(name: str) -> str:
    raise ConnectionResetError(name)


@workflow
async def golden_waits_for_a_person(name: str) -> Any:
    return await golden_unclear(name)
