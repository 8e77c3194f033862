"""The laws of the queries: lists in pages, and waking who waits."""

import asyncio

from holdfast.ports.journal import (
    Span,
    StoredEvent,
)
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import SOON, StoreFixtures
from holdfast.testing.conformance.rows import SECOND, attempt, event, owner, run


class QueryLaws(StoreFixtures):
    """What people and clients read."""

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

    async def test_who_waits_is_told_of_a_commit_of_his_own_process(self, store: Store) -> None:
        writer = await owner(store)
        mark = await store.changed(0)
        waits = asyncio.create_task(store.changed(mark))
        await writer.start("r")
        assert await asyncio.wait_for(waits, SOON) > mark

    async def test_who_waits_is_told_of_a_commit_of_another(self, store: Store, another_store: Store) -> None:
        writer = await owner(another_store)
        waits = asyncio.create_task(wait_for_run(store, "r", await store.changed(0)))
        await writer.start("r")
        await waits

    async def test_a_commit_between_two_waits_is_not_missed(self, store: Store, another_store: Store) -> None:
        mark = await store.changed(0)
        await (await owner(another_store)).start("r")
        await wait_for_run(store, "r", mark)


def span_of(read: list[StoredEvent]) -> Span | None:
    return Span(read[-1].run_id, read[-1].incarnation, read[-1].seq, read[-1].seq) if read else None


async def wait_for_run(store: Store, run_id: str, mark: int) -> None:
    async with asyncio.timeout(SOON):
        while True:
            mark = await store.changed(mark)
            if await store.existing([run_id]):
                return
