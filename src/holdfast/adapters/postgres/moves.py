"""Moving effects: two round trips, with the rows locked between them.

Law: effect rows are locked before shard rows (sql/ledger.sql), so a commit that asks the ledger reads it first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.adapters.ledger import effect_of
from holdfast.adapters.postgres.arrays import texts
from holdfast.adapters.postgres.commit import laid_out, moves_laid_out
from holdfast.adapters.postgres.connections import Connection
from holdfast.adapters.postgres.statements import statement
from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.ports.journal import ShardBatch
from holdfast.ports.judging import Judged, judge
from holdfast.ports.ledger import Answer

Asks = Sequence[tuple[str, Ask]]


async def move(connection: Connection, asks: Asks) -> list[Answer]:
    """Decide what is asked, and write what follows."""
    judged = await _judged(connection, asks, {})
    wanted = [moves_laid_out(judged)] if judged.changes else []
    await connection.run_at_once(*wanted, (statement("end_transaction"), {}))
    return judged.answers


async def commit(connection: Connection, batch: Mapping[int, ShardBatch], asks: Asks) -> tuple[list[Any], list[Answer]]:
    """Commit a batch that asks the ledger; gives the stale shards, and the answers if there are none."""
    planned = {effect.effect_id: effect for part in batch.values() for effect in part.planned}
    judged = await _judged(connection, asks, planned)
    stale, _ = await connection.run_at_once(laid_out(batch, judged), (statement("end_transaction"), {}))
    return stale, judged.answers


async def _judged(connection: Connection, asks: Asks, planned: Mapping[str, Effect]) -> Judged:
    wanted = {"effect_ids": texts(dict.fromkeys(effect_id for effect_id, _ in asks))}
    _, rows, [(now,)] = await connection.run_at_once(
        (statement("begin_moves"), {}), (statement("lock_effects"), wanted), (statement("read_clock"), {})
    )
    return judge({row[0]: effect_of(row) for row in rows} | dict(planned), asks, now)
