"""The laws of the scans: open attempts and due timers."""

from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptRow, TimerRow
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.rows import SECOND, attempt, owner, timer


class AttemptLaws(StoreFixtures):
    """Attempts that were sent and are not settled."""

    async def test_open_attempts_are_those_due_and_not_closed(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        await writer.start("r")
        await writer.start("q", shard=1)
        batch = {0: writer.batch(0), 1: writer.batch(1)}
        due, later, other = attempt("r", "a#1"), attempt("r", "b#1", resend_at=9 * SECOND), attempt("q", "a#1", 1)
        batch[0].attempts_opened, batch[1].attempts_opened = [due, later], [other]
        await writer.commit(batch)
        assert (await store.open_attempts([0], SECOND, 10)).rows == (due,)
        assert set(map(key_of, (await store.open_attempts([0, 1], 9 * SECOND, 10)).rows)) == {
            ("r", "a#1"),
            ("r", "b#1"),
            ("q", "a#1"),
        }
        assert len((await store.open_attempts([0, 1], 9 * SECOND, 2)).rows) <= 2

        closing = writer.batch()
        closing.attempts_closed = [("r", 0, "a#1"), ("r", 0, "never#1")]
        await writer.commit({0: closing})
        assert (await store.open_attempts([0], 9 * SECOND, 10)).rows == (later,)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_a_scan_in_pages_finds_each_open_attempt_once_and_no_page_is_longer_than_its_limit(
        self, store: Store, limit: int
    ) -> None:
        shards = (0, 1, 2)
        writer = await owner(store, *shards)
        there: set[AttemptRow] = set()
        for shard in shards:
            await writer.start(*(f"r{shard}-{n}" for n in range(4)), shard=shard)
            batch = writer.batch(shard)
            batch.attempts_opened = [
                attempt(f"r{shard}-{n % 4}", f"s#{n}", shard, resend_at=at * SECOND)
                for n, at in enumerate((1, 1, 1, 2, 9, 1, 2, 1, 9, 1))
            ]
            there |= {row for row in batch.attempts_opened if row.resend_at <= 2 * SECOND and shard}
            await writer.commit({shard: batch})
        found = [row async for page in pages(store, (1, 2), 2 * SECOND, limit) for row in page]
        assert len(found) == len(there)
        assert set(found) == there

    async def test_a_scan_goes_on_where_it_was_while_what_it_found_is_sent_again(self, store: Store) -> None:
        writer = await owner(store)
        names = [f"r{n:02}" for n in range(20)]
        await writer.start(*names)
        batch = writer.batch()
        batch.attempts_opened = [attempt(name, "s#1") for name in names]
        await writer.commit({0: batch})
        found: list[str] = []
        async for page in pages(store, (0,), SECOND, 3):
            found += [row.run_id for row in page]
            batch = writer.batch()
            batch.attempts_opened = [attempt(row.run_id, "s#1", resend_at=9 * SECOND) for row in page]
            await writer.commit({0: batch})
        assert sorted(found) == names

    async def test_attempts_are_read_by_their_keys(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r", "q")
        batch = writer.batch()
        batch.attempts_opened = [attempt("r", "a#1", sent_to="me"), attempt("r", "b#1"), attempt("q", "a#1")]
        await writer.commit({0: batch})
        keys = [("r", 0, "a#1"), ("q", 0, "a#1"), ("q", 0, "b#1"), ("r", 1, "b#1"), ("unknown", 0, "a#1")]
        assert set(await store.attempts(keys)) == {batch.attempts_opened[0], batch.attempts_opened[2]}
        assert list(await store.attempts([])) == []

    async def test_an_attempt_closed_and_opened_in_one_batch_is_open(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        for resend_at in (1, 2):
            batch = writer.batch()
            batch.attempts_closed = [("r", 0, "s#1")]
            batch.attempts_opened = [attempt("r", "s#1", resend_at=resend_at)]
            await writer.commit({0: batch})
        assert [row.resend_at for row in (await store.open_attempts([0], SECOND, 10)).rows] == [2]

    async def test_an_open_attempt_may_be_written_over(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        for resend_at in (1, 2):
            batch = writer.batch()
            batch.attempts_opened = [attempt("r", "s#1", resend_at=resend_at)]
            await writer.commit({0: batch})
        assert [row.resend_at for row in (await store.open_attempts([0], SECOND, 10)).rows] == [2]


class TimerLaws(StoreFixtures):
    """Durable waits."""

    async def test_due_timers_come_by_time_and_then_by_name(self, store: Store) -> None:
        writer = await owner(store, 0, 1)
        await writer.start("r")
        await writer.start("q", shard=1)
        batch = {0: writer.batch(0), 1: writer.batch(1)}
        batch[0].timers_set = [timer("r", "b#1", 2 * SECOND), timer("r", "a#1", 2 * SECOND), timer("r", "c#1", SECOND)]
        batch[1].timers_set = [timer("q", "aa#1", 2 * SECOND, 1), timer("q", "z#1", 3 * SECOND, 1)]
        await writer.commit(batch)
        assert names(await store.due_timers([0, 1], 2 * SECOND, 10)) == ["c#1", "a#1", "aa#1", "b#1"]
        assert names(await store.due_timers([0], 2 * SECOND, 2)) == ["c#1", "a#1"]
        assert await store.due_timers([1], 2 * SECOND, 10) == batch[1].timers_set[:1]
        assert await store.due_timers([0, 1], SECOND - 1, 10) == []

    async def test_due_timers_are_read_in_pages(self, store: Store) -> None:
        writer = await owner(store, 0)
        await writer.start(*"qrs")
        batch = writer.batch()
        batch.timers_set = [timer(run_id, name, at) for run_id in "qrs" for name in ("a#1", "b#1") for at in (1, 2)]
        await writer.commit({0: batch})
        found: list[TimerRow] = []
        while page := await store.due_timers([0], 9, 2, found[-1] if found else None):
            found += page
        assert found == list(await store.due_timers([0], 9, 100))
        assert len(found) == len(set(found)) == 6

    async def test_a_cleared_timer_is_gone_and_one_set_again_has_its_new_time(self, store: Store) -> None:
        writer = await owner(store)
        await writer.start("r")
        batch = writer.batch()
        batch.timers_set = [timer("r", "a#1", SECOND), timer("r", "b#1", SECOND), timer("r", "c#1", SECOND)]
        await writer.commit({0: batch})
        batch = writer.batch()
        batch.timers_cleared = [("r", 0, "a#1"), ("r", 0, "b#1")]
        batch.timers_set = [timer("r", "b#1", 5 * SECOND), timer("r", "c#1", 4 * SECOND)]
        await writer.commit({0: batch})
        assert await store.due_timers([0], 9 * SECOND, 10) == list(reversed(batch.timers_set))


async def pages(store: Store, shards: Collection[int], until: int, limit: int) -> AsyncIterator[tuple[AttemptRow, ...]]:
    """Scan open attempts to the end."""
    after: object = None
    while True:
        page = await store.open_attempts(shards, until, limit, after)
        assert len(page.rows) <= max(limit, len(shards))
        yield page.rows
        if page.after is None:
            return
        after = page.after


def key_of(row: AttemptRow) -> tuple[str, str]:
    return row.run_id, row.step_id


def names(rows: Sequence[TimerRow]) -> list[str]:
    return [row.timer_id for row in rows]
