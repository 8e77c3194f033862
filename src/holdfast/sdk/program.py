"""A workflow's code standing still between two events: the Program of core/replay.py, on the deterministic loop.

Laws of this file:
- Exactly one event is applied, then the loop is drained until it is quiet, in parts if the code asks for very much.
- What the code asks for is collected in the order in which it asks; identities are counted per name.
- An error of the author's workflow fails the run; what the author must mend before the run can go on parks it.
"""

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from types import CoroutineType
from typing import Any

from holdfast.core import events as e
from holdfast.core.behind import PART
from holdfast.core.commands import (
    AbandonStep,
    CancelTimer,
    ConcludeCancel,
    ContinueRun,
    Request,
    ScheduleStep,
    StartChild,
    StartTimer,
    WithdrawStep,
)
from holdfast.core.identity import effect_id
from holdfast.core.payload import Payload, claim_check
from holdfast.core.replay import ProgramStuck
from holdfast.sdk import turn_limit
from holdfast.sdk.children import Children, ChildWord
from holdfast.sdk.continuing import ContinueAsNew, continuation
from holdfast.sdk.definitions import EFFECT, RunInfo, Step, StepError, Workflow
from holdfast.sdk.dropped import DROPPED
from holdfast.sdk.failures import describe
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.handling import is_cancelling
from holdfast.sdk.logs import Speaker
from holdfast.sdk.loop import DurableTimer, Evicted
from holdfast.sdk.program_loop import ProgramLoop, awaited, raised
from holdfast.sdk.requests import for_end, for_step
from holdfast.sdk.shield import CLOSED, Shield, Verdict
from holdfast.sdk.signals import Signals
from holdfast.sdk.turn_limit import TURN_STEPS, TurnTooLong, this_thread, turns
from holdfast.sdk.values import UnfitValue

Find = Callable[[str, str], Workflow[..., Any]]
"""Give the workflow of a name and version; raises ProgramStuck when there is none."""

Read = Callable[[Payload], bytes]
"""Give the bytes of a payload; raises ProgramStuck when its blob is not there."""

FOR_EVER = 2**62


