"""The laws of the deaths port, as tests that every adapter passes.

A subclass gives the fixtures of the store's suite, and `deaths_of`, which gives the deaths of an open store.
"""

from typing import Any

import msgspec
import pytest

from holdfast.ports.deaths import Death, Deaths
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures


def of_turn(run_id: str, process: str = "p-1", *, seq: int = 0, reason: str = "", detail: str = "") -> Death:
    """Give a death in a turn."""
    return Death(
        run_id=run_id, incarnation=0, step_id="", process=process, shard=3, seq=seq, reason=reason, detail=detail
    )


def of_attempt(run_id: str, step_id: str, process: str = "p-1", *, attempt: int = 1) -> Death:
    """Give a death in an attempt."""
    return Death(run_id=run_id, incarnation=0, step_id=step_id, process=process, shard=3, attempt=attempt)


class DeathsConformance(StoreFixtures):
    """All laws."""

    def deaths_of(self, store: Any) -> Deaths:
        raise NotImplementedError

    @pytest.fixture
    def deaths(self, store: Store) -> Deaths:
        return self.deaths_of(store)

    @pytest.fixture
    def another(self, another_store: Store) -> Deaths:
        return self.deaths_of(another_store)

    async def test_nobody_has_died_at_first(self, deaths: Deaths) -> None:
        assert list(await deaths.read(10)) == []

    async def test_a_death_is_read_as_it_was_reported_with_the_stores_time(
        self, store: Store, deaths: Deaths, another: Deaths
    ) -> None:
        turn = of_turn("r", seq=2**40, reason="turn_too_long", detail="shop/wf.py:12\nwhile True: pass ü")
        before = await store.now()
        await deaths.report([turn, of_attempt("r", "grind#1", attempt=7)])
        after = await store.now()
        read = list(await another.read(10))
        assert [msgspec.structs.replace(one, at=0) for one in read] == [turn, of_attempt("r", "grind#1", attempt=7)]
        assert all(before <= one.at <= after for one in read)

    async def test_a_process_dies_once_whoever_reports_it(self, deaths: Deaths, another: Deaths) -> None:
        await deaths.report([of_attempt("r", "s#1", attempt=1)])
        await another.report([of_attempt("r", "s#1", attempt=2), of_attempt("r", "s#1", "p-2", attempt=2)])
        assert [(one.process, one.attempt) for one in await deaths.read(10)] == [("p-1", 1), ("p-2", 2)]

    async def test_deaths_are_read_in_pages_in_the_order_of_their_places(self, deaths: Deaths) -> None:
        reported = [of_turn("b"), of_attempt("a", "s#1", "p-2"), of_attempt("a", "s#1"), of_turn("a"), of_turn("B")]
        await deaths.report(reported)
        read: list[Death] = []
        while page := await deaths.read(2, read[-1] if read else None):
            assert len(page) <= 2
            read += page
        assert [one.place for one in read] == sorted(one.place for one in reported)

    async def test_what_is_forgotten_is_gone_and_all_else_stays(self, deaths: Deaths) -> None:
        await deaths.report([of_turn("r"), of_turn("r", "p-2"), of_attempt("r", "s#1"), of_turn("other")])
        await deaths.forget([of_turn("r"), of_attempt("r", "s#1"), of_turn("unknown")])
        assert [one.place for one in await deaths.read(10)] == [of_turn("other").place, of_turn("r", "p-2").place]
        await deaths.forget([])
        await deaths.report([])

    async def test_many_deaths_are_reported_and_forgotten_at_once(self, deaths: Deaths) -> None:
        held = [of_attempt(f"r{number:04}", "s#1") for number in range(1_024)]
        await deaths.report(held)
        assert len(await deaths.read(2_000)) == 1_024
        await deaths.forget(held)
        assert list(await deaths.read(10)) == []

    async def test_any_text_a_process_says_is_kept_or_mended(self, deaths: Deaths) -> None:
        await deaths.report([of_turn("r", reason="turn_too_long", detail="NUL \x00 inside")])
        (read,) = await deaths.read(10)
        assert read.detail.replace("\x00", "") == "NUL  inside"
