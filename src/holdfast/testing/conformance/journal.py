"""The laws of the journal: owners and their epochs, histories, the outbox, signals."""

import asyncio

from holdfast.ports.journal import (
    BadData,
    Committed,
    Fenced,
    OutboxRow,
    RunRow,
    ShardBatch,
    ShardRow,
    Span,
    StoredRun,
)
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.rows import SECOND, SHARDS, Writer, attempt, event, owner, run, timer, waiting


class FenceLaws(StoreFixtures):
    """One writer a shard, and all of a batch or nothing."""

    async def test_new_shards_are_nobodys(self, store: Store) -> None:
        assert await store.shards(range(SHARDS)) == {n: ShardRow(n, 0, "", 0, 0) for n in range(SHARDS)}

    async def test_taking_raises_the_epoch_and_names_the_owner(self, store: Store) -> None:
        await store.take([1, 2], "one")
        rows = await store.take([2], "two")
        assert rows == {2: ShardRow(2, 2, "two", 0, 0)}
        assert await store.shards([1, 2]) == {1: ShardRow(1, 1, "one", 0, 0), **rows}

    async def test_a_stale_epoch_is_fenced(self, store: Store, another_store: Store) -> None:
        stale = await owner(store)
        await owner(another_store, name="two")
        batch = stale.batch()
        batch.started = [run("r")]
        assert await stale.try_commit({0: batch}) == Fenced(frozenset({0}))
        assert await store.existing(["r"]) == frozenset()

    async def test_one_stale_shard_of_two_writes_nothing_of_either(self, store: Store, another_store: Store) -> None:
        writer = await owner(store, 0, 1)
        before = await store.shards([0, 1])
        taken = await another_store.take([1], "two")
        batch = {n: everything(writer.batch(n), f"r{n}", n) for n in (0, 1)}

        assert await writer.try_commit(batch) == Fenced(frozenset({1}))

        assert await store.shards([0, 1]) == {**before, **taken}
        assert await store.load(["r0", "r1"]) == {}
        assert await store.outbox([0, 1], 10) == []
        assert (await store.open_attempts([0, 1], 10 * SECOND, 10)).rows == ()
        assert await store.due_timers([0, 1], 10 * SECOND, 10) == []
        assert await store.inbox(["later-r0", "later-r1"]) == []
        assert await store.seen_signals([("r0", "m"), ("r1", "m")]) == frozenset()

    async def test_after_a_fence_the_shards_that_are_left_can_commit(self, store: Store, another_store: Store) -> None:
        writer = await owner(store, 0, 1)
        await another_store.take([1], "two")
        batch = {n: everything(writer.batch(n), f"r{n}", n) for n in (0, 1)}
        await writer.try_commit(batch)
        del batch[1]
        await writer.commit(batch)
        assert await store.existing(["r0", "r1"]) == {"r0"}

    async def test_a_shard_that_there_is_not_fences(self, store: Store) -> None:
        assert await store.commit({99: ShardBatch(1, 1, 0)}) == Fenced(frozenset({99}))

    async def test_the_number_of_the_last_batch_is_remembered(self, store: Store, another_store: Store) -> None:
        writer = await owner(store, 3)
        for _ in range(3):
            await writer.commit({3: writer.batch(3)})
        assert (await another_store.shards([3]))[3].last_batch == 3

    async def test_a_new_owner_goes_on_with_the_numbers_of_the_last_one(self, store: Store) -> None:
        await (await owner(store)).start("r")
        assert (await store.take([0], "two"))[0] == ShardRow(0, 2, "two", 1, 0)

    async def test_an_empty_batch_commits(self, store: Store) -> None:
        assert await store.commit({}) == Committed()

    async def test_two_owners_of_different_shards_commit_at_once(self, store: Store, another_store: Store) -> None:
        one, two = await owner(store, 0), await owner(another_store, 1, name="two")
        await asyncio.gather(*(one_run_after_another(writer, n) for n, writer in enumerate((one, two))))
        expected = {f"r{shard}-{n}" for shard in (0, 1) for n in range(20)}
        assert await store.existing(sorted(expected)) == expected
        assert {row.last_batch for row in (await store.shards([0, 1])).values()} == {20}


