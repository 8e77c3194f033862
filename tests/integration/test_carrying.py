"""Values through the real loops: what does not fit is found where it is made, and sets do not tell processes apart."""

import json
import math
import time
import zoneinfo
from collections import Counter
from pathlib import Path
from typing import Any

import pydantic
import pytest

from holdfast import Client
from holdfast.core import events as e
from holdfast.core.run import FAILED, PARKED
from holdfast.sdk.definitions import Retry, StepError, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.values import UnfitValue
from holdfast.settings import load
from tests.integration.commandline import done, line_of, started, until_status
from tests.integration.running import Process, events_of, process, signal_of

TWICE = Retry(attempts=2, initial=0.01, backoff=1.0, jitter=0)

calls: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


def wrong(what: str) -> Any:
    """Give something of another type, or nothing that JSON could hold."""
    return {"type": "seven", "nan": math.nan, "surrogate": "\ud800", "object": object(), "none": None}[what]


@step(retry=TWICE)
async def carry_mended(what: str) -> int:
    """Wrong the first time."""
    calls["mended"] += 1
    return wrong(what) if calls["mended"] == 1 else 7


@step(retry=TWICE)
async def carry_wrong(what: str) -> float:
    calls["wrong"] += 1
    return wrong(what)  # type: ignore[no-any-return]  # that is the test


@step(retry=TWICE)
async def carry_number(number: int) -> int:
    calls["number"] += 1
    return number


@effect(guard="at_most_once")
async def carry_sent(what: str) -> int:
    calls["sent"] += 1
    return wrong(what)  # type: ignore[no-any-return]  # that is the test


@workflow
async def carry_mending(what: str) -> int:
    return await carry_mended(what)


@workflow
async def carry_failing(what: str) -> str:
    try:
        await carry_wrong(what)
    except StepError as error:
        return f"{error.failure.type}: {error.failure.message}"
    return "nothing was wrong"


@workflow
async def carry_out(what: str) -> float:
    return wrong(what)  # type: ignore[no-any-return]  # that is the test


@workflow
async def carry_in(what: str) -> int:
    return await carry_number(wrong(what))


@workflow
async def carry_effect(what: str) -> int:
    return await carry_sent(what)


@workflow
async def carry_small(quantity: int = 1, unit: str = "pcs") -> str:
    return f"{quantity} {unit}"


@workflow
async def carry_one(number: int = 3) -> int:
    return await carry_number(number)


class Heard(pydantic.BaseModel):
    """First met by a running workflow."""

    labels: set[str]
    zone: zoneinfo.ZoneInfo


@step
async def carry_zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


@workflow
async def carry_model(heard: Heard) -> int:
    return len(heard.labels)


@workflow
async def carry_heard(name: str) -> list[str]:
    zone = await carry_zone(name)
    heard = await signal("heard", Heard)
    return [zone.key, heard.zone.key, *sorted(heard.labels)]


WRONG = ("type", "nan", "surrogate", "object", "none")


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_result_fails_its_attempt_and_the_step_is_tried_again(file: Path, what: str) -> None:
    async with process(file) as engine:
        await engine.start("carry_mending", what, what)
        assert await engine.result(what) == 7
    assert calls["mended"] == 2


@pytest.mark.parametrize("what", WRONG)
async def test_a_result_that_is_wrong_each_time_fails_its_step_by_name(file: Path, what: str) -> None:
    async with process(file) as engine:
        await engine.start("carry_failing", what, what)
        told = await engine.result(what)
    assert told.startswith("UnfitValue: the result of carry_wrong() cannot be encoded: ")
    assert calls["wrong"] == 2


@pytest.mark.parametrize("what", WRONG)
async def test_a_workflow_whose_result_is_wrong_fails(file: Path, what: str) -> None:
    async with process(file) as engine:
        await engine.start("carry_out", what, what)
        error = await failure(engine, what)
    assert error.startswith("UnfitValue: the result of carry_out() cannot be encoded: ")


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_argument_fails_the_call_before_it_is_recorded(file: Path, what: str) -> None:
    async with process(file) as engine:
        await engine.start("carry_in", what, what)
        error = await failure(engine, what)
        assert "StepScheduled" not in await engine.kinds(what)
    assert error.startswith("UnfitValue: argument 'number' of carry_number() cannot be encoded: ")


