"""Signals before their run: they wait in the store within bounds; and what one slice reads of the store is bounded."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import SqliteStore
from holdfast.app.orchestrator import early_signals, load
from holdfast.core.commands import StartRun
from holdfast.core.payload import INLINE_LIMIT, Payload
from holdfast.core.run import DeadLetter
from holdfast.ports.journal import InboxRow, StoredRun
from holdfast.sdk.definitions import signal, workflow
from tests.integration.faults import FaultyStore
from tests.integration.running import assert_nothing_open, assert_whole, header, process, signal_of, start


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@workflow
async def early_hears(count: int) -> list[str]:
    return [await signal("go", str) for _ in range(count)]


@workflow
async def early_measures() -> int:
    return len(await signal("go", str))


class Watched(FaultyStore):
    """Notes what it is asked for."""

    def __init__(self, real: SqliteStore) -> None:
        super().__init__(real)
        self.loaded: list[int] = []
        self.asked: list[frozenset[str]] = []
        self.scanned: list[int] = []

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        self.loaded.append(len(run_ids))
        return await super().load(run_ids)

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        self.asked.append(frozenset(run_ids))
        return await super().inbox(run_ids)

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        self.scanned.append(limit)
        return await super().expired_inbox(shards, before, limit)


async def test_signals_beyond_the_limit_of_a_run_that_was_not_started_are_dead_letters_their_sender_hears_of(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_signals, "LIMIT", 3)
    async with process(file) as engine:
        for number in range(3):
            await engine.submit("r", signal_of("go", f"{number}", f"m{number}"))
        await engine.submit("r", signal_of("go", "0", "m0"))  # the same again is no more than one
        with pytest.raises(DeadLetter, match="3 signals wait for run r, which was not started"):
            await engine.submit("r", signal_of("go", "3", "m3"))
        await engine.send("r", signal_of("go", "3", "m3"))
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "inbox_full"
        await engine.submit("another", signal_of("go", "its own", "m"))

        await engine.submit("r", start("early_hears", 3))
        await engine.submit("another", start("early_hears", 1))
        assert await engine.result("r") == ["0", "1", "2"]
        assert await engine.result("another") == ["its own"]
        await assert_nothing_open(engine.store)


async def test_signals_of_many_bytes_are_bounded_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_signals, "LIMIT_BYTES", 1000)
    async with process(file) as engine:
        await engine.submit("r", signal_of("go", "x" * 1000, "m1"))
        with pytest.raises(DeadLetter, match="was not started"):
            await engine.submit("r", signal_of("go", "y", "m2"))


async def test_who_takes_over_reads_the_signals_of_the_runs_that_start_and_no_others(file: Path) -> None:
    async with process(file, "one") as engine:
        for number in range(20):
            await engine.submit(f"r{number}", signal_of("go", f"{number}"))

    stores: list[Watched] = []

    def watched(real: SqliteStore) -> Watched:
        stores.append(Watched(real))
        return stores[0]

    async with process(file, "two", decorate=watched) as engine:
        await engine.submit("r7", start("early_hears", 1))
        assert await engine.result("r7") == ["7"]
        assert stores[0].scanned == [1]
        assert stores[0].asked == [frozenset({"r7"})]
        await assert_whole(engine.store, "r7")


async def test_where_no_signal_waits_a_start_asks_for_none(file: Path) -> None:
    stores: list[Watched] = []

    def watched(real: SqliteStore) -> Watched:
        stores.append(Watched(real))
        return stores[0]

    async with process(file, decorate=watched) as engine:
        await engine.submit("r", start("early_hears", 1))
        await engine.submit("r", signal_of("go", "late"))
        assert await engine.result("r") == ["late"]
        assert stores[0].asked == []


async def test_a_large_signal_before_its_run_is_at_hand_when_the_run_starts(file: Path) -> None:
    large = "x" * (INLINE_LIMIT + 1)
    async with process(file, "one") as engine:
        await engine.submit("r", signal_of("go", large))
    async with process(file, "two") as engine:
        await engine.submit("r", StartRun(workflow="early_measures", input=Payload()))
        assert await engine.result("r") == len(large)


async def test_what_does_not_fit_into_one_look_up_waits_for_the_next_slice(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [f"r{number}" for number in range(40)]
    async with process(file, "one") as engine:
        for run_id in runs:
            await engine.submit(run_id, start("early_hears", 1))

    monkeypatch.setattr(load, "LOAD_BYTES", 1)
    stores: list[Watched] = []

    def watched(real: SqliteStore) -> Watched:
        stores.append(Watched(real))
        return stores[0]

    async with process(file, "two", decorate=watched, begin=False) as engine:
        for run_id in runs:
            await engine.send(run_id, signal_of("go", run_id))
        await engine.begin()
        for run_id in runs:
            assert await engine.result(run_id) == [run_id]
        assert max(stores[0].loaded) == load.FIRST_HISTORIES
        await assert_whole(engine.store, *runs)
