"""The client: start runs, tell them things, wait for their results."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

from holdfast.app.client.run_client import RunClient, RunPurged
from holdfast.app.effects.resolve import EffectUnknown, ResolutionRefused, Resolutions, Verdict
from holdfast.app.orchestrator.pipeline import Orchestrator
from holdfast.app.orchestrator.waiters import Lost
from holdfast.asked import attributes_of, encoded_arguments, encoded_result, input_of, made_up_id, text
from holdfast.core.asks import FAIL, RETRY, SUCCEED
from holdfast.core.commands import (
    Addressed,
    CancelRun,
    Command,
    ResumeRun,
    RunOutcome,
    SignalRun,
    StartRun,
    TerminateRun,
)
from holdfast.core.effects import Effect
from holdfast.core.identity import run_id as checked
from holdfast.core.payload import claim_check
from holdfast.core.retry import Failure
from holdfast.core.run import RUN_EXISTS, UNFIT_SIGNAL, DeadLetter
from holdfast.ports.journal import RunRow
from holdfast.ports.ledger import Story
from holdfast.ports.unavailable import Unavailable
from holdfast.profiles import open_profile
from holdfast.profiles.engine import Engine
from holdfast.profiles.profile import Profile
from holdfast.profiles.served import is_served_here, nobody_serves
from holdfast.sdk.callables import shown
from holdfast.sdk.definitions import Workflow, versions
from holdfast.sdk.values import UnfitValue, encode
from holdfast.settings import Settings, load

R = TypeVar("R")

log = logging.getLogger(__name__)

UNSERVED = 3.0
"""Seconds after which whoever waits for a run is told that nobody serves it."""
UNSAID: Any = object()
"""The default of an argument for which None is a value."""

__all__ = [
    "Client",
    "EffectUnknown",
    "ResolutionRefused",
    "RunCancelled",
    "RunEnded",
    "RunExists",
    "RunFailed",
    "RunHandle",
    "RunPurged",
    "RunTerminated",
]


class RunEnded(Exception):
    """The run ended otherwise than completed."""

    def __init__(self, run_id: str, text: str, outcome: RunOutcome) -> None:
        super().__init__(f"run {run_id} {text}")
        self.run_id = run_id
        self.outcome = outcome


class RunFailed(RunEnded):
    """The workflow raised; `error` says what."""

    @property
    def error(self) -> Failure | None:
        return self.outcome.error


class RunCancelled(RunEnded):
    """The workflow ended by a cancellation."""


class RunTerminated(RunEnded):
    """A person ended the run."""


class RunExists(Exception):
    """A run of this id exists with another workflow or input; it is unchanged. Choose another id."""


class RunHandle(Generic[R]):
    """A run, from outside."""

    def __init__(
        self,
        client: "Client",
        run_id: str,
        workflow: Workflow[..., R] | None = None,
        told: asyncio.Future[RunOutcome] | None = None,
    ) -> None:
        self._told = told
        self.run_id = run_id
        self._client = client
        self.workflow = workflow

    async def result(self) -> R:
        """Wait for the result; while the run is parked, go on waiting.

        Raises:
            RunFailed, RunCancelled, RunTerminated: it ended otherwise.
            RunPurged: it ended, and how is no longer known.
        """
        outcome = await self._client.outcome(self.run_id, told=self._told)
        assert isinstance(outcome, RunOutcome)  # noqa: S101 - a row comes only with stop_when_parked
        match outcome.status:
            case "COMPLETED":
                return cast("R", await self._client.value_of(outcome, self.workflow))
            case "FAILED":
                error = outcome.error
                text = "failed" if error is None else f"failed: {error.type}: {error.message}"
                raise RunFailed(self.run_id, text, outcome)
            case "CANCELLED":
                raise RunCancelled(self.run_id, "was cancelled", outcome)
            case _:
                raise RunTerminated(self.run_id, "was terminated", outcome)

    async def outcome(self, *, stop_when_parked: bool = False) -> RunOutcome | RunRow:
        """Wait for the outcome, or with `stop_when_parked` for the run's row once it is parked."""
        return await self._client.outcome(self.run_id, stop_when_parked=stop_when_parked)


