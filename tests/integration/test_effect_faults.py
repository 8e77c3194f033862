"""Effects and what goes wrong around them: in their own code, between ledger and run, from one deploy to the next."""

import asyncio
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.adapters.databases import NamedDatabases
from holdfast.core import effects as ledger
from holdfast.core import events as e
from holdfast.core.asks import RETRY, SUCCEED, Begin, Doubt, Prove
from holdfast.core.commands import CancelRun, FailStep, ResolveEffect, TerminateRun
from holdfast.core.effects import Effect
from holdfast.core.payload import Payload, claim_check
from holdfast.core.retry import Failure
from holdfast.core.run import CANCELLED, COMPLETED, FAILED, PARKED
from holdfast.ports.ledger import Story
from holdfast.sdk.definitions import Retry, seconds, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.values import GIVEN
from tests.integration.running import NAMESPACE, SHARDS, Process, events_of, process

QUICK = Retry(attempts=4, initial=0.01, backoff=1.0)

sent: Counter[str] = Counter()
raises: dict[str, list[BaseException]] = {}
released: dict[str, threading.Event] = {}
begun = asyncio.Event()
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()
    raises.clear()
    begun.clear()
    gate.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


def happen(name: str) -> str:
    sent[name] += 1
    if raises.get(name):
        raise raises[name].pop(0)
    return f"receipt of {name}"


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def fault_charge(name: str, *, key: str = GIVEN) -> str:
    return happen(name)


@effect(guard="at_most_once", retry=QUICK)
async def fault_letter(name: str) -> str:
    return happen(name)


@workflow
async def fault_charged(name: str) -> str:
    return await fault_charge(name)


@workflow
async def fault_written(name: str) -> str:
    return await fault_letter(name)


async def story(engine: Process, run_id: str) -> Story:
    return (await engine.ledger.stories(run_id))[0]


async def resolve(engine: Process, run_id: str, verdict: str, result: Payload | None = None) -> None:
    effect_ = (await story(engine, run_id)).effect
    said = ResolveEffect(
        step_id=effect_.step_id, version=effect_.version, verdict=verdict, by="ada", reason="looked", result=result
    )
    await engine.submit(run_id, said)


# ------------------------------------------------------------------------------ between the ledger and the run


