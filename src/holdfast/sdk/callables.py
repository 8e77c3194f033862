"""What can be a step, an effect, a look-up or a workflow: a function of a module, which does the same in any process.

Laws of this file:
- A history names a function by its name alone. What a function would carry besides (an object, arguments, variables
  around it) another process does not have, so it is refused.
- What cannot work is refused when it is defined, with the function, its file and line, and what to write instead.
"""

import functools
import inspect
import os
import sys
import types
from collections.abc import Callable
from typing import Any, Final

_getcwd: Final = os.getcwd
"""Taken before workflow code is kept from asking: an error may be made in its turn."""
LAMBDA: Final = "<lambda>"
_LOCALS: Final = "<locals>"
_OURS: Final = "holdfast."
_BY_NAME: Final = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})
_RECEIVERS: Final = frozenset({"self", "cls"})


def told(function: object) -> str:
    """Name a function with its file and line."""
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        return f"{shown(function)} ({caller()})"
    return f"{name} ({place(function)})"


def place(function: object) -> str:
    """Tell where a function stands: `shop/workflows.py:12`."""
    code = getattr(innermost(function), "__code__", None)
    if isinstance(code, types.CodeType):
        return at(code.co_filename, code.co_firstlineno)
    return caller()


def caller() -> str:
    """Tell which line of the author's is being run."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - an error at import names the line that made it
    while frame is not None and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        frame = frame.f_back
    return "?" if frame is None else at(frame.f_code.co_filename, frame.f_lineno)


def at(filename: str, line: int) -> str:
    """Write a place, from the working directory on if it is below that."""
    try:
        below = os.path.join(_getcwd(), "")  # noqa: PTH118 - a name as Python gives it, which need be no path
    except OSError:  # the folder is gone
        below = ""
    return f"{filename.removeprefix(below)}:{line}"


def shown(value: object) -> str:
    """Write a value for an error, whatever its repr does."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the author's repr may raise anything
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line


def innermost(function: object) -> object:
    """Give the function that its decorators' wrappers say they wrap."""
    try:
        return inspect.unwrap(function) if callable(function) else function
    except ValueError:  # they wrap each other
        return function


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether a call gives something to be awaited at once, without a thread."""
    return inspect.iscoroutinefunction(function)


def is_local(function: object) -> bool:
    """Tell whether a function was made by another one, rather than by its module."""
    return _LOCALS in getattr(function, "__qualname__", "")


def check(what: str, function: object, *, named: bool = True) -> None:
    """Refuse what cannot be a `what`; `named` if a name was given that is not the function's own.

    Raises:
        TypeError: says what it is, where it stands, and what to write instead.
    """
    trouble = _of_kind(what, function) or _of_body(function) or _of_place(function)
    if trouble is None and not named and getattr(function, "__name__", "") == LAMBDA:
        trouble = f'a lambda has no name of its own: write async def …, or @{what}(name="…")'
    if trouble is not None:
        raise TypeError(f"@{what} {told(function)}: {trouble}")


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (type, "a class is no function: write an async def that makes what it needs"),
    (staticmethod, "a static method belongs to a class, and a history knows none: write it outside of the class"),
    (classmethod, "a class method belongs to a class, and a history knows none: write it outside of the class"),
    (functools.partial, "a partial carries arguments that another process does not have: write a def that passes them"),
    (types.MethodType, "a method carries an object that another process does not have: write a def that calls it"),
    (types.BuiltinFunctionType, "it has no annotations to tell how its values travel: write a def that calls it"),
)


def _of_kind(what: str, function: object) -> str | None:
    """Refuse what is no function."""
    if isinstance(function, str):
        return f"a text is no function: to give a name, write @{what}(name={function!r})"
    if getattr(type(function), "is_definition", False):
        return "it is a definition of Holdfast already: decorate the function itself, once"
    for kind, trouble in _KINDS:
        if isinstance(function, kind):
            return trouble
    if not callable(function):
        return "it is no function: write it before an async def"
    if not isinstance(getattr(function, "__qualname__", None), str):
        return "an object that can be called has no name of its own: write a def that calls it"
    return None


def _of_body(function: object) -> str | None:
    """Refuse functions whose result cannot be awaited once and recorded."""
    inner = innermost(function)
    for one in (function, inner):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            return "a generator gives many values, and a result is one: return a list"
    if inspect.iscoroutinefunction(inner) and hasattr(function, "cache_info"):
        return "a cache gives the same coroutine twice, and it can be awaited once: cache inside of the function"
    try:
        parameters = list(inspect.signature(function).parameters)  # type: ignore[arg-type]  # it can be called
        outer = inspect.signature(function, follow_wrapped=False)  # type: ignore[arg-type]  # as above
    except (TypeError, ValueError) as error:
        return f"its parameters cannot be read ({error}): write a def that calls it"
    if inner is not function:
        taken = inspect.signature(function).parameters.values()  # type: ignore[arg-type]  # as above
        by_place = [one.name for one in taken if one.kind is one.POSITIONAL_ONLY]
        try:
            outer.bind(*by_place, **{one.name: one for one in taken if one.kind in _BY_NAME})
        except TypeError as error:
            return f"its decorator's wrapper does not take what it takes ({error}): write (*args, **kwargs) there"
    if parameters and parameters[0] in _RECEIVERS:
        return (
            f"{parameters[0]} would be recorded as its first argument: write the function outside of the class, "
            "with what it needs as parameters"
        )
    return None


def _of_place(function: object) -> str | None:
    """Refuse functions that another process could not define just so."""
    inner = innermost(function)
    code = getattr(inner, "__code__", None)
    if isinstance(code, types.CodeType) and code.co_freevars:
        names = ", ".join(code.co_freevars)
        return (
            f"it closes over {names}, which another process does not have: define it in its module, with {names} "
            "as parameters (a decorator's wrapper says @functools.wraps(function))"
        )
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if owner and not owner.endswith(_LOCALS):
        return f"it stands in class {owner}, and a history knows no class: write it outside of the class"
    return None
