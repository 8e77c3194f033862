"""Questions to the ledger go together, and what is wrong with one is no other's fault."""

import asyncio
from pathlib import Path

from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.app.desk import LEASE, Desk
from holdfast.core.asks import PROVIDER_KEY, Begin, Doubt, Prove, Terms
from holdfast.core.effects import SUCCEEDED, Effect
from holdfast.core.payload import Payload
from holdfast.ports.store import ShardBatch
from holdfast.profiles.profile import StoreClock

KEYED = Terms(guard=PROVIDER_KEY, window=60.0)


def effect(number: int) -> Effect:
    name = f"{number:032x}"
    return Effect(
        effect_id=name, run_id="r", incarnation=0, step_id=f"charge#{number}", shard=0, name="charge", key=name,
        request_hash=b"h", terms=KEYED, planned_at=0,
    )  # fmt: skip


async def test_a_word_that_the_store_refuses_does_not_take_others_down_with_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.install(1)
    await store.open()
    row = (await store.take([0], "p"))[0]
    await store.commit({0: ShardBatch(epoch=row.epoch, number=1, published=0, planned=[effect(1), effect(2)])})
    desk = Desk(SqliteLedger(store), StoreClock(), "p")
    ids = [effect(number).effect_id for number in (1, 2)]
    begun = [await desk.insist(name, Begin(who="p", terms=KEYED, attempt=1, lease=LEASE)) for name in ids]
    assert begun[0].effect is not None
    bad, good = await asyncio.gather(
        desk.insist(ids[0], Doubt(who="p", fence=begun[0].effect.fence, reason="half a character: \udc80")),
        desk.insist(ids[1], Prove(who="p", result=Payload(data=b"1"))),
        return_exceptions=True,
    )
    assert isinstance(bad, Exception)
    assert not isinstance(good, BaseException)
    assert good.effect is not None
    assert good.effect.state == SUCCEEDED
    await store.close()
