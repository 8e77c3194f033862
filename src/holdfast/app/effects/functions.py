"""Running the author's functions of an effect: its own, and its look-up.

Law: a function in a thread is a live sender until it returns, whatever its timeout says. What it brings afterwards is
proof all the same.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from holdfast.app.blobs import BlobShelf
from holdfast.app.effects.attempt import Call, Tell, describe, told, unsettled
from holdfast.app.effects.ledger_session import LedgerSession
from holdfast.app.executor.invocation import Invocation, Invoker, contained, nothing, origin, value_of
from holdfast.app.executor.quarantine import Quarantine
from holdfast.app.executor.threads import ThreadCall
from holdfast.core.asks import Prove
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import PLANNED
from holdfast.core.payload import Payload, claim_check
from holdfast.core.replay import ProgramStuck
from holdfast.ports.blobs import Blobs
from holdfast.sdk.effects import Effect as Definition
from holdfast.sdk.failures import failure_of
from holdfast.sdk.values import UnfitValue

log = logging.getLogger(__name__)


class Functions:
    """Calls what the author wrote, with decoded arguments and encoded results."""

    def __init__(self, store: Blobs, session: LedgerSession, invoker: Invoker, quarantine: Quarantine) -> None:
        self.invoker = invoker
        self.quarantine = quarantine
        self._blobs = BlobShelf(store)
        self._ledger = session
        self._threads: dict[str, set[asyncio.Task[None]]] = {}

    async def call(self, task: ExecuteStep, definition: Definition[..., Any], late: Tell) -> Call | StepResult:
        """Decode the arguments; a task whose arguments do not fit fails before anything is sent."""
        if task.input.blob is not None:
            await self._blobs.fetch_input(task)
        if self.quarantine.deaths_of(task, definition):
            return self._suspected(task, definition, late)
        try:
            args, kwargs = contained(definition.shape.decode_arguments, self._blobs.read(task.input))
        except (UnfitValue, ProgramStuck) as error:
            return unsettled(task, failure_of(error, task.step_id, retryable=False), PLANNED)
        except Exception as error:  # noqa: BLE001 - what an author's own types raise, before anything was sent
            return unsettled(task, failure_of(origin(error), task.step_id), PLANNED)
        if "key" in definition.shape.given:
            kwargs["key"] = task.key
        return Call(task, definition, args, kwargs, late)

    def _suspected(self, task: ExecuteStep, definition: Definition[..., Any], late: Tell) -> Call | StepResult:
        """Leave the arguments of an effect encoded that processes died of; not even they are looked at here."""
        try:
            return Call(task, definition, (), {}, late, quarantined_input=self._blobs.read(task.input))
        except ProgramStuck as error:
            return unsettled(task, failure_of(error, task.step_id, retryable=False), PLANNED)

    def runs(self, effect_id: str) -> bool:
        """Tell whether a function of the effect is still running in a thread of this process."""
        return effect_id in self._threads

    async def returned(self, effect_id: str) -> None:
        """Wait until no function of the effect runs in a thread here, and the ledger knows what they brought."""
        while threads := self._threads.get(effect_id):
            await asyncio.wait(threads)

    @property
    def idle(self) -> bool:
        """Tell whether no thread is left of an attempt that has timed out."""
        return not self._threads

    async def run(self, call: Call, starts: Callable[[], None] = nothing, **given: Any) -> Payload:
        """Run the effect's function within its timeout; gives its result.

        `starts` is called right before the function, after it has waited for a thread: what it raises is raised, and
        the function is not called.

        Raises:
            UnfitValue: the result cannot be encoded: the effect has happened, and nobody can tell its result.
        """
        call.ran = True
        if call.quarantined_input is not None:
            starts()
            return await self._kept(await self.quarantine.call(call.task, call.quarantined_input) or b"")
        definition = call.definition
        invocation = Invocation(
            call.task,
            definition.function,
            call.args,
            {**call.kwargs, **given},
            definition.is_async,
            starts=starts,
            outlives=partial(self._outlives, call),
        )
        return await self._encoded(call, await self.invoker.run(invocation))

    def _outlives(self, call: Call, thread: ThreadCall) -> None:
        late = asyncio.get_running_loop().create_task(self._late(call, thread))
        self._threads.setdefault(call.effect_id, set()).add(late)
        late.add_done_callback(lambda ended: self._ended(call.effect_id, ended))

    async def _late(self, call: Call, thread: ThreadCall) -> None:
        try:
            result = await self._encoded(call, value_of(await thread.ended))
        except Exception as error:  # noqa: BLE001 - it came too late to matter
            log.info("a late attempt of %s ended with %s", call.task.step_id, describe(error))
            return
        proof = Prove(who=self._ledger.process, result=result, evidence="returned after its timeout")
        answer = await self._ledger.insist(call.effect_id, proof)
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
        if call.quarantined_input is not None:
            data = await self.quarantine.call(call.task, call.quarantined_input, asks=True)
            return None if data is None else await self._kept(data)
        finder = call.definition.finder
        assert finder is not None  # noqa: S101 - Terms.lookup says that there is one
        kwargs = {name: value for name, value in call.kwargs.items() if name != "key"}
        if "key" in finder.given:
            kwargs["key"] = call.task.key
        is_async = inspect.iscoroutinefunction(finder.function)
        invocation = Invocation(call.task, finder.function, call.args, kwargs, is_async)
        found = await self.invoker.run(invocation)
        return None if found is None else await self._encoded(call, found)

    async def _encoded(self, call: Call, value: Any) -> Payload:
        return await self._kept(contained(call.definition.shape.encode_result, value))

    async def _kept(self, data: bytes) -> Payload:
        blobs: dict[str, bytes] = {}
        result = claim_check(data, blobs)
        if blobs:
            await self._blobs.store_result(blobs)
        return result
