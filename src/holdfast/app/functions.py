"""Running the author's functions of an effect: its own, and its look-up.

Law: a function in a thread is a live sender until it returns, whatever its timeout says. What it brings afterwards is
proof all the same.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.app.attempts import Call, Tell, told, unsettled
from holdfast.app.blobs import BlobShelf
from holdfast.app.desk import Desk
from holdfast.app.within import is_stopped, within
from holdfast.core.asks import Prove
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import PLANNED
from holdfast.core.payload import Payload, claim_check
from holdfast.core.replay import ProgramStuck
from holdfast.ports.store import Store
from holdfast.sdk.effects import Effect as Definition
from holdfast.sdk.program import failure_of
from holdfast.sdk.sending import Unclear
from holdfast.sdk.values import UnfitValue

log = logging.getLogger(__name__)


class Functions:
    """Calls what the author wrote, with decoded arguments and encoded results."""

    def __init__(self, store: Store, desk: Desk) -> None:
        self._blobs = BlobShelf(store)
        self._desk = desk
        self._threads: dict[str, set[asyncio.Task[None]]] = {}

    async def call(self, task: ExecuteStep, definition: Definition[..., Any], late: Tell) -> Call | StepResult:
        """Decode the arguments; a task whose arguments do not fit fails before anything is sent."""
        if task.input.blob is not None:
            await self._blobs.fetch_input(task)
        try:
            args, kwargs = definition.shape.decode_arguments(self._blobs.read(task.input))
        except (UnfitValue, ProgramStuck) as error:
            return unsettled(task, failure_of(error, task.step_id, retryable=False), PLANNED)
        if "key" in definition.shape.given:
            kwargs["key"] = task.key
        return Call(task, definition, args, kwargs, late)

    def runs(self, effect_id: str) -> bool:
        """Tell whether a function of the effect is still running in a thread of this process."""
        return effect_id in self._threads

    @property
    def idle(self) -> bool:
        """Tell whether no thread is left of an attempt that has timed out."""
        return not self._threads

    async def run(self, call: Call, **given: Any) -> Payload:
        """Run the effect's function within its timeout; gives its result.

        Raises:
            UnfitValue: the result cannot be encoded: the effect has happened, and nobody can tell its result.
        """
        call.ran = True
        work = call.definition.run(call.args, {**call.kwargs, **given})
        with unclear_whatever_it_raises():
            if call.definition.is_async:
                return await self._encoded(call, await within(call.task, work))
            return await self._in_thread(call, work)

    async def _in_thread(self, call: Call, work: Coroutine[Any, Any, Any]) -> Payload:
        running = asyncio.get_running_loop().create_task(work)
        done, _ = await asyncio.wait([running], timeout=call.task.timeout)
        if done:
            return await self._encoded(call, running.result())
        late = asyncio.get_running_loop().create_task(self._late(call, running))
        self._threads.setdefault(call.effect_id, set()).add(late)
        late.add_done_callback(lambda ended: self._ended(call.effect_id, ended))
        raise TimeoutError(
            f"attempt {call.task.attempt} took longer than {call.task.timeout:g} s, and its thread goes on"
        )

    async def _late(self, call: Call, running: asyncio.Task[Any]) -> None:
        try:
            result = await self._encoded(call, await running)
        except Exception as error:  # noqa: BLE001 - it came too late to matter
            log.info("a late attempt of %s ended with %r", call.task.step_id, error)
        else:
            proof = Prove(who=self._desk.process, result=result, evidence="returned after its timeout")
            answer = await self._desk.insist(call.effect_id, proof)
            if answer.effect is not None and answer.effect.settled:
                call.late(told(call.task, answer.effect))

    def _ended(self, effect_id: str, late: asyncio.Task[None]) -> None:
        threads = self._threads[effect_id]
        threads.discard(late)
        if not threads:
            del self._threads[effect_id]

    async def find(self, call: Call) -> Payload | None:
        """Ask the provider whether the effect happened; gives its result, or None if the provider knows of nothing."""
        call.ran = True
        finder = call.definition.finder
        assert finder is not None  # noqa: S101 - Terms.lookup says that there is one
        kwargs = {name: value for name, value in call.kwargs.items() if name != "key"}
        if "key" in finder.given:
            kwargs["key"] = call.task.key
        with unclear_whatever_it_raises():
            found = await within(call.task, invoked(finder.function, call.args, kwargs))
            return None if found is None else await self._encoded(call, found)

    async def _encoded(self, call: Call, value: Any) -> Payload:
        blobs: dict[str, bytes] = {}
        result = claim_check(call.definition.shape.encode_result(value), blobs)
        if blobs:
            await self._blobs.store_result(blobs)
        return result


async def invoked(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function, a plain `def` in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


@contextmanager
def unclear_whatever_it_raises() -> Iterator[None]:
    """Let out what is no `Exception` as `Unclear`: a cancellation from within, or a group that holds such a thing."""
    try:
        yield
    except asyncio.CancelledError:
        if is_stopped():
            raise
        raise Unclear("its function was cancelled from within") from None
    except BaseExceptionGroup as group:
        if isinstance(group, Exception):
            raise
        raise Unclear(f"{type(group).__qualname__}: {group}") from group
