"""The agent loops of Pydantic AI and of the OpenAI Agents SDK run as they are in workflow code, and are replayed.

The model is a step that follows a script by the number of answers in the conversation that it is shown.
"""

import gc
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from agents import Agent as OpenaiAgent
from agents import ModelResponse as OpenaiResponse
from agents import RunConfig, Runner, Usage, function_tool
from agents.items import TResponseInputItem, TResponseStreamEvent
from agents.models.interface import Model as OpenaiModel
from agents.models.interface import ModelProvider
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model as PydanticModel
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from holdfast.sdk.definitions import seconds, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.values import GIVEN
from tests.integration.running import assert_nothing_open, assert_whole, process

called: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    called.clear()


@step
async def library_model(answers: int) -> list[dict[str, Any]]:
    """Ask for two reads at once, then for a payment, then end."""
    called["model"] += 1
    script: list[list[dict[str, Any]]] = [
        [{"id": "c1", "tool": "stock", "of": {"sku": "a"}}, {"id": "c2", "tool": "stock", "of": {"sku": "b"}}],
        [{"id": "c3", "tool": "pay", "of": {"amount": 3}}],
        [],
    ]
    return script[answers]


@step
async def library_stock(sku: str) -> int:
    called[f"stock {sku}"] += 1
    return 7


@effect(guard="provider_key", window=seconds(600), margin=seconds(1))
async def library_pay(amount: int, *, key: str = GIVEN) -> str:
    called[f"pay {key}"] += 1
    return f"paid {amount}"


async def stock(sku: str) -> int:
    """Tell how many there are."""
    return await library_stock.options(id=f"stock.{sku}")(sku)


async def pay(amount: int) -> str:
    """Pay."""
    with anyio.fail_after(60):
        return await library_pay(amount)


class PydanticScript(PydanticModel):
    model_name = "script"
    system = "script"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        told = json.loads(ModelMessagesTypeAdapter.dump_json(messages))
        calls = await library_model(sum(one["kind"] == "response" for one in told))
        if not calls:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(call["tool"], call["of"], tool_call_id=call["id"]) for call in calls])


@workflow
async def library_pydantic(question: str) -> str:
    agent = PydanticAgent(PydanticScript(), name="clerk", tools=[stock, pay])
    result = await agent.run(question)
    return f"{result.output} after {result.usage.requests} requests"


class OpenaiScript(OpenaiModel):
    async def get_response(
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *_: Any, **__: Any
    ) -> OpenaiResponse:
        told = [] if isinstance(input, str) else [one.get("type") for one in input]
        results = told.count("function_call_output")
        calls = await library_model({0: 0, 2: 1, 3: 2}[results])
        output: list[Any] = [
            ResponseFunctionToolCall(
                call_id=call["id"], name=call["tool"], arguments=json.dumps(call["of"]), type="function_call"
            )
            for call in calls
        ]
        text = ResponseOutputText(text="done", type="output_text", annotations=[])
        end = ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[text])
        return OpenaiResponse(output=output or [end], usage=Usage(requests=1), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError  # the scripts do not stream


class OpenaiScripts(ModelProvider):
    def get_model(self, model_name: str | None) -> OpenaiModel:
        return OpenaiScript()


@workflow
async def library_openai(question: str) -> str:
    agent = OpenaiAgent(name="clerk", tools=[function_tool(stock), function_tool(pay)])
    config = RunConfig(model_provider=OpenaiScripts(), tracing_disabled=True)
    result = await Runner.run(agent, question, run_config=config)
    return f"{result.final_output} after {result.context_wrapper.usage.requests} requests"


LIBRARIES = pytest.mark.parametrize("name", ["library_pydantic", "library_openai"])
ONCE = {"model": 3, "stock a": 1, "stock b": 1}


def everything_happened_once() -> bool:
    paid = [count for what, count in called.items() if what.startswith("pay ")]
    return paid == [1] and {what: called[what] for what in ONCE} == ONCE


@LIBRARIES
async def test_a_library_s_loop_runs_in_a_workflow_and_its_tools_are_steps_and_effects(
    tmp_path: Path, name: str
) -> None:
    async with process(tmp_path / "holdfast.db") as engine:
        await engine.start(name, "a", "what is there?")
        assert await engine.result("a") == "done after 3 requests"
        await assert_whole(engine.store, "a")
        await assert_nothing_open(engine.store)
    assert everything_happened_once(), called


@LIBRARIES
async def test_a_library_s_loop_that_is_rebuilt_before_every_event_asks_the_same_again(
    tmp_path: Path, name: str
) -> None:
    async with process(tmp_path / "holdfast.db", cache_bytes=0) as engine:
        await engine.start(name, "a", "what is there?")
        assert await engine.result("a") == "done after 3 requests"
    assert everything_happened_once(), called


async def begun(file: Path, name: str) -> None:
    """A process begins a run and dies when the model has answered for the first time."""
    async with process(file) as engine:
        await engine.start(name, "a", "what is there?")
        await engine.until_recorded("a", "StepCompleted")


@LIBRARIES
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see gc.collect() below
async def test_a_process_that_dies_between_answer_and_tool_is_followed_by_one_that_goes_on(
    tmp_path: Path, name: str
) -> None:
    await begun(tmp_path / "holdfast.db", name)
    gc.collect()  # the loop of the dead ends here, in another context than it began in; no real process collects it
    async with process(tmp_path / "holdfast.db", "p2") as engine:
        assert await engine.result("a") == "done after 3 requests"
        await assert_whole(engine.store, "a")
    keys = [what for what in called if what.startswith("pay ")]
    assert len(keys) == 1, called  # sent again if it was in flight, under the same key
    gc.collect()
