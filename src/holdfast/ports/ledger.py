"""The ledger: what is known of every effect, and who may change it.

Laws of this port (its conformance suite holds every adapter to them):
- Every method is one transaction; what is asked is decided by `core/effects.py` against the row as it stands, at the
  store's own time, and written only where the row's state and fence are still those that were decided on.
- A row is planned by the commit that schedules its step (`ports/journal.py`), together with it or not at all.
- The row is the fold of its moves; the moves are kept for ever, and are read as the effect's story.
- A move that is refused changes nothing and says why.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from holdfast.core.asks import Ask, Move
from holdfast.core.effects import Effect


class Answer(msgspec.Struct, frozen=True):
    """What came of a question: the row as it stands afterwards, and the store's time at which it was decided.

    `unmoved` is empty if the move was made, else the reason in one word (`core/effects.py`; `unknown`: there is no
    such effect, and `effect` is None).
    """

    effect: Effect | None
    now: int
    unmoved: str = ""


class Story(msgspec.Struct, frozen=True):
    """An effect with all its moves, in order."""

    effect: Effect
    moves: tuple[Move, ...]


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process that may send effects: where it runs, so that others can tell whether it is gone.

    `host` names one boot of one machine and its process namespace; `started` is the process's own start, in the words
    of the kernel, so that a process id that was given again is not mistaken. `gone` says how its end is known.
    """

    process: str
    host: str
    pid: int
    started: str
    gone: str = ""


class Ledger(Protocol):
    """The rows of all effects of a namespace. Every method raises `Unavailable` while the store is out of reach."""

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        """Put questions about effects, by effect id, in one transaction: one answer each, in their order.

        Several about one effect are decided one after the other. Raises `Unavailable` if the answer was lost: the moves
        may have been made; whoever meant to send must not.
        """

    async def look(self, effect_ids: Collection[str]) -> Mapping[str, Answer]:
        """Read rows as they stand, with the store's time; unknown ids are left out. `unmoved` is empty."""

    async def stories(self, run_id: str) -> Sequence[Story]:
        """Read the effects of a run, in the order they were planned, with all their moves."""

    async def story(self, effect_id: str) -> Story | None:
        """Read one effect with all its moves."""

    async def effects(
        self, *, states: Collection[str] = (), name: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[Effect]:
        """List effects by effect id, from `after` (exclusive) on; in any of `states`, or all."""

    async def conflicts(self, *, limit: int = 100, after: str | None = None) -> Sequence[Effect]:
        """List effects that were proved after they had been closed otherwise, by effect id, from `after` on."""

    async def lapsed(self, shards: Collection[int], limit: int) -> Sequence[Effect]:
        """Read effects of these shards that somebody holds (CLAIMED, INFLIGHT, RECONCILING), past their lease.

        By the store's time, longest over first.
        """

    async def register(self, process: ProcessRow) -> None:
        """Say that a process may send from now on."""

    async def deregister(self, process: str, gone: str) -> None:
        """Say that a process will never send again, and how that is known; the first word stays."""

    async def processes(self, names: Collection[str]) -> Mapping[str, ProcessRow]:
        """Read what is known of processes; unknown names are left out."""
