"""Mistakes at a call fail the run that makes them, in plain words; they are never told as errors of the engine."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast import Client
from holdfast.core.retry import Failure
from holdfast.sdk.definitions import StepError, signal, step
from tests.unit.test_program import Code, failure, program_read

unchecked: Any = program_read
"""A step, as code sees it that no type checker has read."""


@step
async def mistaken_pair(one: int, *, other: int) -> int:
    return one + other


@step
async def mistaken_named(*, number: int) -> int:
    return number


pair: Any = mistaken_pair
named: Any = mistaken_named


async def no_arguments() -> None:
    await unchecked()


async def too_many() -> None:
    await unchecked("a", "b")


async def unknown_name() -> None:
    await pair(1, colour=2)


async def named_by_place() -> None:
    await named(5)


async def not_called() -> None:
    await unchecked


async def an_id_twice() -> None:
    await asyncio.gather(program_read.options(id="left")("a"), program_read.options(id="left")("b"))


async def an_option_of_a_wrong_type() -> None:
    await unchecked.options(timeout="5")("a")


async def an_unknown_option() -> None:
    await unchecked.options(retries=5)("a")


async def too_much_for_a_signal() -> None:
    await signal("x", int, str)  # type: ignore[call-overload]  # the mistake


async def a_failure_of_the_authors_own() -> None:
    error = StepError(Failure("Declined", "no"))
    error.failure = "not a failure"  # type: ignore[assignment]  # the mistake
    raise error


MISTAKES: list[tuple[Callable[[], Awaitable[Any]], str]] = [
    (no_arguments, r"TypeError: program_read\(\): missing a required argument: 'note'; it takes \(note\)"),
    (too_many, r"TypeError: program_read\(\): too many positional arguments; it takes \(note\)"),
    (unknown_name, r"TypeError: mistaken_pair\(\): missing a required .*'other'; it takes \(one, other\)"),
    (named_by_place, r"TypeError: mistaken_named\(\): too many positional arguments; it takes \(number\)"),
    (not_called, r"TypeError: program_read is a step: call it: await program_read\(…\)"),
    (an_id_twice, r"ValueError: .*'left'.*: an id is used once in a run"),
    (an_option_of_a_wrong_type, r"TypeError: program_read\.options\(…\) \(.*\.py:\d+\): timeout='5': a span of time"),
    (an_unknown_option, r"TypeError: .*unexpected keyword argument 'retries'"),
    (too_much_for_a_signal, r"TypeError: signal\(\) takes from 1 to 2 positional arguments but 3 were given"),
    (a_failure_of_the_authors_own, r"StepError: Declined: no"),
]


@pytest.mark.parametrize(("code", "said"), MISTAKES, ids=[code.__name__ for code, _ in MISTAKES])
def test_a_mistake_at_a_call_fails_the_run_and_says_what_it_is(code: Callable[[], Awaitable[Any]], said: str) -> None:
    told = failure(Code(code).starts())
    assert pytest.raises(AssertionError, match=f"^{said}").matches(AssertionError(f"{told.type}: {told.message}"))


def test_a_wrapper_that_takes_something_else_than_it_says_fails_the_run() -> None:
    async def flow(note: str, count: int) -> str:
        return note * count

    @functools.wraps(flow)
    async def wrapper(note: str) -> str:
        return note

    told = failure(Code(wrapper).starts(b'{"note": "a", "count": 2}'))
    assert told.type == "TypeError"
    assert "got an unexpected keyword argument 'count'" in told.message


@pytest.mark.parametrize("given", [5, step, lambda: None, None, program_read])
async def test_what_is_no_workflow_is_not_started(given: Any) -> None:
    with pytest.raises(TypeError, match=r"a run is one of a @workflow, or of a workflow's name"):
        await Client().start(given)


@pytest.mark.parametrize("attributes", [{"shop": 5}, {5: "shop"}, {"shop": None}, {"shop": "\ud800"}])
async def test_attributes_are_texts(attributes: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="attribute"):
        await Client().start("tea", attributes=attributes)


async def test_words_to_a_run_are_texts() -> None:
    client: Any = Client()
    for asked in (
        client.signal("r", 5), client.signal("r", "x", message_id=5), client.cancel("r", reason=5),
        client.terminate("r", reason=None), client.resume("r", by=b"ada"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"(signal|message_id|reason|by) is a text, not "):
            await asked


async def test_an_unknown_workflow_is_not_started_with_half_of_its_input() -> None:
    with pytest.raises(TypeError, match="give its input as one value, or all of it by name"):
        await Client().start("nobody_knows", 1, 2)
    with pytest.raises(TypeError, match="give its input as one value, or all of it by name"):
        await Client().start("nobody_knows", 1, count=2)
