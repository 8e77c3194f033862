"""The laws of purging, as tests that every store passes."""

import msgspec

from holdfast.core.purging import Tombstone
from holdfast.ports.journal import BadData, Committed, Fenced, RunRow, Span
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.rows import SECOND, SHARDS, Writer, attempt, event, owner, run, timer, waiting

HASH = b"\x00hash\xff"


def ended(run_id: str) -> RunRow:
    """Give the row of a run that is over."""
    return msgspec.structs.replace(run(run_id, status="COMPLETED"), ended_at=2 * SECOND)


def stone(run_id: str) -> Tombstone:
    """Give what is to stay of a run."""
    return Tombstone(run_id, 0, HASH, 2 * SECOND)


async def run_to_its_end(writer: Writer, *run_ids: str) -> None:
    """Let runs begin and end, each with something of every kind."""
    await writer.start(*run_ids)
    batch = writer.batch()
    batch.changed = [ended(run_id) for run_id in run_ids]
    batch.events = [event(run_id, 2, "RunCompleted", at=2 * SECOND) for run_id in run_ids]
    batch.signals = [(run_id, "m") for run_id in run_ids]
    await writer.commit({0: batch})


async def purge(writer: Writer, *run_ids: str) -> Committed | Fenced | BadData:
    """Try to purge."""
    batch = writer.batch()
    batch.purged = [stone(run_id) for run_id in run_ids]
    return await writer.try_commit({0: batch})


class PurgeLaws(StoreFixtures):
    """What goes with a run, what stays, and what is refused."""

    async def test_all_of_a_purged_run_goes_and_nothing_of_another(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "goes", "stays")
        assert isinstance(await purge(writer, "goes"), Committed)
        assert set(await store.load(["goes", "stays"])) == {"stays"}
        assert await store.history("goes") is None
        assert [row.run_id for row in await store.runs()] == ["stays"]
        assert await store.seen_signals([("goes", "m"), ("stays", "m")]) == {("stays", "m")}
        everything = await store.history_between(0, 99 * SECOND, outcomes_only=False, after=None, limit=99)
        assert {one.run_id for one in everything} == {"stays"}
        assert len((await store.load(["stays"]))["stays"].history) == 2

    async def test_a_tombstone_stays_and_tells_when(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        before = await store.now()
        await purge(writer, "r")
        (found,) = (await store.tombstones(["r", "never"])).values()
        assert msgspec.structs.replace(found, purged_at=0) == stone("r")
        assert before <= found.purged_at <= await store.now()

    async def test_the_id_of_a_purged_run_is_not_new_again(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        await purge(writer, "r")
        assert await store.existing(["r", "never"]) == {"r"}
        batch = writer.batch()
        batch.started, batch.events = [run("other"), run("r")], [event("other", 1), event("r", 1)]
        assert isinstance(await writer.try_commit({0: batch}), BadData)
        assert await store.load(["r", "other"]) == {}
        await writer.start("other")

    async def test_a_run_that_is_open_is_not_purged(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        await run_to_its_end(writer, "over")
        assert await store.unsettled(["r", "over", "never"]) == {"r"}
        assert isinstance(await purge(writer, "over", "r"), BadData)
        assert set(await store.load(["r", "over"])) == {"r", "over"}
        assert await store.tombstones(["r", "over"]) == {}

    async def test_a_run_with_an_open_attempt_is_not_purged(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        batch = writer.batch()
        batch.attempts_opened = [attempt("r", "charge#1")]
        await writer.commit({0: batch})
        assert await store.unsettled(["r"]) == {"r"}
        assert isinstance(await purge(writer, "r"), BadData)
        batch = writer.batch()
        batch.attempts_closed = [("r", 0, "charge#1")]
        await writer.commit({0: batch})
        assert await store.unsettled(["r"]) == frozenset()
        assert isinstance(await purge(writer, "r"), Committed)

    async def test_what_was_left_of_timers_and_early_signals_goes_too(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        batch = writer.batch()
        batch.timers_set, batch.inbox_put = [timer("r", "t#1", SECOND)], [waiting("r", "late")]
        await writer.commit({0: batch})
        await purge(writer, "r")
        assert await store.due_timers(range(SHARDS), 9 * SECOND, 10) == []
        assert await store.inbox(["r"]) == []

    async def test_a_purge_that_comes_twice_keeps_the_first_tombstone(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        await purge(writer, "r")
        first = await store.tombstones(["r"])
        assert isinstance(await purge(writer, "r"), Committed)
        assert await store.tombstones(["r"]) == first

    async def test_a_stale_owner_purges_nothing(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        await owner(store, name="two")
        assert isinstance(await purge(writer, "r"), Fenced)
        assert set(await store.load(["r"])) == {"r"}
        assert await store.tombstones(["r"]) == {}

    async def test_other_runs_are_written_in_the_commit_that_purges_one(self, store: Store) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        batch = writer.batch()
        batch.purged, batch.started, batch.events = [stone("r")], [run("new")], [event("new", 1)]
        batch.spans = [Span("new", 0, 1, 1)]
        await writer.commit({0: batch})
        assert set(await store.load(["r", "new"])) == {"new"}
