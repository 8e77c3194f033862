"""The table of docs/writing-workflows.md, tried row by row."""

import re
from pathlib import Path

import pytest

from holdfast.sdk.trusted import DEFAULT
from holdfast.sdk.watched import install
from tests.unit.cold import in_a_turn, line_of, names
from tests.unit.test_cold_and_warm import tried

PAGE = (Path(__file__).parents[2] / "docs" / "writing-workflows.md").read_text("utf-8")
SECTION = PAGE.split("## What workflow code must not do")[1].split("\n## ")[0]
COMES_OUT = {"refused": "refused", "allowed": "given", "the run's own": "given", "not caught": "given"}
KIND = re.compile("|".join(COMES_OUT))


def rows() -> dict[str, str]:
    """Each call of the table, with what the page says of it."""
    table = [line.split(" | ") for line in SECTION.splitlines() if line.startswith("| `")]
    found: dict[str, str] = {}
    for calls, what, *_ in table:
        kind = KIND.match(what)
        assert kind is not None, f"{what!r} is none of {', '.join(COMES_OUT)}"
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", calls), kind[0])
    return found


@pytest.mark.timeout(180)
def test_every_call_of_the_table_comes_out_as_the_page_says() -> None:
    calls = rows()
    assert len(calls) > 100
    assert set(calls.values()) == set(COMES_OUT)
    assert tried(list(calls)) == {call: [COMES_OUT[kind]] * 3 for call, kind in calls.items()}


@pytest.mark.parametrize("call", [call for call, kind in rows().items() if kind == "the run's own"])
def test_what_is_the_runs_own_is_the_same_again(call: str) -> None:
    install()
    work = line_of(call, names())
    assert in_a_turn(work) == in_a_turn(work)


def test_the_page_names_the_libraries_that_are_trusted() -> None:
    listed = SECTION.split("what they stand on: ")[1].split(". Trust others")[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(DEFAULT)
