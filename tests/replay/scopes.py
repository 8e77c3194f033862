"""What the code of a random world does with anyio: scopes, groups and what else its libraries are built on."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from holdfast.sdk.definitions import StepError

Part = Callable[[], Coroutine[Any, Any, None]]

NESTS = ("moved_on", "failed", "nursery", "first", "protected", "started", "limited", "stream")


async def perform(kind: str, parts: Sequence[Part], delay: float, seen: list[Any]) -> None:
    match kind:
        case "moved_on":
            await moved_on(parts, delay, seen)
        case "failed":
            await failed(parts, delay, seen)
        case "nursery":
            await nursery(parts, seen)
        case "first":
            await first(parts, seen)
        case "protected":
            await protected(parts, delay, seen)
        case "started":
            await started(parts, seen)
        case "limited":
            await limited(parts, seen)
        case "stream":
            await stream(parts, delay, seen)
        case _:
            raise ValueError(kind)


async def moved_on(parts: Sequence[Part], delay: float, seen: list[Any]) -> None:
    with anyio.move_on_after(delay) as scope:
        for part in parts:
            await part()
            await checkpoint()
    seen.append(f"moved on: {scope.cancelled_caught}")


async def failed(parts: Sequence[Part], delay: float, seen: list[Any]) -> None:
    try:
        with anyio.fail_after(delay):
            await nursery(parts, seen)
    except TimeoutError:
        seen.append("failed in time")


async def nursery(parts: Sequence[Part], seen: list[Any]) -> None:
    try:
        async with anyio.create_task_group() as group:
            for part in parts:
                group.start_soon(part)
    except* StepError as errors:
        seen.append(len(errors.exceptions))


async def first(parts: Sequence[Part], seen: list[Any]) -> None:
    """Let the first that ends end the others, each in a scope of its own."""
    async with anyio.create_task_group() as group:

        async def racing(number: int, part: Part) -> None:
            with anyio.CancelScope() as scope:
                try:
                    await part()
                except StepError as error:
                    seen.append(str(error))
                finally:
                    seen.append(f"over {number}")
            if not scope.cancelled_caught:
                group.cancel_scope.cancel()

        for number, part in enumerate(parts):
            group.start_soon(racing, number, part)


async def protected(parts: Sequence[Part], delay: float, seen: list[Any]) -> None:
    with anyio.move_on_after(delay):
        try:
            await parts[0]()
        finally:
            with anyio.CancelScope(shield=True):
                for part in parts[1:]:
                    await part()
            seen.append("given back")


async def started(parts: Sequence[Part], seen: list[Any]) -> None:
    async def serve(part: Part, *, task_status: TaskStatus[str]) -> None:
        await part()
        task_status.started("started")
        await part()

    try:
        async with anyio.create_task_group() as group:
            for part in parts:
                seen.append(await group.start(serve, part))  # noqa: PERF401 - what was seen before an error is kept
            group.cancel_scope.cancel()
    except* StepError as errors:
        seen.append(len(errors.exceptions))


async def limited(parts: Sequence[Part], seen: list[Any]) -> None:
    limiter, ended = anyio.CapacityLimiter(1), anyio.Event()

    async def waiting(part: Part) -> None:
        async with limiter:
            try:
                await part()
            finally:
                ended.set()

    try:
        async with anyio.create_task_group() as group:
            for part in parts:
                group.start_soon(waiting, part)
            await ended.wait()
            seen.append(limiter.statistics().tasks_waiting)
    except* StepError as errors:
        seen.append(len(errors.exceptions))


async def stream(parts: Sequence[Part], delay: float, seen: list[Any]) -> None:
    send, receive = anyio.create_memory_object_stream[int](0)

    async def making() -> None:
        with send:
            for number, part in enumerate(parts):
                await part()
                await send.send(number)

    try:
        with send, receive, anyio.move_on_after(delay):
            async with anyio.create_task_group() as group:
                group.start_soon(making)
                async for number in receive:
                    seen.append(number)  # noqa: PERF401 - as above
    except* StepError as errors:
        seen.append(len(errors.exceptions))
