"""Effects: each guard with the verdicts that it may come to."""

import asyncio
from typing import Any

from holdfast import GIVEN, NotSent, Refused, Retry, StepError, effect, seconds, workflow
from holdfast.core.asks import SUCCEED
from holdfast.core.commands import ResolveEffect
from holdfast.core.payload import Payload
from holdfast.core.run import PARKED
from tests.golden.telling import golden
from tests.integration.running import Process

QUICK = Retry(attempts=3, initial=0.01, backoff=1.0)
raises: list[Exception] = []
gate = asyncio.Event()


async def provider(name: str) -> str:
    await gate.wait()
    if raises:
        raise raises.pop(0)
    return f"receipt of {name}"


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def golden_charge(name: str, *, key: str = GIVEN) -> str:
    return await provider(name)


@effect(guard="lookup", lifetime=seconds(0.2), retry=QUICK)
async def golden_ship(name: str, *, key: str = GIVEN) -> str:
    return await provider(name)


@golden_ship.lookup
async def golden_find(name: str, *, key: str = GIVEN) -> str | None:
    return f"found {name}"


@effect(guard="at_most_once", retry=QUICK)
async def golden_letter(name: str) -> str:
    return await provider(name)


@effect(guard="transaction", database="golden", retry=QUICK)
async def golden_book(name: str, *, connection: Any = GIVEN) -> int:
    await connection.execute("INSERT INTO entries (entry) VALUES ('" + name + "')")
    return len(name)


@workflow
async def golden_pays(names: list[str]) -> list[str]:
    seen = []
    for name in names:
        try:
            seen.append(await golden_charge(name))
        except StepError as error:
            seen.append(error.failure.type)
    return seen


@golden
async def provider_key(running: Process) -> None:
    """Proved; proved after an unclear attempt; refused; never sent."""
    gate.set()
    await running.start("golden_pays", "clear", ["a"])
    await running.until_ended("clear")
    raises[:] = [ConnectionResetError("cut"), TimeoutError("late")]
    await running.start("golden_pays", "unclear", ["a"])
    await running.until_ended("unclear")
    raises[:] = [Refused("declined"), *(NotSent("no connection") for _ in range(3))]
    await running.start("golden_pays", "refused", ["a", "b"])


@workflow
async def golden_sends(name: str) -> str:
    return await golden_ship(name)


@golden
async def lookup(running: Process) -> None:
    """Proved, and found after an unclear attempt."""
    gate.set()
    raises[:] = []
    await running.start("golden_sends", "sent", "a")
    await running.until_ended("sent")
    raises[:] = [ConnectionResetError("cut")]
    await running.start("golden_sends", "found", "b")


@workflow
async def golden_writes(name: str) -> str:
    return await golden_letter(name)


@golden
async def at_most_once(running: Process) -> None:
    """Unclear, so parked; a person says what became of it."""
    gate.set()
    for run, verdict in (("written", SUCCEED), ("failed", "failed"), ("again", "retry")):
        raises[:] = [ConnectionResetError("cut")]
        await running.start("golden_writes", run, "a")
        await running.until_status(run, PARKED)
        await _resolve(running, run, verdict)
        await running.until_ended(run)


async def _resolve(running: Process, run: str, verdict: str) -> None:
    (told,) = await running.ledger.stories(run)
    command = ResolveEffect(
        step_id=told.effect.step_id,
        version=told.effect.version,
        verdict=verdict,
        by="ada",
        reason="looked",
        result=Payload(data=b'"seen in the post"') if verdict == SUCCEED else None,
        error=None,
    )
    await running.submit(run, command)


@workflow
async def golden_books(name: str) -> int:
    return await golden_book(name)


@golden
async def transaction(running: Process) -> None:
    await running.start("golden_books", "books", "entry")


@workflow
async def golden_hurries(name: str) -> str:
    receipt = ""
    try:
        async with asyncio.timeout(0.05):
            receipt = await golden_charge(name)
            await asyncio.sleep(3600)
    except TimeoutError:
        return f"late: {receipt}"
    return receipt


@golden
async def withdrawn(running: Process) -> None:
    """The time is over while it is sent: the code hears of that with the receipt at hand."""
    raises[:] = []
    gate.clear()
    await running.start("golden_hurries", "hurries", "a")
    await running.until_recorded("hurries", "StepWithdrawn")
    gate.set()


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=Retry(attempts=2, initial=30.0))
async def golden_patient(name: str, *, key: str = GIVEN) -> str:
    return await provider(name)


@workflow
async def golden_has_no_time(name: str) -> str:
    try:
        async with asyncio.timeout(0.1):
            return await golden_patient(name)
    except TimeoutError:
        return "never sent"


@golden
async def withdrawn_before_it_was_sent(running: Process) -> None:
    gate.set()
    raises[:] = [NotSent("no connection")]
    await running.start("golden_has_no_time", "has no time", "a")
