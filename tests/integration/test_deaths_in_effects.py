"""An effect of which processes died: executed apart under its key, looked up, or parked by its guard's rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.sqlite import SqliteDeaths, SqliteLedger, SqliteStore
from holdfast.app.deaths import ATTEMPTS, DeathWatch
from holdfast.app.effects.execute import EffectExecution, carrier
from holdfast.app.executor.child_process import Request, execute, request_of
from holdfast.app.executor.invocation import Invoker
from holdfast.app.executor.quarantine import UNMOVABLE, Quarantine
from holdfast.core.asks import AT_MOST_ONCE, LOOKUP, PROVIDER_KEY, Resolve, Terms
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import FAILED, IN_DOUBT, PARKED, PLANNED, SUCCEEDED, Effect
from holdfast.core.payload import Payload
from holdfast.ports.deaths import Death
from holdfast.ports.isolation import Died, NotStarted
from holdfast.ports.recorder import UNRECORDED
from holdfast.sdk.definitions import hours, seconds, steps
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import Refused
from holdfast.sdk.values import GIVEN
from holdfast.testing.conformance.rows import SHARDS, owner
from tests.integration.running import FastClock

calls: list[str] = []


@effect(guard="provider_key", window=hours(24))
async def deadly_charge(order: str, *, key: str = GIVEN) -> str:
    calls.append("charge")
    if order == "refused":
        raise Refused("card declined")
    if order == "odd":
        raise LookupError("odd")
    return f"paid {order} {key}"


@effect(guard="lookup", lifetime=seconds(0.01))
async def deadly_ship(order: str, *, key: str = GIVEN) -> str:
    calls.append("ship")
    return f"shipped {order}"


@deadly_ship.lookup
async def find_deadly(order: str, *, key: str = GIVEN) -> str | None:
    calls.append("find")
    return "found" if order == "there" else None


@effect(guard="at_most_once")
async def deadly_letter(order: str) -> str:
    calls.append("letter")
    return order


@effect(guard="transaction", database="shop")
async def deadly_book(order: str, *, connection: Any = GIVEN) -> str:
    return order


class Children:
    """Fulfils `ports.isolation.Isolation`: `dies` says which requests end their process; the rest is executed here."""

    def __init__(self) -> None:
        self.dies: Callable[[Request], bool] = lambda _: False
        self.starts = True
        self.asked: list[Request] = []

    async def run(self, request: bytes, seconds: float) -> bytes:
        if not self.starts:
            raise NotStarted("exit code 1")
        asked = request_of(request)
        self.asked.append(asked)
        if self.dies(asked):
            raise Died("signal SIGSEGV")
        return await execute(request)


class Bench:
    """One worker's effects over a real ledger, with processes that have died of the effect before."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.ledger = SqliteLedger(store)
        self.deaths = SqliteDeaths(store)
        self.children = Children()
        self.watch = DeathWatch(self.deaths, UNRECORDED, None, process="worker", shards=SHARDS)
        self.effects = self.carrier(self.children)
        self.task: ExecuteStep | None = None

    def carrier(self, children: Children | None) -> EffectExecution:
        return carrier(
            ledger_=self.ledger,
            store=self.store,
            clock=FastClock(),
            host=LinuxHost(),
            databases=NamedDatabases({}),
            process="worker",
            invoker=Invoker(4),
            quarantine=Quarantine(children, self.watch),
        )

    async def given(self, name: str, guard: str, order: str, deaths: int = ATTEMPTS) -> None:
        step_id = f"{name}#1"
        self.task = ExecuteStep(
            run_id="r", incarnation=0, step_id=step_id, attempt=1, name=name, kind="effect", queue="default",
            input=Payload(data=msgspec.json.encode(order)), timeout=5.0, guard=guard, key="k-1",
        )  # fmt: skip
        writer = await owner(self.store, 0)
        batch = writer.batch(0)
        batch.planned.append(
            Effect(
                effect_id="k-1",
                run_id="r",
                incarnation=0,
                step_id=step_id,
                shard=0,
                name=name,
                key="k-1",
                request_hash=b"h",
                terms=Terms(guard=guard),
                planned_at=1,
            )
        )
        await writer.commit({0: batch})
        died = [Death(run_id="r", incarnation=0, step_id=step_id, process=f"p-{number}") for number in range(deaths)]
        await self.deaths.report(died)
        await self.watch.read()

    async def attempt(self) -> StepResult:
        """Execute the next attempt."""
        assert self.task is not None
        definition: Any = steps.get(self.task.name)
        result = await self.effects.run(self.task, definition, lambda _: None)
        self.task = msgspec.structs.replace(self.task, attempt=self.task.attempt + 1)
        assert result is not None
        return result

    async def row(self) -> Effect:
        found = (await self.ledger.look(["k-1"]))["k-1"].effect
        assert found is not None
        return found

    async def counted(self) -> int:
        return len(await self.deaths.read(100))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.install(SHARDS)
    await store.open()
    yield Bench(store)
    await store.close()


