"""Purging runs, inside a commit.

Laws of this file:
- A run that is not settled is not purged: the whole commit is refused.
- All goes and the tombstone stays in the one transaction.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain

from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import statement
from holdfast.core.purging import Tombstone
from holdfast.ports.journal import BadData

_IN_ORDER = (
    "purge_history", "purge_timers", "purge_signals", "purge_inbox", "purge_deaths", "purge_moves", "purge_effects",
    "purge_runs",
)  # fmt: skip


def purge(connection: sqlite3.Connection, purged: Sequence[Tombstone]) -> None:
    """Delete all of these runs, and leave their tombstones."""
    run_ids = [one.run_id for one in purged]
    unsettled = statement("unsettled_runs").read(connection, run_ids)
    if unsettled:
        raise BadData(f"run {unsettled[0][0]} is open or not settled: it cannot be purged")
    for name in _IN_ORDER:
        statement(name).write(connection, run_ids)
    at = now()
    rows = ((one.run_id, one.incarnation, one.input_hash, one.ended_at, at) for one in purged)
    statement("bury").write(connection, list(chain.from_iterable(rows)))
