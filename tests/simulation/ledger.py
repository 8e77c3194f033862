"""The simulated ledger: rows, moves and processes in the truth's memory, and the front that each process has to them.

Law of this file: what is asked is decided by `ports/judging.py`, at the truth's time, row by row as they stand.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from holdfast.core.asks import CONFLICT, Ask, Move
from holdfast.core.effects import HELD, Effect
from holdfast.ports.journal import BadData
from holdfast.ports.judging import judge
from holdfast.ports.ledger import Answer, ProcessRow, Story
from holdfast.ports.unavailable import Unavailable
from tests.simulation.wire import Service, Wire


class Rows:
    """All effects. `heard` is told of every move."""

    def __init__(
        self, now: Callable[[], int], heard: Callable[[Effect, Move], None] = lambda _row, _move: None
    ) -> None:
        self.now = now
        self.heard = heard
        self.rows: dict[str, Effect] = {}
        self.moves: dict[str, list[Move]] = {}
        self.archive: dict[str, Effect] = {}
        """Rows as they were purged, for whoever judges the world."""
        self.processes_by: dict[str, ProcessRow] = {}

    def check(self, planned: Sequence[Effect]) -> None:
        names = [effect.effect_id for effect in planned]
        if len(set(names)) < len(names) or not self.rows.keys().isdisjoint(names):
            raise BadData("an effect is planned twice")

    def plan(self, planned: Sequence[Effect]) -> None:
        for effect in planned:
            self.rows[effect.effect_id] = effect
            self.moves[effect.effect_id] = []

    def purge(self, run_id: str) -> None:
        for effect_id in [effect_id for effect_id, row in self.rows.items() if row.run_id == run_id]:
            self.archive[effect_id] = self.rows.pop(effect_id)
            del self.moves[effect_id]

    def ask(self, asks: Sequence[tuple[str, Ask]]) -> list[Answer]:
        wanted = {effect_id: self.rows[effect_id] for effect_id, _ in asks if effect_id in self.rows}
        judged = judge(wanted, asks, self.now())
        for change in judged.changes:
            self.rows[change.now.effect_id] = change.now
        for move in judged.story:
            self.moves[move.effect_id].append(move)
            self.heard(self.rows[move.effect_id], move)
        return judged.answers

    def look(self, effect_ids: Collection[str]) -> Mapping[str, Answer]:
        return {
            effect_id: Answer(self.rows[effect_id], self.now()) for effect_id in effect_ids if effect_id in self.rows
        }

    def stories(self, run_id: str) -> Sequence[Story]:
        return [self.story_of(row) for row in self.rows.values() if row.run_id == run_id]

    def story_of(self, row: Effect) -> Story:
        return Story(row, tuple(self.moves[row.effect_id]))

    def story(self, effect_id: str) -> Story | None:
        row = self.rows.get(effect_id)
        return None if row is None else self.story_of(row)

    def effects(self, states: Collection[str], name: str | None, limit: int, after: str | None) -> Sequence[Effect]:
        found = [
            self.rows[effect_id]
            for effect_id in sorted(self.rows)
            if (after is None or effect_id > after)
            and (not states or self.rows[effect_id].state in states)
            and name in {None, self.rows[effect_id].name}
        ]
        return found[:limit]

    def conflicts(self, limit: int, after: str | None) -> Sequence[Effect]:
        found = [
            self.rows[effect_id]
            for effect_id in sorted(self.rows)
            if (after is None or effect_id > after) and any(move.what == CONFLICT for move in self.moves[effect_id])
        ]
        return found[:limit]

    def lapsed(self, shards: Collection[int], limit: int) -> Sequence[Effect]:
        now = self.now()
        over = [
            row for row in self.rows.values() if row.shard in shards and row.state in HELD and row.lease_until <= now
        ]
        return sorted(over, key=lambda row: row.lease_until)[:limit]

    def register(self, process: ProcessRow) -> None:
        self.processes_by.setdefault(process.process, process)

    def deregister(self, process: str, gone: str) -> None:
        row = self.processes_by.get(process)
        if row is not None and not row.gone:
            self.processes_by[process] = msgspec.structs.replace(row, gone=gone)

    def processes(self, names: Collection[str]) -> Mapping[str, ProcessRow]:
        return {name: self.processes_by[name] for name in names if name in self.processes_by}


class SimulatedLedger:
    """Fulfils `ports.ledger.Ledger`: one process's front. It is away when its store is."""

    def __init__(self, rows: Rows, store: Service, wire: Wire) -> None:
        self._rows = rows
        self._store = store
        self._wire = wire

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        return await self._wire.ask(self._store, Unavailable, self._rows.ask, list(asks))

    async def look(self, effect_ids: Collection[str]) -> Mapping[str, Answer]:
        return await self._wire.ask(self._store, Unavailable, self._rows.look, sorted(effect_ids))

    async def stories(self, run_id: str) -> Sequence[Story]:
        return await self._wire.ask(self._store, Unavailable, self._rows.stories, run_id)

    async def story(self, effect_id: str) -> Story | None:
        return await self._wire.ask(self._store, Unavailable, self._rows.story, effect_id)

    async def effects(
        self, *, states: Collection[str] = (), name: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[Effect]:
        return await self._wire.ask(self._store, Unavailable, self._rows.effects, sorted(states), name, limit, after)

    async def conflicts(self, *, limit: int = 100, after: str | None = None) -> Sequence[Effect]:
        return await self._wire.ask(self._store, Unavailable, self._rows.conflicts, limit, after)

    async def lapsed(self, shards: Collection[int], limit: int) -> Sequence[Effect]:
        return await self._wire.ask(self._store, Unavailable, self._rows.lapsed, frozenset(shards), limit)

    async def register(self, process: ProcessRow) -> None:
        await self._wire.ask(self._store, Unavailable, self._rows.register, process)

    async def deregister(self, process: str, gone: str) -> None:
        await self._wire.ask(self._store, Unavailable, self._rows.deregister, process, gone)

    async def processes(self, names: Collection[str]) -> Mapping[str, ProcessRow]:
        return await self._wire.ask(self._store, Unavailable, self._rows.processes, sorted(names))
