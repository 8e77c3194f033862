"""The way of a StartRun, as docs/architecture.md tells it: its links lead somewhere, and a real start goes that way."""

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from holdfast import Client, step, workflow
from holdfast.settings import Settings
from tests.integration.bus import serving

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
HEADING = "## The way of a StartRun, call by call"
MOST = 12


@step(name="greet_on_the_way")
async def greet(name: str) -> str:
    return f"Hello, {name}"


@workflow(name="greeting_on_the_way")
async def greeting(name: str) -> str:
    return await greet(name)


class Call(NamedTuple):
    file: Path
    name: str


def told() -> list[Call]:
    """Read the list: `1. [name](../src/…)` on each line that begins with a number."""
    _, _, after = PAGE.read_text().partition(HEADING)
    section = after.partition("\n## ")[0]
    return [
        Call((PAGE.parent / link).resolve(), name)
        for name, link in re.findall(r"^\d+\. \[`([\w.]+)`\]\(([^)]+)\)", section, re.MULTILINE)
    ]


def names_in(file: Path) -> set[str]:
    """Name the functions of a module, and the methods of its classes as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = (one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
            found |= {f"{node.name}.{one.name}" for one in methods}
    return found


def test_the_way_is_told_in_at_most_twelve_calls_and_each_link_leads_to_one() -> None:
    calls = told()
    assert 1 < len(calls) <= MOST
    for call in calls:
        assert call.name in names_in(call.file), f"{PAGE.name} links to {call.name}, which {call.file} has not"


class Trace:
    """The first time that each function was entered, or gone on with, in this thread."""

    def __init__(self) -> None:
        self._seen: dict[CodeType, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self._seen.setdefault(frame.f_code)

    def order_of(self, calls: list[Call]) -> list[str]:
        """Put `calls` in the order in which they happened; those that did not happen are left out."""
        wanted = {(str(call.file), call.name): call.name for call in calls}
        keys = ((code.co_filename, code.co_qualname) for code in self._seen)
        return [wanted[key] for key in keys if key in wanted]


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        yield
    finally:
        sys.setprofile(before)


async def test_a_start_goes_the_way_that_the_page_tells(tmp_path: Path) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path / 'holdfast.db'}")
    trace = Trace()
    async with serving(settings), Client(settings) as client:
        with traced(trace):
            run = await client.start(greeting, "Ada", id="on-the-way")
            assert await run.result() == "Hello, Ada"

    calls = told()
    assert trace.order_of(calls) == [call.name for call in calls]
