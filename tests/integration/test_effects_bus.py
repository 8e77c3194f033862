"""Deciding on parked effects on the cluster: from the bus without an SDK, by the client, by the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast import GIVEN, Retry, StepError, effect, hours, workflow
from holdfast.client import EffectUnknown, ResolutionRefused
from holdfast.ports.ledger import Story
from tests.integration.bus import DEADLINE, Running, running, settings_on
from tests.integration.commandline import holdfast
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

SIGNED = ("--by", "ada", "--reason", "asked the bank")


@effect(guard="provider_key", window=hours(24), retry=Retry(attempts=1))
async def bus_charge(cents: int, *, key: str = GIVEN) -> int:
    raise ConnectionResetError(f"no answer about {cents} under {key}")


@workflow
async def bus_pay(cents: int) -> str:
    try:
        return f"paid {await bus_charge(cents)}"
    except StepError as error:
        return f"{error.failure.type}: {error.failure.message}"


@pytest.fixture(params=[True, False], ids=["local", "separate"])
async def here(servers: Servers, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace), local=request.param) as one:
        yield one


async def parked(here: Running, run: str) -> Story:
    await here.client.start(bus_pay, 17, id=run)
    await here.stored(run, "PARKED")
    (story,) = await here.client.effects(run)
    return story


def verdict(story: Story, word: str, **more: object) -> dict[str, object]:
    effect = story.effect
    said = {"run_id": effect.run_id, "step_id": effect.step_id, "version": effect.version}
    return {**said, "verdict": word, "by": "ledger-bot", "reason": "the bank's statement", **more}


async def test_a_stranger_decides_in_json(here: Running) -> None:
    happened, refused = await parked(here, "order-1"), await parked(here, "order-2")

    here.bus.say("ResolveEffect", verdict(happened, "succeeded", result=17), ce_id="1", key="order-1")
    here.bus.say("ResolveEffect", verdict(refused, "failed", error="stolen card"), ce_id="2", key="order-2")

    assert await here.result("order-1") == "paid 17"
    assert await here.result("order-2") == "Resolved: stolen card"
    (story,) = await here.client.effects("order-1")
    assert (story.effect.resolved_by, story.moves[-1].reason) == ("ledger-bot", "the bank's statement")


async def test_a_verdict_of_a_stranger_about_what_has_moved_since_changes_nothing(here: Running) -> None:
    story = await parked(here, "order-3")
    here.bus.say("ResolveEffect", verdict(story, "retry"), ce_id="1", key="order-3")
    async with asyncio.timeout(DEADLINE):
        while (again := (await here.client.effects("order-3"))[0].effect).state != "PARKED" or (
            again.version == story.effect.version
        ):
            await asyncio.sleep(0.01)

    here.bus.say("ResolveEffect", verdict(story, "failed"), ce_id="2", key="order-3")
    await here.client.resolve(again.effect_id, succeeded=17, by="ada", reason="asked the bank")

    assert await here.result("order-3") == "paid 17"


async def test_the_client_decides_and_hears_what_came_first(here: Running) -> None:
    await parked(here, "order-4")

    decided = await here.client.resolve("order-4/bus_charge#1", succeeded=17, by="ada", reason="asked the bank")

    assert (decided.state, decided.resolved_by) == ("SUCCEEDED", "ada")
    assert await here.result("order-4") == "paid 17"
    with pytest.raises(ResolutionRefused, match=r"ada decided SUCCEEDED at 20.* \(asked the bank\)"):
        await here.client.resolve(("order-4", "bus_charge#1"), retry=True, by="bob", reason="again")
    with pytest.raises(EffectUnknown, match="run order-4 has no effect bus_charge#2"):
        await here.client.resolve("order-4/bus_charge#2", retry=True, by="bob", reason="again")


async def test_the_command_line_tells_and_decides_on_the_cluster(here: Running, tmp_path: Path) -> None:
    await parked(here, "order-5")
    await parked(here, "order-6")
    settings = here.settings
    named = {
        "HOLDFAST_NAMESPACE": settings.namespace,
        "HOLDFAST_STORE": settings.store,
        "HOLDFAST_LOG": settings.log,
        "HOLDFAST_KEYS": settings.keys,
    }

    async def done(*arguments: str) -> str:
        result = await asyncio.to_thread(holdfast, tmp_path, *arguments, **named)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    listed = [json.loads(line) for line in (await done("effects", "--state", "PARKED", "--json")).splitlines()]
    assert {one["run_id"] for one in listed} == {"order-5", "order-6"}
    assert "no attempts are left" in await done("effects", "order-5")
    assert "2 parked, each waits for a person" in await done("doctor")
    assert "would resolve 2 effects" in await done(
        "resolve", "--filter", "name=bus_charge", "--dry-run", "--failed", "lost", *SIGNED
    )
    did = await done("resolve", "--filter", "name=bus_charge", "--failed", "lost", *SIGNED)
    assert did.splitlines()[-1] == "resolved 2 effects, 0 refused"
    assert await here.result("order-5") == await here.result("order-6") == "Resolved: lost"
