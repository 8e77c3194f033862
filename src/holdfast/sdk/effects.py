"""Effects, as an author writes them: steps that change the outside world, each under a guard.

Laws of this file:
- A guard's missing part is an error at import that says what to add.
- A key is the effect's for ever; outside a workflow nobody can know it, so there it is the caller's to give.
- The window in which a key may be sent again is what the provider keeps it for, less a margin for whoever is paused.
"""

import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from holdfast.core.asks import AT_MOST_ONCE, GUARDS, LOOKUP, PROVIDER_KEY, TRANSACTION, Terms
from holdfast.core.retry import RetrySchedule, wait_after
from holdfast.sdk import options as read
from holdfast.sdk.callables import caller, check, is_async, shown, told
from holdfast.sdk.definitions import EFFECT, Duration, Retry, Step, StepOptions, defined, running, steps, versions
from holdfast.sdk.providers import Profile, profile_of
from holdfast.sdk.registry import DuplicateName, Load
from holdfast.sdk.shape import Shape
from holdfast.sdk.values import GIVEN

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
        check(f"{self.name}.lookup", function)
        here = f"@{self.name}.lookup {told(function)}"
        if self.terms.guard not in {LOOKUP, PROVIDER_KEY}:
            raise TypeError(f"{here}: an effect under guard {self.terms.guard!r} is never looked up")
        if self.finder is not None and not Load(function).repeats(Load(self.finder.function)):
            raise DuplicateName(f"{here}: it is looked up by {told(self.finder.function)} already: keep one of them")
        finder = Shape(function)
        finder.check()
        if finder.names != self.shape.names or finder.given - {"key"}:
            wanted = ", ".join([*self.shape.names, "*, key: str = GIVEN"])
            raise TypeError(f"{here}: it takes what {self.name}() takes: ({wanted})")
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
    window: Duration | None = None,
    margin: Duration = MARGIN,
    lifetime: Duration | None = None,
    database: str | None = None,
    http: str | Profile | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration = 600.0,
    total_timeout: Duration | None = None,
    queue: str = "default",
) -> "_EffectDecorator":
    """Make an effect: a step that changes the outside world, under a guard. Times in seconds, or as timedelta.

    `guard` is one of
    - `transaction`: a write to the SQL `database` of that name in the settings; the function takes `connection`;
    - `provider_key`: the provider keeps `key` for `window` and recognises it; sent again up to `margin` before its end;
    - `lookup`: the provider can be asked; a request takes effect within `lifetime` after it was sent, or never;
    - `at_most_once`: nothing; an unclear outcome waits for a person.
    `http` names the provider, one that `holdfast.http` knows (`"stripe"`) or a `Profile`: what is sent through its
    transports then carries the key, answers are judged, and what fails before the first byte is an ordinary failure.
    """
    if guard not in GUARDS:
        raise TypeError(f"effect(guard={shown(guard)}) ({caller()}): a guard is one of {', '.join(GUARDS)}")
    options = {"retry": retry, "timeout": timeout, "total_timeout": total_timeout, "queue": queue}
    return _EffectDecorator(name, options, _Given(guard, window, margin, lifetime, database, http))


@dataclasses.dataclass(frozen=True, slots=True)
class _Given:
    """What a guard rests on, as the author gave it."""

    guard: str
    window: Duration | None
    margin: Duration
    lifetime: Duration | None
    database: str | None
    http: str | Profile | None

    def provider(self) -> Profile | None:
        return None if self.http is None else profile_of(self.http)

    def terms(self, options: StepOptions, provider: Profile | None) -> Terms:
        """Check it; gives what the ledger must know.

        Raises:
            TypeError: says which option is wrong or missing.
        """
        for option, used_by in (("window", PROVIDER_KEY), ("lifetime", LOOKUP), ("database", TRANSACTION)):
            if getattr(self, option) is not None and self.guard != used_by:
                raise TypeError(f'{option}= says something of guard="{used_by}" only: leave it out')
        if self.http is not None and self.guard == TRANSACTION:
            raise TypeError('http= says nothing of guard="transaction": leave it out')
        lifetime = read.optional_span("lifetime", self.lifetime)
        if self.guard == LOOKUP and lifetime is None:
            raise TypeError("say how long a request may be on its way: lifetime=seconds(…)")
        if self.guard == TRANSACTION:
            if self.database is None:
                raise TypeError('name its database: database="…", as in [databases] of holdfast.toml')
            read.name("database", self.database)
        terms = Terms(guard=self.guard, window=self._usable(provider), lifetime=lifetime)
        _fits(terms, options.retry, options.total_timeout)
        return terms

    def _usable(self, provider: Profile | None) -> float | None:
        if self.guard != PROVIDER_KEY:
            return None
        window = read.optional_span("window", self.window)
        if window is None and provider is not None:
            window = read.optional_span(f"the retention of {provider.name!r} in http", provider.retention)
        if window is None:
            raise TypeError("say how long the provider keeps a key: add window=hours(…)")
        margin = read.span("margin", self.margin, or_zero=True)
        if window <= margin:
            raise TypeError(
                f"window={window:g}: nothing is left of it after the margin of {margin:g} s; "
                "if no sender can be paused for so long, say so: margin=seconds(…)"
            )
        return window - margin


