"""Which durable waits are due. The store has them all; memory holds those of the next minute.

Laws of this file:
- Only the owner of a shard fires its timers, by store time, in the order (due_at, timer id).
- A timer that is forgotten here is found again by the next scan of the store.
"""

import heapq
from collections.abc import Iterable

from holdfast.app.orchestrator.draft import Input
from holdfast.core.behind import TURN
from holdfast.core.commands import AttemptStep, ContinueTurn, FireTimer
from holdfast.core.react import RETRY
from holdfast.ports.timers import TimerRow

HORIZON = 60_000_000
Key = tuple[str, int, str]


class DueTimers:
    """The timers of the shards this process owns that are due within the horizon (microseconds)."""

    def __init__(self, horizon: int = HORIZON) -> None:
        self._horizon = horizon
        self._heap: list[tuple[int, str, Key]] = []
        self._armed: dict[Key, TimerRow] = {}

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, rows: Iterable[TimerRow], now: int) -> None:
        for row in rows:
            key = (row.run_id, row.incarnation, row.timer_id)
            known = self._armed.get(key)
            if row.due_at <= now + self._horizon and (known is None or known.due_at != row.due_at):
                self._armed[key] = row
                heapq.heappush(self._heap, (row.due_at, row.timer_id, key))

    def disarm(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._armed.pop(key, None)

    def forget(self, shards: frozenset[int]) -> None:
        self.disarm([key for key, row in self._armed.items() if row.shard in shards])

    def next_due(self) -> int | None:
        """Tell when the next timer is due."""
        while self._heap and not self._is_armed(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: int, limit: int) -> list[Input]:
        """Take what is due, as inputs. A fired timer stays in the store until its event is committed."""
        due: list[Input] = []
        while self._heap and self._heap[0][0] <= now and len(due) < limit:
            entry = heapq.heappop(self._heap)
            if self._is_armed(entry):
                due.append(as_input(self._armed.pop(entry[2])))
        return due

    def _is_armed(self, entry: tuple[int, str, Key]) -> bool:
        row = self._armed.get(entry[2])
        return row is not None and row.due_at == entry[0]


def as_input(row: TimerRow) -> Input:
    """Say what a timer asks for when it is due: the end of the author's wait, a further attempt, the rest of a turn."""
    if row.timer_id.startswith(RETRY):
        attempt, _, step_id = row.timer_id.removeprefix(RETRY).partition(":")
        return Input(row.shard, row.run_id, AttemptStep(step_id=step_id, attempt=int(attempt)), row.incarnation)
    if row.timer_id == TURN:
        return Input(row.shard, row.run_id, ContinueTurn(), row.incarnation)
    return Input(row.shard, row.run_id, FireTimer(timer_id=row.timer_id), row.incarnation)
