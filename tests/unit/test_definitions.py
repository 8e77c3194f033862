"""Workflows, steps and effects, as an author writes them; outside a workflow they just run."""

import asyncio
import threading

import pytest

from holdfast.core.retry import RetrySchedule
from holdfast.sdk.definitions import (
    Retry,
    StepError,
    days,
    hours,
    minutes,
    seconds,
    signal,
    step,
    steps,
    versions,
    workflow,
)
from holdfast.sdk.effects import effect
from holdfast.sdk.failures import failure_of, full_name
from holdfast.sdk.registry import DuplicateName, Names
from holdfast.sdk.values import GIVEN


@step
async def defined_add(number: int, by: int = 1) -> int:
    """Add."""
    return number + by


@step
def defined_thread() -> str:
    return threading.current_thread().name


@effect(guard="provider_key", window=hours(24))
async def defined_charge(amount: int, *, key: str = GIVEN) -> str:
    return f"{amount} {key}"


@workflow
async def defined_order(number: int) -> int:
    return await defined_add(number)


async def test_outside_a_workflow_a_step_an_effect_and_a_workflow_just_run() -> None:
    assert await defined_add(1, by=2) == 3
    assert await defined_order(1) == 2
    assert await defined_charge(5, key="mine") == "5 mine"


async def test_a_plain_function_runs_in_a_thread() -> None:
    # Not in one of asyncio's own: there host names are looked up.
    assert (await defined_thread()).startswith("holdfast-call")


@step
def defined_runs_out() -> int:
    return next(iter(()))


async def test_an_exception_that_no_future_can_carry_is_raised_and_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        async with asyncio.timeout(10):
            await defined_runs_out()


def test_a_definition_is_found_by_its_name_and_keeps_its_words() -> None:
    assert steps.get("defined_add") is defined_add
    assert (defined_add.__name__, defined_add.__doc__) == ("defined_add", "Add.")
    assert versions["defined_order"].by_version["1"] is defined_order


def test_a_definition_may_have_another_name_and_version() -> None:
    @step(name="defined-other")
    async def some() -> None: ...

    @workflow(name="defined-flow", version="7")
    async def flow() -> None: ...

    assert steps.get("defined-other") is some
    assert versions["defined-flow"].latest == "7"
    assert versions["defined-flow"].by_version == {"7": flow}


async def numbered(number: int) -> int:
    return number


def test_the_last_version_is_what_new_runs_start_with() -> None:
    for version in ("1", "3", "2"):
        workflow(name="defined-versions", version=version)(numbered)
    assert versions["defined-versions"].latest == "2"
    assert set(versions["defined-versions"].by_version) == {"1", "2", "3"}


def test_two_functions_under_one_name_are_refused_and_named() -> None:
    names: Names[str] = Names("step")
    names.add("x", test_two_functions_under_one_name_are_refused_and_named, "one")
    with pytest.raises(DuplicateName, match=r"step 'x' is defined twice: in .*, and in|in .* and in .*"):
        names.add("x", test_a_definition_may_have_another_name_and_version, "other")
    assert names.get("x") == "one"


def test_a_module_that_is_imported_again_replaces_what_it_defined() -> None:
    names: Names[str] = Names("step")
    for definition in ("one", "other"):
        names.add("x", test_two_functions_under_one_name_are_refused_and_named, definition)
    assert names.definitions() == ["other"]
    assert names.names() == ["x"]


def test_options_of_one_call_change_that_call_alone() -> None:
    other = defined_add.options(id="left", queue="cnc", timeout=5, retry=Retry(attempts=1))
    assert (other.step_options.id, other.step_options.queue, other.step_options.timeout) == ("left", "cnc", 5)
    assert other.step_options.retry.attempts == 1
    assert (defined_add.step_options.id, defined_add.step_options.queue) == (None, "default")
    assert defined_add.options().step_options == defined_add.step_options


def test_a_retry_is_recorded_by_the_names_of_its_errors() -> None:
    recorded = Retry(attempts=3, on=(OSError,), never_on=(StepError,)).recorded()
    assert recorded == RetrySchedule(
        attempts=3, on=("builtins.OSError",), never_on=("holdfast.sdk.definitions.StepError",)
    )


def test_a_failure_bears_the_names_of_its_error() -> None:
    failure = failure_of(ConnectionResetError("x"), "read#1")
    assert failure.type == "ConnectionResetError"
    assert full_name(OSError) in failure.kinds
    assert full_name(Exception) in failure.kinds
    assert "builtins.object" not in failure.kinds


def test_a_failure_is_fit_for_utf_8_and_not_too_long() -> None:
    failure = failure_of(OSError("\udcff" + "x" * 100_000))
    assert failure.message.startswith("\\udcff")
    assert len(failure.message.encode()) < 10_000


def test_an_effect_needs_a_guard_and_its_key() -> None:
    with pytest.raises(TypeError, match="a guard is one of"):
        effect(guard="hope")
    with pytest.raises(TypeError, match=r"add \*, key: str = GIVEN"):

        @effect(guard="provider_key", window=hours(24))
        async def keyless(amount: int) -> None: ...


def test_a_workflow_is_an_async_function() -> None:
    with pytest.raises(TypeError, match="write async def plain"):

        @workflow  # type: ignore[arg-type]  # the mistake that is shown
        def plain() -> None: ...


async def test_what_only_a_workflow_can_do_says_so() -> None:
    for call in (workflow.now, workflow.random, workflow.uuid4):
        with pytest.raises(RuntimeError, match=rf"workflow.{call.__name__}\(\) is for workflow code"):
            call()
    with pytest.raises(RuntimeError, match=r"signal\(\) is for workflow code"):
        await signal("x")


def test_time_spans_are_seconds() -> None:
    assert (seconds(1), minutes(1), hours(1), days(1)) == (1.0, 60.0, 3600.0, 86400.0)