def _fits(terms: Terms, retry: RetrySchedule, total: float | None) -> None:
    """A schedule that outlasts the window would end in a parked effect each time it is needed."""
    if terms.window is None or not retry.attempts:
        return
    limit = terms.window if total is None else min(total, terms.window)
    waits = 0.0
    for failed in range(1, retry.attempts):
        waits += wait_after(retry, failed) * (1 + retry.jitter)
        if waits > limit:
            break
    longest = waits if total is None else min(total, waits)
    if longest > terms.window:
        raise TypeError(
            f"the waits between attempts add up to more than {terms.window:g} s, and for no longer may the key be sent "
            "again: fewer attempts, shorter waits, or total_timeout="
        )


class _EffectDecorator:
    """What `@effect(…)` gives."""

    def __init__(self, name: str | None, options: Mapping[str, object], given: _Given) -> None:
        self._name = name
        self._options = options
        self._given = given

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Effect[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Effect[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        here = defined(EFFECT, function, named=self._name is not None)
        try:
            name = read.name("name", function.__name__ if self._name is None else self._name)
            options = StepOptions(**read.options(self._options), guard=self._given.guard)
            provider = self._given.provider()
            terms = self._given.terms(options, provider)
            _takes_what_it_needs(function, terms.guard, provider)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{here}: {error}") from None
        definition: Effect[..., Any] = Effect(function, name, EFFECT, options)
        definition.terms = terms
        definition.database = self._given.database
        definition.provider = provider
        definition.finder = None
        known = steps.get(name)
        steps.add(name, function, definition)
        if isinstance(known, Effect) and known.function is function and not same_terms(known.terms, terms):
            raise DuplicateName(f"{here}: it is defined under other terms already: keep one of them")
        return definition


def same_terms(one: Terms, other: Terms) -> bool:
    """Compare what two definitions of one function rest on, whether or not they are looked up."""
    return (one.guard, one.window, one.lifetime) == (other.guard, other.window, other.lifetime)


def _takes_what_it_needs(function: Callable[..., Any], guard: str, provider: Profile | None) -> None:
    if guard == PROVIDER_KEY and provider is None and not _takes(function, "key"):
        raise TypeError("add *, key: str = GIVEN, and send it with the request")
    if guard == TRANSACTION:
        if not _takes(function, "connection"):
            raise TypeError("add *, connection: psycopg.AsyncConnection = GIVEN, and write with it")
        if not is_async(function):
            raise TypeError("write async def, and in the wrapper of a decorator: its connection is the event loop's")


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
                f"@effect {told(definition.function)}: guard={LOOKUP!r} needs a function that asks the provider:\n"
                f"@{definition.name}.lookup\nasync def find_{definition.name}({', '.join(definition.shape.names)}): …"
            )


def check_shapes() -> None:
    """Refuse an application whose annotations cannot be read, now that all its modules are imported.

    Raises:
        TypeError: names the annotation, and says what to do.
    """
    for definition in steps.definitions():
        definition.shape.check_names()
        if isinstance(definition, Effect) and definition.finder is not None:
            definition.finder.check_names()
    for known in versions.values():
        for workflow in known.by_version.values():
            workflow.shape.check_names()


__all__ = ["AT_MOST_ONCE", "Effect", "check_lookups", "check_shapes", "effect"]