async def test_an_effect_whose_result_is_wrong_is_parked_and_not_sent_again(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("carry_effect", "e", "type")
        await engine.until_status("e", PARKED)
    assert calls["sent"] == 1


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("carry_small", None, "1 pcs"),
        ("carry_small", {}, "1 pcs"),
        ("carry_small", {"unit": "kg"}, "1 kg"),
        ("carry_one", None, 3),
    ],
)
async def test_an_input_that_is_left_out_has_its_default(file: Path, name: str, value: Any, result: Any) -> None:
    async with process(file) as engine:
        await engine.start(name, "d", value)
        assert await engine.result("d") == result


async def test_an_input_under_a_misspelt_name_is_parked_with_the_names_there_are(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("carry_small", "m", {"quantitty": 100})
        parked = await engine.parked("m")
    assert parked.reason == "unfit_input"
    assert "quantitty" in parked.detail
    assert "quantity, unit" in parked.detail


async def test_a_client_that_knows_the_workflow_says_at_once_what_does_not_fit(file: Path) -> None:
    async with Client(load({"store": f"sqlite:///{file}"}, {})) as client:
        with pytest.raises(UnfitValue, match="quantitty"):
            await client.start_raw("carry_small", b'{"quantitty": 100}', id="raw")
        with pytest.raises(UnfitValue, match="str where int is annotated"):
            await client.start("carry_one", "three", id="named")
        with pytest.raises(UnfitValue, match="str where int is annotated"):
            await client.start(carry_one, "three", id="called")
        with pytest.raises(TypeError, match="quantitty"):
            await client.start(carry_small, quantitty=100, id="misspelt")


async def test_a_start_by_name_takes_what_json_tells_of_a_value(file: Path) -> None:
    heard = {"labels": ["b", "a"], "zone": "Europe/Vienna"}
    async with Client(load({"store": f"sqlite:///{file}"}, {})) as client:
        await client.start("carry_model", heard, id="plain")
        with pytest.raises(UnfitValue, match="Heard"):
            await client.start("carry_model", {"labels": 7}, id="wrong")
        with pytest.raises(UnfitValue, match="Heard"):
            await client.start(carry_model, heard, id="called")


async def test_types_that_read_files_are_carried_into_workflow_code(file: Path) -> None:
    zoneinfo.ZoneInfo.clear_cache()
    async with process(file) as engine:
        await engine.start("carry_heard", "z", "Asia/Tokyo")
        await engine.send("z", signal_of("heard", {"labels": ["b", "a"], "zone": "Europe/Oslo"}))
        assert await engine.result("z") == ["Asia/Tokyo", "Europe/Oslo", "a", "b"]


async def failure(engine: Process, run: str) -> str:
    last = events_of(await engine.until_status(run, FAILED))[-1]
    assert isinstance(last, e.RunFailed)
    return f"{last.error.type}: {last.error.message}"


SHOP = """
import dataclasses, enum
import pydantic
from holdfast import signal, step, workflow

class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"

@dataclasses.dataclass(frozen=True)
class Order:
    labels: frozenset[str]

class Model(pydantic.BaseModel):
    labels: set[str]

@step
async def tag(labels: set[str], order: Order, model: Model, colours: set[Colour]) -> set[str]:
    return labels | set(colours) | model.labels

@step
async def count(labels: set[str]) -> int:
    return len(labels)

@workflow
async def labelled(labels: set[str]) -> int:
    tagged = await tag(labels, Order(frozenset(labels)), Model(labels=labels), set(Colour))
    number = await count(tagged)
    await signal("go", str)
    return number + await count(tagged)
"""


def until_counted(folder: Path, run: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        steps = json.loads(done(folder, "show", run, "--json"))["steps"]
        if [one["state"] for one in steps] == ["COMPLETED", "COMPLETED"]:
            return
        assert time.monotonic() < deadline, steps


def test_sets_do_not_tell_one_process_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    labels = '["fragile", "express", "gift", "cold", "heavy"]'
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    with started(tmp_path, "dev", "shop.py") as process_:
        line_of(process_)
        done(tmp_path, "start", "labelled", "--id", "one", "--input", labels)
        until_counted(tmp_path, "one")
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    with started(tmp_path, "dev", "shop.py") as process_:
        line_of(process_)
        done(tmp_path, "signal", "one", "go", "--input", '"now"')
        assert until_status(tmp_path, "one", "COMPLETED")["result"] == 16
