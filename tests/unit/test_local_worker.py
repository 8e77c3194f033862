"""Steps handed over in memory: each is alone in its asyncio task as soon as anybody could tell."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path

import pytest

from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.app.effects.execute import carrier
from holdfast.app.executor.invocation import Invoker
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.local_dispatch import IN_A_ROW, LocalWorker
from holdfast.core.asks import Ask
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.payload import Payload
from holdfast.ports.ledger import Answer
from holdfast.profiles.profile import StoreClock
from holdfast.sdk.definitions import hours, step
from holdfast.sdk.effects import effect
from holdfast.sdk.values import GIVEN
from holdfast.testing.conformance.effects import effect as planned
from holdfast.testing.conformance.effects import plan
from holdfast.testing.conformance.rows import SHARDS, owner

mark: ContextVar[str] = ContextVar("mark", default="nobody's")
gate: ContextVar[asyncio.Event] = ContextVar("gate")
sleeping = threading.Event()
seen: ContextVar[list[asyncio.Task[object] | None]] = ContextVar("seen")


@step
async def local_quick(number: int) -> int:
    seen.get().append(asyncio.current_task())
    return number + 1


@step
async def local_slow(number: int) -> int:
    await gate.get().wait()
    return number + 1


@step
async def local_marks(text: str) -> str:
    before = mark.get()
    mark.set(text)
    return before


@step
async def local_counts_down(seconds: float) -> str:
    async with asyncio.timeout(seconds):
        await asyncio.Event().wait()
    return "never"


@step
async def local_catches(number: int) -> int:
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        await asyncio.sleep(0)
    return number + 1


@step
async def local_cancels_itself(number: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return number


@effect(guard="provider_key", window=hours(24))
async def local_charge(number: int, *, key: str = GIVEN) -> str:
    return f"{key}: {number}"


class ListeningLedger(SqliteLedger):
    """The ledger, and how many questions came together."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.asked: list[int] = []

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        self.asked.append(len(asks))
        return await super().ask(asks)


class Here:
    """A worker, and what it said."""

    def __init__(self, store: SqliteStore, concurrency: int) -> None:
        self.ledger = ListeningLedger(store)
        effects = carrier(
            ledger_=self.ledger,
            store=store,
            clock=StoreClock(),
            host=LinuxHost(),
            databases=NamedDatabases({}),
            process="here",
            invoker=Invoker(concurrency),
        )
        self.invoker = effects.invoker
        self.worker = LocalWorker(Execution(store, effects), self._hear, concurrency=concurrency, room=self._has_room)
        self.room = asyncio.Event()
        self.room.set()
        self.said: dict[str, StepResult] = {}
        self._news = asyncio.Event()

    def _hear(self, result: StepResult) -> None:
        self.said[result.step_id] = result
        self._news.set()

    async def _has_room(self) -> None:
        await self.room.wait()

    def hand_over(
        self, name: str, step_id: str, data: bytes = b"1", timeout: float = 60.0, run_id: str = "run"
    ) -> None:
        self.worker.submit(
            ExecuteStep(
                run_id=run_id,
                incarnation=0,
                step_id=step_id,
                attempt=1,
                name=name,
                kind="step",
                queue="default",
                input=Payload(data=data),
                timeout=timeout,
            )
        )

    def hand_over_effect(self, effect_id: str) -> None:
        self.worker.submit(
            ExecuteStep(
                run_id="run",
                incarnation=0,
                step_id=effect_id,
                attempt=1,
                name="local_charge",
                kind="effect",
                queue="default",
                input=Payload(data=b"1"),
                timeout=60.0,
                guard="provider_key",
                key=effect_id,
            )
        )

    async def hears(self, *step_ids: str) -> None:
        async with asyncio.timeout(10):
            while not self.said.keys() >= set(step_ids):
                self._news.clear()
                await self._news.wait()

    def value(self, step_id: str) -> bytes:
        result = self.said[step_id].result
        assert result is not None
        return result.data

    def error(self, step_id: str) -> str:
        error = self.said[step_id].error
        assert error is not None
        return f"{error.type}: {error.message}"


@pytest.fixture
def here(tmp_path: Path) -> Callable[..., Here]:
    gate.set(asyncio.Event())
    seen.set([])
    return lambda concurrency=256: Here(SqliteStore(tmp_path / "unused.db"), concurrency)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.install(SHARDS)
    await store.open()
    yield store
    await store.close()


async def test_steps_that_do_not_wait_share_one_task(here: Callable[..., Here]) -> None:
    one = here()
    for number in range(5):
        one.hand_over("local_quick", f"quick#{number}")
    await one.hears("quick#0", "quick#4")
    assert [one.value(f"quick#{number}") for number in range(5)] == [b"2"] * 5
    assert len(set(seen.get())) == 1
    assert seen.get()[0] is not None


async def test_the_steps_of_a_huge_run_do_not_stand_before_those_of_others(here: Callable[..., Here]) -> None:
    one = here()
    for number in range(1_000):
        one.hand_over("local_quick", f"quick#{number}", run_id="huge")
    one.hand_over("local_quick", "small#1", run_id="small")
    await one.hears("small#1", "quick#999")
    assert list(one.said).index("small#1") <= 1


async def test_steps_that_do_not_wait_let_others_go_on_all_the_same(here: Callable[..., Here]) -> None:
    one = here()
    for number in range(10 * IN_A_ROW):
        one.hand_over("local_quick", f"quick#{number}")
    await one.hears("quick#0")
    assert len(one.said) == IN_A_ROW


