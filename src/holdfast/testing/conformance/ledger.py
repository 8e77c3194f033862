"""The laws of the ledger port, as tests that every adapter passes.

A subclass gives the fixtures: `store` (installed with 8 shards, opened, empty), `another_store` (the same data through
other connections, opened), and `ledger_of`, which gives the ledger of an open store.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from holdfast.core.asks import (
    CONFLICT,
    GUARDS,
    LOOKUP,
    Cancel,
    Claim,
    Close,
    Doubt,
    Expire,
    Park,
    Prove,
    Reconcile,
    Refuse,
    Renew,
    Send,
    Terms,
    Unmoved,
)
from holdfast.core.effects import (
    CANCELLED,
    FAILED,
    IN_DOUBT,
    INFLIGHT,
    PARKED,
    PLANNED,
    SUCCEEDED,
    decide,
    evolve,
)
from holdfast.ports.journal import BadData, Committed, Fenced
from holdfast.ports.ledger import Ledger, ProcessRow, Story
from holdfast.ports.store import Store
from holdfast.testing.conformance.effects import (
    KEYED,
    LEASE,
    NO,
    ONCE,
    OVER,
    RECEIPT,
    any_ask,
    begin,
    effect,
    ids,
    one,
    plan,
    told_of,
    without_renewals,
)
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.purging import purge, run_to_its_end
from holdfast.testing.conformance.rows import SECOND, SHARDS, Writer, owner


class LedgerFixtures(StoreFixtures):
    """What a subclass gives, and what follows from it."""

    def ledger_of(self, store: Any) -> Ledger:
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, store: Store) -> Ledger:
        return self.ledger_of(store)

    @pytest.fixture
    def another_ledger(self, another_store: Store) -> Ledger:
        return self.ledger_of(another_store)

    @pytest.fixture
    async def writer(self, store: Store) -> Writer:
        return await owner(store, 0, 1)


class AskLaws(LedgerFixtures):
    """What is asked is decided by the core, against the row as it stands."""

    async def test_a_planned_effect_is_read_as_it_was_written(self, ledger: Ledger, writer: Writer) -> None:
        row = msgspec.structs.replace(effect("a", terms=Terms(guard=LOOKUP, lifetime=30.5, lookup=True)), shard=1)
        await plan(writer, row, effect("b"))
        found = await ledger.look(["a", "b", "unknown"])
        assert {effect_id: answer.effect for effect_id, answer in found.items()} == {"a": row, "b": effect("b")}
        assert {answer.unmoved for answer in found.values()} == {""}
        assert await ledger.look([]) == {}

    async def test_an_effect_goes_from_its_plan_to_its_proof(
        self, ledger: Ledger, another_ledger: Ledger, writer: Writer
    ) -> None:
        await plan(writer, effect("a"))
        begun = await one(ledger, "a", begin())
        proven = await one(another_ledger, "a", Prove(who="worker", result=RECEIPT, evidence="ch_\x00"))
        assert (begun.effect.state, begun.effect.fence, begun.effect.request) == (INFLIGHT, 1, b"\x00bytes\xff")
        assert begun.effect.lease_until == begun.now + int(LEASE * SECOND)
        assert (proven.effect.state, proven.effect.result, proven.effect.version) == (SUCCEEDED, RECEIPT, 2)
        assert (await ledger.look(["a"]))["a"].effect == proven.effect

    async def test_the_time_is_the_stores(self, store: Store, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"))
        before = await store.now()
        begun = await one(ledger, "a", begin())
        looked = (await ledger.look(["a"]))["a"]
        after = await store.now()
        assert before <= begun.now <= looked.now <= after
        assert begun.effect.first_sent_at == begun.now

    async def test_an_unknown_effect_is_told_and_the_others_move(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"))
        unknown, begun = await ledger.ask([("nobody", begin()), ("a", begin())])
        assert (unknown.effect, unknown.unmoved) == (None, "unknown")
        assert unknown.now == begun.now
        assert begun.effect is not None
        assert begun.effect.state == INFLIGHT
        assert await ledger.ask([]) == []

    async def test_several_asks_about_one_effect_are_decided_one_after_the_other(
        self, ledger: Ledger, writer: Writer
    ) -> None:
        await plan(writer, effect("a"), effect("b"))
        answers = await ledger.ask([
            ("a", Claim(who="one", terms=KEYED, attempt=1, lease=LEASE)),
            ("b", begin(who="two")),
            ("a", begin(who="two")),
            ("a", Send(who="one", fence=1, lease=LEASE)),
            ("a", Prove(who="one", result=RECEIPT)),
            ("a", Prove(who="two", result=RECEIPT)),
        ])  # fmt: skip
        assert [answer.unmoved for answer in answers] == ["", "", "state", "", "", "settled"]
        told = await told_of(ledger, "a")
        assert told.effect == answers[-1].effect
        assert [(move.version, move.what, move.who) for move in told.moves] == [
            (1, "claim", "one"), (2, "send", "one"), (3, "prove", "one"),
        ]  # fmt: skip

    async def test_a_refused_move_changes_nothing(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"))
        begun = await one(ledger, "a", begin())
        for ask in (begin(), Refuse(who="late", fence=0, error=NO), Cancel(who="owner"), Expire(who="sweeper")):
            refused = await one(ledger, "a", ask)
            assert refused.unmoved not in {"", "settled"}
            assert refused.effect == begun.effect
        told = await told_of(ledger, "a")
        assert (told.effect, [move.what for move in told.moves]) == (begun.effect, ["begin"])

    async def test_a_run_whose_effect_has_no_verdict_is_not_purged(
        self, store: Store, ledger: Ledger, writer: Writer
    ) -> None:
        await run_to_its_end(writer, "over")
        await plan(writer, effect("a", "over"), effect("b", "over"), effect("c", "r"))
        await one(ledger, "a", Prove(who="worker", result=RECEIPT, evidence="ch_1"))
        assert await store.unsettled(["over"]) == {"over"}
        assert isinstance(await purge(writer, "over"), BadData)
        assert len(await ledger.stories("over")) == 2

        await one(ledger, "b", Cancel(who="worker"))
        assert await store.unsettled(["over"]) == frozenset()
        assert isinstance(await purge(writer, "over"), Committed)
        assert await ledger.stories("over") == []
        assert await ledger.story("a") is None
        assert ids(await ledger.effects()) == ["c"]

    async def test_a_renewal_is_no_line_of_the_story(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"))
        await one(ledger, "a", begin(OVER))
        renewed = await one(ledger, "a", Renew(who="worker", fence=1, lease=LEASE))
        told = await told_of(ledger, "a")
        assert renewed.effect.lease_until == renewed.now + int(LEASE * SECOND)
        assert told.effect == renewed.effect
        assert [move.what for move in told.moves] == ["begin"]

    async def test_a_proof_after_a_cancellation_is_kept_as_a_conflict(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"))
        await one(ledger, "a", Cancel(who="owner"))
        proven = await one(ledger, "a", Prove(who="worker", result=RECEIPT, evidence="ch_1"))
        told = await told_of(ledger, "a")
        assert (proven.unmoved, told.effect.state, told.effect.result) == ("", CANCELLED, None)
        assert [(move.what, move.result, move.evidence) for move in told.moves[1:]] == [(CONFLICT, RECEIPT, "ch_1")]

    async def test_conflicts_are_listed_by_id_in_pages(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, *(effect(name) for name in "cabd"))
        for name in "cab":
            await one(ledger, name, Cancel(who="owner"))
        for name in "cad":  # d was not closed: its proof is its result
            await one(ledger, name, Prove(who="worker", result=RECEIPT))
        await one(ledger, "c", Prove(who="another", result=RECEIPT))
        assert ids(await ledger.conflicts()) == ["a", "c"]
        assert ids(await ledger.conflicts(limit=1)) == ["a"]
        assert ids(await ledger.conflicts(limit=1, after="a")) == ["c"]

    async def test_of_two_that_ask_at_once_one_begins(
        self, ledger: Ledger, another_ledger: Ledger, writer: Writer
    ) -> None:
        names = [f"e{n}" for n in range(20)]
        await plan(writer, *map(effect, names))
        one_way = [(name, begin(who="one")) for name in names]
        other_way = [(name, begin(who="two")) for name in reversed(names)]
        answers = await asyncio.gather(
            ledger.ask(one_way), another_ledger.ask(other_way),
            *(asker.ask([(name, begin())]) for name in names for asker in (ledger, another_ledger)),
        )  # fmt: skip
        begun = [answer.effect for batch in answers for answer in batch if not answer.unmoved]
        assert sorted(row.effect_id for row in begun if row is not None) == sorted(names)
        for row in begun:
            assert row is not None
            told = await told_of(ledger, row.effect_id)
            assert (told.effect, [move.who for move in told.moves]) == (row, [row.owner])

    @pytest.mark.parametrize("seed", range(12))
    async def test_whatever_is_asked_the_row_is_the_fold_of_its_moves(
        self, ledger: Ledger, another_ledger: Ledger, writer: Writer, seed: int
    ) -> None:
        chance = random.Random(seed)
        planned = {name: effect(name, terms=Terms(guard=chance.choice(GUARDS), lookup=True)) for name in "abc"}
        await plan(writer, *planned.values())
        expected = dict(planned)
        for _ in range(25):
            asks = [(name, any_ask(chance, expected[name])) for name in chance.choices("abc", k=chance.randint(1, 4))]
            for (name, ask), answer in zip(asks, await chance.choice([ledger, another_ledger]).ask(asks), strict=True):
                move = decide(expected[name], ask, answer.now)
                assert answer.unmoved == (move.reason if isinstance(move, Unmoved) else "")
                if not isinstance(move, Unmoved):
                    expected[name] = evolve(expected[name], move)
                assert answer.effect == expected[name]
        told = {story.effect.effect_id: story for story in await ledger.stories("r")}
        assert {name: story.effect for name, story in told.items()} == expected
        for name, story in told.items():
            folded = planned[name]
            for move in story.moves:
                assert move.version == folded.version + 1
                folded = evolve(folded, move)
            assert without_renewals(folded) == without_renewals(expected[name])


class CommitLaws(LedgerFixtures):
    """The ledger's part of a commit: with all of the batch, or not at all."""

    async def test_a_batch_plans_and_asks(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("a"), effect("b", shard=1))
        await one(ledger, "b", begin())
        batch = {n: writer.batch(n) for n in (0, 1)}
        batch[0].planned = [effect("c")]
        batch[0].asked = [("a", Cancel(who="owner")), ("nobody", Cancel(who="owner"))]
        batch[1].asked = [("b", Cancel(who="owner"))]

        answer = await writer.try_commit(batch)

        assert isinstance(answer, Committed)
        assert {effect_id: said.unmoved for effect_id, said in answer.answers.items()} == {
            "a": "", "nobody": "unknown", "b": "state",
        }  # fmt: skip
        rows = await ledger.look(["a", "b", "c"])
        assert {effect_id: row.effect.state for effect_id, row in rows.items() if row.effect} == {
            "a": CANCELLED, "b": INFLIGHT, "c": PLANNED,
        }  # fmt: skip
        assert answer.answers["a"].effect == rows["a"].effect
        assert [move.what for move in (await told_of(ledger, "a")).moves] == ["cancel"]

    async def test_a_batch_may_ask_about_what_it_plans(self, ledger: Ledger, writer: Writer) -> None:
        batch = writer.batch()
        batch.planned = [effect("a"), effect("b")]
        batch.asked = [("a", Cancel(who="owner")), ("a", Close(who="owner"))]
        answer = await writer.try_commit({0: batch})
        assert isinstance(answer, Committed)
        assert answer.answers["a"].unmoved == "settled"
        told = {story.effect.effect_id: story for story in await ledger.stories("r")}
        assert told["a"].effect == answer.answers["a"].effect
        assert [(move.version, move.what) for move in told["a"].moves] == [(1, "cancel")]
        assert told["b"] == Story(effect("b"), ())

    async def test_one_stale_shard_of_two_changes_nothing_in_the_ledger(
        self, ledger: Ledger, another_store: Store, writer: Writer
    ) -> None:
        await plan(writer, effect("a"), effect("b", shard=1))
        await another_store.take([1], "two")
        batch = {n: writer.batch(n) for n in (0, 1)}
        for n, name in enumerate("ab"):
            batch[n].planned = [effect(f"new-{name}", shard=n)]
            batch[n].asked = [(name, Cancel(who="owner")), (f"new-{name}", Cancel(who="owner"))]

        assert await writer.try_commit(batch) == Fenced(frozenset({1}))

        rows = await ledger.look(["a", "b", "new-a", "new-b"])
        assert {effect_id: row.effect for effect_id, row in rows.items()} == {
            "a": effect("a"), "b": effect("b", shard=1),
        }  # fmt: skip
        assert (await told_of(ledger, "a")).moves == ()
        del batch[1]
        assert isinstance(await writer.try_commit(batch), Committed)

    async def test_a_second_plan_of_one_effect_is_refused_with_the_whole_batch(
        self, store: Store, ledger: Ledger, writer: Writer
    ) -> None:
        await plan(writer, effect("a"), effect("b"))
        begun = await one(ledger, "a", begin())
        for again in ([effect("a")], [effect("c"), effect("c")]):
            batch = writer.batch()
            batch.planned = [effect("d"), *again]
            batch.asked = [("b", Cancel(who="owner"))]
            assert isinstance(await writer.try_commit({0: batch}), BadData)
        rows = await ledger.look("abcd")
        assert {effect_id: row.effect for effect_id, row in rows.items()} == {"a": begun.effect, "b": effect("b")}
        assert (await store.shards([0]))[0].last_batch == 1
        await plan(writer, effect("d"))  # and the store goes on

    async def test_commits_and_askers_about_the_same_effects_do_not_lock_each_other_out(
        self, ledger: Ledger, another_ledger: Ledger, another_store: Store, writer: Writer
    ) -> None:
        other = await owner(another_store, 2, 3, name="two")
        names = [f"e{n}" for n in range(12)]
        await plan(writer, *map(effect, names))

        async def commits(owner_: Writer, order: Sequence[str]) -> None:
            for _ in range(15):
                batch = {shard: owner_.batch(shard) for shard in owner_.epochs}
                for part in batch.values():
                    part.asked = [(name, Close(who="owner")) for name in order]
                assert isinstance(await owner_.try_commit(batch), Committed)

        async def asks(asker: Ledger, order: Sequence[str]) -> None:
            for n in range(15):
                await asker.ask([(name, begin(OVER)) for name in order])
                await asker.ask([(name, Expire(who=f"sweeper {n}")) for name in reversed(order)])

        async with asyncio.timeout(30):
            await asyncio.gather(
                commits(writer, names), commits(other, names[::-1]), asks(ledger, names), asks(another_ledger, names)
            )
        for story in await ledger.stories("r"):
            assert [move.version for move in story.moves] == list(range(1, story.effect.version + 1))


