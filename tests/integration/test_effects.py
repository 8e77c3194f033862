"""Effects through the real loops over a real file: what each guard does with what may happen to a sender."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import effects as ledger
from holdfast.core import events as e
from holdfast.core.asks import SUCCEED
from holdfast.core.commands import CancelRun, ResolveEffect, TerminateRun
from holdfast.core.payload import Payload
from holdfast.core.run import CANCELLED, COMPLETED, FAILED, PARKED, TERMINATED
from holdfast.ports.journal import StoredRun
from holdfast.ports.ledger import Story
from holdfast.sdk.definitions import Retry, StepError, seconds, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import NotSent, Refused, Unclear
from holdfast.sdk.values import GIVEN
from tests.integration.running import SHARDS, Process, assert_nothing_open, assert_whole, events_of, process

QUICK = Retry(attempts=4, initial=0.01, backoff=1.0)
ONCE = Retry(attempts=1)

sent: Counter[str] = Counter()
raises: dict[str, list[BaseException]] = {}
gates: dict[str, asyncio.Event] = {}
begun: dict[str, asyncio.Event] = {}
book: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for kept in (sent, raises, gates, begun, book):
        kept.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


async def provider(name: str, key: str) -> str:
    """A provider that deduplicates by key, and whatever the test lets happen on the way to it."""
    sent[name] += 1
    if name in begun:
        begun[name].set()
    if name in gates:
        await gates[name].wait()
    if raises.get(name):
        error = raises[name].pop(0)
        if isinstance(error, ConnectionResetError):
            book[key] = name  # it happened, and the answer was lost
        raise error
    book[key] = name
    return f"receipt of {name}"


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def eff_charge(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@effect(guard="provider_key", window=seconds(2), margin=seconds(1.5), retry=Retry(attempts=3, initial=0.05, backoff=1))
async def eff_brief(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=Retry(attempts=4, initial=1.0))
async def eff_patient(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@effect(guard="lookup", lifetime=seconds(0.3), retry=QUICK)
async def eff_ship(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@eff_ship.lookup
async def eff_find(name: str, *, key: str = GIVEN) -> str | None:
    if raises.get(f"find {name}"):
        raise raises[f"find {name}"].pop(0)
    return f"found {name}" if key in book else None


@effect(guard="at_most_once", retry=QUICK)
async def eff_letter(name: str) -> str:
    return await provider(name, name)


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=ONCE)
async def eff_once(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@step
async def eff_read(name: str) -> str:
    return name


@workflow
async def eff_run(which: str, name: str) -> str:
    kinds: dict[str, Any] = {"charge": eff_charge, "brief": eff_brief, "ship": eff_ship, "letter": eff_letter}
    return str(await {**kinds, "once": eff_once, "patient": eff_patient}[which](name))


@workflow
async def eff_saga(name: str) -> str:
    """Charge within half a second, and give it back if the whole is cancelled or late."""
    receipt = ""
    try:
        async with asyncio.timeout(0.5):
            receipt = await eff_charge(name)
            await asyncio.sleep(3600)
    except TimeoutError:
        return f"late: {receipt}"
    except asyncio.CancelledError:
        if receipt:
            await eff_charge(f"refund of {receipt}")
        raise
    except StepError as error:
        return error.failure.type
    return receipt


@workflow
async def eff_both(name: str) -> list[str]:
    return list(await asyncio.gather(eff_letter(name), eff_read(name)))


async def begin(engine: Process, which: str, name: str) -> None:
    await engine.start("eff_run", name, {"which": which, "name": name})


async def story(engine: Process, name: str, number: int = 0) -> Story:
    return (await engine.ledger.stories(name))[number]


def path_of(told: Story) -> list[str]:
    return [move.to for move in told.moves]


def failure(stored: StoredRun) -> str:
    last = events_of(stored)[-1]
    assert isinstance(last, e.RunFailed), last
    return last.error.type


async def test_an_effect_goes_from_its_plan_to_its_proof(file: Path) -> None:
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        assert await engine.result("a") == "receipt of a"
        assert path_of(await story(engine, "a")) == [ledger.INFLIGHT, ledger.SUCCEEDED]


async def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(file: Path) -> None:
    raises["a"] = [ConnectionResetError(), TimeoutError(), ConnectionResetError()]
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        assert await engine.result("a") == "receipt of a"
        assert (sent["a"], len(book)) == (4, 1)


async def test_a_refusal_fails_the_step_at_once(file: Path) -> None:
    raises["a"] = [Refused("declined")]
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        assert failure(await engine.until_status("a", FAILED)) == "Refused"
        assert sent["a"] == 1


async def test_a_refusal_after_an_unclear_attempt_is_unclear_too(file: Path) -> None:
    raises["a"] = [ConnectionResetError(), Refused("declined")]
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        assert await engine.result("a") == "receipt of a"


async def test_what_was_not_sent_is_tried_again_and_fails_when_its_attempts_run_out(file: Path) -> None:
    raises["a"] = [NotSent("no connection") for _ in range(4)]
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        assert failure(await engine.until_status("a", FAILED)) == "NotSent"
        assert (await story(engine, "a")).effect.state == ledger.CANCELLED


async def test_attempts_that_run_out_while_it_is_unclear_park_the_effect(file: Path) -> None:
    raises["a"] = [TimeoutError() for _ in range(4)]
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        await engine.until_status("a", PARKED)
        assert (await story(engine, "a")).effect.state == ledger.PARKED


async def test_past_its_window_an_effect_is_parked_and_never_sent_again(file: Path) -> None:
    raises["a"] = [Unclear("busy", not_before=1.0), TimeoutError()]
    async with process(file) as engine:
        await begin(engine, "brief", "a")
        stored = await engine.until_status("a", PARKED)
        assert (sent["a"], stored.row.parked) == (1, "effect_parked")
        assert "window" in (await story(engine, "a")).effect.reason


async def test_an_effect_that_may_be_sent_once_is_parked_as_soon_as_it_is_unclear(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await begin(engine, "letter", "a")
        await engine.until_status("a", PARKED)
        assert sent["a"] == 1


async def test_a_parked_effect_stops_nothing_but_its_own_await(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await engine.start("eff_both", "a", "a")
        await engine.until_recorded("a", "StepParked", "StepCompleted")
        await resolve(engine, "a", "eff_letter#1", SUCCEED, b'"seen in the post"')
        assert await engine.result("a") == ["seen in the post", "a"]


async def resolve(engine: Process, run: str, step_id: str, verdict: str, result: bytes | None = None) -> None:
    (parked,) = [one.effect for one in await engine.ledger.stories(run) if one.effect.step_id == step_id]
    command = ResolveEffect(
        step_id=step_id,
        version=parked.version,
        verdict=verdict,
        by="ada",
        reason="looked",
        result=None if result is None else Payload(data=result),
        error=None,
    )
    await engine.submit(run, command)


@pytest.mark.parametrize(
    ("verdict", "status", "state"),
    [("failed", FAILED, ledger.FAILED), ("retry", COMPLETED, ledger.SUCCEEDED), (SUCCEED, COMPLETED, ledger.SUCCEEDED)],
)
async def test_a_person_decides_on_a_parked_effect(file: Path, verdict: str, status: str, state: str) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await begin(engine, "letter", "a")
        await engine.until_status("a", PARKED)
        await resolve(engine, "a", "eff_letter#1", verdict, b'"ok"' if verdict == SUCCEED else None)
        await engine.until_status("a", status)
        told = await story(engine, "a")
        assert (told.effect.state, told.effect.resolved_by) == (state, "ada")


async def test_a_lookup_that_finds_it_settles_it_without_sending(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await begin(engine, "ship", "a")
        assert (await engine.result("a"), sent["a"]) == ("found a", 1)


async def test_a_lookup_that_finds_nothing_is_believed_after_the_horizon_only(file: Path) -> None:
    raises["a"] = [TimeoutError()]
    async with process(file) as engine:
        await begin(engine, "ship", "a")
        assert (await engine.result("a"), sent["a"]) == ("receipt of a", 2)
        told = await story(engine, "a")
        first, *_, last = [move.at for move in told.moves if move.to == ledger.INFLIGHT]
        assert last - first >= 300_000


async def test_a_lookup_that_raises_says_nothing_and_is_asked_again(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    raises["find a"] = [OSError("no route")]
    async with process(file) as engine:
        await begin(engine, "ship", "a")
        assert (await engine.result("a"), sent["a"]) == ("found a", 1)


async def test_an_effect_is_taken_from_a_process_that_died_in_the_middle(file: Path) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file, "first") as engine:
        await begin(engine, "charge", "a")
        await begun["a"].wait()
    gates["a"].set()
    async with process(file, "second") as engine:
        assert await engine.result("a") == "receipt of a"
        assert sent["a"] == 2
        await assert_whole(engine.store, "a")


# ------------------------------------------------------- law 8: requests around an effect, in every state of the ledger


async def test_a_timeout_before_anything_was_sent_closes_the_effect(file: Path) -> None:
    raises["a"] = [NotSent("no connection") for _ in range(1000)]
    async with process(file) as engine:
        await engine.start("eff_saga", "a", "a")
        assert await engine.result("a") in {"NotSent", "late: "}
        assert (await story(engine, "a")).effect.state == ledger.CANCELLED


async def test_a_timeout_while_it_is_being_sent_waits_for_the_receipt(file: Path) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await engine.start("eff_saga", "a", "a")
        await engine.until_recorded("a", "StepWithdrawn")
        gates["a"].set()
        assert await engine.result("a") == "late: receipt of a"


async def test_a_cancelled_run_gives_back_what_it_was_charged_meanwhile(file: Path) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await engine.start("eff_saga", "a", "a")
        await begun["a"].wait()
        await engine.submit("a", CancelRun(reason="enough"))
        await engine.until_recorded("a", "StepWithdrawn")
        gates["a"].set()
        await engine.until_status("a", CANCELLED)
        assert sorted(book.values()) == ["a", "refund of receipt of a"]


async def test_a_cancellation_around_a_parked_effect_waits_for_a_person(file: Path) -> None:
    raises["a"] = [TimeoutError() for _ in range(4)]
    async with process(file) as engine:
        await engine.start("eff_saga", "a", "a")
        await engine.until_status("a", PARKED)
        await engine.submit("a", CancelRun(reason="enough"))
        await resolve(engine, "a", "eff_charge#1", SUCCEED, b'"receipt by hand"')
        await engine.until_status("a", CANCELLED)
        assert "refund of receipt by hand" in book.values()


async def test_the_effect_of_a_terminated_run_goes_on_to_its_verdict(file: Path) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        await begun["a"].wait()
        await engine.submit("a", TerminateRun(reason="fraud"))
        await engine.until_status("a", TERMINATED)
        gates["a"].set()
        await until_state(engine, "a", ledger.SUCCEEDED)
        assert await engine.kinds("a") == ["RunStarted", "StepScheduled", "RunTerminated"]


async def test_the_effect_of_a_run_that_was_terminated_before_anything_was_sent_is_closed(file: Path) -> None:
    raises["a"] = [NotSent("no connection")] * 3
    gates["a"], begun["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await begin(engine, "charge", "a")
        await begun["a"].wait()
        await engine.submit("a", TerminateRun(reason="fraud"))
        gates["a"].set()
        await engine.until_status("a", TERMINATED)
        told = await until_state(engine, "a", ledger.PLANNED, ledger.CANCELLED)
        assert (told.effect.result, book) == (None, {})


async def test_the_effect_of_a_run_that_was_terminated_between_two_attempts_is_asked_after(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]  # it has happened
    async with process(file) as engine:
        await begin(engine, "patient", "a")
        await engine.until_recorded("a", "StepRetried")
        await engine.submit("a", TerminateRun(reason="fraud"))
        told = await until_state(engine, "a", ledger.SUCCEEDED)
        assert told.effect.result == Payload(data=b'"receipt of a"')
        assert len(book) == 1
        async with asyncio.timeout(20):  # the run hears of it after the ledger
            while (await engine.store.open_attempts(list(range(SHARDS)), 2**62, 10)).rows:
                await asyncio.sleep(0.01)
        await assert_nothing_open(engine.store)


async def until_state(engine: Process, name: str, *states: str) -> Story:
    async with asyncio.timeout(20):
        while True:
            told = await story(engine, name)
            if told.effect.state in states:
                return told
            await asyncio.sleep(0.01)


async def test_a_parked_effect_of_a_terminated_run_is_still_a_persons_to_resolve(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await begin(engine, "letter", "a")
        await engine.until_status("a", PARKED)
        await engine.submit("a", TerminateRun(reason="fraud"))
        await resolve(engine, "a", "eff_letter#1", SUCCEED, b'"ok"')
        told = await until_state(engine, "a", ledger.SUCCEEDED)
        assert told.effect.resolved_by == "ada"
