"""An application whose authors make every mistake, and an ordinary workflow beside them.

Each hostile workflow is named after its mistake; test_hostile_authors.py says what must come of it.
"""

import argparse
import asyncio
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import anyio

from holdfast import GIVEN, Retry, effect, hours, signal, step, workflow

ONCE = Retry(attempts=1)


# -- the ordinary


@step
async def double(number: int) -> int:
    return number * 2


@step
def double_in_a_thread(number: int) -> int:
    return number * 2


@workflow
async def ordinary(number: int) -> int:
    first, second = await asyncio.gather(double(number), double_in_a_thread(number))
    await asyncio.sleep(1)
    return await double(first + second)


# -- workflows that do not rest


@workflow
async def polls() -> int:
    task = asyncio.create_task(double(1))
    while not task.done():
        await asyncio.sleep(0)
    return task.result()


@workflow
async def spins() -> None:
    await double(1)
    while True:
        pass


@workflow
async def backtracks() -> None:
    re.match(r"(a+)+b", "a" * 60)


@workflow
async def waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@workflow
async def catches_everything() -> None:
    caught = 0
    while caught < 2:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001 - the mistake
            caught += 1


@workflow
async def sleeps_without_end() -> None:
    await asyncio.sleep(1e300)


# -- workflows that raise what is no ordinary error


@workflow
async def raises_from_itself() -> int:
    try:
        return int("x")
    except ValueError as error:
        raise error from error


@workflow
async def exits() -> NoReturn:
    sys.exit(3)


@workflow
async def interrupts() -> NoReturn:
    raise KeyboardInterrupt


class Unwilling(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise SystemExit(4)

    def __hash__(self) -> int:
        raise SystemExit(5)

    def __del__(self) -> None:
        raise SystemExit(6)


class Endless(Exception):
    def __str__(self) -> str:  # noqa: PLE0307 - the mistake
        while True:
            pass


class Deep(Exception):
    pass


def deep() -> Deep:
    error = Deep("the deepest")
    for number in range(10_000):
        above = Deep(f"{number}")
        above.__cause__ = error
        error = above
    return error


@workflow
async def raises_the_unwilling() -> None:
    raise Unwilling


@workflow
async def raises_the_endless() -> None:
    raise Endless


@workflow
async def raises_the_deep() -> None:
    raise deep()


@workflow
async def raises_a_long_text() -> None:
    raise ValueError("x" * 100_000_000)


@workflow
async def raises_a_group() -> None:
    raise BaseExceptionGroup("all at once", [KeyboardInterrupt(), ValueError("the other")])


# -- scopes of anyio around what was sent


@effect(guard="provider_key", window=hours(24))
async def pay(cents: int, *, key: str = GIVEN) -> int:
    await asyncio.sleep(1)
    return cents


@workflow
async def gives_up_in_anyio() -> int:
    with anyio.fail_after(0.2):
        return await pay(100)


@workflow
async def moves_on_in_anyio() -> str:
    with anyio.move_on_after(0.2) as scope:
        await pay(100)
    return "moved on" if scope.cancelled_caught else "in time"


@workflow
async def fails_beside_in_anyio() -> None:
    async def fails() -> None:
        await asyncio.sleep(0.2)
        raise ValueError("the other task")

    async with anyio.create_task_group() as group:
        group.start_soon(pay, 100)
        group.start_soon(fails)


# -- steps


@step(retry=ONCE)
async def parses(arguments: list[str]) -> str:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file")
    return str(parser.parse_args(arguments))


@step(retry=ONCE)
def parses_in_a_thread(arguments: list[str]) -> str:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file")
    return str(parser.parse_args(arguments))


@step(retry=ONCE)
async def raises(kind: str) -> None:
    raise made(kind)


@step(retry=ONCE)
def raises_in_a_thread(kind: str) -> None:
    raise made(kind)


KINDS: dict[str, Any] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "CancelledError": asyncio.CancelledError,
    "Unwilling": Unwilling,
    "Deep": deep,
    "Endless": Endless,
    "group": lambda: BaseExceptionGroup("all at once", [SystemExit(1), ValueError("the other")]),
}


def made(kind: str) -> BaseException:
    error: BaseException = KINDS[kind]()
    return error


@step(retry=ONCE)
async def blocks_the_loop() -> str:
    time.sleep(0.4)  # noqa: ASYNC251 - the mistake
    return "late"


@step(retry=ONCE)
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@workflow
async def exits_in_a_step() -> str:
    return await parses(["--bad"])


@workflow
async def exits_in_a_thread() -> str:
    return await parses_in_a_thread(["--bad"])


@workflow
async def raises_in_a_step(kind: str) -> None:
    await raises(kind)


@workflow
async def raises_in_a_step_in_a_thread(kind: str) -> None:
    await raises_in_a_thread(kind)


@workflow
async def blocks() -> str:
    return await blocks_the_loop()


@workflow
async def cancels() -> None:
    await cancels_itself()


# -- effects


@effect(guard="at_most_once")
async def exits_while_sending(cents: int) -> int:
    sys.exit(cents)


@effect(guard="at_most_once")
def interrupts_while_sending(cents: int) -> int:
    raise KeyboardInterrupt(cents)


@workflow
async def exits_in_an_effect() -> int:
    return await exits_while_sending(3)


@workflow
async def interrupts_in_an_effect() -> int:
    return await interrupts_while_sending(3)


# -- values


@step(retry=ONCE)
async def echoes(value: Any) -> Any:
    return value


@step(retry=ONCE)
async def half_a_character() -> str:
    return "\ud800"


@step(retry=ONCE)
async def a_wrong_type() -> int:
    return "seven"  # type: ignore[return-value]  # the mistake


@step(retry=ONCE)
async def counts(labels: set[str]) -> int:
    return len(labels)


@step(retry=ONCE)
async def infinite() -> float:
    return math.inf


@workflow
async def passes_a_function() -> None:
    await echoes(lambda: 1)


@workflow
async def returns_half_a_character() -> str:
    return await half_a_character()


@workflow
async def returns_a_wrong_type() -> int:
    return await a_wrong_type()


@workflow
async def passes_a_set() -> int:
    number = await counts({"fragile", "express", "gift", "cold", "heavy"})
    await asyncio.sleep(0.1)
    return number


# -- what must not be done here


@workflow
async def reads_a_file() -> str:
    return open("/etc/hostname").read()  # noqa: PTH123 - the mistake


def endless() -> Iterator[int]:
    while True:
        yield 1


@workflow
async def never_ends_its_cleaning() -> None:
    try:
        await signal("never")
    finally:
        for _ in endless():
            pass