async def test_an_innocent_effect_is_executed_apart_and_proved(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1")
    result = await bench.attempt()
    assert (result.ledger, result.result) == (SUCCEEDED, Payload(data=b'"paid o-1 k-1"'))
    assert len(bench.children.asked) == 1


async def test_two_deaths_are_not_enough_to_be_executed_apart(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1", deaths=ATTEMPTS - 1)
    assert (await bench.attempt()).ledger == SUCCEEDED
    assert bench.children.asked == []


async def test_an_innocent_effect_that_more_processes_held_than_suspect_it_is_executed_apart(bench: Bench) -> None:
    # Who executes it may not have heard yet of the third death.
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1", deaths=ATTEMPTS + 2)
    assert (await bench.attempt()).ledger == SUCCEEDED
    assert len(bench.children.asked) == 1


async def test_what_the_effect_says_in_its_child_is_what_it_says(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "refused")
    result = await bench.attempt()
    assert result.ledger == FAILED
    assert result.error is not None
    assert result.error.message == "card declined"


async def test_another_error_is_unclear_and_told_with_its_type(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "odd")
    result = await bench.attempt()
    assert result.ledger == IN_DOUBT
    assert result.error is not None
    assert result.error.type == "LookupError"
    assert (await bench.row()).reason == "LookupError: odd"
    assert (await bench.row()).sender_gone == "its child process has ended"


async def test_a_child_that_did_not_begin_sent_nothing(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1")
    bench.children.starts = False
    assert (await bench.attempt()).ledger == PLANNED


async def test_an_effect_with_a_key_that_kills_its_child_too_is_parked_and_not_sent_for_ever(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1")
    bench.children.dies = lambda _: True

    first = await bench.attempt()
    second = await bench.attempt()

    assert first.ledger == IN_DOUBT
    assert second.ledger == PARKED
    assert second.reason.startswith("worker_died: 4 processes died while they executed deadly_charge#1")
    assert len(bench.children.asked) == 1


async def test_without_an_application_to_start_it_is_parked_at_once(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1")
    bench.effects = bench.carrier(None)
    result = await bench.attempt()
    assert result.ledger == PARKED
    assert "knows of no application" in result.reason


async def test_a_transaction_that_was_held_beside_the_guilty_is_executed_as_any_other(bench: Bench) -> None:
    await bench.given("deadly_book", "transaction", "o-1", deaths=UNMOVABLE * ATTEMPTS - 1)
    result = await bench.attempt()
    assert result.ledger == PARKED
    assert "shop" in result.reason  # it got as far as its database, which nobody named
    assert "worker_died" not in result.reason


async def test_a_person_has_it_tried_again_and_it_is_tried_apart(bench: Bench) -> None:
    await bench.given("deadly_charge", PROVIDER_KEY, "o-1")
    bench.children.dies = lambda _: True
    await bench.attempt()
    await bench.attempt()
    bench.children.dies = lambda _: False

    version = (await bench.row()).version
    await bench.ledger.ask([("k-1", Resolve(who="ada", version=version, verdict="retry", reason="mended"))])
    result = await bench.attempt()

    assert result.ledger == SUCCEEDED
    assert len(bench.children.asked) == 2


async def test_one_that_is_tried_at_most_once_is_parked_when_its_child_dies(bench: Bench) -> None:
    await bench.given("deadly_letter", AT_MOST_ONCE, "o-1")
    bench.children.dies = lambda _: True
    result = await bench.attempt()
    assert result.ledger == PARKED
    assert result.reason.startswith("worker_died: the child process that executed it ended by signal SIGSEGV")


async def test_one_with_a_look_up_is_looked_up_apart(bench: Bench) -> None:
    await bench.given("deadly_ship", LOOKUP, "there")
    bench.children.dies = lambda request: not request.asks
    assert (await bench.attempt()).ledger == IN_DOUBT
    result = await bench.attempt()
    assert (result.ledger, result.result) == (SUCCEEDED, Payload(data=b'"found"'))
    assert [request.asks for request in bench.children.asked] == [False, True]


async def test_one_that_is_not_found_is_not_sent_again_but_parked(bench: Bench) -> None:
    await bench.given("deadly_ship", LOOKUP, "nowhere")
    bench.children.dies = lambda request: not request.asks
    while (result := await bench.attempt()).ledger == IN_DOUBT:
        pass  # a request may still be on its way, for the 10 ms that the effect says
    assert result.ledger == PARKED
    assert result.reason.startswith("worker_died: 4 processes died")


async def test_one_whose_look_up_dies_is_parked(bench: Bench) -> None:
    await bench.given("deadly_ship", LOOKUP, "there")
    bench.children.dies = lambda _: True
    await bench.attempt()
    result = await bench.attempt()
    assert result.ledger == PARKED
    assert result.reason.startswith("worker_died: ")


async def test_a_transaction_cannot_be_moved_and_is_parked_when_twice_as_many_died_of_it(bench: Bench) -> None:
    await bench.given("deadly_book", "transaction", "o-1", deaths=UNMOVABLE * ATTEMPTS)
    result = await bench.attempt()
    assert result.ledger == PARKED
    assert "its transaction cannot be moved into a child process" in result.reason
    assert bench.children.asked == []
    assert await bench.counted() == 0  # whoever has it tried again has it tried here
