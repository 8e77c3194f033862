"""Children: called, awaited, failing, cancelled, terminated, let go."""

import asyncio

from holdfast import ChildFailed, detached, signal, workflow
from holdfast.core.commands import CancelRun, TerminateRun
from tests.golden.stories.basics import golden_add, golden_broken
from tests.golden.telling import golden
from tests.integration.running import Process, signal_of


@workflow
async def golden_child(number: int) -> int:
    return await golden_add(number, 1)


@workflow
async def golden_broken_child(name: str) -> str:
    return await golden_broken(name)


@workflow
async def golden_waiting_child(name: str) -> str:
    return f"{name} {await signal('go', str)}"


@workflow
async def golden_parent(numbers: list[int]) -> list[int]:
    return list(await asyncio.gather(*map(golden_child, numbers)))


@golden
async def children(running: Process) -> None:
    await running.start("golden_parent", "parent", [1, 2])


@workflow
async def golden_troubled(name: str) -> list[str]:
    seen = []
    for _ in range(2):
        try:
            await golden_waiting_child(name)
        except ChildFailed as failed:
            seen.append(failed.status)
    try:
        await golden_broken_child(name)
    except ChildFailed as failed:
        seen.append(failed.failure.message)
    return seen


@golden
async def children_in_trouble(running: Process) -> None:
    """One is cancelled, one terminated, one fails."""
    await running.start("golden_troubled", "troubled", "x")
    first, second = (f"troubled:golden_waiting_child#{number}" for number in (1, 2))
    await running.until_recorded(first, "RunStarted")
    await running.submit(first, CancelRun(reason="enough"))
    await running.until_recorded(second, "RunStarted")
    await running.submit(second, TerminateRun(reason="fraud"))


@workflow
async def golden_impatient(name: str) -> str:
    try:
        async with asyncio.timeout(0.05):
            return await golden_waiting_child(name)
    except TimeoutError:
        return "gave up"


@golden
async def child_given_up(running: Process) -> None:
    await running.start("golden_impatient", "impatient", "x")


@workflow
async def golden_lets_go(name: str) -> str:
    return await detached(golden_waiting_child, name)


@golden
async def child_let_go(running: Process) -> None:
    await running.start("golden_lets_go", "lets go", "x")
    child = await running.result("lets go")
    await running.send(child, signal_of("go", "alone"))
