"""Steps, timers, signals, and how a run ends."""

import asyncio

from holdfast import Retry, StepError, hours, signal, step, workflow
from holdfast.core.commands import CancelRun, ParkRun, ResumeRun, TerminateRun
from tests.golden.telling import golden
from tests.integration.running import Process, signal_of

failing: list[int] = []
gate = asyncio.Event()


@step
async def golden_add(one: int, other: int) -> int:
    return one + other


@step(retry=Retry(attempts=3, initial=0.01, backoff=1.0))
async def golden_flaky(name: str) -> str:
    if failing:
        raise ConnectionError(f"{name}, {failing.pop()} more times")
    return f"{name} at last"


@step(retry=Retry(attempts=2, initial=0.01))
async def golden_broken(name: str) -> str:
    raise ValueError(f"{name} is broken")


@step
async def golden_waits(name: str) -> str:
    await gate.wait()
    return name


@workflow
async def golden_sum(numbers: list[int]) -> int:
    total = 0
    for number in numbers:
        total = await golden_add(total, number)
    return total


@golden
async def steps(running: Process) -> None:
    await running.start("golden_sum", "sum", [1, 2, 3], colour="blue")


@workflow
async def golden_stubborn(name: str) -> list[str]:
    try:
        await golden_broken(name)
    except StepError as error:
        return [await golden_flaky(name), error.failure.message]
    return []


@golden
async def retries(running: Process) -> None:
    failing[:] = [1, 2]
    await running.start("golden_stubborn", "stubborn", "glass")


@workflow
async def golden_fails(name: str) -> str:
    return await golden_broken(name)


@golden
async def failed(running: Process) -> None:
    await running.start("golden_fails", "fails", "glass")


@workflow
async def golden_clock(name: str) -> list[str]:
    await asyncio.sleep(0.02)
    seen = [str(workflow.now()), str(workflow.uuid4()), str(workflow.random().random())]
    try:
        async with asyncio.timeout(0.02):
            await golden_waits(name)  # given up
    except TimeoutError:
        seen.append("late")
    async with asyncio.timeout(hours(1)):  # cancelled
        seen.append(await golden_flaky(name))
    return seen


@golden
async def timers(running: Process) -> None:
    gate.clear()
    await running.start("golden_clock", "clock", "noon")
    await running.until_ended("clock")
    gate.set()


@workflow
async def golden_hears(names: list[str]) -> list[object]:
    return [await signal(name, int if name == "number" else str) for name in names]


@golden
async def signals(running: Process) -> None:
    await running.submit("hears", signal_of("early", "before the run", "m0"))
    await running.start("golden_hears", "hears", ["early", "number", "late"])
    await running.until_recorded("hears", "SignalReceived")
    await running.submit("hears", signal_of("late", "kept until asked for", "m1"))
    await running.send("hears", signal_of("number", "no number", "m2"))
    await running.until_recorded("hears", "SignalRefused")
    await running.submit("hears", signal_of("number", 7, "m3"))


@workflow
async def golden_careful(name: str) -> str:
    try:
        return str(await signal("go"))
    except asyncio.CancelledError:
        await golden_flaky(f"undo {name}")
        raise


@golden
async def cancelled(running: Process) -> None:
    await running.start("golden_careful", "careful", "glass")
    await running.until_recorded("careful", "RunStarted")
    await running.submit("careful", CancelRun(reason="enough", message_id="c1"))


@workflow
async def golden_swallows(name: str) -> str:
    for _ in range(2):
        try:
            await signal("go")
        except asyncio.CancelledError:
            await golden_flaky(name)
    return f"{name} goes on"


@golden
async def cancelled_again(running: Process) -> None:
    """A cancellation that is swallowed, and another after it: the run completes."""
    await running.start("golden_swallows", "swallows", "glass")
    for number in (1, 2):
        await running.until_recorded("swallows", "RunStarted")
        await running.submit("swallows", CancelRun(reason="enough", message_id=f"c{number}"))
        await running.until_recorded("swallows", "CancelRequested", "StepCompleted")


@golden
async def terminated(running: Process) -> None:
    await running.start("golden_careful", "ended", "glass")
    await running.until_recorded("ended", "RunStarted")
    await running.submit("ended", TerminateRun(reason="fraud"))


@golden
async def parked_and_resumed(running: Process) -> None:
    """What comes in meanwhile is recorded, and heard after the resume."""
    await running.start("golden_hears", "parked", ["first", "second"])
    await running.until_recorded("parked", "RunStarted")
    await running.submit("parked", ParkRun(reason="by hand"))
    await running.submit("parked", signal_of("first", "while parked", "m1"))
    await running.submit("parked", signal_of("second", "and this", "m2"))
    await running.submit("parked", ResumeRun(by="ada"))


@golden
async def parked_for_its_code(running: Process) -> None:
    """No such workflow: the run is parked from its first event on."""
    await running.start("golden_of_nobody", "nobodys", 1)


@workflow
async def golden_copies(text: str) -> str:
    return await golden_doubles(text)


@step
async def golden_doubles(text: str) -> str:
    return text + text


@golden
async def large_payloads(running: Process) -> None:
    await running.start("golden_copies", "copies", "x" * 200_000)
    await running.until_ended("copies")
    await running.start("golden_copies", "copies larger", "y" * 300_000)


@workflow(version="7")
async def golden_versioned(name: str) -> str:
    return await golden_flaky(name)


@golden
async def versions(running: Process) -> None:
    await running.start("golden_versioned", "seven", "glass")
