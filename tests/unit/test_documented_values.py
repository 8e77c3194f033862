"""The tables of docs/writing-workflows.md that say what is carried, row by row."""

import re
import types
from pathlib import Path
from typing import Any

import pytest

from holdfast.sdk.carriers import Unsupported, carrier_of

GUIDE = (Path(__file__).parents[2] / "docs" / "writing-workflows.md").read_text("utf-8")
SECTION = GUIDE.split("## What is carried\n")[1].split("\n## ")[0]
BLOCK = SECTION.split("```python\n")[1].split("```")[0]
TOLD, _, REFUSED = SECTION.partition("These are refused at import:")
CELL = r"`((?:[^`|]|\\\|)+)`"
CARRIED_ROWS = re.findall(rf"^\| {CELL} \| {CELL} \| {CELL} \|", TOLD, re.MULTILINE)
REFUSED_ROWS = re.findall(rf"^\| {CELL} \|", REFUSED, re.MULTILINE)


def evaluated(text: str) -> Any:
    return eval(text.replace("\\|", "|"), vars(GIVEN))  # noqa: S307 - our own documentation


GIVEN = types.ModuleType("documented")
exec(BLOCK, vars(GIVEN))  # noqa: S102 - as above


@pytest.mark.parametrize(("annotation", "value", "data"), CARRIED_ROWS)
def test_what_is_said_to_be_carried_comes_back_and_travels_as_is_said(annotation: str, value: str, data: str) -> None:
    carrier, went = carrier_of(evaluated(annotation)), evaluated(value)
    written = carrier.encode(went)
    assert written.decode() == data
    back = carrier.decode(written)
    assert back == went
    assert type(back) is type(went)
    assert carrier.encode(back) == written


@pytest.mark.parametrize("annotation", REFUSED_ROWS)
def test_what_is_said_to_be_refused_is_refused(annotation: str) -> None:
    with pytest.raises(Unsupported):
        carrier_of(evaluated(annotation))


def test_every_row_of_the_tables_is_read() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("|") and "`" in line]
    assert len(CARRIED_ROWS) + len(REFUSED_ROWS) == len(rows)
    assert len(rows) > 50
