"""Workflows and steps, as an author writes them; effects are in effects.py.

Laws of this file:
- A decorator keeps the function's signature for type checkers.
- A call from inside a workflow is durable; a call from anywhere else just runs the function.
"""

import asyncio
import datetime as dt
import inspect
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec

from holdfast.core.retry import Failure
from holdfast.core.status import FAILED
from holdfast.sdk import options as read
from holdfast.sdk.callables import caller, check, is_async, is_local, told
from holdfast.sdk.logs import Speaker, log
from holdfast.sdk.options import ChildOptions, Duration, ParentClose, Retry, StepOptions, days, hours, minutes, seconds
from holdfast.sdk.registry import Names
from holdfast.sdk.shape import Shape
from holdfast.sdk.threads import in_thread
from holdfast.sdk.trusted import trust

__all__ = [
    "EFFECT", "STEP", "Caller", "ChildFailed", "Duration", "Retry", "RunInfo", "Step", "StepError", "StepOptions",
    "Versions", "Workflow", "days", "detached", "hours", "inside", "minutes", "running", "seconds", "signal", "step",
    "steps", "versions", "workflow", "workflows",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
STEP = "step"
EFFECT = "effect"
CONTINUE_AFTER = 5_000
"""Events after which a run should go on as new, if its workflow says nothing else."""


class StepError(Exception):
    """A step failed for good: its last attempt's error, as the workflow sees it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


class ChildFailed(StepError):
    """A child run did not complete: `status` says how it ended (REFUSED: its id is another run's), `failure` why."""

    def __init__(self, failure: Failure, run_id: str, status: str = FAILED) -> None:
        super().__init__(failure)
        self.run_id = run_id
        self.status = status


class RunInfo(msgspec.Struct, frozen=True):
    """What workflow code can know of its run: the same in a replay.

    `history_length` counts the events of this incarnation up to the one that the code hears now.
    """

    run_id: str
    incarnation: int
    workflow: str
    version: str
    history_length: int
    continue_after: int

    @property
    def should_continue(self) -> bool:
        """Whether the history has grown so long that the run should go on as new."""
        return self.history_length >= self.continue_after


class Caller(Protocol):
    """The running workflow, as seen by the functions that it calls."""

    def call(self, step: "Step[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """Schedule a step and wait for its result."""

    def call_child(
        self, child: "Workflow[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any], *, detached: bool
    ) -> Coroutine[Any, Any, Any]:
        """Start a child run and wait for its result, or if it is `detached` for its start: then give its run id."""

    def wait_signal(self, name: str, kind: Any) -> Coroutine[Any, Any, Any]:
        """Wait for a signal."""

    def random(self) -> random.Random:
        """Give the run's own seeded generator."""

    def now(self) -> dt.datetime:
        """Tell the time of the event being applied."""

    def speaker(self) -> Speaker:
        """Tell whose code is running, for its log."""

    def info(self) -> RunInfo:
        """Tell what the code can know of its run."""

    def encode_input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Encode arguments of the running workflow."""


def running() -> Caller | None:
    """Find the workflow whose code is running in this thread, if any."""
    return getattr(asyncio._get_running_loop(), "caller", None)  # noqa: SLF001 - the public function raises


def inside(what: str) -> Caller:
    caller = running()
    if caller is None:
        raise RuntimeError(f"{what} is for workflow code: there is no workflow running here")
    return caller


class Definition:
    """A function of the author's under a name, which is an object of its module and of no class."""

    is_definition: ClassVar[bool] = True
    function: Callable[..., Any]
    kind: str

    def __set_name__(self, owner: type, name: str) -> None:
        if name not in getattr(owner, "__annotations__", {}):  # else it is the default of a field
            raise TypeError(
                f"@{self.kind} {told(self.function)}: as {owner.__qualname__}.{name} it would be called like a method, "
                "and nothing binds it: write it outside of the class, and call it by its name there"
            )


class Step(Definition, Generic[P, R]):
    """A named function that a worker executes, at least once; with a guard it is an effect."""

    def __init__(self, function: Callable[..., Any], name: str, kind: str, options: StepOptions) -> None:
        self.function = function
        self.name = name
        self.kind = kind
        self.shape = Shape(function)
        self.shape.check()
        self.step_options = options
        self.is_async = is_async(function)
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
        value = await in_thread(self.function, args, kwargs)
        # A plain `def` around an async function (many decorators are) gives what that one gives.
        return cast("R", await value if inspect.isawaitable(value) else value)

    def options(
        self,
        *,
        id: str | None = None,
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        total_timeout: Duration | None = None,
        heartbeat: Duration | None = None,
    ) -> "Step[P, R]":
        """Change the options for one call: `reserve.options(id="left", queue="cnc")(frame)`."""
        other: Step[P, R] = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        changes: dict[str, Any] = {
            "id": id,
            "queue": queue,
            "retry": retry,
            "timeout": timeout,
            "total_timeout": total_timeout,
            "heartbeat": heartbeat,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            other.step_options = msgspec.structs.replace(self.step_options, **read.options(given))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}.options(…) ({caller()}): {error}") from None
        return other

    if not TYPE_CHECKING:  # a checker knows that a step cannot be awaited; who has none is told more than Python says

        def __await__(self) -> None:
            raise TypeError(f"{self.name} is a {self.kind}: call it: await {self.name}(…)")


class Workflow(Definition, Generic[P, R]):
    """A named, versioned async function that survives."""

    kind = "workflow"

    def __init__(
        self, function: Callable[..., Awaitable[R]], name: str, version: str, continue_after: int = CONTINUE_AFTER
    ) -> None:
        self.function = function
        self.name = name
        self.version = version
        self.continue_after = continue_after
        self.child_options = ChildOptions()
        self.shape = Shape(function)
        self.shape.check()
        code = getattr(function, "__code__", None)
        self.is_coroutine_function = bool(code is not None and code.co_flags & inspect.CO_COROUTINE)
        """To call it runs nothing of the author's yet."""
        self.__name__ = name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        caller = running()
        if caller is not None:
            return caller.call_child(self, args, kwargs, detached=False)
        return self.run(args, kwargs)

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Just run the function."""
        return cast("R", await self.function(*args, **kwargs))

    def options(self, *, id: str | None = None, parent_close: ParentClose | None = None) -> "Workflow[P, R]":
        """Change how one child is called: `ship.options(id="parcel-7", parent_close="abandon")(order)`.

        `id` of its run, else it is derived from the caller's. `parent_close`: what becomes of it if its parent ends
        first: terminate (the default; of a detached one: abandon), cancel or abandon.
        """
        other: Workflow[P, R] = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        try:
            other.child_options = read.child_options(self.child_options, id=id, parent_close=parent_close)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}.options(…) ({caller()}): {error}") from None
        return other

    if not TYPE_CHECKING:  # as with steps

        def __await__(self) -> None:
            raise TypeError(f"{self.name} is a workflow: call it: await {self.name}(…)")


async def detached(child: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> str:
    """Start a child run and do not wait for its end; gives its run id once it has started.

    Outside a workflow it just runs the function.

    Raises:
        ChildFailed: the run id is another run's.
    """
    caller = running()
    if caller is not None:
        return cast("str", await caller.call_child(child, args, kwargs, detached=True))
    await child.run(args, kwargs)
    return child.child_options.id or child.name


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


def defined(what: str, function: object, *, named: bool) -> str:
    """Check that a function can be a `what`; gives its name and place, for errors.

    Raises:
        TypeError: it cannot.
    """
    check(what, function, named=named)
    here = f"@{what} {told(function)}"
    if running() is not None and is_local(function):  # a module may be imported in a turn
        raise TypeError(
            f"{here}: workflow code defines nothing, for a worker would not know it: define it in the module"
        )
    return here


class _WorkflowDecorator:
    """`@workflow`, and what workflow code asks of its run: `workflow.now()`, `.random()`, `.uuid4()`."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        version: str = "1",
        continue_after: int = CONTINUE_AFTER,
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: str = "1",
        continue_after: int = CONTINUE_AFTER,
    ) -> Any:
        """Make a workflow of an async function.

        After `continue_after` events of one incarnation, `workflow.info().should_continue` is true.
        """

        def define(function: Callable[..., Any]) -> Workflow[..., Any]:
            here = defined("workflow", function, named=name is not None)
            if not is_async(function):
                raise TypeError(f"{here}: write async def {function.__name__}(…), and in the wrapper of a decorator")
            try:
                own = read.name("name", function.__name__ if name is None else name)
                numbered = read.version("version", version)
                most = read.events("continue_after", continue_after)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{here}: {error}") from None
            definition: Workflow[..., Any] = Workflow(function, own, numbered, most)
            workflows.add(f"{own}@{numbered}", function, definition)
            versions.setdefault(own, Versions()).add(definition)
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

    @staticmethod
    def info() -> RunInfo:
        """Tell what there is to know of the run: its id, its incarnation, and how long its history is."""
        return inside("workflow.info()").info()

    log = log
    """The log of the run whose code is running: as a logger, with the run's id; silent in a replay."""

    @staticmethod
    def trust(*packages: str) -> None:
        """Give these packages, when they run in workflow code, the run's own clock and chance instead of a refusal."""
        trust(*packages)


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
    timeout: Duration = 600.0,
    total_timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    queue: str = "default",
) -> "_StepDecorator": ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration = 600.0,
    total_timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    queue: str = "default",
) -> Any:
    """Make a step: a function that a worker executes, at least once. `def` runs in a thread.

    `timeout` limits one attempt, `total_timeout` all of them: seconds, or a timedelta.
    """
    options = {
        "retry": retry,
        "timeout": timeout,
        "total_timeout": total_timeout,
        "heartbeat": heartbeat,
        "queue": queue,
    }
    decorator = _StepDecorator(name, options)
    return decorator if function is None else decorator(function)


class _StepDecorator:
    """What `@step(…)` gives."""

    def __init__(self, name: str | None, options: Mapping[str, object]) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        here = defined(STEP, function, named=self._name is not None)
        try:
            name = read.name("name", function.__name__ if self._name is None else self._name)
            options = StepOptions(**read.options(self._options))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{here}: {error}") from None
        definition: Step[..., Any] = Step(function, name, STEP, options)
        steps.add(name, function, definition)
        return definition


@overload
async def signal(name: str) -> Any: ...
@overload
async def signal(name: str, kind: type[R]) -> R: ...
async def signal(name: str, kind: Any = Any) -> Any:
    """Wait for the next signal `name` of this run, typed by `kind`. Signals are kept until they are asked for."""
    return await inside("signal()").wait_signal(name, kind)
