"""Workflows and steps, as an author writes them; effects are in effects.py.

Laws of this file:
- A decorator keeps the function's signature for type checkers.
- A call from inside a workflow is durable; a call from anywhere else just runs the function.
"""

import asyncio
import dataclasses
import datetime as dt
import inspect
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from holdfast.core.retry import Failure, RetrySchedule
from holdfast.sdk.failures import full_name
from holdfast.sdk.registry import Names
from holdfast.sdk.values import Shape

P = ParamSpec("P")
R = TypeVar("R")
STEP = "step"
EFFECT = "effect"


def seconds(number: float) -> float:
    """Tell a time span in seconds."""
    return float(number)


def minutes(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 60.0


def hours(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 3600.0


def days(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 86400.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed attempt is tried again; waits in seconds, `attempts` 0 for no limit.

    The wait before attempt n+1 is `initial * backoff ** (n - 1)`, at most `maximum`, times 1 ± `jitter`.
    """

    attempts: int = 8
    initial: float = 0.1
    backoff: float = 3.0
    maximum: float = 60.0
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] = ()
    never_on: tuple[type[BaseException], ...] = ()

    def recorded(self) -> RetrySchedule:
        return RetrySchedule(
            attempts=self.attempts,
            initial=self.initial,
            backoff=self.backoff,
            maximum=self.maximum,
            jitter=self.jitter,
            on=tuple(full_name(kind) for kind in self.on),
            never_on=tuple(full_name(kind) for kind in self.never_on),
        )


class StepError(Exception):
    """A step failed for good: its last attempt's error, as the workflow sees it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


class Caller(Protocol):
    """The running workflow, as seen by the functions that it calls."""

    def call(self, step: "Step[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """Schedule a step and wait for its result."""

    def wait_signal(self, name: str, kind: Any) -> Coroutine[Any, Any, Any]:
        """Wait for a signal."""

    def random(self) -> random.Random:
        """Give the run's own seeded generator."""

    def now(self) -> dt.datetime:
        """Tell the time of the event being applied."""


def running() -> Caller | None:
    """Find the workflow whose code is running in this thread, if any."""
    return getattr(asyncio._get_running_loop(), "caller", None)  # noqa: SLF001 - the public function raises


def inside(what: str) -> Caller:
    caller = running()
    if caller is None:
        raise RuntimeError(f"{what} is for workflow code: there is no workflow running here")
    return caller


@dataclasses.dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is executed; times in seconds."""

    retry: RetrySchedule
    timeout: float = 600.0
    total_timeout: float | None = None
    heartbeat: float | None = None
    queue: str = "default"
    guard: str | None = None
    window: float | None = None
    id: str | None = None


class Step(Generic[P, R]):
    """A named function that a worker executes, at least once; with a guard it is an effect."""

    def __init__(self, function: Callable[..., Any], name: str, kind: str, options: StepOptions) -> None:
        self.function = function
        self.name = name
        self.kind = kind
        self.shape = Shape(function)
        self.shape.check()
        self.step_options = options
        self.is_async = inspect.iscoroutinefunction(function)
        self.__name__ = name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        # With Any in this type, checkers give up on asyncio.gather() of steps that have different results.
        caller = running()
        if caller is not None:
            return caller.call(self, args, kwargs)
        return self.run(args, kwargs)

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Just run the function; a plain `def` in a thread."""
        if self.is_async:
            return cast("R", await self.function(*args, **kwargs))
        return cast("R", await asyncio.to_thread(self.function, *args, **kwargs))

    def options(
        self,
        *,
        id: str | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        heartbeat: float | None = None,
    ) -> "Step[P, R]":
        """Change the options for one call: `reserve.options(id="left", queue="cnc")(frame)`."""
        other: Step[P, R] = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        changes: dict[str, Any] = {
            "id": id,
            "queue": queue,
            "retry": None if retry is None else retry.recorded(),
            "timeout": timeout,
            "total_timeout": total_timeout,
            "heartbeat": heartbeat,
        }
        kept = {name: value for name, value in changes.items() if value is not None}
        other.step_options = dataclasses.replace(self.step_options, **kept)
        return other


class Workflow(Generic[P, R]):
    """A named, versioned async function that survives."""

    def __init__(self, function: Callable[..., Awaitable[R]], name: str, version: str) -> None:
        self.function = function
        self.name = name
        self.version = version
        self.shape = Shape(function)
        self.shape.check()
        self.__name__ = name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if running() is not None:
            raise NotImplementedError(
                f"a workflow cannot call workflow {self.name!r}: child workflows are not built yet"
            )
        return await self.function(*args, **kwargs)


class Versions:
    """The versions of one workflow; the last one defined is what new runs start with."""

    def __init__(self) -> None:
        self.by_version: dict[str, Workflow[..., Any]] = {}
        self.latest = ""

    def add(self, definition: Workflow[..., Any]) -> None:
        self.by_version[definition.version] = definition
        self.latest = definition.version


steps: Names[Step[..., Any]] = Names("step")
workflows: Names[Workflow[..., Any]] = Names("workflow")
versions: dict[str, Versions] = {}


class _WorkflowDecorator:
    """`@workflow`, and what workflow code asks of its run: `workflow.now()`, `.random()`, `.uuid4()`."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(
        self, function: None = None, /, *, name: str | None = None, version: str = "1"
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
    def __call__(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, version: str = "1"
    ) -> Any:
        """Make a workflow of an async function."""

        def define(function: Callable[..., Any]) -> Workflow[..., Any]:
            if not inspect.iscoroutinefunction(function):
                raise TypeError(f"@workflow {function.__qualname__}: write async def {function.__name__}(…)")
            definition: Workflow[..., Any] = Workflow(function, name or function.__name__, version)
            workflows.add(f"{definition.name}@{version}", function, definition)
            versions.setdefault(definition.name, Versions()).add(definition)
            return definition

        return define if function is None else define(function)

    @staticmethod
    def now() -> dt.datetime:
        """Tell the time of the event being applied (UTC); the same in replay."""
        return inside("workflow.now()").now()

    @staticmethod
    def random() -> random.Random:
        """Give the run's own generator, seeded by its identity; the same numbers in replay."""
        return inside("workflow.random()").random()

    @staticmethod
    def uuid4() -> uuid.UUID:
        """Draw a random UUID from the run's own generator; the same in replay."""
        return uuid.UUID(int=inside("workflow.uuid4()").random().getrandbits(128), version=4)


workflow = _WorkflowDecorator()


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float = 600.0,
    total_timeout: float | None = None,
    heartbeat: float | None = None,
    queue: str = "default",
) -> "_StepDecorator": ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float = 600.0,
    total_timeout: float | None = None,
    heartbeat: float | None = None,
    queue: str = "default",
) -> Any:
    """Make a step: a function that a worker executes, at least once. Times in seconds; `def` runs in a thread.

    `timeout` limits one attempt, `total_timeout` all of them.
    """
    options = StepOptions(
        retry=(retry or Retry()).recorded(),
        timeout=timeout,
        total_timeout=total_timeout,
        heartbeat=heartbeat,
        queue=queue,
    )
    return _StepDecorator(STEP, name, options) if function is None else _StepDecorator(STEP, name, options)(function)


class _StepDecorator:
    """What `@step(…)` gives."""

    def __init__(self, kind: str, name: str | None, options: StepOptions) -> None:
        self._kind = kind
        self._name = name
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        definition: Step[..., Any] = Step(function, self._name or function.__name__, self._kind, self._options)
        steps.add(definition.name, function, definition)
        return definition


@overload
async def signal(name: str) -> Any: ...
@overload
async def signal(name: str, kind: type[R]) -> R: ...
async def signal(name: str, kind: Any = Any) -> Any:
    """Wait for the next signal `name` of this run, typed by `kind`. Signals are kept until they are asked for."""
    return await inside("signal()").wait_signal(name, kind)
