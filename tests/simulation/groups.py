"""How a consumer group is shared out, as Kafka's coordinator does it: eagerly, with sessions that run out.

Laws of this file:
- At a rebalance every member lets go of all it holds before anybody gets anything; one who does not in time is out.
- A member whose process is dead or paused for a session is out, and learns of it a moment after it has woken up: until
  then it reads on and believes that it is still in.
- Progress counts only from a member who is in.
"""

import asyncio
import random
from collections.abc import Mapping
from contextvars import Context
from typing import NamedTuple, Protocol

from holdfast.adapters.kafka.assignor import Claim, share_out
from holdfast.ports.log import Record
from tests.simulation.loop import PAUSED, Life

SESSION = 6.0
HEARTBEAT = 1.0
REBALANCE = 15.0
ENTERING = 0.01
OUTSIDE = Context()

Place = tuple[str, int]
"""Topic and partition."""


class Progress(NamedTuple):
    """What a group remembers of one partition of a `log`: all below `offset` is done, and `finished` above it."""

    log: str
    offset: int
    finished: frozenset[int] = frozenset()


class Member(Protocol):
    """A reader of a group, as its coordinator sees it."""

    number: int
    life: Life
    topics: list[str]

    def summon(self) -> None:
        """Let go of everything, then arrive."""

    def enter(self, generation: int, places: frozenset[Place]) -> None:
        """Read these from now on."""


class Group:
    """The coordinator of one group. `sharded`: all topics of a partition number go to one member."""

    def __init__(self, partitions: Mapping[str, list[list[Record]]], chance: random.Random, *, sharded: bool) -> None:
        self.progress: dict[Place, Progress] = {}
        self.generation = 0
        self._partitions = partitions
        self._chance = chance
        self._sharded = sharded
        self._members: dict[int, Member] = {}
        self._arrived: set[int] = set()
        self._claims: dict[int, Claim] = {}
        self._numbers = 0
        self._rebalancing: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # -- members come and go

    def new_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def has(self, member: Member) -> bool:
        return member.number in self._members

    def expects(self, member: Member, generation: int) -> bool:
        """Tell whether what `generation` gave to a member is still his."""
        return self.has(member) and generation == self.generation and member.number not in self._arrived

    def arrive(self, member: Member) -> None:
        """A member has let go of everything and wants to go on; one who was out comes in again."""
        known = member.number in self._members
        self._members[member.number] = member
        self._arrived.add(member.number)
        if not known or self._rebalancing is None:
            self.rebalance()
        self._go_on_if_all_are_here()

    def leave(self, member: Member) -> None:
        """A member goes in good order."""
        if self._members.pop(member.number, None) is not None:
            self._arrived.discard(member.number)
            self._claims.pop(member.number, None)
            self.rebalance()

    def lose_sight(self, member: Member) -> None:
        """A member's process is dead or stands still: it is out when its session is over."""
        life, pauses = member.life, member.life.pauses
        left = SESSION - self._chance.random() * HEARTBEAT
        self._loop.call_later(left, self._session_over, member, life, pauses, context=OUTSIDE)

    def _session_over(self, member: Member, life: Life, pauses: int) -> None:
        if life.alive and not (life.state == PAUSED and life.pauses == pauses):
            return
        self._expel(member)

    def _expel(self, member: Member) -> None:
        if self._members.get(member.number) is member:
            self.leave(member)
            self._soon(member)

    def _soon(self, member: Member) -> None:
        """Let a member hear, with its next heartbeat after it has woken up, that it has to let go."""
        delay = self._chance.random() * HEARTBEAT
        self._loop.call_soon(self._loop.call_later, delay, member.summon, context=member.life.context)

    # -- sharing out

    def rebalance(self) -> None:
        """Begin a round: everybody lets go."""
        if self._rebalancing is not None:
            self._go_on_if_all_are_here()
            return
        self._rebalancing = self._loop.call_later(REBALANCE, self._out_of_time, context=OUTSIDE)
        for number, member in self._members.items():
            if number not in self._arrived:
                self._soon(member)
        self._go_on_if_all_are_here()

    def _out_of_time(self) -> None:
        for number in [number for number in self._members if number not in self._arrived]:
            del self._members[number]
            self._claims.pop(number, None)
        self._go_on_if_all_are_here()

    def _go_on_if_all_are_here(self) -> None:
        if self._rebalancing is None or len(self._arrived) < len(self._members):
            return
        self._rebalancing.cancel()
        self._rebalancing = None
        self.generation += 1
        shares = self._shares() if self._members else {}
        self._arrived.clear()
        for number, member in self._members.items():
            delay = self._chance.random() * ENTERING
            self._loop.call_later(
                delay, member.enter, self.generation, frozenset(shares[number]), context=member.life.context
            )

    def _shares(self) -> dict[int, list[Place]]:
        if not self._sharded:
            return self._in_turn()
        topics = sorted({topic for member in self._members.values() for topic in member.topics})
        shards = min(len(self._partitions[topic]) for topic in topics)
        claims = {f"{number:06}": self._claims.get(number, Claim()) for number in self._members}
        shared = {int(name): mine for name, mine in share_out(shards, claims).items()}
        self._claims = {number: Claim(self.generation, frozenset(mine)) for number, mine in shared.items()}
        return {number: [(topic, shard) for topic in topics for shard in mine] for number, mine in shared.items()}

    def _in_turn(self) -> dict[int, list[Place]]:
        """One partition after the other to the next member who reads its topic."""
        shares: dict[int, list[Place]] = {number: [] for number in self._members}
        turn = 0
        for topic in sorted({topic for member in self._members.values() for topic in member.topics}):
            readers = [number for number, member in self._members.items() if topic in member.topics]
            for partition in range(len(self._partitions.get(topic, ()))):
                shares[readers[turn % len(readers)]].append((topic, partition))
                turn += 1
        return shares

    # -- what goes wrong

    def forget_progress(self) -> None:
        """Offsets are a hint: give those of the beginning, from the next round on."""
        self.progress.clear()
