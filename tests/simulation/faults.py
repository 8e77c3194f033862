"""What goes wrong, and when: drawn from the seed, or given as a list.

Laws of this file:
- A place where something may go wrong is a point. Points are counted per channel (one process, one service), so that a
  fault keeps its place when others are left out.
- What was injected is recorded; given again as a plan, the same seed runs the same way. That is how traces shrink.
- Each seed draws which kinds it knows and how often they come: worlds of one trouble find what mixed ones hide.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

KILL = "kill"  # the process ends here
PAUSE = "pause"  # the process stands still, maybe for longer than its session
FUSE = "fuse"  # the process ends in the middle of what it does next
REFUSED = "refused"  # the service did nothing, and says that it is away
LOST = "lost"  # the service did it, and the answer is lost
LATE = "late"  # the answer is an error, and the service does it afterwards all the same
ORPHAN = "orphan"  # the process ends here, and the service does it afterwards all the same
SLOW = "slow"  # it takes long
PART = "part"  # some of the records were published
TWICE = "twice"  # the records were published twice
REWIND = "rewind"  # a reader gets earlier records again
OLD_OFFSETS = "old_offsets"  # a group's positions are those of long ago
SHUFFLE = "shuffle"  # the group is shared out anew, for no reason
LOSE_LOG = "lose_log"  # all records are gone, and the topics are new
LOG_AWAY = "log_away"
STORE_AWAY = "store_away"
BUSY_STORE = "busy_store"  # for a while, a commit takes longer than the turns that are computed meanwhile
FAILOVER = "failover"  # the store is away for a moment, and all answers under way are lost
FORGET_KEYS = "forget_keys"
KEYS_AWAY = "keys_away"
STEAL = "steal"  # a shard's epoch rises: the late word of somebody who once had it
RESTART = "restart"  # a process is stopped in good order, and started again
STEP_FAILS = "step_fails"  # the author's step raises

WEIGHTS = {
    KILL: 4.0,
    PAUSE: 2.0,
    FUSE: 4.0,
    REFUSED: 4.0,
    LOST: 6.0,
    LATE: 5.0,
    ORPHAN: 4.0,
    SLOW: 2.0,
    PART: 3.0,
    TWICE: 3.0,
    REWIND: 4.0,
    OLD_OFFSETS: 2.0,
    SHUFFLE: 3.0,
    LOSE_LOG: 1.5,
    LOG_AWAY: 2.0,
    STORE_AWAY: 2.0,
    BUSY_STORE: 3.0,
    FAILOVER: 3.0,
    FORGET_KEYS: 3.0,
    KEYS_AWAY: 2.0,
    STEAL: 3.0,
    RESTART: 3.0,
    STEP_FAILS: 3.0,
}
ALWAYS_SEEN = 0.65
"""The chance that a seed knows a kind of fault."""

Place = tuple[str, int]


class Fault(NamedTuple):
    """One thing that goes wrong; `how` in [0, 1) says how much, `whom` in [0, 1) whom it meets."""

    kind: str
    how: float
    whom: float


Plan = dict[Place, Fault]


class Faults:
    """Tells at each point what goes wrong there. With a `plan`, just that."""

    def __init__(self, chance: random.Random, plan: Plan | None = None) -> None:
        self.injected: Plan = {}
        self.on = True
        self._chance = chance
        self._plan = plan
        self._counts: dict[str, int] = {}
        self._tables: dict[Sequence[str], tuple[list[str], list[float]]] = {}
        self.rate = chance.choice((0.004, 0.01, 0.02, 0.04))
        self._weights = {
            kind: weight * chance.choice((0.3, 1.0, 1.0, 3.0)) if chance.random() < ALWAYS_SEEN else 0.0
            for kind, weight in WEIGHTS.items()
        }

    def at(self, channel: str, kinds: Sequence[str], rate: float | None = None) -> Fault | None:
        """Tell what goes wrong at the next point of `channel`, where only `kinds` can; `rate` is the chance of any."""
        if not self.on:
            return None
        number = self._counts.get(channel, 0) + 1
        self._counts[channel] = number
        if self._plan is not None:
            fault = self._plan.get((channel, number))
            if fault is None or fault.kind not in kinds:
                return None
        else:
            chance = self._chance
            if chance.random() >= (self.rate if rate is None else rate):
                return None
            known, weights = self._table(kinds)
            if not known:
                return None
            fault = Fault(chance.choices(known, cum_weights=weights)[0], chance.random(), chance.random())
        self.injected[channel, number] = fault
        return fault

    def _table(self, kinds: Sequence[str]) -> tuple[list[str], list[float]]:
        table = self._tables.get(kinds)
        if table is None:
            known = [kind for kind in kinds if self._weights[kind]]
            table = self._tables[kinds] = (known, list(accumulate(self._weights[kind] for kind in known)))
        return table
