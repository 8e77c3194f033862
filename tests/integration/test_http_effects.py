"""Effects over HTTP in the whole engine of one process: what the transport hears is what the ledger says.

The other side is scripted (scripted.py); the engine is the real one over a real file (running.py).
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

import holdfast.http
from holdfast.core.effects import FAILED, IN_DOUBT, INFLIGHT, SUCCEEDED
from holdfast.core.effects import PARKED as EFFECT_PARKED
from holdfast.core.retry import MICROS
from holdfast.http import NotSent, Profile, Refused
from holdfast.ports.ledger import Story
from holdfast.sdk.definitions import Retry, StepError, workflow
from holdfast.sdk.effects import Effect, effect
from tests.integration.running import DEADLINE, Process, process
from tests.integration.scripted import answers, closes_after_the_request, nobody, saying, serving

QUICK = Retry(attempts=4, initial=0.01, backoff=1.0)
ACME = Profile(name="acme", header="Acme-Key", retention=86_400.0, stored_refusals=frozenset({402}), json=True)
DECLINED = saying("402 Payment Required", b'{"error": {"message": "no money"}}')


class Job(msgspec.Struct, frozen=True):
    effect: str
    url: str
    error: str = ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@effect(guard="provider_key", http=ACME, retry=QUICK)
async def http_charge(job: Job) -> str:
    async with holdfast.http.async_client() as client:
        return str((await client.post(job.url, content=b"amount=1")).raise_for_status().json()["id"])


@effect(guard="provider_key", http="stripe", retry=QUICK)
def http_charge_in_a_thread(job: Job) -> str:
    with holdfast.http.client() as client:
        return str(client.post(job.url, content=b"amount=1").raise_for_status().json()["id"])


@effect(guard="at_most_once", http=ACME, retry=QUICK)
async def http_mail(job: Job) -> str:
    async with holdfast.http.async_client() as client:
        return str((await client.post(job.url, content=b"dear")).raise_for_status().json()["id"])


@effect(guard="provider_key", http=ACME, retry=QUICK)
async def http_swallowing(job: Job) -> str:
    async with holdfast.http.async_client() as client:
        try:
            return str((await client.post(job.url, content=b"amount=1")).json()["id"])
        except Exception:  # noqa: BLE001 - as tired authors do
            return "went on"


@effect(guard="provider_key", http=ACME, retry=QUICK)
async def http_misreading(job: Job) -> str:
    async with holdfast.http.async_client() as client:
        await client.post(job.url, content=b"amount=1")
    raise {"NotSent": NotSent, "Refused": Refused, "KeyError": KeyError}[job.error]("what the author made of it")


EFFECTS: dict[str, Effect[Any, str]] = {
    each.name: each for each in (http_charge, http_charge_in_a_thread, http_mail, http_swallowing, http_misreading)
}


@workflow
async def http_pay(job: Job) -> str:
    try:
        return await EFFECTS[job.effect](job)
    except StepError as error:
        return str(error)


async def pay(engine: Process, effect: str, url: str, error: str = "") -> None:
    await engine.start("http_pay", "run-1", {"effect": effect, "url": url, "error": error})


async def until_state(engine: Process, *states: str) -> Story:
    """Wait until the run's effect has come to one of these states; gives its story."""
    async with asyncio.timeout(DEADLINE):
        while True:
            engine.check()
            stories = await engine.ledger.stories("run-1")
            if stories and stories[0].effect.state in states:
                return stories[0]
            await asyncio.sleep(0.01)


def states(story: Story) -> list[str]:
    return [move.to for move in story.moves]


@pytest.mark.parametrize("name", ["http_charge", "http_charge_in_a_thread"])
async def test_what_breaks_off_is_sent_again_with_the_same_bytes_and_key(file: Path, name: str) -> None:
    async with serving(closes_after_the_request, answers) as server, process(file) as engine:
        await pay(engine, name, server.url)
        assert await engine.result("run-1") == "x1"
        story = await until_state(engine, SUCCEEDED)

    assert len(set(server.bodies)) == 1
    key = story.effect.key
    assert {request.lower().count(f"key: {key}".encode()) for request in server.requests} == {1}
    assert states(story)[-4:] == [INFLIGHT, IN_DOUBT, INFLIGHT, SUCCEEDED]
    assert story.moves[-1].evidence == "200 id=x1"