class LiveProgram:
    """One run's code in memory."""

    __slots__ = (
        "_at",
        "_blobs",
        "_children",
        "_counters",
        "_find",
        "_ids",
        "_incarnation",
        "_is_cancelled_late",
        "_loop",
        "_main",
        "_namespace",
        "_open",
        "_random",
        "_read",
        "_requests",
        "_run_id",
        "_shield",
        "_signals",
        "_timers",
        "_workflow",
        "history_length",
        "part",
        "paused",
    )

    def __init__(
        self,
        find: Find,
        read: Read,
        namespace: str,
        run_id: str,
        incarnation: int,
        *,
        turn_steps: int = TURN_STEPS,
        part: int = PART,
    ) -> None:
        self.part = part
        self.paused = False
        self._find = find
        self._read = read
        self._blobs: dict[str, bytes] = {}
        self._at = 0
        self._namespace = namespace
        self._run_id = run_id
        self._incarnation = incarnation
        self._loop = ProgramLoop(self, f"{run_id}/{incarnation}", turn_steps)
        self._main: asyncio.Task[Any] | None = None
        self._workflow: Workflow[..., Any] | None = None
        self._requests: list[Request] = []
        self._open: dict[str, tuple[asyncio.Future[Any], Step[..., Any] | Workflow[..., Any]]] = {}
        self._children: Children | None = None
        self._shield: Shield | None = None
        self._counters: dict[str, int] = {}
        self._ids: set[str] = set()
        self._timers: dict[str, DurableTimer] = {}
        self._signals: Signals | None = None
        self._random: random.Random | None = None
        self._is_cancelled_late = False
        self.history_length = 0

    # -- the Program of core/replay.py

    def go_on(self) -> Sequence[Request]:
        self.paused = False
        return self.apply(None, self._at)

    def apply(self, event: e.Event | None, at: int) -> Sequence[Request]:
        loop = self._loop
        # What enter() and leave() of turn_limit do, written out: a turn comes here for every event.
        loop.entries += 1
        thread = this_thread()
        turns[thread] = loop
        try:
            requests = self._turn(event, at)
        except TurnTooLong as late:
            raise self._too_long(late) from None
        except NotDeterministic as refused:
            raise ProgramStuck("not_deterministic", f"{refused}\n{self._mend}") from None
        except (Exception, Evicted):
            raise
        except BaseException as error:  # noqa: BLE001 - what an author's class raises where a value is touched
            raise ProgramStuck("author_error", f"{describe(error)}\n{self._mend}") from None
        finally:
            del turns[thread]
        if loop.interrupted is not None:  # and the author's code went on after it all the same
            raise self._too_long(loop.interrupted)
        return requests

    @property
    def replaying(self) -> bool:
        return self._loop.replaying

    @replaying.setter
    def replaying(self, replaying: bool) -> None:
        self._loop.replaying = replaying

    def where(self, request: Request | None) -> str:
        future: object = None
        match request:
            case ScheduleStep(step_id=step_id) if step_id in self._open:
                future = self._open[step_id][0]
            case StartChild(step_id=step_id) if step_id in self._open:
                future = self._open[step_id][0]
            case StartTimer(timer_id=timer_id) if timer_id in self._timers:
                future = next(iter(self._timers[timer_id].args), None)
        place = self._loop.place_of(future, self._main)
        return "" if place is None else str(place)

    @property
    def _mend(self) -> str:
        return f"Mend the code, then: holdfast resume {self._run_id}"

    def _too_long(self, late: TurnTooLong) -> ProgramStuck:
        return ProgramStuck("turn_too_long", f"{late}\n{self._mend}")

    def _turn(self, event: e.Event | None, at: int) -> Sequence[Request]:
        """Begin a turn; without an event, go on with the one that is paused, in which time stands still."""
        loop = self._loop
        requests: list[Request] = []
        self._requests = requests
        if event is not None:
            self._at = at
            loop.set_time(at)
        if type(event) is e.StepCompleted:  # as in core/run.py
            self._settle(event.step_id, event.result)
        elif type(event) is e.RunStarted:
            self._begin(event)
        elif event is not None:
            self._tell(event)
        loop.drain()
        if loop.paused:
            self.paused = True
        elif self._main is not None and self._main.done():
            requests.append(self._conclusion(self._main))
        return requests

    def asked_for(self) -> tuple[Sequence[Request], Mapping[str, bytes]]:
        return self._requests, self._blobs

    def _tell(self, event: e.Event) -> None:
        match event:  # of other events the code hears nothing
            case e.TimerFired(timer_id=timer_id):
                timer = self._timers.pop(timer_id, None)
                if timer is not None:
                    timer.fire()
            case e.SignalReceived():
                self._loop.call_inside(self._hears().hear, event, self._requests)
            case e.StepFailed(step_id=step_id, error=error):
                self._break(step_id, StepError(error))
            case e.StepCancelled(step_id=step_id):
                self._answer(step_id, CLOSED)
            case e.ChildStarted() | e.ChildCompleted() | e.ChildFailed() | e.ChildCancelled() | e.ChildTerminated():
                self._hear_child(event)
            case e.CancelRequested():
                if self._main is not None:
                    self._is_cancelled_late = self._main.done()  # it waits to go on as new: it will not
                    self._main.cancel()

    def is_cancelling(self) -> bool:
        return self._main is not None and is_cancelling(self._main)

    def evict(self) -> None:
        """Drop the run from memory, with no visible effect; frees its reference cycles."""
        entered = turn_limit.enter(self._loop)  # the author's `finally` blocks and `__del__` methods run
        try:
            if self._main is None or self._main.done():
                self._loop.close()
            else:
                self._loop.evict()
            self._forget()
        except TurnTooLong:
            self._forget()
        finally:
            turn_limit.leave(entered)

    def take_blobs(self) -> dict[str, bytes]:
        """Give the large payloads that the last turns made, once."""
        taken, self._blobs = self._blobs, {}
        return taken

    def _forget(self) -> None:
        self._loop.caller = DROPPED
        self._main = None
        self._open.clear()
        self._children = None
        self._timers.clear()
        self._signals = None
        self._shield = None

    # -- what outside events do to the code

    def _begin(self, event: e.RunStarted) -> None:
        self._workflow = self._find(event.workflow, event.version)
        try:
            decode, data = self._workflow.shape.decode_arguments, self._read(event.input)
            is_plain = self._workflow.shape.has_plain_arguments
            args, kwargs = decode(data) if is_plain else self._loop.call_inside(decode, data)
        except UnfitValue as error:
            raise ProgramStuck(
                "unfit_input",
                f"the input of run {self._run_id} does not fit workflow {event.workflow!r}: {error}\n"
                f"Start it anew under another id, or deploy a workflow that takes this input and: "
                f"holdfast resume {self._run_id}",
            ) from error
        work: Any
        try:
            if self._workflow.is_coroutine_function:
                work = self._workflow.function(*args, **kwargs)
            else:
                work = self._loop.call_inside(partial(self._workflow.function, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - of a decorator's wrapper, which takes something else than it says
            work = raised(error)
        self._main = self._loop.create_task(work if type(work) is CoroutineType else awaited(work))

    def _settle(self, step_id: str, result: Payload) -> None:
        future, step = self._open.pop(step_id, (None, None))
        if future is None or step is None or future.done():
            return
        try:
            decode, data = step.shape.decode_result, self._read(result)
            value = decode(data) if step.shape.has_plain_result else self._loop.call_inside(decode, data)
        except UnfitValue as error:
            raise ProgramStuck("unfit_result", f"{error} (step {step_id} of run {self._run_id})") from error
        future.set_result(value)

    def _break(self, step_id: str, error: StepError) -> None:
        future, _ = self._open.pop(step_id, (None, None))
        if future is not None and not future.done():
            future.set_exception(error)

    def _answer(self, step_id: str, value: object) -> None:
        """Give a waiting call what needs no reading."""
        future, _ = self._open.pop(step_id, (None, None))
        if future is not None and not future.done():
            future.set_result(value)

    def _hear_child(self, event: ChildWord) -> None:
        if self._children is None:
            return
        match self._children.hear(event):
            case None:
                pass
            case Payload() as result:
                self._settle(event.step_id, result)
            case StepError() as error:
                self._break(event.step_id, error)
            case value:
                self._answer(event.step_id, value)

    def _conclusion(self, main: asyncio.Task[Any]) -> Request:
        if main.cancelled():
            return ConcludeCancel()
        again = continuation(main.exception())
        if again is not None:
            return ConcludeCancel() if self._is_cancelled_late else self._continue(again)
        assert self._workflow is not None  # noqa: S101 - a task exists only after a workflow was found
        return for_end(main, self._workflow, mend=self._mend, blobs=self._blobs)

    def _continue(self, again: ContinueAsNew) -> ContinueRun:
        """Ask to go on as new; the large values that go along are stored again, so that they are at hand."""
        unread = () if self._signals is None else self._signals.unread(self._blobs)
        return ContinueRun(input=claim_check(again.input, self._blobs), unread=unread)

    # -- the Caller of definitions.py

    async def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._require_live()
        data = step.shape.encode_arguments(args, kwargs)  # before it is counted: a call that never was has no number
        step_id = self._identify(step.name, step.step_options.id)
        is_effect = step.kind == EFFECT
        key = effect_id(self._namespace, self._run_id, self._incarnation, step_id) if is_effect else None
        self._requests.append(for_step(step, step_id, data, key=key, at=self._at, blobs=self._blobs))
        if is_effect:
            verdict = Verdict.of(self._loop, step_id, self._withdraw)
            self._open[step_id] = (verdict, step)
            return await self._shielded(verdict)
        future = self._loop.durable_future()
        self._open[step_id] = (future, step)
        try:
            return await future
        except asyncio.CancelledError:
            if self._open.pop(step_id, None) is not None and not self._loop.evicted:
                self._requests.append(AbandonStep(step_id=step_id))
            raise

    def _withdraw(self, step_id: str) -> None:
        self._requests.append(WithdrawStep(step_id=step_id))

    async def call_child(
        self, child: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, detached: bool
    ) -> Any:
        self._require_live()
        data = child.shape.encode_arguments(args, kwargs)  # as in `call`
        step_id = self._identify(child.name, None)
        if self._children is None:
            self._children = Children(self._run_id, self._incarnation)
        self._requests.append(
            self._children.call(step_id, child, data, claim_check(data, self._blobs), detached=detached)
        )
        verdict = Verdict.of(self._loop, step_id, self._cancel_child)
        self._open[step_id] = (verdict, child)
        return await self._shielded(verdict)

    def _cancel_child(self, step_id: str) -> None:
        if self._children is not None:
            self._requests += self._children.cancel(step_id)

    async def _shielded(self, verdict: Verdict) -> Any:
        if self._shield is None:
            self._shield = Shield(self._loop)
        return await self._shield.wait(verdict)

    async def wait_signal(self, name: str, kind: Any) -> Any:
        self._require_live()
        return await self._hears().wait(name, kind, self._loop, self._requests)

    def _hears(self) -> Signals:
        if self._signals is None:
            self._signals = Signals(self._read)
        return self._signals

    def random(self) -> random.Random:
        if self._random is None:
            seed = blake2b(f"{self._run_id}/{self._incarnation}".encode(), digest_size=16).digest()
            self._random = random.Random(seed)
        return self._random

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=self._at)

    def speaker(self) -> Speaker:
        workflow = self._workflow
        assert workflow is not None  # noqa: S101 - its code is running
        return Speaker(self._run_id, self._incarnation, workflow.name, workflow.function.__module__)

    def info(self) -> RunInfo:
        workflow = self._workflow
        assert workflow is not None  # noqa: S101 - its code is running
        return RunInfo(
            self._run_id,
            self._incarnation,
            workflow.name,
            workflow.version,
            self.history_length,
            workflow.continue_after,
        )

    def encode_input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        self._require_live()
        assert self._workflow is not None  # noqa: S101 - its code is running
        return self._workflow.shape.encode_arguments(args, kwargs)

    def _identify(self, name: str, explicit: str | None) -> str:
        if explicit is None:
            number = self._counters.get(name, 0) + 1
            self._counters[name] = number
            return f"{name}#{number}"
        if explicit in self._ids or "#" in explicit or "/" in explicit:
            raise ValueError(f"options(id={explicit!r}): an id is used once in a run, and has no '#' or '/'")
        self._ids.add(explicit)
        return explicit

    def _require_live(self) -> None:
        if self._loop.evicted:
            raise Evicted
        if self._shield is not None and self._shield.owed:
            self._shield.raise_owed()

    # -- the Timers of loop.py

    def start(self, timer: DurableTimer) -> None:
        timer_id = f"timer#{timer.number}"
        self._timers[timer_id] = timer
        self._requests.append(StartTimer(timer_id=timer_id, due_at=min(timer.due, FOR_EVER)))

    def cancel(self, timer: DurableTimer) -> None:
        timer_id = f"timer#{timer.number}"
        if self._timers.pop(timer_id, None) is not None:
            self._requests.append(CancelTimer(timer_id=timer_id))

    def is_waiting(self) -> bool:
        return bool(self._open or self._timers or (self._signals is not None and self._signals.waits))
