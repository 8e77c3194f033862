"""The ledger in the store's file: every method is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.adapters.ledger import WAITING, Refusals, effect_of, stories
from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import statement
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.ports.ledger import Answer, ProcessRow, Story


class SqliteLedger:
    """The rows of all effects, in the file of `store`, which opens and closes it."""

    def __init__(self, store: SqliteStore) -> None:
        self._file = store.file
        self._moves = store.moves
        self.refusals: Refusals = store.refusals

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        if not asks:
            return []
        answers = await self._file.commit(lambda connection: self._moves.ask(connection, asks))
        self.refusals.note(asks, answers)
        return answers

    async def look(self, effect_ids: Collection[str]) -> Mapping[str, Answer]:
        wanted = list(effect_ids)

        def work(connection: Any) -> tuple[list[Any], int]:
            return statement("read_effects").read(connection, wanted), now()

        rows, at = await self._file.ask(work)
        return {row[0]: Answer(effect_of(row[:-1]), at) for row in rows}

    async def stories(self, run_id: str) -> Sequence[Story]:
        def work(connection: Any) -> tuple[list[Any], list[Any]]:
            effects = statement("effects_of_run").all(connection, (run_id,))
            return effects, statement("moves_of_run").all(connection, (run_id,))

        return stories(*await self._file.read(work))

    async def story(self, effect_id: str) -> Story | None:
        def work(connection: Any) -> tuple[list[Any], list[Any]]:
            effects = [row[:-1] for row in statement("read_effects").read(connection, [effect_id])]
            return effects, statement("moves_of_effect").all(connection, (effect_id,))

        return next(iter(stories(*await self._file.read(work))), None)

    async def effects(
        self, *, states: Collection[str] = (), name: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[Effect]:
        asked = statement("list_waiting_effects" if states and WAITING.issuperset(states) else "list_effects")
        wanted = {
            "states": msgspec.json.encode(sorted(states)).decode(),
            "name": name,
            "limit": limit,
            "after": after or "",
        }
        return [effect_of(row) for row in await self._file.read(lambda connection: asked.all(connection, wanted))]

    async def conflicts(self, *, limit: int = 100, after: str | None = None) -> Sequence[Effect]:
        asked, wanted = statement("list_conflicts"), {"limit": limit, "after": after or ""}
        return [effect_of(row) for row in await self._file.read(lambda connection: asked.all(connection, wanted))]

    async def lapsed(self, shards: Collection[int], limit: int) -> Sequence[Effect]:
        wanted, asked = list(shards), statement("lapsed_effects")
        rows = await self._file.ask(lambda connection: asked.read(connection, wanted, (now(),), (limit,)))
        return [effect_of(row) for row in rows]

    async def register(self, process: ProcessRow) -> None:
        p = process
        values = (p.process, p.host, p.pid, p.started, p.gone, now())
        await self._file.write(lambda connection: statement("register_processes").write(connection, values))

    async def deregister(self, process: str, gone: str) -> None:
        values = {"process": process, "gone": gone}
        await self._file.write(lambda connection: statement("deregister_process").all(connection, values))

    async def processes(self, names: Collection[str]) -> Mapping[str, ProcessRow]:
        wanted, asked = list(names), statement("read_processes")
        rows = await self._file.ask(lambda connection: asked.read(connection, wanted))
        return {
            process: ProcessRow(process=process, host=host, pid=pid, started=started, gone=gone)
            for process, host, pid, started, gone in rows
        }