async def test_a_large_result_is_at_hand_whoever_tells_of_it(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await engine.start("fault_written", "a", "a")
        await engine.until_status("a", PARKED)
        blobs: dict[str, bytes] = {}
        large = claim_check(b'"' + b"x" * 300_000 + b'"', blobs)
        await engine.store.put_blobs(blobs)
        await resolve(engine, "a", SUCCEED, large)
        stored = await engine.until_recorded("a", "RunCompleted")
        assert stored.row.parked is None


# ------------------------------------------------------------------------------------------ in the author's own code


@pytest.mark.parametrize("text", ["half a character: \udc80", "a NUL: \0"])
async def test_an_error_whose_text_no_store_holds_is_an_error_like_any_other(file: Path, text: str) -> None:
    raises["a"] = [OSError(text)]
    async with process(file) as engine:
        await engine.start("fault_charged", "a", "a")
        assert (await engine.result("a"), sent["a"]) == ("receipt of a", 2)
        reasons = [move.reason for move in (await story(engine, "a")).moves]
        assert any(reason.startswith("OSError: ") for reason in reasons)


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def fault_cancels(name: str, *, key: str = GIVEN) -> str:
    """Its own cancellation comes out of it, as of a client library that cancels what it began."""
    if not sent[name]:
        sent[name] += 1
        if name == "group":
            raise BaseExceptionGroup("two", [asyncio.CancelledError(), OSError("one")])
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner
    return happen(name)


@workflow
async def fault_cancelled(name: str) -> str:
    return await fault_cancels(name)


@pytest.mark.parametrize("name", ["alone", "group"])
async def test_an_effect_that_is_cancelled_from_within_is_unclear_at_once(file: Path, name: str) -> None:
    async with process(file) as engine:
        await engine.start("fault_cancelled", name, name)
        assert (await engine.result(name), sent[name]) == (f"receipt of {name}", 2)
        moves = [(move.what, move.to) for move in (await story(engine, name)).moves]
        assert ("doubt", ledger.IN_DOUBT) in moves


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def fault_unfit(name: str, *, key: str = GIVEN) -> object:
    happen(name)
    return object()


@workflow
async def fault_told(name: str) -> str:
    return str(await fault_unfit(name))


async def test_an_effect_whose_result_nobody_can_tell_waits_for_a_person_after_one_attempt(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("fault_told", "a", "a")
        await engine.until_status("a", PARKED)
        assert (sent["a"], (await story(engine, "a")).effect.state) == (1, ledger.PARKED)


# ------------------------------------------------------------------------------ settings, and one deploy to the next


@effect(guard="transaction", database="shop", retry=QUICK, timeout=0.3)
async def fault_book(name: str, *, connection: Any = GIVEN) -> str:
    await connection.execute("INSERT INTO entries (entry) VALUES (?)", (name,))
    return happen(name)


fault_booked_before = fault_book.options(retry=Retry(attempts=1))
"""As the code said before it became a transaction."""
fault_booked_before.step_options = msgspec.structs.replace(fault_booked_before.step_options, guard="at_most_once")


@workflow
async def fault_sale(name: str) -> str:
    return await fault_book(name)


@workflow
async def fault_old_sale(name: str) -> str:
    return await fault_booked_before(name)


def shop(folder: Path) -> tuple[Path, dict[str, str]]:
    path = folder / "shop.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE entries (entry TEXT)")
    return path, {"shop": f"sqlite:///{path}"}


async def test_a_database_that_the_settings_do_not_name_parks_the_effect_at_once(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("fault_sale", "a", "a")
        await engine.until_status("a", PARKED)
        told = await story(engine, "a")
        assert "the settings name no database 'shop'" in told.effect.reason
        assert [move.to for move in told.moves] == [ledger.CLAIMED, ledger.PARKED]


async def test_a_database_that_is_held_for_ever_uses_up_attempts_and_no_more(file: Path, tmp_path: Path) -> None:
    path, named = shop(tmp_path)
    await NamedDatabases(named).install("shop")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with process(file, databases=named) as engine:
            await engine.start("fault_sale", "a", "a")
            stored = await engine.until_status("a", FAILED)
            last = events_of(stored)[-1]
            assert isinstance(last, e.RunFailed)
            assert "waited longer than 0.3 s for database shop" in last.error.message


async def test_an_effect_that_was_never_sent_goes_by_the_guard_that_its_code_has_now(
    file: Path, tmp_path: Path
) -> None:
    path, named = shop(tmp_path)
    await NamedDatabases(named).install("shop")
    async with process(file, databases=named) as engine:
        await engine.start("fault_old_sale", "a", "a")
        assert await engine.result("a") == "receipt of a"
    with closing(sqlite3.connect(path)) as written:
        assert written.execute("SELECT count(*) FROM entries").fetchone() == (1,)


# -------------------------------------------------------------------------------------- threads that outlive their time


@effect(guard="at_most_once", retry=QUICK, timeout=0.2)
def fault_thread(name: str) -> str:
    released[name].wait(20)
    return happen(name)


@workflow
async def fault_threaded(name: str) -> str:
    return await fault_thread(name)


async def test_the_proof_of_a_thread_that_outlived_its_time_reaches_the_run(file: Path) -> None:
    released["a"] = threading.Event()
    async with process(file) as engine:
        await engine.start("fault_threaded", "a", "a")
        await engine.until_status("a", PARKED)
        released["a"].set()
        assert (await engine.result("a"), sent["a"]) == ("receipt of a", 1)


# ------------------------------------------------------------- what the ledger knows, and nobody is left to tell of it


far_charge = fault_charge.options(queue="elsewhere", timeout=600)


@workflow
async def fault_far(name: str) -> str:
    """Its worker is elsewhere: the test itself."""
    return await far_charge(name)


async def sent_by(engine: Process, run_id: str) -> Effect:
    """Be a worker that commits the intent."""
    await engine.until_recorded(run_id, "StepScheduled")
    planned = (await story(engine, run_id)).effect
    begin = Begin(who="elsewhere", terms=fault_charge.terms, attempt=1, lease=15.0)
    (answer,) = await engine.ledger.ask([(planned.effect_id, begin)])
    assert answer.effect is not None
    return answer.effect


async def proved_by(engine: Process, effect_: Effect) -> None:
    proof = Prove(who="elsewhere", result=Payload(data=b'"receipt from elsewhere"'))
    await engine.ledger.ask([(effect_.effect_id, proof)])


async def test_a_new_owner_hears_what_the_ledger_knows_of_attempts_that_went_by_the_log(file: Path) -> None:
    async with process(file, "first") as engine:
        for run_id in ("proved", "doubted"):
            await engine.start("fault_far", run_id, run_id)
        await proved_by(engine, await sent_by(engine, "proved"))
        doubted = await sent_by(engine, "doubted")
        doubt = Doubt(who="elsewhere", fence=doubted.fence, reason="no answer")
        await engine.ledger.ask([(doubted.effect_id, doubt)])
    async with process(file, "second") as engine:
        assert await engine.result("proved") == "receipt from elsewhere"
        await engine.until_recorded("doubted", "StepRetried")


async def test_an_attempt_of_an_effect_is_asked_after_in_the_ledger_long_before_it_is_sent_again(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("fault_far", "a", "a")
        effect_ = await sent_by(engine, "a")
        (row,) = (await engine.store.open_attempts(list(range(SHARDS)), 2**62, 10)).rows
        stored = await engine.until_recorded("a", "StepScheduled")
        assert row.resend_at - stored.history[-1].at == 60_000_000
        await be_due(file)
        await until_asked_after(engine)
        assert await tasks_elsewhere(engine) == 1
        await proved_by(engine, effect_)
        await be_due(file)
        assert await engine.result("a") == "receipt from elsewhere"


async def be_due(file: Path) -> None:
    """Let the time come at which all attempts are asked after."""
    with closing(sqlite3.connect(file, timeout=10)) as other:
        other.execute("UPDATE attempts SET resend_at = 0")
        other.commit()


async def until_asked_after(engine: Process) -> None:
    async with asyncio.timeout(20):
        while True:
            (row,) = (await engine.store.open_attempts(list(range(SHARDS)), 2**62, 10)).rows
            if row.resends == 1:
                return
            await asyncio.sleep(0.01)


async def tasks_elsewhere(engine: Process) -> int:
    tail = await engine.log.tail(f"{NAMESPACE}.tasks.elsewhere.v1", earliest=True)
    try:
        await tail.watch(range(SHARDS))
        return len(await tail.poll(0.2, 100))
    finally:
        await tail.close()


# ------------------------------------------------------------------------------------------- what nobody wants any more


@workflow
async def fault_regretted(name: str) -> str:
    """Cancel a charge in the very turn that asks for it."""
    charging = asyncio.create_task(fault_charge(name))
    await asyncio.sleep(0)
    charging.cancel()
    try:
        return await charging
    except asyncio.CancelledError:
        return "nothing was sent"


async def test_an_effect_that_is_cancelled_in_the_turn_that_asks_for_it_is_never_sent(file: Path) -> None:
    async with process(file) as engine:
        for number in range(20):
            await engine.start("fault_regretted", f"r{number}", "a")
        results = [await engine.result(f"r{number}") for number in range(20)]
        assert (set(results), sent["a"]) == ({"nothing was sent"}, 0)


async def test_a_persons_retry_of_an_effect_that_was_cancelled_sends_nothing(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await engine.start("fault_written", "a", "a")
        await engine.until_status("a", PARKED)
        await engine.submit("a", CancelRun(reason="enough"))
        await resolve(engine, "a", RETRY)
        await engine.until_status("a", CANCELLED)
        assert (sent["a"], (await story(engine, "a")).effect.state) == (1, ledger.CANCELLED)


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=QUICK)
async def fault_slow(name: str, *, key: str = GIVEN) -> str:
    if not sent[name]:
        begun.set()
        await gate.wait()
    return happen(name)


@workflow
async def fault_slowly(name: str) -> str:
    return await fault_slow(name)


async def test_an_effect_in_doubt_that_was_cancelled_is_still_brought_to_its_verdict(file: Path) -> None:
    raises["a"] = [ConnectionResetError()]
    async with process(file) as engine:
        await engine.start("fault_slowly", "a", "a")
        await begun.wait()
        await engine.submit("a", CancelRun(reason="enough"))
        gate.set()
        await engine.until_status("a", COMPLETED, CANCELLED)
        assert (sent["a"], (await story(engine, "a")).effect.state) == (2, ledger.SUCCEEDED)


async def test_the_effect_of_an_ended_run_goes_on_soon_after_its_worker_fell_silent(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("fault_far", "a", "a")
        effect_ = await sent_by(engine, "a")
        await engine.submit("a", TerminateRun(reason="enough"))
        command = FailStep(step_id=effect_.step_id, attempt=1, error=Failure("LeaseOver", "silent"), ledger="IN_DOUBT")
        await engine.submit("a", command)
        async with asyncio.timeout(20):
            while await tasks_elsewhere(engine) < 2:
                await asyncio.sleep(0.01)
