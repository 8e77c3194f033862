"""Steps of the simulated world that say when they are to be tried again, and the one right end of their runs.

Law of this file: what stalls has no attempt that succeeds before a person has mended it.
"""

import random

from holdfast.core.run import COMPLETED
from holdfast.sdk.attempts import Fatal, RetryAfter
from holdfast.sdk.definitions import Retry, StepError, step, workflow
from tests.simulation.provider import receipt
from tests.simulation.workflows import PATIENT, SHORT, Measured, bought, here

KINDS = ("postponer", "staller")
ONE_IN = 4
"""So many worlds have one such run among them."""
WAIT = 3.0
"""Seconds that a step asks for: more than `PATIENT` would let pass."""


# -- steps


@step(retry=PATIENT, timeout=SHORT)
async def asks_for_time(run: str, what: str) -> str:
    if here().backoff(run, what) == 1:
        raise RetryAfter(WAIT)
    return f"{run}:{what}"


@step(retry=PATIENT, timeout=SHORT)
async def gives_up(run: str, what: str) -> str:
    here().backoff(run, what)
    raise Fatal(f"{run}:{what} never works")


@step(retry=Retry(attempts=2, initial=0.1, on_exhausted="park"), timeout=SHORT)
async def stalls(run: str, what: str) -> str:
    here().backoff(run, what)
    if run not in Measured.mended:
        raise ConnectionError("nobody is there")
    return f"{run}:{what}"


# -- workflows


@workflow
async def postponer(run: str, size: int, how: str) -> list[str]:
    """Steps that ask for time, and one that gives up at once."""
    done = [await asks_for_time(run, f"later-{n}") for n in range(size)]
    try:
        await gives_up(run, "never")
    except StepError as error:
        done.append(error.failure.type)
    done.append(await bought(run, "postponed", how))
    return done


@workflow
async def staller(run: str, size: int, how: str) -> list[str]:
    """Steps whose attempts run out, so that a person has to look at them."""
    done = [await stalls(run, f"stalled-{n}") for n in range(size)]
    done.append(await bought(run, "stalled", how))
    return done


def chosen(chance: random.Random) -> str | None:
    """Draw such a run, or none."""
    return chance.choice(KINDS) if chance.randrange(ONE_IN) == 0 else None


def end_of(run: str, kind: str, size: int) -> tuple[str, list[str]]:
    """Tell the right end of a run: its status and its result."""
    if kind == "postponer":
        return COMPLETED, [*(f"{run}:later-{n}" for n in range(size)), "Fatal", receipt(run, "postponed")]
    return COMPLETED, [*(f"{run}:stalled-{n}" for n in range(size)), receipt(run, "stalled")]
