"""The laws of the store port, as tests that every adapter passes.

A subclass gives the fixtures: `store` (installed with 8 shards, opened, empty), `another_store` (the same data through
other connections, opened), `blank` and `another_blank` (the same new place, neither installed nor opened).
"""

import asyncio

import pytest

from holdfast.ports.store import (
    BadData,
    Committed,
    Fenced,
    NotInstalled,
    RunRow,
    ShardBatch,
    ShardRow,
    Span,
    Store,
    StoredEvent,
    StoredRun,
)
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.rows import SECOND, SHARDS, Writer, attempt, event, owner, run, timer, waiting
from holdfast.testing.conformance.work import AttemptLaws, OutboxLaws, SharedLaws, SignalLaws, TimerLaws


class InstallationLaws(StoreFixtures):
    """Installing, and the facts of the installation."""

    async def test_what_is_not_installed_cannot_be_opened(self, blank: Store) -> None:
        with pytest.raises(NotInstalled):
            await blank.open()

    async def test_installing_applies_what_was_pending_and_nothing_the_second_time(self, blank: Store) -> None:
        pending = await blank.pending_migrations()
        done = await blank.install(SHARDS)
        assert pending
        assert set(pending) <= set(done)
        assert await blank.pending_migrations() == []
        assert await blank.install(SHARDS) == []

    async def test_two_that_install_at_once_do_each_thing_once(self, blank: Store, another_blank: Store) -> None:
        one, other = await asyncio.gather(blank.install(SHARDS), another_blank.install(SHARDS))
        assert one + other
        assert len(set(one + other)) == len(one + other)
        await blank.open()
        assert (await blank.meta())["shards"] == str(SHARDS)
        await blank.close()

    async def test_an_installation_draws_an_id_once(self, blank: Store, another_blank: Store) -> None:
        await blank.install(SHARDS)
        await blank.open()
        drawn = (await blank.meta())["installation"]
        await another_blank.install(SHARDS)
        assert drawn
        assert (await blank.meta())["installation"] == drawn
        await blank.close()

    async def test_another_number_of_shards_is_refused_and_both_are_named(self, store: Store) -> None:
        with pytest.raises(ValueError, match=r"(?s)\b8\b.*\b16\b"):
            await store.install(16)
        assert (await store.meta())["shards"] == "8"

    async def test_facts_are_kept_and_written_over(self, store: Store, another_store: Store) -> None:
        await store.set_meta({"cluster": "a", "generation": "1"})
        await store.set_meta({"generation": "2"})
        facts = await another_store.meta()
        assert facts["cluster"] == "a"
        assert facts["generation"] == "2"
        assert facts["shards"] == str(SHARDS)
        assert int(facts["schema"]) >= 1

    async def test_the_clock_is_in_microseconds_and_goes_on(self, store: Store) -> None:
        first, second = await store.now(), await store.now()
        assert 1.6e15 < first <= second < 1e16

    async def test_a_closed_store_can_be_opened_again(self, store: Store) -> None:
        await (await owner(store)).start("r")
        await store.close()
        await store.open()
        assert await store.existing(["r"]) == {"r"}


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

    async def test_stored_events_of_a_time_range_are_read_in_pages(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("b", "a")
        batch = writer.batch()
        batch.events = [event(r, n, at=n * SECOND) for r in ("b", "a") for n in (2, 3, 4)]
        batch.events += [event("b", 5, "RunFailed", at=3 * SECOND), event("a", 5, "RunCompleted", at=9 * SECOND)]
        await writer.commit({0: batch})

        read: list[StoredEvent] = []
        while page := await store.history_between(
            2 * SECOND, 4 * SECOND, outcomes_only=False, after=span_of(read), limit=2
        ):
            assert len(page) <= 2
            read += page

        assert [(e.run_id, e.seq) for e in read] == [("a", 2), ("a", 3), ("b", 2), ("b", 3), ("b", 5)]
        ended = await store.history_between(0, 99 * SECOND, outcomes_only=True, after=None, limit=10)
        assert [(e.run_id, e.type) for e in ended] == [("a", "RunCompleted"), ("b", "RunFailed")]

    async def test_runs_are_listed_by_id_in_pages(self, store: Store) -> None:
        await (await owner(store)).start("c", "a", "d", "b")
        assert [row.run_id for row in await store.runs(limit=2)] == ["a", "b"]
        assert [row.run_id for row in await store.runs(limit=2, after="b")] == ["c", "d"]
        assert await store.runs(after="d") == []

    async def test_a_running_run_without_an_open_attempt_is_listed_as_suspended(self, store: Store) -> None:
        writer = await owner(store)
        batch = writer.batch()
        batch.started = [run("busy"), run("idle"), run("done", status="COMPLETED"), run("other", workflow="refund")]
        batch.attempts_opened = [attempt("busy", "s#1")]
        await writer.commit({0: batch})
        assert {row.run_id: row.status for row in await store.runs()} == {
            "busy": "RUNNING",
            "done": "COMPLETED",
            "idle": "SUSPENDED",
            "other": "SUSPENDED",
        }
        assert [row.run_id for row in await store.runs(status="SUSPENDED", workflow="order")] == ["idle"]
        assert [row.run_id for row in await store.runs(status="RUNNING")] == ["busy"]
        assert [row.run_id for row in await store.runs(status="COMPLETED")] == ["done"]
        assert (await store.load(["idle"]))["idle"].row.status == "RUNNING"


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


def span_of(read: list[StoredEvent]) -> Span | None:
    return Span(read[-1].run_id, read[-1].incarnation, read[-1].seq, read[-1].seq) if read else None


class StoreConformance(
    InstallationLaws, FenceLaws, HistoryLaws, OutboxLaws, AttemptLaws, TimerLaws, SignalLaws, SharedLaws
):
    """All laws of the port; subclass it with the four fixtures."""
