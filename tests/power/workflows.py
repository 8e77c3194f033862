"""What the recorded processes run: every way in which a run writes to the file.

Law: what becomes of run `n` is a function of `n` alone.
"""

import asyncio
from collections import Counter
from typing import Any

from holdfast import Retry, signal, step, workflow
from holdfast.sdk.definitions import Workflow

SIGNAL = "go"
WORD = "word"
_SENTENCE = "All that was told before the light went out. "
LARGE_FROM = 1_000
_LARGE = 300_000
_tried: Counter[int] = Counter()


@step
async def power_add(one: int, other: int) -> int:
    return one + other


@step(retry=Retry(attempts=10, initial=0.01, backoff=1.0, jitter=0))
async def power_try(number: int) -> int:
    """Fail once in each process."""
    _tried[number] += 1
    if _tried[number] == 1:
        raise ConnectionError("not yet")
    return number


@step
async def power_turn(text: str) -> str:
    return text[::-1]


@workflow
async def power_sum(number: int) -> int:
    first, second, third = await asyncio.gather(*(power_add(number, more) for more in (1, 2, 3)))
    await asyncio.sleep(0.02)
    return await power_add(first + second, third)


@workflow
async def power_wait(number: int) -> str:
    word = await signal(SIGNAL, str)
    return f"{word} {await power_add(number, 1)}"


@workflow
async def power_stumble(number: int) -> int:
    return await power_add(await power_try(number), number)


@workflow
async def power_copy(text: str) -> str:
    return await power_turn(text)


def id_of(number: int) -> str:
    return f"power-{number}"


def number_of(run_id: str) -> int:
    return int(run_id.removeprefix("power-"))


def message_of(number: int) -> str:
    return f"message-{number}"


def waits(number: int) -> bool:
    return number < LARGE_FROM and number % 3 == 1


def story_of(number: int) -> tuple[Workflow[..., Any], Any, Any]:
    """Give the workflow of run `number`, its input, and its result. Runs from LARGE_FROM on are large."""
    if number >= LARGE_FROM:
        text = f"{number}. {_SENTENCE}".ljust(_LARGE, "-")
        return power_copy, text, text[::-1]
    match number % 3:
        case 0:
            return power_sum, number, 3 * number + 6
        case 1:
            return power_wait, number, f"{WORD} {number + 1}"
        case _:
            return power_stumble, number, 2 * number
