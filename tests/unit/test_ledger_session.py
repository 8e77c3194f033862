"""Questions to the ledger go together and wait for nobody long; what is wrong with one is no other's fault."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.app.effects.ledger_session import TURNS, LedgerSession
from holdfast.core.asks import Ask, Doubt, Prove
from holdfast.core.effects import SUCCEEDED
from holdfast.ports.ledger import Answer
from holdfast.ports.unavailable import Unavailable
from holdfast.profiles.profile import StoreClock
from holdfast.testing.conformance.effects import RECEIPT, begin, effect, plan
from holdfast.testing.conformance.rows import SHARDS, owner


class FlakyLedger(SqliteLedger):
    """The ledger, which tells how many questions came together, and is away as often as a test says."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.asked: list[int] = []
        self.away = 0

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        self.asked.append(len(asks))
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return await super().ask(asks)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[FlakyLedger]:
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.install(SHARDS)
    await store.open()
    await plan(await owner(store), effect("a"), effect("b"))
    yield FlakyLedger(store)
    await store.close()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_questions_a_few_turns_apart_go_together(ledger: FlakyLedger) -> None:
    session = LedgerSession(ledger, StoreClock(), "worker")
    one = asyncio.create_task(session.ask("a", begin()))
    await turns(TURNS - 1)
    other = asyncio.create_task(session.ask("b", begin()))
    answers = await asyncio.gather(one, other)
    assert [answer.unmoved for answer in answers] == ["", ""]
    assert ledger.asked == [2]


async def test_a_question_with_no_company_goes_alone(ledger: FlakyLedger) -> None:
    session = LedgerSession(ledger, StoreClock(), "worker")
    await session.ask("a", begin())
    await session.ask("b", begin())
    assert ledger.asked == [1, 1]


async def test_an_answer_that_was_lost_is_told_to_all_who_went_together(ledger: FlakyLedger) -> None:
    session = LedgerSession(ledger, StoreClock(), "worker")
    ledger.away = 1
    told = await asyncio.gather(session.ask("a", begin()), session.ask("b", begin()), return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable, Unavailable]


async def test_what_must_not_be_lost_is_asked_until_there_is_an_answer(ledger: FlakyLedger) -> None:
    session = LedgerSession(ledger, StoreClock(), "worker")
    ledger.away = 2
    answer = await session.insist("a", begin())
    assert (answer.unmoved, ledger.asked) == ("", [1, 1, 1])


async def test_a_word_that_the_store_refuses_does_not_take_others_down_with_it(ledger: FlakyLedger) -> None:
    session = LedgerSession(ledger, StoreClock(), "worker")
    begun, _ = await asyncio.gather(session.insist("a", begin()), session.insist("b", begin()))
    assert begun.effect is not None
    bad, good = await asyncio.gather(
        session.insist("a", Doubt(who="worker", fence=begun.effect.fence, reason="half a character: \udc80")),
        session.insist("b", Prove(who="worker", result=RECEIPT)),
        return_exceptions=True,
    )
    assert isinstance(bad, Exception)
    assert not isinstance(good, BaseException)
    assert good.effect is not None
    assert good.effect.state == SUCCEEDED
