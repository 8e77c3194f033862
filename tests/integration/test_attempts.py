"""Attempts through the real loops over a real file: what authors' functions do to themselves, and to nobody else."""

import argparse
import asyncio
import logging
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pydantic
import pytest

from holdfast.adapters.databases import NamedDatabases
from holdfast.core import effects as ledger
from holdfast.core import events as e
from holdfast.core.asks import RETRY
from holdfast.core.commands import ResolveEffect
from holdfast.core.run import COMPLETED, FAILED, PARKED
from holdfast.databases import SqliteConnection
from holdfast.ports.ledger import Story
from holdfast.sdk.definitions import Retry, running, seconds, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import NotSent, Refused
from holdfast.sdk.values import GIVEN
from tests.integration.running import Process, events_of, process

TWICE = Retry(attempts=2, initial=0.01, backoff=1.0, jitter=0)
OFTEN = Retry(attempts=100, initial=0.05, backoff=1.0)
ONCE = Retry(attempts=1)

sent: Counter[str] = Counter()
fails: Counter[str] = Counter()
"""How often each is to go wrong."""
gates: dict[str, threading.Event] = {}
begun: dict[str, threading.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    for kept in (sent, fails, gates, begun):
        kept.clear()
    yield
    for gate in gates.values():
        gate.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


def exits() -> NoReturn:
    sys.exit("no such file")


def misreads() -> NoReturn:
    argparse.ArgumentParser("import").parse_args(["--unknown"])
    raise AssertionError("argparse exits")


def interrupts() -> NoReturn:
    raise KeyboardInterrupt("mine")


def closes() -> NoReturn:
    raise GeneratorExit("mine")


def cancels() -> NoReturn:
    raise asyncio.CancelledError("mine")


def several() -> NoReturn:
    raise BaseExceptionGroup("several", [ValueError("one"), SystemExit(3)])


MISTAKES: dict[str, tuple[Callable[[], NoReturn], tuple[str, str]]] = {
    "exits": (exits, ("SystemExit", "no such file")),
    "misreads": (misreads, ("SystemExit", "2")),
    "interrupts": (interrupts, ("KeyboardInterrupt", "mine")),
    "closes": (closes, ("GeneratorExit", "mine")),
    "cancels": (cancels, ("CancelledError", "mine")),
    "several": (several, ("BaseExceptionGroup", "several (2 sub-exceptions)\n  ValueError: one\n  SystemExit: 3")),
}


def act(mistake: str) -> str:
    sent[mistake] += 1
    if fails[mistake] >= sent[mistake]:
        MISTAKES[mistake][0]()
    return "done"


def occupy(name: str) -> str:
    sent[name] += 1
    if name in begun:
        begun[name].set()
    if name in gates:
        gates[name].wait(30)
    if fails[name] >= sent[name]:
        raise ConnectionResetError("no answer")
    return f"receipt of {name}"


@step(retry=TWICE)
async def att_async(mistake: str) -> str:
    await asyncio.sleep(0)
    return act(mistake)


@step(retry=TWICE)
async def att_at_once(mistake: str) -> str:
    return act(mistake)


@step(retry=TWICE)
def att_plain(mistake: str) -> str:
    return act(mistake)


@step(retry=ONCE, timeout=0.1)
def att_sleep(name: str) -> str:
    return occupy(name)


@effect(guard="at_most_once", retry=TWICE)
async def att_letter(mistake: str) -> str:
    return act(mistake)


@effect(guard="at_most_once", retry=TWICE)
def att_letter_plain(mistake: str) -> str:
    return act(mistake)


@effect(guard="provider_key", window=seconds(60), margin=seconds(1), retry=TWICE)
async def att_charge(mistake: str, *, key: str = GIVEN) -> str:
    return act(mistake)


@effect(guard="lookup", lifetime=seconds(0.1), retry=OFTEN)
async def att_ship(mistake: str) -> str:
    raise ConnectionResetError("no answer")


@att_ship.lookup
def att_find(mistake: str) -> str | None:
    return act(mistake)


@effect(guard="at_most_once", retry=ONCE)
async def att_says(word: str) -> str:
    raise BaseExceptionGroup("group", [{"refused": Refused("no"), "unsent": NotSent("no")}[word], SystemExit(1)])


@effect(guard="at_most_once", retry=OFTEN, timeout=0.2)
def att_post(name: str) -> str:
    return occupy(name)


@effect(guard="at_most_once", retry=TWICE, timeout=0.2)
def att_post_twice(name: str) -> str:
    return occupy(name)


class Declined(Refused):
    """A verdict of an author's that forgets what it is derived from."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"declined: {self.code}"


@effect(guard="at_most_once", retry=ONCE)
async def att_judges(what: str) -> str:
    if what == "declined":
        raise Declined(51)
    raise NotSent("busy", not_before={"endless": float("inf"), "odd": "soon"}[what])  # type: ignore[arg-type]  # on purpose


@effect(guard="at_most_once", retry=TWICE)
async def att_cancels_later(name: str) -> str:
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().call_soon(this.cancel)
    return occupy(name)


@effect(guard="provider_key", window=seconds(2), margin=seconds(1.5), retry=TWICE, timeout=20)
def att_brief(name: str, *, key: str = GIVEN) -> str:
    return occupy(name)


class Reads(pydantic.BaseModel):
    """A value whose own code ends programs when a worker reads it."""

    word: str

    @pydantic.field_validator("word")
    @classmethod
    def _check(cls, word: str) -> str:
        if word == "bad" and running() is None:
            sys.exit("cannot read")
        return word


class Writes(pydantic.BaseModel):
    """A value whose own code ends programs when it is written."""

    word: str

    @pydantic.field_serializer("word")
    def _write(self, word: str) -> str:
        raise KeyboardInterrupt(f"cannot write {word}")


@step(retry=ONCE)
async def att_reads(value: Reads) -> str:
    return value.word


@step(retry=ONCE)
async def att_writes(word: str) -> Writes:
    return Writes(word=word)


@effect(guard="at_most_once", retry=ONCE)
async def att_sends_read(value: Reads) -> str:
    sent[value.word] += 1
    return value.word


@effect(guard="at_most_once", retry=ONCE)
async def att_sends_written(word: str) -> Writes:
    sent[word] += 1
    return Writes(word=word)


@effect(guard="transaction", database="shop", retry=TWICE)
async def att_book(mistake: str, *, connection: SqliteConnection = GIVEN) -> str:
    await connection.execute("INSERT INTO sales (name) VALUES (?)", (mistake,))
    return act(mistake)


@step
async def att_read() -> str:
    return "read"


@workflow
async def att_run(which: str, what: str) -> str:
    kinds: list[Any] = [
        att_async, att_at_once, att_plain, att_sleep, att_letter, att_letter_plain, att_charge, att_ship, att_says,
        att_post, att_post_twice, att_judges, att_brief, att_cancels_later, att_writes,
        att_sends_written, att_book,
    ]  # fmt: skip
    return str(await {one.name: one for one in kinds}[which](what))


@workflow
async def att_value(which: str, word: str) -> str:
    bad = Reads.model_construct(word=word)
    return str(await {"att_reads": att_reads, "att_sends_read": att_sends_read}[which](bad))


@workflow
async def att_fine() -> str:
    return await att_read()


async def begin(engine: Process, which: str, what: str) -> None:
    await engine.start("att_run", what, {"which": which, "what": what})


async def story(engine: Process, name: str) -> Story:
    [found] = await engine.ledger.stories(name)
    return found


async def failures(engine: Process, run_id: str) -> list[tuple[str, str]]:
    """The failures of a run's attempts, in their order."""
    stored = await engine.until_status(run_id, COMPLETED, FAILED, PARKED)
    return [
        (event.error.type, event.error.message)
        for event in events_of(stored)
        if isinstance(event, (e.StepRetried, e.StepFailed))
    ]


# -- what ends programs


@pytest.mark.parametrize("which", ["att_async", "att_at_once", "att_plain"])
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_what_ends_programs_is_a_failed_attempt_and_is_tried_again(file: Path, which: str, mistake: str) -> None:
    fails[mistake] = 1
    async with process(file) as engine:
        await begin(engine, which, mistake)
        assert await engine.result(mistake) == "done"
        assert await failures(engine, mistake) == [MISTAKES[mistake][1]]


@pytest.mark.parametrize("which", ["att_async", "att_plain"])
async def test_an_exit_in_each_attempt_fails_its_run_and_no_other(file: Path, which: str) -> None:
    fails["exits"] = 10
    async with process(file) as engine:
        await begin(engine, which, "exits")
        for number in range(10):
            await engine.start("att_fine", f"fine{number}")
        assert (await engine.until_status("exits", COMPLETED, FAILED)).row.status == FAILED
        assert [await engine.result(f"fine{number}") for number in range(10)] == ["read"] * 10
    assert sent["exits"] == 2


@pytest.mark.parametrize("which", ["att_letter", "att_letter_plain"])
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_what_ends_programs_leaves_an_effect_unclear(file: Path, which: str, mistake: str) -> None:
    fails[mistake] = 10
    kind, message = MISTAKES[mistake][1]
    async with process(file) as engine:
        await begin(engine, which, mistake)
        await engine.until_status(mistake, PARKED)
        effect_ = (await story(engine, mistake)).effect
    assert effect_.state == ledger.PARKED
    assert f"{kind}: {message.partition(chr(10))[0]}" in (effect_.reason or "")
    assert sent[mistake] == 1


async def test_an_effect_that_exited_is_sent_again_under_its_key(file: Path) -> None:
    fails["exits"] = 1
    async with process(file) as engine:
        await begin(engine, "att_charge", "exits")
        assert await engine.result("exits") == "done"
    assert sent["exits"] == 2


async def test_a_lookup_that_exits_is_asked_again(file: Path) -> None:
    fails["exits"] = 2
    async with process(file) as engine:
        await begin(engine, "att_ship", "exits")
        assert await engine.result("exits") == "done"
    assert sent["exits"] == 3


@pytest.mark.parametrize("which", ["att_reads", "att_sends_read"])
async def test_an_argument_that_ends_programs_when_it_is_read_fails_its_step_alone(file: Path, which: str) -> None:
    async with process(file) as engine:
        await engine.start("att_value", "run", {"which": which, "word": "bad"})
        await engine.until_status("run", FAILED, PARKED)
        [(_, message)] = await failures(engine, "run")
        assert "cannot read" in message
        await engine.start("att_value", "fine", {"which": which, "word": "good"})
        assert await engine.result("fine") == "good"
    assert sent["bad"] == 0


async def test_a_result_that_ends_programs_when_it_is_written_fails_its_attempt(file: Path) -> None:
    async with process(file) as engine:
        await begin(engine, "att_writes", "run")
        await engine.until_status("run", FAILED, PARKED)
        [(_, message)] = await failures(engine, "run")
    assert "KeyboardInterrupt: cannot write run" in message


async def test_an_effect_whose_result_ends_programs_when_it_is_written_is_unclear(file: Path) -> None:
    async with process(file) as engine:
        await begin(engine, "att_sends_written", "run")
        await engine.until_status("run", FAILED, PARKED)
        told = (await story(engine, "run")).effect
    assert told.state == ledger.PARKED
    assert "KeyboardInterrupt: cannot write run" in (told.reason or "")
    assert sent["run"] == 1


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_what_ends_programs_rolls_a_transaction_back(file: Path, mistake: str) -> None:
    fails[mistake] = 1
    shop = {"shop": f"sqlite:///{file.parent}/shop.db"}
    with closing(sqlite3.connect(file.parent / "shop.db")) as books:
        books.execute("CREATE TABLE sales (name TEXT)")
        await NamedDatabases(shop).install("shop")
        async with process(file, databases=shop) as engine:
            await begin(engine, "att_book", mistake)
            assert await engine.result(mistake) == "done"
        assert books.execute("SELECT count(*) FROM sales").fetchone() == (1,)
    assert sent[mistake] == 2


@pytest.mark.parametrize("word", ["refused", "unsent"])
async def test_a_verdict_inside_a_group_with_what_ends_programs_is_unclear(file: Path, word: str) -> None:
    async with process(file) as engine:
        await begin(engine, "att_says", word)
        await engine.until_status(word, PARKED)
        assert (await story(engine, word)).effect.state == ledger.PARKED


async def test_a_refusal_of_an_authors_own_class_is_a_refusal(file: Path) -> None:
    async with process(file) as engine:
        await begin(engine, "att_judges", "declined")
        await engine.until_status("declined", FAILED, PARKED)
        assert await failures(engine, "declined") == [("Declined", "declined: 51")]
        assert (await story(engine, "declined")).effect.state == ledger.FAILED


@pytest.mark.parametrize("what", ["endless", "odd"])
async def test_a_wait_that_is_no_time_span_is_none(file: Path, what: str) -> None:
    async with process(file) as engine:
        await begin(engine, "att_judges", what)
        await engine.until_status(what, FAILED, PARKED)
        assert await failures(engine, what) == [("NotSent", "busy")]


async def test_a_cancellation_that_comes_while_the_ledger_is_told_does_not_lose_the_proof(file: Path) -> None:
    async with process(file) as engine:
        await begin(engine, "att_cancels_later", "letter")
        assert await engine.result("letter") == "receipt of letter"
    assert sent["letter"] == 1


# -- one thread


async def occupied(engine: Process) -> None:
    """Have a step sleep in the only thread, past its timeout."""
    gates["sleeper"], begun["sleeper"] = threading.Event(), threading.Event()
    await begin(engine, "att_sleep", "sleeper")
    await engine.until_status("sleeper", FAILED)


async def test_an_effect_behind_a_sleeping_step_is_withdrawn_and_sent_once_when_the_thread_is_free(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(file, threads=1) as engine:
        with caplog.at_level(logging.WARNING):
            await occupied(engine)
        assert "step att_sleep#1 of run sleeper (attempt 1) exceeded its timeout of 0.1 s" in caplog.text
        await begin(engine, "att_post", "letter")
        await engine.until_recorded("letter", "StepRetried")
        assert sent["letter"] == 0
        gates["sleeper"].set()
        assert await engine.result("letter") == "receipt of letter"
        assert {kind for kind, _ in await failures(engine, "letter")} == {"NotBegun"}
    assert sent["letter"] == 1


async def test_a_window_that_closes_while_an_effect_waits_for_its_thread_is_noticed_when_it_begins(file: Path) -> None:
    async with process(file, threads=1) as engine:
        await occupied(engine)
        await begin(engine, "att_brief", "letter")
        await asyncio.sleep(0.6)  # its window is half a second
        gates["sleeper"].set()
        assert await engine.result("letter") == "receipt of letter"
        said = await failures(engine, "letter")
    assert said[0] == ("NotSent", "the provider's window for this key is over")
    assert sent["letter"] == 1


async def test_an_effect_that_never_got_a_thread_has_failed_and_was_not_sent(file: Path) -> None:
    async with process(file, threads=1) as engine:
        await occupied(engine)
        await begin(engine, "att_post_twice", "letter")
        assert (await engine.until_status("letter", COMPLETED, FAILED, PARKED)).row.status == FAILED
        assert (await story(engine, "letter")).effect.state == ledger.CANCELLED  # closed before anything was sent
        gates["sleeper"].set()
        await engine.until(lambda: engine.invoker.outlived == 0)
        await begin(engine, "att_plain", "exits")  # goes through the only thread, after whatever was in line
        assert await engine.result("exits") == "done"
    assert sent["letter"] == 0


async def test_an_effect_that_is_sent_anew_by_a_person_waits_for_the_thread_and_is_sent_once(file: Path) -> None:
    fails["letter"] = 1
    async with process(file, threads=1) as engine:
        await begin(engine, "att_post", "letter")
        await engine.until_status("letter", PARKED)
        await occupied(engine)
        await resolve_retry(engine, "letter")
        await engine.until_recorded("letter", "StepRetried")
        assert sent["letter"] == 1
        gates["sleeper"].set()
        assert await engine.result("letter") == "receipt of letter"
    assert sent["letter"] == 2


async def test_an_effect_that_sleeps_in_its_thread_is_not_sent_anew_beside_it_whatever_a_person_says(
    file: Path,
) -> None:
    gates["letter"], begun["letter"] = threading.Event(), threading.Event()
    async with process(file, threads=2) as engine:
        await begin(engine, "att_post", "letter")
        await engine.until_status("letter", PARKED)
        await resolve_retry(engine, "letter")
        await begin(engine, "att_plain", "exits")
        assert await engine.result("exits") == "done"
        gates["letter"].set()
        assert await engine.result("letter") == "receipt of letter"
    assert sent["letter"] == 1


async def resolve_retry(engine: Process, run_id: str) -> None:
    effect_ = (await story(engine, run_id)).effect
    why = "it is not in their books"
    command = ResolveEffect(step_id=effect_.step_id, version=effect_.version, verdict=RETRY, by="ada", reason=why)
    await engine.submit(run_id, command)
