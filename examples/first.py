"""A first workflow: two reservations at once, a durable wait, an effect with its key.

    holdfast dev examples/first.py
    holdfast start tea --id tea-1 --input '"Ada"' --wait

Kill the first process while the tea draws, and start it again.
"""

import asyncio

from holdfast import GIVEN, effect, hours, seconds, step, workflow


@step
async def reserve(item: str) -> str:
    return f"{item} reserved"


@effect(guard="provider_key", window=hours(24))
async def charge(guest: str, *, key: str = GIVEN) -> str:
    return f"{guest} charged under {key}"  # send the key with the request; it is the same in every attempt


@workflow
async def tea(guest: str) -> list[str]:
    pot, cup = await asyncio.gather(reserve("pot"), reserve("cup"))
    await asyncio.sleep(seconds(3))  # survives a restart, be it seconds or months
    return [pot, cup, await charge(guest)]