@pytest.mark.parametrize("name", ["http_charge", "http_mail"])
async def test_without_a_connection_an_effect_is_an_ordinary_failure_that_leaves_nothing_in_doubt(
    file: Path, name: str
) -> None:
    async with process(file) as engine:
        await pay(engine, name, nobody())
        assert "ConnectError" in await engine.result("run-1")
        (story,) = await engine.ledger.stories("run-1")

    assert not {INFLIGHT, IN_DOUBT, EFFECT_PARKED} & set(states(story))


async def test_at_most_once_is_parked_once_a_byte_has_left(file: Path) -> None:
    async with serving(closes_after_the_request, answers) as server, process(file) as engine:
        await pay(engine, "http_mail", server.url)
        story = await until_state(engine, EFFECT_PARKED)

    assert len(server.requests) == 1
    assert states(story)[-3:] == [INFLIGHT, IN_DOUBT, EFFECT_PARKED]


@pytest.mark.parametrize("name", ["http_charge", "http_swallowing"])
async def test_a_definite_no_fails_the_effect_whatever_the_function_returns(file: Path, name: str) -> None:
    async with serving(DECLINED) as server, process(file) as engine:
        await pay(engine, name, server.url)
        assert "no money" in await engine.result("run-1")
        story = await until_state(engine, FAILED)

    assert len(server.requests) == 1
    assert states(story)[-2:] == [INFLIGHT, FAILED]


async def test_a_function_that_swallows_an_unclear_answer_has_not_succeeded(file: Path) -> None:
    async with serving(closes_after_the_request, answers) as server, process(file) as engine:
        await pay(engine, "http_swallowing", server.url)
        assert await engine.result("run-1") == "x1"

    assert len(server.requests) == 2


async def test_a_function_that_swallows_a_missing_connection_has_not_succeeded(file: Path) -> None:
    async with process(file) as engine:
        await pay(engine, "http_swallowing", nobody())
        assert "ConnectError" in await engine.result("run-1")


async def test_a_no_that_the_provider_keeps_settles_what_was_in_doubt(file: Path) -> None:
    async with serving(closes_after_the_request, DECLINED) as server, process(file) as engine:
        await pay(engine, "http_charge", server.url)
        assert "no money" in await engine.result("run-1")
        story = await until_state(engine, FAILED)

    assert states(story)[-4:] == [INFLIGHT, IN_DOUBT, INFLIGHT, FAILED]


async def test_a_no_that_the_provider_does_not_keep_says_nothing_about_what_is_in_doubt(file: Path) -> None:
    async with serving(closes_after_the_request, saying("400 Bad Request")) as server, process(file) as engine:
        await pay(engine, "http_charge", server.url)
        story = await until_state(engine, EFFECT_PARKED)

    assert FAILED not in states(story)
    assert len(server.requests) == 4


async def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(file: Path) -> None:
    limited = saying("429 Too Many Requests", b"{}", "Retry-After: 0.7")
    async with serving(limited, answers) as server, process(file) as engine:
        await pay(engine, "http_charge_in_a_thread", server.url)
        assert await engine.result("run-1") == "x1"
        story = await until_state(engine, SUCCEEDED)

    sent = [move.at for move in story.moves if move.to == INFLIGHT]
    assert len(sent) == 2
    assert sent[1] - sent[0] >= 0.7 * MICROS


@pytest.mark.parametrize(
    ("error", "state"), [("NotSent", EFFECT_PARKED), ("KeyError", EFFECT_PARKED), ("Refused", FAILED)]
)
async def test_a_success_does_not_vanish_because_the_author_says_it_was_not_sent(
    file: Path, error: str, state: str
) -> None:
    async with serving(answers) as server, process(file) as engine:
        await pay(engine, "http_misreading", server.url, error)
        story = await until_state(engine, EFFECT_PARKED, FAILED)

    assert story.effect.state == state
    assert "PLANNED" not in states(story)
    assert server.requests