class HistoryLaws(StoreFixtures):
    """Runs and their events."""

    async def test_a_run_is_loaded_as_it_was_written(self, store: Store, another_store: Store) -> None:
        writer = await owner(store, 5)
        batch = writer.batch(5)
        batch.started = [run("r", 5)]
        batch.events = [event("r", n) for n in (1, 2, 3)]
        await writer.commit({5: batch})
        loaded = await another_store.load(["r", "unknown"])
        assert loaded == {"r": StoredRun(run("r", 5), tuple(batch.events))}
        assert await another_store.history("r") == loaded["r"]
        assert await another_store.history("unknown") is None

    async def test_a_second_writer_of_a_seq_is_refused_and_nothing_is_written(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        await writer.start("r")
        batch = {n: everything(writer.batch(n), f"new-{n}", n) for n in (0, 1)}
        batch[0].events.append(event("r", 1, "Other"))

        assert isinstance(await writer.try_commit(batch), BadData)

        assert await store.existing(["new-0", "new-1"]) == frozenset()
        assert (await store.shards([0]))[0].last_batch == 1
        assert [e.type for e in (await store.load(["r"]))["r"].history] == ["RunStarted"]
        await writer.start("r2")  # and the store goes on

    async def test_a_run_that_exists_cannot_be_started(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.started = [run("r", workflow="other")]
        assert isinstance(await writer.try_commit({0: batch}), BadData)
        assert (await store.load(["r"]))["r"].row.workflow == "order"

    async def test_what_changed_of_a_run_is_kept(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        changed = RunRow("r", 0, 0, "order", "1", "PARKED", {"n": "ü"}, SECOND, 2 * SECOND, "code_changed")
        batch = writer.batch()
        batch.changed = [changed]
        await writer.commit({0: batch})
        assert (await store.load(["r"]))["r"].row == changed

    async def test_a_run_may_start_and_end_in_one_batch(self, store: Store) -> None:
        writer = await owner(store)
        batch = writer.batch()
        batch.started = [run("r")]
        batch.changed = [run("r", status="COMPLETED")]
        await writer.commit({0: batch})
        assert (await store.load(["r"]))["r"].row.status == "COMPLETED"

    async def test_a_further_incarnation_has_a_history_of_its_own(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.started = [run("r", incarnation=1)]
        batch.events = [event("r", 1, incarnation=1), event("r", 2, incarnation=1)]
        await writer.commit({0: batch})
        loaded = (await store.load(["r"]))["r"]
        assert loaded.row.incarnation == 1
        assert loaded.history == tuple(batch.events)
        assert [row.incarnation for row in await store.runs()] == [1]

    async def test_the_history_of_an_earlier_incarnation_can_be_read(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.changed = [run("r", status="CONTINUED")]
        batch.events = [event("r", 2), event("r", 1, incarnation=1)]
        batch.started = [run("r", incarnation=1)]
        await writer.commit({0: batch})
        assert [one.seq for one in await store.incarnation("r", 0)] == [1, 2]
        assert [one.seq for one in await store.incarnation("r", 1)] == [1]
        assert await store.incarnation("r", 2) == await store.incarnation("q", 0) == []
        loaded = (await store.load(["r"]))["r"]
        assert (loaded.row.incarnation, loaded.row.status) == (1, "RUNNING")

    async def test_a_run_may_start_and_go_on_as_new_in_one_batch(self, store: Store) -> None:
        writer = await owner(store)
        batch = writer.batch()
        batch.started = [run("r", status="CONTINUED"), run("r", incarnation=1)]
        batch.events = [event("r", 1), event("r", 1, incarnation=1)]
        await writer.commit({0: batch})
        assert [len(await store.incarnation("r", number)) for number in (0, 1)] == [1, 1]
        assert (await store.load(["r"]))["r"].row.incarnation == 1

    async def test_existing_runs_are_told_from_others(self, store: Store) -> None:
        await (await owner(store)).start("a", "b")
        assert await store.existing(["a", "c", "b"]) == {"a", "b"}
        assert await store.existing([]) == frozenset()

    async def test_a_batch_of_256_runs_commits_and_loads_whole(self, store: Store) -> None:
        writer = await owner(store, *range(SHARDS))
        batch = {shard: writer.batch(shard) for shard in range(SHARDS)}
        for n in range(256):
            everything(batch[n % SHARDS], f"r{n:03}", n % SHARDS)
        await writer.commit(batch)
        loaded = await store.load([f"r{n:03}" for n in range(256)])
        assert len(loaded) == 256
        assert all([e.seq for e in found.history] == [1, 2, 3] for found in loaded.values())
        assert len((await store.open_attempts(range(SHARDS), 10 * SECOND, 1000)).rows) == 256

    async def test_a_long_history_is_loaded_in_order(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        for first in (2, 700):
            batch = writer.batch()
            batch.events = [event("r", n) for n in range(first, 700 if first == 2 else 1201)]
            await writer.commit({0: batch})
        assert [e.seq for e in (await store.load(["r"]))["r"].history] == list(range(1, 1201))

    async def test_any_text_is_kept_or_refused_but_never_bent(self, store: Store) -> None:
        writer = await owner(store)
        for n, text in enumerate(("NUL \x00 inside", "x" * 2_000_000, "half \ud800 a character", "'; DROP TABLE runs")):
            row = RunRow(f"r{n}", 0, 0, "order", "1", "RUNNING", {"k": text}, SECOND)
            batch = writer.batch()
            batch.started = [row]
            answer = await writer.try_commit({0: batch})
            kept = await store.load([row.run_id])
            assert kept == ({row.run_id: StoredRun(row, ())} if isinstance(answer, Committed) else {}), text[:30]
        await writer.start("after")

    async def test_a_number_that_does_not_fit_is_refused(self, store: Store) -> None:
        writer = await owner(store)
        batch = writer.batch()
        batch.started, batch.timers_set = [run("r")], [timer("r", "t#1", 2**70)]
        assert isinstance(await writer.try_commit({0: batch}), BadData)
        assert await store.existing(["r"]) == frozenset()

    async def test_many_ask_at_once_and_each_gets_its_answer(self, store: Store) -> None:
        writer = await owner(store, *range(SHARDS))
        for shard in range(SHARDS):
            await writer.start(f"r{shard}", shard=shard)
        loaded = await asyncio.gather(*(store.load([f"r{n % SHARDS}"]) for n in range(64)))
        assert [list(found) for found in loaded] == [[f"r{n % SHARDS}"] for n in range(64)]


class OutboxLaws(StoreFixtures):
    """What a committed batch still has to publish."""

    async def test_the_outbox_is_read_in_order_and_trimmed_by_what_was_published(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        spans = {}
        for number in (1, 2, 3):
            batch = {shard: writer.batch(shard) for shard in (1, 0)}
            for shard, part in batch.items():
                spans[shard, number] = (Span(f"r{shard}", 0, number, number), Span("ü", 1, 1, number))
                part.spans = list(spans[shard, number])
            await writer.commit(batch)
        assert await store.outbox([1, 0], 10) == [OutboxRow(*key, spans[key]) for key in sorted(spans)]

        writer.published[0] = 2
        await writer.commit({0: writer.batch(0)})

        assert [(row.shard, row.number) for row in await store.outbox([0, 1], 10)] == [(0, 3), (1, 1), (1, 2), (1, 3)]
        assert (await store.shards([0]))[0].published == 2

    async def test_the_outbox_is_read_in_pages(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        for _ in range(3):
            batch = {shard: writer.batch(shard) for shard in (0, 1)}
            for part in batch.values():
                part.spans = [Span("r", 0, 1, 1)]
            await writer.commit(batch)
        found: list[OutboxRow] = []
        while page := await store.outbox([0, 1], 2, (found[-1].shard, found[-1].number) if found else None):
            assert len(page) <= 2
            found += page
        assert [(row.shard, row.number) for row in found] == [(shard, n) for shard in (0, 1) for n in (1, 2, 3)]

    async def test_a_batch_without_spans_leaves_no_outbox_row(self, store: Store) -> None:
        await (await owner(store)).start("r")
        assert await store.outbox([0], 10) == []

    async def test_a_new_owner_finds_what_the_last_one_did_not_publish(
        self, store: Store, another_store: Store
    ) -> None:
        writer = await owner(store)
        batch = writer.batch()
        batch.spans = [Span("r", 0, 1, 2)]
        await writer.commit({0: batch})
        await another_store.take([0], "two")
        assert await another_store.outbox([0], 10) == [OutboxRow(0, 1, (Span("r", 0, 1, 2),))]


class SignalLaws(StoreFixtures):
    """Messages to runs: once each, and kept while their run is not there."""

    async def test_a_signal_that_was_taken_is_known(self, store: Store, another_store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.signals = [("r", "m1"), ("r", "m2/with:any 'text' ü")]
        await writer.commit({0: batch})
        pairs = [("r", "m1"), ("r", "m2/with:any 'text' ü"), ("r", "m3"), ("q", "m1")]
        assert await another_store.seen_signals(pairs) == set(batch.signals)
        assert await store.seen_signals([]) == frozenset()

    async def test_a_signal_cannot_be_taken_twice(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.signals = [("r", "m1")]
        await writer.commit({0: batch})
        batch.number += 1
        batch.events = [event("r", 2, "SignalReceived")]
        assert isinstance(await writer.try_commit({0: batch}), BadData)
        assert len((await store.load(["r"]))["r"].history) == 1

    async def test_the_inbox_keeps_signals_in_their_order_until_they_are_taken(self, store: Store) -> None:
        writer = await owner(store)
        for message_id in ("z", "a", "m"):
            batch = writer.batch()
            batch.inbox_put = [waiting("r", message_id), waiting("q", message_id)]
            await writer.commit({0: batch})
        assert await store.inbox(["r"]) == [waiting("r", "z"), waiting("r", "a"), waiting("r", "m")]
        batch = writer.batch()
        batch.started = [run("r")]
        batch.inbox_taken = [("r", "z"), ("r", "m")]
        await writer.commit({0: batch})
        assert await store.inbox(["r"]) == [waiting("r", "a")]
        assert len(await store.inbox(["q", "unknown"])) == 3

    async def test_the_same_message_twice_is_in_the_inbox_once(self, store: Store) -> None:
        writer = await owner(store)
        for at in (1, 2):
            batch = writer.batch()
            batch.inbox_put = [waiting("r", "m", at=at)]
            await writer.commit({0: batch})
        assert await store.inbox(["r"]) == [waiting("r", "m", at=1)]

    async def test_old_signals_of_runs_that_never_came_are_found(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        batch = {0: writer.batch(0), 1: writer.batch(1)}
        batch[0].inbox_put = [waiting("old", "m1", at=1), waiting("old", "m2", at=2), waiting("new", "m", at=5)]
        batch[1].inbox_put = [waiting("elsewhere", "m", 1, at=1)]
        await writer.commit(batch)
        assert await store.expired_inbox([0], 5, 10) == batch[0].inbox_put[:2]
        assert len(await store.expired_inbox([0, 1], 5, 2)) == 2


def everything(batch: ShardBatch, run_id: str, shard: int) -> ShardBatch:
    """Write something of each kind."""
    batch.started.append(run(run_id, shard))
    batch.events += [event(run_id, n) for n in (1, 2, 3)]
    batch.attempts_opened.append(attempt(run_id, "s#1", shard))
    batch.timers_set.append(timer(run_id, "t#1", SECOND, shard))
    batch.signals.append((run_id, "m"))
    batch.inbox_put.append(waiting(f"later-{run_id}", "m", shard))
    batch.spans.append(Span(run_id, 0, 1, 3))
    return batch


async def one_run_after_another(writer: Writer, shard: int) -> None:
    for n in range(20):
        await writer.start(f"r{shard}-{n}", shard=shard)
