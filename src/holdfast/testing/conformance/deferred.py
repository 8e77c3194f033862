"""The laws of the port of deferred inputs, as tests that every adapter passes.

A subclass gives the fixtures of the store's suite, and `deferred_of`, which gives the inputs of an open store.
"""

from typing import Any

import pytest

from holdfast.ports.deferred import DeferredInput, DeferredInputs, WaitingRun
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures


def deferred(run_id: str, identity: str, data: bytes = b"record", *, shard: int = 3) -> DeferredInput:
    """Give an input that a newer release can read."""
    return DeferredInput(shard, run_id, identity, data, f"no {identity} is known here", "9.0")


class DeferredConformance(StoreFixtures):
    """All laws."""

    def deferred_of(self, store: Any) -> DeferredInputs:
        raise NotImplementedError

    @pytest.fixture
    def inputs(self, store: Store) -> DeferredInputs:
        return self.deferred_of(store)

    @pytest.fixture
    def another(self, another_store: Store) -> DeferredInputs:
        return self.deferred_of(another_store)

    async def test_nothing_waits_at_first(self, inputs: DeferredInputs) -> None:
        assert list(await inputs.waiting(10)) == []
        assert list(await inputs.read(3, "r", 10)) == []

    async def test_what_is_kept_is_read_in_the_order_in_which_it_came(
        self, inputs: DeferredInputs, another: DeferredInputs
    ) -> None:
        await inputs.keep([deferred("r", "z"), deferred("r", "a", b"\x00\xff")])
        await another.keep([deferred("r", "m"), deferred("other", "z")])
        read = await another.read(3, "r", 10)
        assert [(one.identity, one.data) for one in read] == [("z", b"record"), ("a", b"\x00\xff"), ("m", b"record")]
        assert [one.place for one in read] == sorted({one.place for one in read})
        assert [one.identity for one in await inputs.read(3, "r", 2)] == ["z", "a"]

    async def test_an_input_kept_again_is_one_and_keeps_its_place(self, inputs: DeferredInputs) -> None:
        await inputs.keep([deferred("r", "a"), deferred("r", "b")])
        await inputs.keep([deferred("r", "a"), deferred("r", "c"), deferred("r", "b")])
        assert [one.identity for one in await inputs.read(3, "r", 10)] == ["a", "b", "c"]

    async def test_waiting_runs_are_told_with_their_reason_the_longest_first(
        self, store: Store, inputs: DeferredInputs
    ) -> None:
        before = await store.now()
        await inputs.keep([deferred("late", "x", shard=1), deferred("r", "a"), deferred("r", "b")])
        after = await store.now()
        told = await inputs.waiting(10)
        assert [(one.shard, one.run_id, one.inputs) for one in told] == [(1, "late", 1), (3, "r", 2)]
        assert all(before <= one.since <= after for one in told)
        assert WaitingRun(3, "r", 2, "no a is known here", "9.0", told[1].since) == told[1]
        assert [one.run_id for one in await inputs.waiting(10, shards=[3, 5])] == ["r"]
        assert [one.run_id for one in await inputs.waiting(1)] == ["late"]

    async def test_what_is_forgotten_is_gone_and_all_else_stays(self, inputs: DeferredInputs) -> None:
        await inputs.keep([deferred("r", name) for name in "abc"])
        first, _, last = await inputs.read(3, "r", 10)
        await inputs.forget([first.place, last.place, 10**9])
        assert [one.identity for one in await inputs.read(3, "r", 10)] == ["b"]
        await inputs.forget([])
        await inputs.keep([])

    async def test_many_inputs_are_kept_and_forgotten_at_once(self, inputs: DeferredInputs) -> None:
        await inputs.keep([deferred("r", str(number)) for number in range(1_000)])
        read = await inputs.read(3, "r", 2_000)
        assert [one.identity for one in read] == [str(number) for number in range(1_000)]
        await inputs.forget([one.place for one in read])
        assert list(await inputs.waiting(10)) == []
