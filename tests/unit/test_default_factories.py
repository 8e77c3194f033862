"""What a class fills in when its value is read is held to the laws of a turn: each replay reads the input anew."""

import dataclasses
import time
import uuid
from typing import Any

import msgspec
import pydantic
import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun, Request
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck
from holdfast.sdk.definitions import Workflow, signal, step
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.watched import install

START = 1_700_000_000_000_000


@pytest.fixture(autouse=True)
def guarded() -> None:
    install()


class Model(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)


@dataclasses.dataclass
class Data:
    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)


class Record(msgspec.Struct):
    id: uuid.UUID = msgspec.field(default_factory=uuid.uuid4)


@dataclasses.dataclass
class Stamped:
    at: float = dataclasses.field(default_factory=lambda: time.time())  # noqa: PLW0108 - the author's own line


@step
async def default_factory_model() -> Model:
    raise NotImplementedError


async def of_input(model: Model, data: Data, record: Record) -> list[str]:
    return [str(one.id) for one in (model, data, record)]


async def of_result() -> list[str]:
    return [str((await default_factory_model()).id) for _ in range(2)]


async def of_signal() -> list[str]:
    return [str((await signal("go", Data)).id), str((await signal("go", Record)).id)]


async def stamped(order: Stamped) -> float:
    return order.at


def signalled(number: int) -> e.Event:
    return e.SignalReceived(message_id=f"m{number}", name="go", input=Payload(data=b"{}"))


def completed(number: int) -> e.Event:
    return e.StepCompleted(step_id=f"default_factory_model#{number}", attempt=1, result=Payload(data=b"{}"))


def told(code: Any, data: bytes, *events: e.Event) -> list[Request]:
    """Everything the code asks for, told of these events in a process of its own."""
    definition: Workflow[..., Any] = Workflow(code, "code", "1")
    program = LiveProgram(lambda *_: definition, lambda payload: payload.data, "ns", "run-1", 0)
    start = e.RunStarted(workflow="code", version="1", input=Payload(data=data))
    try:
        return [request for event in (start, *events) for request in program.apply(event, START)]
    finally:
        program.evict()


@pytest.mark.parametrize(
    ("code", "data", "events"),
    [
        (of_input, b'{"model":{},"data":{},"record":{}}', []),
        (of_result, b"null", [completed(1), completed(2)]),
        (of_signal, b"null", [signalled(1), signalled(2)]),
    ],
    ids=["input", "result", "signal"],
)
def test_an_id_that_a_class_draws_when_it_is_read_is_the_same_again(
    code: Any, data: bytes, events: list[e.Event]
) -> None:
    live, again = told(code, data, *events), told(code, data, *events)
    assert live == again
    assert isinstance(live[-1], CompleteRun)
    ids = msgspec.json.decode(live[-1].result.data)
    assert len(set(ids)) == len(ids)


def test_a_clock_that_the_author_asks_when_a_value_is_read_parks_the_run() -> None:
    with pytest.raises(
        ProgramStuck, match=r"time\.time in workflow code .*\n.*test_default_factories\.py:\d+ "
    ) as stuck:
        told(stamped, b"{}")
    assert stuck.value.reason == "not_deterministic"
    assert "holdfast resume run-1" in str(stuck.value)
