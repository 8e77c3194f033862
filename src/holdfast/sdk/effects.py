"""Effects, as an author writes them: steps that change the outside world, each under a guard.

Laws of this file:
- A guard's missing part is an error at import that says what to add.
- A key is the effect's for ever; outside a workflow nobody can know it, so there it is the caller's to give.
- The window in which a key may be sent again is what the provider keeps it for, less a margin for whoever is paused.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from holdfast.core.asks import AT_MOST_ONCE, GUARDS, LOOKUP, PROVIDER_KEY, TRANSACTION, Terms
from holdfast.core.retry import RetrySchedule
from holdfast.sdk.definitions import EFFECT, Retry, Step, StepOptions, running, steps
from holdfast.sdk.providers import Profile, profile_of
from holdfast.sdk.values import GIVEN, Shape

P = ParamSpec("P")
R = TypeVar("R")
Finder = TypeVar("Finder", bound=Callable[..., Any])

MARGIN = 3600.0
"""Seconds that a sender may be paused, and its request be on the way, before a key that it believes fresh is pruned."""


class Effect(Step[P, R]):
    """A step that changes the outside world, guarded by the ledger."""

    terms: Terms
    database: str | None
    provider: Profile | None
    finder: Shape | None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        if running() is None:
            missing = [name for name in sorted(self.shape.given) if kwargs.get(name, GIVEN) is GIVEN]
            if missing:
                raise TypeError(
                    f"{self.name}() is called outside a workflow, where nobody gives it {missing[0]}: "
                    f"call {self.name}(…, {missing[0]}=…)"
                )
        return super().__call__(*args, **kwargs)

    def lookup(self, function: Finder) -> Finder:
        """Name the function that asks the provider by our reference: the result if the effect happened, else None.

        It takes the effect's arguments, and `key` if the effect does.
        """
        if self.terms.guard not in {LOOKUP, PROVIDER_KEY}:
            raise TypeError(f"@{self.name}.lookup: an effect under guard {self.terms.guard!r} is never looked up")
        finder = Shape(function)
        finder.check()
        if finder.names != self.shape.names or finder.given - {"key"}:
            wanted = ", ".join([*self.shape.names, "*, key: str = GIVEN"])
            raise TypeError(f"@{self.name}.lookup {finder.name}: it takes what {self.name}() takes: ({wanted})")
        self.finder = finder
        self.terms = Terms(
            guard=self.terms.guard,
            window=self.terms.window,
            lifetime=self.terms.lifetime,
            lookup=True,
        )
        return function


def effect(  # noqa: PLR0913 - keyword-only: what a guard may rest on
    *,
    guard: str,
    window: float | None = None,
    margin: float = MARGIN,
    lifetime: float | None = None,
    database: str | None = None,
    http: str | Profile | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float = 600.0,
    total_timeout: float | None = None,
    queue: str = "default",
) -> "_EffectDecorator":
    """Make an effect: a step that changes the outside world, under a guard. Times in seconds.

    `guard` is one of
    - `transaction`: a write to the SQL `database` of that name in the settings; the function takes `connection`;
    - `provider_key`: the provider keeps `key` for `window` and recognises it; sent again up to `margin` before its end;
    - `lookup`: the provider can be asked; a request takes effect within `lifetime` after it was sent, or never;
    - `at_most_once`: nothing; an unclear outcome waits for a person.
    `http` names the provider, one that `holdfast.http` knows (`"stripe"`) or a `Profile`: what is sent through its
    transports then carries the key, answers are judged, and what fails before the first byte is an ordinary failure.
    """
    if guard not in GUARDS:
        raise TypeError(f"effect(guard={guard!r}): a guard is one of {', '.join(GUARDS)}")
    provider = None if http is None else profile_of(http)
    if guard == PROVIDER_KEY and window is None and provider is not None:
        window = provider.retention
    terms = Terms(
        guard=guard,
        window=_usable(window, margin) if guard == PROVIDER_KEY else None,
        lifetime=lifetime if guard == LOOKUP else None,
    )
    options = StepOptions(
        retry=(retry or Retry()).recorded(),
        timeout=timeout,
        total_timeout=total_timeout,
        queue=queue,
        guard=guard,
        window=window,
    )
    _fits(terms, options.retry, total_timeout)
    return _EffectDecorator(name, options, terms, database, provider)


def _usable(window: float | None, margin: float) -> float:
    if window is None:
        raise TypeError('@effect(guard="provider_key"): say how long the provider keeps a key: add window=hours(…)')
    if window <= margin:
        raise TypeError(
            f"@effect(window={window:g}): nothing is left of it after the margin of {margin:g} s; "
            "if no sender can be paused for so long, say so: margin=seconds(…)"
        )
    return window - margin


def _fits(terms: Terms, retry: RetrySchedule, total: float | None) -> None:
    """A schedule that outlasts the window would end in a parked effect each time it is needed."""
    if terms.window is None or not retry.attempts:
        return
    waits = sum(
        min(retry.maximum, retry.initial * retry.backoff ** (number - 1)) for number in range(1, retry.attempts)
    )
    longest = waits * (1 + retry.jitter) if total is None else min(total, waits * (1 + retry.jitter))
    if longest > terms.window:
        raise TypeError(
            f"the waits between attempts add up to {longest:g} s, and the key may be sent again for "
            f"{terms.window:g} s only: fewer attempts, shorter waits, or total_timeout="
        )


class _EffectDecorator:
    """What `@effect(…)` gives."""

    def __init__(
        self, name: str | None, options: StepOptions, terms: Terms, database: str | None, provider: Profile | None
    ) -> None:
        self._name = name
        self._options = options
        self._terms = terms
        self._database = database
        self._provider = provider

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Effect[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Effect[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        self._check(function)
        definition: Effect[..., Any] = Effect(function, self._name or function.__name__, EFFECT, self._options)
        definition.terms = self._terms
        definition.database = self._database
        definition.provider = self._provider
        definition.finder = None
        steps.add(definition.name, function, definition)
        return definition

    def _check(self, function: Callable[..., Any]) -> None:
        guard = self._terms.guard
        this = f"@effect(guard={guard!r}) {function.__qualname__}"
        if guard == PROVIDER_KEY and self._provider is None and not _takes(function, "key"):
            raise TypeError(f"{this}: add *, key: str = GIVEN, and send it with the request")
        if guard == TRANSACTION:
            if not _takes(function, "connection"):
                raise TypeError(f"{this}: add *, connection: psycopg.AsyncConnection = GIVEN, and write with it")
            if self._database is None:
                raise TypeError(f'{this}: name its database: database="…", as in [databases] of holdfast.toml')
            if not inspect.iscoroutinefunction(function):
                raise TypeError(f"{this}: write async def {function.__name__}(…)")
        if guard == LOOKUP and self._terms.lifetime is None:
            raise TypeError(f"{this}: say how long a request may be on its way: lifetime=seconds(…)")


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.default is GIVEN


def check_lookups() -> None:
    """Refuse an application with a `lookup` effect that nobody can look up; called once all its modules are imported.

    Raises:
        TypeError: says what to add.
    """
    for definition in steps.definitions():
        if isinstance(definition, Effect) and definition.terms.guard == LOOKUP and definition.finder is None:
            raise TypeError(
                f'@effect(guard="lookup") {definition.name}: add a function that asks the provider:\n'
                f"@{definition.name}.lookup\nasync def find_{definition.name}({', '.join(definition.shape.names)}): …"
            )


__all__ = ["AT_MOST_ONCE", "Effect", "check_lookups", "effect"]