class ListLaws(LedgerFixtures):
    """Finding effects."""

    async def test_stories_come_in_the_order_of_their_plans(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, effect("z"), effect("m"))
        await plan(writer, effect("other", "another run"), effect("a"))
        for name in "azm":
            await ledger.ask([(name, begin()), (name, Prove(who="worker", result=RECEIPT))])
        told = await ledger.stories("r")
        assert [story.effect.effect_id for story in told] == ["z", "m", "a"]
        assert [[move.what for move in story.moves] for story in told] == [["begin", "prove"]] * 3
        assert await ledger.story("m") == told[1]
        assert await ledger.story("unknown") is None
        assert await ledger.stories("unknown") == []

    async def test_effects_are_listed_by_id_in_pages(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, *(effect(name) for name in "dacb"), effect("e", name="refund"))
        assert ids(await ledger.effects(limit=2)) == ["a", "b"]
        assert ids(await ledger.effects(limit=2, after="b")) == ["c", "d"]
        assert ids(await ledger.effects(name="refund")) == ["e"]
        assert await ledger.effects(after="e") == []

    async def test_effects_are_listed_by_their_states(self, ledger: Ledger, writer: Writer) -> None:
        await plan(writer, *(effect(name) for name in "abcdef"))
        await ledger.ask([(name, begin()) for name in "bcde"])
        await ledger.ask([("c", Prove(who="w", result=RECEIPT))])
        await ledger.ask([(name, Doubt(who="w", fence=1)) for name in "de"])
        await ledger.ask([(name, Park(who="w", reason="a person is to look")) for name in "ef"])
        assert ids(await ledger.effects(states=[INFLIGHT, SUCCEEDED])) == ["b", "c"]
        assert ids(await ledger.effects(states=[IN_DOUBT, PARKED])) == ["d", "e", "f"]
        assert ids(await ledger.effects(states=[PARKED], after="e")) == ["f"]
        assert ids(await ledger.effects(states=[PARKED], name="refund")) == []
        assert ids(await ledger.effects(states=[PLANNED, PARKED], limit=2)) == ["a", "e"]
        assert ids(await ledger.effects(states=[FAILED])) == []

    async def test_held_effects_lapse_by_the_stores_time(self, ledger: Ledger, writer: Writer) -> None:
        rows = [effect(name, terms=Terms(guard=LOOKUP)) for name in ("claimed", "held", "sent", "asked", "done")]
        await plan(writer, *rows, effect("elsewhere", shard=1))
        await ledger.ask([
            ("claimed", Claim(who="w", terms=ONCE, attempt=1, lease=OVER)),
            ("held", begin(LEASE)),
            ("asked", begin(terms=Terms(guard=LOOKUP))),
            ("asked", Doubt(who="w", fence=1)),
            ("asked", Reconcile(who="w", attempt=1, lease=OVER)),
            ("done", begin(OVER)),
            ("done", Prove(who="w", result=RECEIPT)),
        ])  # fmt: skip
        await ledger.ask([("sent", begin(OVER)), ("elsewhere", begin(OVER))])
        assert ids(await ledger.lapsed([0], 10)) == ["claimed", "asked", "sent"]
        assert ids(await ledger.lapsed(range(SHARDS), 10)) == ["claimed", "asked", "sent", "elsewhere"]
        assert len(await ledger.lapsed([0, 1], 2)) == 2
        assert await ledger.lapsed([], 10) == []
        await ledger.ask([(row.effect_id, Expire(who="sweeper")) for row in await ledger.lapsed([0, 1], 10)])
        assert await ledger.lapsed([0, 1], 10) == []


class ProcessLaws(LedgerFixtures):
    """Who may send, and who never will again."""

    async def test_a_process_is_known_from_its_registration_on(self, ledger: Ledger, another_ledger: Ledger) -> None:
        rows = {name: ProcessRow(process=name, host="boot/ns", pid=7, started="12345") for name in ("one", "two")}
        for row in rows.values():
            await ledger.register(row)
        assert await another_ledger.processes(["one", "two", "unknown"]) == rows
        assert await ledger.processes([]) == {}

    async def test_the_first_word_of_a_processs_end_stays(self, ledger: Ledger, another_ledger: Ledger) -> None:
        row = ProcessRow(process="one", host="boot/ns", pid=7, started="12345")
        await ledger.register(row)
        await ledger.deregister("one", "it said so")
        await another_ledger.deregister("one", "no such pid")
        await ledger.register(row)
        await ledger.deregister("unknown", "it said so")
        assert await ledger.processes(["one", "unknown"]) == {"one": msgspec.structs.replace(row, gone="it said so")}


class LedgerConformance(AskLaws, CommitLaws, ListLaws, ProcessLaws):
    """All laws of the port; subclass it with the fixtures and `ledger_of`."""
