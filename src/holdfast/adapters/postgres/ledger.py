"""The ledger in PostgreSQL, in the store's schema: every method is one transaction.

Law of this file: a call that was cancelled or timed out while it asked leaves no lock behind: its connection is closed.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from holdfast.adapters.ledger import WAITING, Refusals, effect_of, stories
from holdfast.adapters.postgres.arrays import numbers, texts
from holdfast.adapters.postgres.moves import move
from holdfast.adapters.postgres.statements import statement
from holdfast.adapters.postgres.store import PostgresStore
from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.ports.ledger import Answer, ProcessRow, Story


class PostgresLedger:
    """The rows of all effects of the namespace of `store`, over its connections, which it opens and closes."""

    def __init__(self, store: PostgresStore) -> None:
        self._connections = store.questions
        self.refusals: Refusals = store.refusals

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        if not asks:
            return []
        async with self._connections.lend() as connection:
            answers = await move(connection, asks)
        self.refusals.note(asks, answers)
        return answers

    async def look(self, effect_ids: Collection[str]) -> Mapping[str, Answer]:
        rows = await self._ask("read_effects", effect_ids=texts(effect_ids)) if effect_ids else []
        return {row[0]: Answer(effect_of(row[:-1]), row[-1]) for row in rows}

    async def stories(self, run_id: str) -> Sequence[Story]:
        return await self._stories({"run_id": run_id}, "effects_of_run", "moves_of_run")

    async def story(self, effect_id: str) -> Story | None:
        told = await self._stories({"effect_id": effect_id}, "read_effect", "moves_of_effect")
        return told[0] if told else None

    async def effects(
        self, *, states: Collection[str] = (), name: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[Effect]:
        asked = "list_waiting_effects" if states and WAITING.issuperset(states) else "list_effects"
        rows = await self._ask(asked, states=texts(states), name=name, limit=limit, after=after or "")
        return [effect_of(row) for row in rows]

    async def conflicts(self, *, limit: int = 100, after: str | None = None) -> Sequence[Effect]:
        return [effect_of(row) for row in await self._ask("list_conflicts", limit=limit, after=after or "")]

    async def lapsed(self, shards: Collection[int], limit: int) -> Sequence[Effect]:
        rows = await self._ask("lapsed_effects", shards=numbers(shards), limit=limit)
        return [effect_of(row) for row in rows]

    async def register(self, process: ProcessRow) -> None:
        p = process
        await self._ask("register_process", process=p.process, host=p.host, pid=p.pid, started=p.started, gone=p.gone)

    async def deregister(self, process: str, gone: str) -> None:
        await self._ask("deregister_process", process=process, gone=gone)

    async def processes(self, names: Collection[str]) -> Mapping[str, ProcessRow]:
        rows = await self._ask("read_processes", names=texts(names)) if names else []
        return {
            process: ProcessRow(process=process, host=host, pid=pid, started=started, gone=gone)
            for process, host, pid, started, gone in rows
        }

    async def _stories(self, values: Mapping[str, Any], effects: str, moves: str) -> list[Story]:
        async with self._connections.lend() as connection:
            return stories(*await connection.ask_at_once(values, effects, moves))

    async def _ask(self, asked: str, **values: Any) -> list[Any]:
        async with self._connections.lend() as connection:
            return await connection.run(statement(asked), values)
