"""What cannot be a step, an effect, a look-up or a workflow is refused when it is defined, with place and remedy."""

import ast
import asyncio
import datetime as dt
import functools
import importlib
import importlib.util
import inspect
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun, FailRun
from holdfast.core.payload import Payload
from holdfast.sdk import definitions, effects
from holdfast.sdk.definitions import Retry, Workflow, hours, seconds, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.providers import Profile
from holdfast.sdk.registry import DuplicateName, Names
from holdfast.sdk.values import GIVEN

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "writing-workflows.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<refused>[^|]+)` \| [^|]+ \| `(?P<right>[^|]+)` \|$", re.MULTILINE)
REFUSED_AT_IMPORT = GUIDE.split("## What is refused at import\n")[1].split("\n## ")[0]
ROWS = [(row["refused"], row["right"]) for row in ROW.finditer(REFUSED_AT_IMPORT)]


@pytest.fixture(autouse=True)
def nothing_is_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    names: Names[Any] = Names("step")
    monkeypatch.setattr(definitions, "steps", names)
    monkeypatch.setattr(effects, "steps", names)
    monkeypatch.setattr(definitions, "workflows", Names("workflow"))
    monkeypatch.setattr(definitions, "versions", {})


# -------------------------------------------------------------------------------------------------------- the guide


def a_module() -> dict[str, Any]:
    """Run the code that stands above the tables, as a module."""
    (code,) = re.findall(r"```python\n(.*?)```", REFUSED_AT_IMPORT, re.DOTALL)
    names = {"__name__": "shop", "step": step, "effect": effect, "workflow": workflow, "Retry": Retry}
    exec(compile(code, str(ROOT / "docs" / "shop.py"), "exec"), names)  # noqa: S102 - the guide's own code
    return names


@pytest.mark.parametrize(("refused", "right"), ROWS)
def test_what_the_guide_says_is_refused_is_and_what_it_says_instead_is_taken(refused: str, right: str) -> None:
    module = a_module()
    if "read_again" in refused:
        step(module["read"])
    with pytest.raises((TypeError, ValueError, DuplicateName, RuntimeError)) as error:
        exec(refused, module)  # noqa: S102 - the guide's own code
    said = str(error.value.__cause__ or error.value)
    assert re.search(r"\S+\.py:\d+|<string>:\d+", said), said
    exec(right, module)  # noqa: S102 - the guide's own code


def test_the_guide_has_its_tables() -> None:
    assert len(ROWS) > 25
    for refused, right in ROWS:
        ast.parse(refused)
        ast.parse(right)


# ------------------------------------------------------------------------------------------------ functions of classes


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def test_a_method_is_refused_with_its_class_its_line_and_a_remedy() -> None:
    with pytest.raises(TypeError, match=r"Shop\.pay \(\S*test_refused_definitions\.py:\d+\): self would .* outside"):

        class Shop:
            @step
            async def pay(self, amount: int) -> None: ...


@pytest.mark.parametrize("decorator", [step, workflow, effect(guard="at_most_once")])
def test_no_kind_of_definition_stands_in_a_class(decorator: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"Shop.* (self would be recorded|stands in class)"):

        class Shop:
            @decorator
            async def pay(self, amount: int = 1) -> None: ...

    with pytest.raises(TypeError, match=r"a (static|class) method belongs to a class"):

        class Static:
            @decorator
            @staticmethod
            async def pay(amount: int) -> None: ...

    with pytest.raises(TypeError, match="stands in class"):

        class Outside:
            @staticmethod
            @decorator
            async def pay(amount: int) -> None: ...


async def listed(amount: int) -> int:
    return amount


def test_a_step_is_no_attribute_of_a_class_but_may_be_the_default_of_a_field() -> None:
    definition = step(listed)
    with pytest.raises((TypeError, RuntimeError)) as error:

        class Shop:
            pay = definition

    said = str(error.value.__cause__ or error.value)
    assert re.search(r"@step listed \(.*:\d+\): as .*Shop\.pay it would be called like a method", said)

    class Settings:
        pay: Any = definition

    assert asyncio.run(Settings().pay(3)) == 3


@pytest.mark.parametrize("number", [1, 7])
async def test_a_plain_function_around_an_async_one_is_a_step(number: int) -> None:
    definition = step(traced(listed))
    assert definition.name == "listed"
    assert await definition(number) == number


def test_a_plain_function_around_an_async_one_is_no_workflow() -> None:
    with pytest.raises(TypeError, match=r"@workflow listed \(.*\): write async def listed\(…\), and in the wrapper"):
        workflow(traced(listed))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction is of 3.12")
async def test_a_function_that_is_marked_as_async_is_a_step() -> None:
    definition = step(inspect.markcoroutinefunction(traced(listed)))  # type: ignore[attr-defined]  # there from 3.12 on
    assert await definition(3) == 3


