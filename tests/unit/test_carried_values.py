"""What comes back equals what went in, for every annotation that is carried, in every process alike."""

import base64
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.payload import Payload, same
from holdfast.sdk.carriers import carrier_of
from tests.unit.carried import (
    Box,
    Colour,
    Crate,
    Form,
    Mixed,
    Parcel,
    Spec,
    annotation_of,
    specs,
    values_of,
)

CARRIED = specs().flatmap(lambda spec: st.tuples(st.just(spec), values_of(spec)))


def told(value: Any) -> Any:
    """Take a value apart into classes and plain parts, so that equal values of other classes are not the same."""
    kind = type(value)
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(told(part)) for part in value)
    if isinstance(value, Mapping):
        return kind, [(told(name), told(part)) for name, part in value.items()]
    if isinstance(value, (list, tuple)) or kind.__name__ == "deque":
        return kind, [told(part) for part in value]
    if isinstance(value, msgspec.Struct):
        return kind, [told(getattr(value, name)) for name in value.__struct_fields__]
    if attrs.has(kind):
        return kind, [told(getattr(value, each.name)) for each in attrs.fields(kind)]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return kind, repr(value) if not vars(value) else [(name, told(part)) for name, part in vars(value).items()]
    return kind, repr(value)


@given(CARRIED)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_value_of_any_annotation_comes_back_equal_and_is_written_the_same_again(carried: tuple[Spec, Any]) -> None:
    spec, value = carried
    carrier = carrier_of(annotation_of(spec))
    data = carrier.encode(value)
    back = carrier.decode(data)
    assert back == value
    assert told(back) == told(value)
    assert carrier.encode(back) == data


NAMES = {"red", "green", "blue", "black", "white", "grey", "pink"}
SETS: list[tuple[Spec, Any]] = [
    (("set", ("str",)), NAMES),
    (("list", ("frozenset", ("str",))), [frozenset(NAMES)]),
    (("box", ("frozenset", ("str",))), Box(frozenset(NAMES))),
    (("set", ("box", ("frozenset", ("str",)))), {Box(frozenset(NAMES - {name})) for name in NAMES}),
    (("set", ("pair", ("str",))), {(name, 1) for name in NAMES}),
    (("set", ("union", ("str",), ("date",), ("datetime",))), NAMES | {dt.date(2026, 1, day) for day in (1, 2, 3)}),
    (("set", ("colour",)), set(Colour)),
    (("set", ("mixed",)), set(Mixed)),
    (("crate", ("str",)), Crate("x", frozenset(NAMES))),
    (("parcel", ("str",)), Parcel("x", frozenset(NAMES))),
    (("row", ("str",)), {"cell": "x", "labels": NAMES}),
    (("form", ("frozenset", ("str",))), Form[frozenset[str]](theField=frozenset(NAMES), labels=NAMES, hidden=3)),
    (("list", ("form", ("int",))), [Form[int](theField=1, labels=NAMES)]),
]


def drawn(number: int) -> list[tuple[Spec, Any]]:
    """Draw values of annotations of all kinds."""
    values = []

    @given(CARRIED)
    @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def draw(carried: tuple[Spec, Any]) -> None:
        values.append(carried)

    draw()
    return values


AGAIN = """
import base64, json, sys
from holdfast.sdk.carriers import carrier_of
from tests.unit.carried import annotation_of
def spec(parts): return tuple(spec(part) if isinstance(part, list) else part for part in parts)
out = []
for parts, data in json.load(sys.stdin):
    carrier = carrier_of(annotation_of(spec(parts)))
    out.append(base64.b64encode(carrier.encode(carrier.decode(base64.b64decode(data)))).decode())
json.dump(out, sys.stdout)
"""


@pytest.mark.timeout(120)
def test_the_bytes_are_the_same_in_processes_with_other_hash_seeds() -> None:
    values = SETS + drawn(200)
    written = [carrier_of(annotation_of(spec)).encode(value) for spec, value in values]
    asked = json.dumps(
        [(spec, base64.b64encode(data).decode()) for (spec, _), data in zip(values, written, strict=True)]
    )
    for seed in ("0", "1", "77"):
        ran = subprocess.run(
            [sys.executable, "-c", AGAIN],
            input=asked,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        again = [base64.b64decode(data) for data in json.loads(ran.stdout)]
        assert again == written
        # A second start with the same input, from another process, is the same start.
        assert all(same(Payload(data=one), Payload(data=other)) for one, other in zip(again, written, strict=True))
