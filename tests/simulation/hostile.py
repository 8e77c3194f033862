"""Hostile authors of the simulated world: what goes wrong in their code, and the one right end all the same.

Laws of this file:
- What is wrong of a run is wrong in every process that runs it, until a person has mended the code.
- Whatever differs between two processes of one machine, such as the order of a set, differs between two lives here.
"""

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from typing import NoReturn
from zlib import crc32

import anyio

from holdfast.core.run import COMPLETED, FAILED
from holdfast.sdk.definitions import Retry, StepError, hours, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.turn_limit import PULSE
from holdfast.sdk.values import GIVEN
from tests.simulation.loop import LIFE
from tests.simulation.provider import receipt
from tests.simulation.workflows import PATIENT, SHORT, SIGNAL, Measured, act, bought, here

TURN_STEPS = 2_000
"""What a turn may take here: enough for all that is in order."""
EXITS: Sequence[type[BaseException]] = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)


def exit_of(run: str) -> BaseException:
    return EXITS[crc32(run.encode()) % len(EXITS)](3)


# -- steps and effects


@step(retry=PATIENT, timeout=SHORT)
async def exits_once(run: str, what: str) -> str:
    if here().backoff(run, what) == 1:
        raise exit_of(run)
    await here().work(run, what)
    return f"{run}:{what}"


@step(retry=Retry(attempts=2, initial=0.1), timeout=SHORT)
async def exits_always(run: str, what: str) -> str:
    here().backoff(run, what)
    raise exit_of(run)


@step(retry=Retry(attempts=1), timeout=SHORT)
async def raises_from_itself(run: str, what: str) -> str:
    here().backoff(run, what)
    try:
        return str(int(what))
    except ValueError as error:
        raise error from error


@effect(guard="provider_key", window=hours(24), retry=PATIENT, timeout=SHORT)
async def exits_when_charged(run: str, what: str, *, key: str = GIVEN) -> str:
    """Exit with the receipt in hand, the first time."""
    told = await here().buy("charge", key, run, what)
    if here().backoff(run, what) == 1:
        raise exit_of(run)
    return told


@effect(guard="at_most_once", retry=PATIENT, timeout=SHORT)
async def exits_when_given(run: str, what: str, *, key: str = GIVEN) -> str:
    """Exit with the receipt in hand, always: a person reads the book."""
    await here().buy("give", key, run, what)
    raise exit_of(run)


@dataclasses.dataclass(frozen=True)
class Label:
    """A value that each process puts into another place of its sets."""

    name: str

    def __hash__(self) -> int:
        life = LIFE.get(None)
        return crc32(f"{self.name} {'' if life is None else life.name}".encode())


LABELS = ("cold", "express", "fragile", "gift", "heavy", "insured")


@step(retry=PATIENT, timeout=SHORT)
async def label(run: str, what: str, labels: frozenset[Label]) -> frozenset[Label]:
    await here().work(run, what)
    return labels


# -- workflows


@workflow
async def spinner(run: str, size: int, how: str) -> list[str]:
    """Never rests, until it is mended."""
    done = [await act(run, "begin")]
    while run not in Measured.mended:
        await asyncio.sleep(0)
    done.append(await bought(run, "spin", how))
    return done


@workflow
async def raiser(run: str, size: int, how: str) -> NoReturn:
    """Errors that are their own causes."""
    await bought(run, "raise", how)
    try:
        await raises_from_itself(run, "no number")
    except StepError as error:
        raise error from error
    raise AssertionError(run)


@workflow
async def exiting(run: str, size: int, how: str) -> list[str]:
    """What is no ordinary error, in steps and in effects."""
    done = [await exits_once(run, f"exit-{n}") for n in range(size)]
    done.append(await exits_when_charged(run, "exit"))
    done.append(await exits_when_given(run, "gift"))
    try:
        await exits_always(run, "always")
    except StepError as error:
        done.append(error.failure.type)
    return done


@workflow
async def scoped(run: str, size: int, how: str) -> list[str]:
    """Scopes of anyio that end around what was sent."""
    done = []

    async def fails() -> None:
        await asyncio.sleep(0.1)
        raise LookupError(run)

    for n in range(size):
        with anyio.move_on_after(0.05):
            await (act(run, f"late-{n}") if n % 2 else bought(run, f"late-{n}", how))
        done.append(await act(run, f"after-{n}"))
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(bought, run, "group", how)
            group.start_soon(fails)
    except ExceptionGroup as both:
        done.append(f"{len(both.exceptions)} failed")
    done.append(await bought(run, "scope", how))
    return done


@workflow
async def labelled(run: str, size: int, how: str) -> list[str]:
    """Sets, whose order is not the same in two processes."""
    labels = frozenset(Label(name) for name in LABELS[: size + 3])
    for n in range(size):
        labels = await label(run, f"label-{n}", labels)
        await asyncio.sleep(0.3 + n)
    await bought(run, "label", how)
    return sorted(one.name for one in labels)


@workflow
async def slow(run: str, size: int, how: str) -> list[str]:
    """Turns that take long: as if the watchdog had looked several times meanwhile."""
    done = []
    for n in range(size):
        done.append(await act(run, f"slow-{n}"))
        PULSE.beats += 3
    done.append(await bought(run, "slow", how))
    PULSE.beats += 3
    return done


@workflow
async def mistaken(run: str, size: int, how: str) -> list[str]:
    """Messages, among others of the wrong type."""
    heard = [await signal(SIGNAL, str) for _ in range(size)]
    await bought(run, "mistake", how)
    return sorted(heard)


KINDS = ("spinner", "raiser", "exiting", "scoped", "labelled", "slow", "mistaken")


def end_of(run: str, kind: str, size: int) -> tuple[str, list[str] | None]:
    """Tell the right end of a run: its status and its result."""
    match kind:
        case "spinner":
            return COMPLETED, [f"{run}:begin", receipt(run, "spin")]
        case "exiting":
            exits = [f"{run}:exit-{n}" for n in range(size)]
            return COMPLETED, [*exits, receipt(run, "exit"), receipt(run, "gift"), type(exit_of(run)).__name__]
        case "scoped":
            return COMPLETED, [*(f"{run}:after-{n}" for n in range(size)), "1 failed", receipt(run, "scope")]
        case "labelled":
            return COMPLETED, sorted(LABELS[: size + 3])
        case "mistaken":
            return COMPLETED, [f"{run}-{n}" for n in range(size)]
        case "slow":
            return COMPLETED, [*(f"{run}:slow-{n}" for n in range(size)), receipt(run, "slow")]
        case _:
            return FAILED, None


def chosen(chance: random.Random) -> str | None:
    """Choose the hostile run of a world, if it has one."""
    return chance.choice(KINDS) if chance.random() < 0.5 else None