def test_a_cache_around_an_async_function_is_refused() -> None:
    with pytest.raises(TypeError, match="a cache gives the same coroutine twice"):
        step(functools.cache(listed))


def test_the_wrapper_of_a_careless_decorator_is_told_of_wraps() -> None:
    def careless(function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(amount: int) -> Any:
            return function(amount)

        return inner

    with pytest.raises(TypeError, match=r"closes over function, .* @functools\.wraps\(function\)"):
        step(careless(listed))


def test_a_wrapper_that_does_not_take_the_arguments_is_refused() -> None:
    def limited(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def inner(amount: int) -> Any:
            return await function(amount, key="k")

        return inner

    with pytest.raises(TypeError, match=r"keyed \(.*\): its decorator's wrapper does not take what it takes \(.*'key'"):
        step(limited(keyed))


def test_functions_that_wrap_each_other_are_refused() -> None:
    one, other = traced(listed), traced(listed)
    one.__wrapped__ = other  # type: ignore[attr-defined]  # a mistake of a decorator
    other.__wrapped__ = one  # type: ignore[attr-defined]  # as above
    with pytest.raises(TypeError, match=r"its parameters cannot be read"):
        step(one)


@pytest.mark.parametrize("what", [5, None, object(), "name"])
def test_what_is_no_function_is_no_look_up_either(what: Any) -> None:
    asked = effect(guard="lookup", lifetime=seconds(1))(listed)
    with pytest.raises(TypeError, match=r"@listed\.lookup .*\S+\.py:\d+"):
        asked.lookup(what)


# --------------------------------------------------------------------------------------------- two functions, one name


def test_a_factory_that_makes_two_steps_of_one_name_is_refused() -> None:
    def adder(by: int) -> Any:
        @step
        async def add(number: int, by: int = by) -> int:
            return number + by

        return add

    adder(1)
    adder(1)  # the same once more
    with pytest.raises(DuplicateName, match=r"step 'add' is defined twice: in .*add \(.*\) and in .*add \(.*\)"):
        adder(2)


def test_what_closes_over_its_surroundings_is_refused_at_once_and_named() -> None:
    def greeter(customer: str) -> Any:
        @step
        async def greet() -> str:
            return f"invoice for {customer}"

        return greet

    with pytest.raises(TypeError, match=r"greet \(.*\): it closes over customer, .* with customer as parameters"):
        greeter("Ada")


def test_a_lambda_with_a_name_is_a_step_and_another_under_this_name_is_refused() -> None:
    step(name="double")(lambda number: number * 2)
    with pytest.raises(DuplicateName, match="step 'double' is defined twice"):
        step(name="double")(lambda number: number + number)


def test_spans_are_seconds_or_timedeltas_and_errors_one_class_or_several() -> None:
    retry = Retry(initial=dt.timedelta(milliseconds=500), maximum=dt.timedelta(hours=1), on=OSError)
    definition = step(timeout=dt.timedelta(minutes=2), heartbeat=3, retry=retry)(listed)
    options = definition.options(total_timeout=dt.timedelta(days=1)).step_options
    assert (options.timeout, options.heartbeat, options.total_timeout) == (120.0, 3.0, 86_400.0)
    assert (options.retry.initial, options.retry.maximum, options.retry.on) == (0.5, 3600.0, ("builtins.OSError",))


@pytest.mark.parametrize(
    "wrong", [{"id": ""}, {"id": 5}, {"id": "a/b"}, {"id": "\ud800"}, {"queue": ""}, {"timeout": 0}, {"retry": 3}]
)
def test_options_of_one_call_are_checked_and_name_the_step(wrong: dict[str, Any]) -> None:
    option, value = next(iter(wrong.items()))
    with pytest.raises(
        (TypeError, ValueError), match=rf"listed\.options\(…\) \(.*:\d+\): {option}={re.escape(repr(value))}"
    ):
        step(listed).options(**wrong)


def test_many_attempts_are_weighed_without_counting_them_all() -> None:
    again = Retry(attempts=1_000_000, initial=1, backoff=1e9)
    effect(guard="at_most_once", retry=again)(listed)
    with pytest.raises(TypeError, match=r"keyed \(.*\): the waits between attempts add up to more than"):
        effect(guard="provider_key", window=hours(24), retry=again)(keyed)


@pytest.mark.parametrize("retention", [float("inf"), 0, "a day"])
def test_a_profile_of_the_authors_own_keeps_keys_for_a_span(retention: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"listed \(.*\): the retention of 'acme' in http="):
        effect(guard="provider_key", http=Profile(name="acme", retention=retention))(listed)


async def keyed(amount: int, *, key: str = GIVEN) -> None: ...


async def found(amount: int) -> int | None: ...


async def found_otherwise(amount: int) -> int | None: ...


def test_an_effect_has_one_look_up() -> None:
    asked = effect(guard="lookup", lifetime=seconds(1))(listed)
    asked.lookup(found)
    asked.lookup(found)
    with pytest.raises(DuplicateName, match=r"@listed\.lookup found_otherwise .* looked up by found .* already"):
        asked.lookup(found_otherwise)


def test_one_function_is_no_effect_under_two_guards() -> None:
    effect(guard="at_most_once")(listed)
    with pytest.raises(DuplicateName, match="under other terms already"):
        effect(guard="lookup", lifetime=seconds(1))(listed)


def test_workflow_code_defines_nothing() -> None:
    async def code() -> None:
        @step
        async def later() -> None: ...

    definition: Workflow[..., Any] = Workflow(code, "code", "1")
    program = LiveProgram(lambda _name, _version: definition, lambda payload: payload.data, "ns", "run-1", 0)
    (failed,) = program.apply(e.RunStarted(workflow="code", version="1", input=Payload(data=b"null")), 1)
    assert isinstance(failed, FailRun)
    assert "workflow code defines nothing" in failed.error.message
    program.evict()


def test_workflow_code_may_be_the_first_to_import_a_module_of_steps(folder: Path) -> None:
    (folder / "till.py").write_text(ONCE, "utf-8")

    async def code() -> str:
        name: str = importlib.import_module("till").price.name
        return name

    definition: Workflow[..., Any] = Workflow(code, "code", "1")
    program = LiveProgram(lambda _name, _version: definition, lambda payload: payload.data, "ns", "run-1", 0)
    (end,) = program.apply(e.RunStarted(workflow="code", version="1", input=Payload(data=b"null")), 1)
    assert end == CompleteRun(result=Payload(data=b'"price"'))


# ----------------------------------------------------------------------------------------------- modules loaded again

TWICE = """
from holdfast import step

@step
async def price(cents: int) -> str:
    return "net"

net = price

@step
async def price(cents: int) -> str:
    return "gross"
"""
ONCE = """
from holdfast import effect, seconds, step, workflow

@step
async def price(cents: int) -> str:
    return "net"

@effect(guard="lookup", lifetime=seconds(1))
async def pay(cents: int) -> int:
    return cents

@pay.lookup
async def paid(cents: int) -> int | None:
    return None

@workflow
async def sale(cents: int) -> str:
    return await price(cents)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a file within a second look alike to it
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_function_that_is_written_twice_in_a_module_is_refused(folder: Path) -> None:
    (folder / "till.py").write_text(TWICE, "utf-8")
    with pytest.raises(DuplicateName, match=r"in price \(.*till\.py:4\) and in price \(.*till\.py:10\)"):
        importlib.import_module("till")


def test_a_module_may_be_reloaded_also_when_its_lines_have_moved(folder: Path) -> None:
    (folder / "till.py").write_text(ONCE, "utf-8")
    module = importlib.import_module("till")
    importlib.reload(module)
    (folder / "till.py").write_text("\n\n" + ONCE.replace("net", "gross"), "utf-8")
    importlib.reload(module)
    definition = definitions.steps.get("price")
    assert definition is not None
    assert asyncio.run(definition(1)) == "gross"


def test_a_reload_finds_a_name_that_is_there_twice(folder: Path) -> None:
    (folder / "till.py").write_text(ONCE, "utf-8")
    module = importlib.import_module("till")
    (folder / "till.py").write_text(TWICE, "utf-8")
    with pytest.raises(DuplicateName, match="step 'price' is defined twice"):
        importlib.reload(module)


@pytest.mark.parametrize("again", ["another_name", "till"])
def test_a_file_may_be_loaded_under_two_names_or_twice_under_one(folder: Path, again: str) -> None:
    (folder / "till.py").write_text(ONCE, "utf-8")
    importlib.import_module("till")
    load(folder / "till.py", again)
    runpy.run_path(str(folder / "till.py"), run_name="__main__")
    (folder / "link.py").symlink_to(folder / "till.py")
    importlib.import_module("link")
    assert definitions.steps.names() == ["pay", "price"]


def test_two_files_that_define_one_name_are_refused(folder: Path) -> None:
    for name in ("till", "desk"):
        (folder / f"{name}.py").write_text(ONCE, "utf-8")
    importlib.import_module("till")
    with pytest.raises(DuplicateName, match=r"step 'price' is defined twice: in .*till\.py:4\) and in .*desk\.py:4\)"):
        importlib.import_module("desk")


def test_at_a_prompt_a_function_is_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt: dict[str, Any] = {"__name__": "__main__", "step": step}
    for line in ("1", "2"):
        exec(compile(f"@step\ndef typed() -> int:\n    return {line}", f"<input-{line}>", "exec"), prompt)  # noqa: S102 - as a prompt does
    definition = definitions.steps.get("typed")
    assert definition is not None
    assert asyncio.run(definition()) == 2