async def test_no_further_step_begins_while_results_have_no_room(here: Callable[..., Here]) -> None:
    one = here()
    one.room.clear()
    for number in range(2 * IN_A_ROW):
        one.hand_over("local_quick", f"quick#{number}")
    await one.hears("quick#0")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await one.hears(f"quick#{IN_A_ROW}")
    one.room.set()
    await one.hears(*(f"quick#{number}" for number in range(2 * IN_A_ROW)))


async def test_a_step_that_waits_holds_nobody_up(here: Callable[..., Here]) -> None:
    one = here()
    for step_id, name in (("a", "local_slow"), ("b", "local_quick"), ("c", "local_slow"), ("d", "local_quick")):
        one.hand_over(name, step_id)
    await one.hears("b", "d")
    assert one.said.keys() == {"b", "d"}
    gate.get().set()
    await one.hears("a", "c")


async def test_no_more_steps_are_under_way_than_there_are_places(here: Callable[..., Here]) -> None:
    one = here(2)
    for step_id, name in (("a", "local_slow"), ("b", "local_slow"), ("c", "local_quick")):
        one.hand_over(name, step_id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await one.hears("c")
    gate.get().set()
    await one.hears("a", "b", "c")


async def test_what_a_step_leaves_in_its_context_is_not_for_the_next_to_find(here: Callable[..., Here]) -> None:
    one = here()
    for step_id in "abc":
        one.hand_over("local_marks", step_id, b'"%b"' % step_id.encode())
    await one.hears("a", "b", "c")
    assert [one.value(step_id) for step_id in "abc"] == [b'"nobody\'s"'] * 3


async def test_a_step_that_cancels_its_task_harms_no_other(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_cancels_itself", "a")
    one.hand_over("local_slow", "b")
    one.hand_over("local_quick", "c")
    await one.hears("a", "c")
    gate.get().set()
    await one.hears("b")
    assert one.value("b") == b"2"


async def test_an_attempt_has_its_time_and_no_more(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_slow", "late", timeout=0.01)
    await one.hears("late")
    assert one.error("late") == "TimeoutError: attempt 1 took longer than 0.01 s"


async def test_the_authors_own_timeouts_are_the_authors(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_counts_down", "own", b"0.01")
    one.hand_over("local_catches", "caught")
    await one.hears("own", "caught")
    assert one.error("own").startswith("TimeoutError")
    assert "took longer" not in one.error("own")
    assert one.value("caught") == b"2"


async def test_the_same_attempt_is_not_taken_twice(here: Callable[..., Here]) -> None:
    one = here()
    for _ in range(3):
        one.hand_over("local_quick", "quick#1")
    await one.hears("quick#1")
    assert len(seen.get()) == 1


async def test_a_worker_that_drains_finishes_what_it_took(here: Callable[..., Here]) -> None:
    one = here(1)
    one.hand_over("local_slow", "a")
    await asyncio.sleep(0)  # lets it begin
    one.hand_over("local_quick", "b")
    draining = asyncio.create_task(one.worker.drain(10))
    await asyncio.sleep(0)
    gate.get().set()
    await draining
    assert one.said.keys() == {"a"}


async def test_a_worker_that_drains_starts_what_there_is_room_for(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_catches", "a")
    one.hand_over("local_quick", "b")
    await one.worker.drain(10)
    assert one.said.keys() == {"a", "b"}


@step
def local_sleeps(number: int) -> int:
    sleeping.wait(10)
    return number


async def test_what_waits_for_a_thread_when_a_worker_drains_is_left_as_it_was(
    here: Callable[..., Here],
) -> None:
    sleeping.clear()
    one = here(1)
    one.hand_over("local_sleeps", "sleeps", timeout=0.01)
    await one.hears("sleeps")
    one.hand_over("local_sleeps", "waits")
    await asyncio.sleep(0)
    one.invoker.drain()
    await one.worker.drain(10)
    assert (list(one.said), one.worker.idle) == (["sleeps"], True)
    assert one.error("sleeps") == "TimeoutError: attempt 1 took longer than 0.01 s, and its thread goes on"
    sleeping.set()


@step
async def local_cancels_another(number: int) -> int:
    other = asyncio.create_task(asyncio.Event().wait())
    other.cancel()
    await other
    return number


async def test_a_step_that_a_cancellation_of_its_own_comes_out_of_has_failed(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_cancels_another", "cancels")
    await one.hears("cancels")
    assert one.error("cancels").startswith("CancelledError")


async def test_a_worker_that_drains_takes_nothing_new(here: Callable[..., Here]) -> None:
    one = here()
    one.hand_over("local_slow", "slow")
    draining = asyncio.create_task(one.worker.drain(10))
    await asyncio.sleep(0)
    one.hand_over("local_quick", "late")
    gate.get().set()
    await draining
    one.hand_over("local_quick", "later")
    await asyncio.sleep(0)
    assert (list(one.said), one.worker.idle) == (["slow"], True)


@pytest.mark.parametrize(("places", "asked"), [(256, [5, 5]), (1, [1] * 10)])
async def test_effects_that_are_handed_over_together_ask_the_ledger_together(
    store: SqliteStore, places: int, asked: list[int]
) -> None:
    names = [f"charge#{number}" for number in range(5)]
    await plan(await owner(store), *map(planned, names))
    one = Here(store, places)
    for name in names:
        one.hand_over_effect(name)
    await one.hears(*names)
    assert [one.value(name) for name in names] == [b'"%b: 1"' % name.encode() for name in names]
    assert one.ledger.asked == asked
