"""What goes on at the same time: asyncio's own words, and anyio's."""

import asyncio
from functools import partial

import anyio

from holdfast import Retry, StepError, step, workflow
from tests.golden.telling import golden
from tests.integration.running import Process


@step
async def golden_echo(name: str) -> str:
    return name


@step(retry=Retry(attempts=1))
async def golden_trips(name: str) -> str:
    raise RuntimeError(name)


@workflow
async def golden_gathers(names: list[str]) -> list[str]:
    return list(await asyncio.gather(*map(golden_echo, names)))


@golden
async def gather(running: Process) -> None:
    await running.start("golden_gathers", "gathers", list("abcd"))


@workflow
async def golden_crowds(count: int) -> int:
    echoes = await asyncio.gather(*(golden_echo(str(number)) for number in range(count)))
    await asyncio.sleep(0.01)
    return len(echoes)


@golden
async def cut_turn(running: Process) -> None:
    await running.start("golden_crowds", "crowds", 8)


@workflow
async def golden_groups(names: list[str]) -> list[str]:
    seen: list[str] = []

    async def one(name: str) -> None:
        await asyncio.sleep(0.01)
        seen.append(await golden_echo(name))

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(golden_trips("stumbles"))
            group.create_task(asyncio.sleep(3600))
    except* StepError as errors:
        seen += [str(error) for error in errors.exceptions]
    return seen


@golden
async def task_group(running: Process) -> None:
    await running.start("golden_groups", "groups", list("abc"))


@workflow
async def golden_races(names: list[str]) -> list[str]:
    tasks = [asyncio.create_task(golden_echo(name)) for name in names]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    seen = [task.result() for task in done]
    for task in waiting:
        seen.append(await asyncio.wait_for(task, 60))  # noqa: PERF401 - one after the other
    return seen


@golden
async def wait(running: Process) -> None:
    await running.start("golden_races", "races", list("abc"))


@workflow
async def golden_as_they_come(names: list[str]) -> list[str]:
    async def later(number: int, name: str) -> str:
        await asyncio.sleep(0.01 * number)
        return await golden_echo(name)

    return [await one for one in asyncio.as_completed([later(n, name) for n, name in enumerate(names)])]


@golden
async def as_completed(running: Process) -> None:
    await running.start("golden_as_they_come", "as they come", list("abc"))


@workflow
async def golden_queues(names: list[str]) -> list[str]:
    queue: asyncio.Queue[str] = asyncio.Queue(1)
    lock, done = asyncio.Lock(), asyncio.Event()

    async def make(name: str) -> None:
        async with lock:
            await queue.put(await golden_echo(name))

    async def watch() -> str:
        await done.wait()
        return "done"

    watching = asyncio.create_task(watch())
    makers = [asyncio.create_task(make(name)) for name in names]
    seen = [await queue.get() for _ in makers]
    done.set()
    return [*seen, await watching]


@golden
async def queues_locks_and_events(running: Process) -> None:
    await running.start("golden_queues", "queues", list("abc"))


@workflow
async def golden_anyio(names: list[str]) -> list[str]:
    seen: list[str] = []
    limiter = anyio.CapacityLimiter(1)

    async def one(name: str) -> None:
        async with limiter:
            seen.append(await golden_echo(name))

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(partial(one, name))
    with anyio.move_on_after(0.02) as scope:
        try:
            await anyio.sleep(3600)
        finally:
            with anyio.CancelScope(shield=True):
                seen.append(await golden_echo("given back"))
    seen.append(f"moved on: {scope.cancelled_caught}")
    return seen


@golden
async def anyio_scopes(running: Process) -> None:
    await running.start("golden_anyio", "scopes", list("abc"))
