"""Attempts of one effect that meet: who waits for whom, and who tells the run."""

import asyncio
from pathlib import Path

from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.app.effects.execute import EffectExecution, carrier
from holdfast.app.effects.ledger_session import LEASE, LedgerSession
from holdfast.app.executor.invocation import Invoker
from holdfast.core.asks import PROVIDER_KEY, Begin, Doubt, Terms
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import SUCCEEDED, Effect
from holdfast.core.payload import Payload
from holdfast.ports.journal import ShardBatch
from holdfast.sdk.definitions import seconds
from holdfast.sdk.effects import effect
from holdfast.sdk.values import GIVEN
from tests.integration.running import FastClock

KEY = "a" * 32
TERMS = Terms(guard=PROVIDER_KEY, window=600.0)


@effect(guard="provider_key", window=seconds(600), margin=seconds(1))
async def meeting_charge(number: int, *, key: str = GIVEN) -> int:
    return number


async def planned(path: Path) -> SqliteStore:
    """A store that holds one planned effect."""
    store = SqliteStore(path)
    await store.install(1)
    await store.open()
    row = (await store.take([0], "p"))[0]
    plan = Effect(
        effect_id=KEY, run_id="r", incarnation=0, step_id="meeting_charge#1", shard=0, name="meeting_charge", key=KEY,
        request_hash=b"h", terms=TERMS, planned_at=0,
    )  # fmt: skip
    await store.commit({0: ShardBatch(epoch=row.epoch, number=1, published=0, planned=[plan])})
    return store


def execution(store: SqliteStore) -> EffectExecution:
    return carrier(
        ledger_=SqliteLedger(store), store=store, clock=FastClock(), host=LinuxHost(), databases=NamedDatabases({}),
        process="here", invoker=Invoker(4),
    )  # fmt: skip


def attempt(number: int) -> ExecuteStep:
    return ExecuteStep(
        run_id="r", incarnation=0, step_id="meeting_charge#1", attempt=number, name="meeting_charge", kind="effect",
        queue="default", input=Payload(data=b"7"), timeout=60.0, guard=PROVIDER_KEY, key=KEY,
    )  # fmt: skip


def silent(_: StepResult) -> None:
    raise AssertionError("nothing is late here")


async def test_who_meets_an_earlier_attempt_waits_for_its_end_for_the_run_does_not_hear_of_it(tmp_path: Path) -> None:
    store = await planned(tmp_path / "holdfast.db")
    elsewhere = LedgerSession(SqliteLedger(store), FastClock(), "elsewhere")
    begun = await elsewhere.insist(KEY, Begin(who="elsewhere", terms=TERMS, attempt=1, lease=LEASE))
    assert begun.effect is not None
    elsewhere.hold(KEY, begun.effect.fence)
    looked = asyncio.get_running_loop().create_task(execution(store).run(attempt(2), meeting_charge, silent))
    done, _ = await asyncio.wait([looked], timeout=1.5)  # far more than one wait of a lease, at this clock
    assert not done, looked.result()
    elsewhere.let_go(KEY)
    await elsewhere.insist(KEY, Doubt(who="elsewhere", fence=begun.effect.fence, reason="no answer"))
    async with asyncio.timeout(10):
        result = await looked
    assert result is not None
    assert result.ledger == SUCCEEDED
    await store.close()


async def test_who_meets_the_same_attempt_elsewhere_leaves_it_to_tell(tmp_path: Path) -> None:
    store = await planned(tmp_path / "holdfast.db")
    elsewhere = LedgerSession(SqliteLedger(store), FastClock(), "elsewhere")
    await elsewhere.insist(KEY, Begin(who="elsewhere", terms=TERMS, attempt=1, lease=LEASE))
    elsewhere.hold(KEY, 1)
    async with asyncio.timeout(10):
        assert await execution(store).run(attempt(1), meeting_charge, silent) is None
    elsewhere.let_go(KEY)
    await store.close()