class Client:
    """A connection to an installation: `async with Client() as client: …`.

    With `engine`, commands are handed to that engine in memory and results come from it, without the log.
    """

    def __init__(self, settings: Settings | None = None, *, engine: Engine | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._stack = contextlib.AsyncExitStack()
        self._run_client: RunClient | None = None
        self._profile: Profile | None = None
        self._looking: asyncio.Task[None] | None = None
        self.remind: Callable[[str], object] = log.warning
        """Told once, when a run that is waited for is served by nobody."""

    async def __aenter__(self) -> Self:
        settings = self._settings or load()
        profile = await self._stack.enter_async_context(open_profile(settings, create=True))
        self._profile = profile
        self._run_client = RunClient(
            store=profile.store,
            log_=profile.log,
            clock=profile.clock,
            codec=profile.codec,
            namespace=profile.namespace,
            shards=profile.shards,
            publishes=not profile.embedded,
            schemas=profile.schemas,
        )
        self._stack.push_async_callback(self._run_client.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._stack.aclose()

    @property
    def run_client(self) -> RunClient:
        if self._run_client is None:
            raise RuntimeError("a client is opened by: async with Client() as client")
        return self._run_client

    @property
    def profile(self) -> Profile:
        if self._profile is None:
            raise RuntimeError("a client is opened by: async with Client() as client")
        return self._profile

    @overload
    async def start(
        self,
        workflow: Workflow[..., R],
        *args: Any,
        id: str | None = None,
        attributes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> RunHandle[R]: ...
    @overload
    async def start(
        self,
        workflow: str,
        *args: Any,
        id: str | None = None,
        attributes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> RunHandle[Any]: ...
    async def start(
        self,
        workflow: Workflow[..., Any] | str,
        *args: Any,
        id: str | None = None,
        attributes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> RunHandle[Any]:
        """Start a run, unless it exists with the same input.

        Raises:
            RunExists: the id belongs to a run with another workflow or input.
            UnfitValue: an argument cannot be encoded.
        """
        if isinstance(workflow, str):
            known = versions.get(workflow)
            definition = None if known is None else known.by_version[known.latest]
            if definition is None:
                return await self.start_raw(workflow, input_of(args, kwargs), id=id, attributes=attributes)
        elif isinstance(workflow, Workflow):
            definition = workflow
        else:
            raise TypeError(f"start({shown(workflow)}): a run is one of a @workflow, or of a workflow's name")
        data = encoded_arguments(definition, args, kwargs, by_name=isinstance(workflow, str))
        handle = await self._start(definition.name, data, id, attributes)
        handle.workflow = definition
        return handle

    async def start_raw(
        self,
        workflow: str,
        data: bytes,
        *,
        id: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> RunHandle[Any]:
        """Start a run with its input as JSON bytes.

        Raises:
            RunExists: the id belongs to a run with another workflow or input.
            UnfitValue: the workflow is defined in this process, and does not take this input.
        """
        known = versions.get(workflow)
        if known is not None:
            known.by_version[known.latest].shape.decode_arguments(data)
        return await self._start(workflow, data, id, attributes)

    async def _start(
        self, workflow: str, data: bytes, id: str | None, attributes: Mapping[str, str] | None
    ) -> RunHandle[Any]:
        named = attributes_of(attributes)
        run = checked(id if id is not None else made_up_id(text("workflow", workflow)))
        blobs: dict[str, bytes] = {}
        payload = claim_check(data, blobs)
        command = StartRun(workflow=workflow, input=payload, attributes=named)
        if self._engine is not None and self._engine.orchestrator is not None:
            return await self._start_in_memory(self._engine.orchestrator, run, command, blobs)
        if id is not None and await self.run_client.existence.of(run):
            await self._refuse_other(run, command)
            return RunHandle(self, run)
        told = await self.run_client.expect(run)
        await self.run_client.send(run, command, blobs)
        return RunHandle(self, run, told=told)

    async def _start_in_memory(
        self, orchestrator: Orchestrator, run: str, command: StartRun, blobs: Mapping[str, bytes]
    ) -> RunHandle[Any]:
        told = orchestrator.waiters.ended(run)
        is_new = False
        try:
            is_new = await self._send(run, command, blobs)
        except DeadLetter as dead:
            if dead.reason != RUN_EXISTS:
                raise
            raise RunExists(str(dead)) from dead
        finally:
            if not is_new:  # it may have ended long ago: its outcome is told to nobody again
                told.cancel()
        return RunHandle(self, run, told=told if is_new else None)

    async def _refuse_other(self, run: str, command: StartRun) -> None:
        """Raise RunExists if the run of this id is about something else."""
        if await self.run_client.is_taken(run, command):
            raise RunExists(f"run {run} exists with another workflow or input; choose another id")

    def run(self, run_id: str) -> RunHandle[Any]:
        """Take hold of a run that was started before."""
        return RunHandle(self, checked(run_id))

    async def signal(self, run_id: str, name: str, value: Any = None, *, message_id: str | None = None) -> None:
        """Tell a run something; the same `message_id` counts once.

        Raises:
            UnfitValue: the code waits for something else, as far as that is known at once: with `engine`.
        """
        await self.signal_raw(run_id, name, encode(value, f"signal {name!r}"), message_id=message_id)

    async def signal_raw(self, run_id: str, name: str, data: bytes, *, message_id: str | None = None) -> None:
        text("signal", name)
        text("message_id", message_id or "")
        blobs: dict[str, bytes] = {}
        payload = claim_check(data, blobs)
        command = SignalRun(name=name, message_id=message_id or uuid.uuid4().hex, input=payload)
        try:
            await self._send(run_id, command, blobs)
        except DeadLetter as dead:
            if dead.reason != UNFIT_SIGNAL:
                raise
            raise UnfitValue(str(dead)) from dead

    async def cancel(self, run_id: str, reason: str = "") -> None:
        """Ask a run to stop by itself."""
        await self._send(run_id, CancelRun(reason=text("reason", reason), message_id=uuid.uuid4().hex))

    async def terminate(self, run_id: str, reason: str) -> None:
        """End a run without asking its code."""
        await self._send(run_id, TerminateRun(reason=text("reason", reason)))

    async def resume(self, run_id: str, by: str = "") -> None:
        """Let a parked run go on."""
        await self._send(run_id, ResumeRun(by=text("by", by)))

    async def effects(self, run_id: str) -> Sequence[Story]:
        """Read the effects of a run, in the order they were planned, each with all its moves."""
        return await self.profile.ledger.stories(checked(run_id))

    async def resolve(
        self,
        effect: str | tuple[str, str],
        *,
        succeeded: Any = UNSAID,
        failed: str | None = None,
        retry: bool = False,
        by: str,
        reason: str,
    ) -> Effect:
        """Decide on a parked effect, named by its id or by run id and step id; waits until the ledger has the verdict.

        One of: `succeeded=` with the result that the code is waiting for; `failed=` with what the code is to be told;
        `retry=True`, which says that what was sent has not happened and cannot happen any more.

        Raises:
            EffectUnknown: there is no such effect.
            ResolutionRefused: it is not parked, or a proof or somebody else came first: says what, and when.
            UnfitValue: the result cannot be encoded, or does not fit the effect's annotation.
        """
        if (succeeded is not UNSAID) + (failed is not None) + retry != 1:
            raise ValueError("resolve() needs one of succeeded=…, failed=…, retry=True")
        if not by or not reason:
            raise ValueError("resolve() needs by= and reason=: who decides, and why")
        name = effect if isinstance(effect, str) else "/".join(effect)
        seen = (await self.resolutions.find(name)).effect
        if succeeded is not UNSAID:
            data = encoded_result(seen.name, succeeded)
            return await self.resolutions.resolve(seen, Verdict(decision=SUCCEED, by=by, reason=reason, data=data))
        word, error = (RETRY, "") if failed is None else (FAIL, failed)
        return await self.resolutions.resolve(seen, Verdict(decision=word, by=by, reason=reason, error=error))

    @property
    def resolutions(self) -> Resolutions:
        return Resolutions(self.profile.ledger, self._send)

    async def _send(
        self,
        run_id: str,
        command: Command,
        blobs: Mapping[str, bytes] | None = None,
        incarnation: int | None = None,
    ) -> bool:
        """Send a command; True when it was taken in memory and something followed from it."""
        if self._engine is not None and self._engine.orchestrator is not None:
            if blobs:
                await self.run_client.store.put_blobs(blobs)
            with contextlib.suppress(Lost):
                return await self._engine.orchestrator.submit(Addressed(checked(run_id), command, incarnation))
        await self.run_client.send(run_id, command, blobs, incarnation)
        return False

    async def outcome(
        self, run_id: str, *, stop_when_parked: bool = False, told: asyncio.Future[RunOutcome] | None = None
    ) -> RunOutcome | RunRow:
        """Wait for a run's outcome; see RunHandle.outcome."""
        if told is not None and self._engine is not None:
            await asyncio.wait([told])  # not `await told`: who is cancelled here may ask again
            if not told.cancelled():
                return told.result()
            told = None  # another process serves the run by now: it is in the store that its outcome is seen
        reminder = asyncio.get_running_loop().call_later(UNSERVED, self._look_after, run_id)
        try:
            return await self.run_client.outcome(run_id, stop_when_parked=stop_when_parked, told=told)
        finally:
            reminder.cancel()

    def _look_after(self, run_id: str) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._remind(run_id))

    async def _remind(self, run_id: str) -> None:
        text = await self.unserved(run_id)
        if text:
            self.remind(text)
        else:
            self._looking = None

    async def unserved(self, run_id: str) -> str:
        """Say how to have a run served that nobody serves; empty where somebody seems to, or the store is away."""
        is_served = is_served_here(self.profile.settings)
        with contextlib.suppress(Unavailable):
            if is_served is None:
                is_served = await self.run_client.existence.of(run_id)
        return "" if is_served is not False else nobody_serves(run_id, self.profile.settings)

    async def value_of(self, outcome: RunOutcome, workflow: Workflow[..., Any] | None) -> Any:
        """Decode a run's result, typed by the workflow's annotation if that is known here."""
        if outcome.result is None:
            return None
        data = outcome.result.data
        if outcome.result.blob is not None:
            data = (await self.run_client.store.blobs([outcome.result.blob]))[outcome.result.blob]
        if workflow is None:
            known = versions.get(outcome.workflow)
            workflow = None if known is None else known.by_version.get(outcome.version)
        if workflow is not None:
            return workflow.shape.decode_result(data)
        import msgspec

        return msgspec.json.decode(data)
