"""The sweeper: finds what should have happened by now and has not, for the shards of this process.

Laws of this file:
- It only asks: what it finds goes through the runs' own deciding, so that sweeping twice changes nothing.
- A log that is not the one we knew (deleted, made anew) means: read from the earliest, say everything again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

import msgspec

from holdfast.app.drafts import Input, TakeInbox
from holdfast.app.lapses import Lapses
from holdfast.app.lookup import Lookup
from holdfast.app.ownership import Ownership
from holdfast.app.recovery import Recovery
from holdfast.app.timers import HORIZON, DueTimers
from holdfast.ports.clock import Clock
from holdfast.ports.log import Log, Membership, Outgoing, TopicMissing, Unreachable
from holdfast.ports.store import Store, Unavailable

log = logging.getLogger(__name__)

EVERY = 2.0
TIMERS_EVERY = 20.0
IDENTITY_EVERY = 10.0
INBOX_KEPT = 24 * 3600 * 1_000_000
TIMER_LIMIT = 50_000
FAR = 2**62
IDENTITY = "log_identity"
CHANGED_AT = "log_changed_at"
RECENT = 3600 * 1_000_000


class Sweeper:
    """The clockwork beside the pipeline."""

    def __init__(
        self,
        store: Store,
        log_: Log,
        clock: Clock,
        ownership: Ownership,
        timers: DueTimers,
        lookup: Lookup,
        recovery: Recovery,
        put: Callable[[list[Input]], None],
        lapses: Lapses,
    ) -> None:
        self._store = store
        self._log = log_
        self._clock = clock
        self._ownership = ownership
        self._timers = timers
        self._lookup = lookup
        self._recovery = recovery
        self._put = put
        self._lapses = lapses
        self._topics = recovery.topics
        self._identity = ""

    async def take_over(self, fresh: Collection[int], publish: Callable[[list[Outgoing]], Awaitable[None]]) -> None:
        """Do for shards that are new to this process what their last owner could not finish."""
        await self._lookup.learn_inbox(self._ownership.shards)
        if not fresh:
            return
        records, numbers = await self._recovery.unpublished(fresh)
        await publish(records)
        rows = await self._store.shards(list(numbers))
        self._ownership.published({shard: (rows[shard].epoch, number) for shard, number in numbers.items()})
        await self._scan_timers(fresh)
        self._put(await self._recovery.orphans(fresh, self._clock.now()))

    async def serve(self, membership: Membership) -> None:
        """Look after everything from time to time."""
        loop = asyncio.get_running_loop()
        timers_at, identity_at = loop.time(), loop.time() - IDENTITY_EVERY
        while True:
            await self._clock.sleep(EVERY)
            try:
                await self._sweep()
                if loop.time() - timers_at >= TIMERS_EVERY:
                    timers_at = loop.time()
                    await self._scan_timers(self._ownership.shards)
                if loop.time() - identity_at >= IDENTITY_EVERY:
                    identity_at = loop.time()
                    await self._check_identity(membership)
            except (Unavailable, Unreachable, TopicMissing) as away:
                log.info("sweeping waits: %s", away)

    async def _sweep(self) -> None:
        shards = self._ownership.shards
        if not shards:
            return
        now = self._clock.now()
        self._put(await self._recovery.overdue(shards, now))
        self._put(await self._lapses.of(shards, now))
        late = self._lookup.waiting_since(now - INBOX_KEPT)
        self._put([Input(row.shard, row.run_id, TakeInbox(row)) for row in late])
        for row in late:
            self._lookup.forget(row)

    async def _scan_timers(self, shards: Collection[int]) -> None:
        if shards:
            now = self._clock.now()
            self._timers.arm(await self._store.due_timers(shards, now + HORIZON, TIMER_LIMIT), now)

    async def _check_identity(self, membership: Membership) -> None:
        """Compare the log with the one we knew, in memory and in the store; another one has to hear what is open again.

        Whoever starts within an hour of the change does the same: the process that noticed it may have ended since.
        """
        topics = [self._topics.commands, self._topics.results, self._topics.events]
        identity = msgspec.json.encode(dict(await self._log.identity(topics)), order="sorted").decode()
        if identity == self._identity:
            return
        meta = await self._store.meta()
        changed_at = int(meta.get(CHANGED_AT, "0"))
        if meta.get(IDENTITY) != identity:
            changed_at = self._clock.now() if IDENTITY in meta else 0
            await self._store.set_meta({IDENTITY: identity, CHANGED_AT: str(changed_at)})
        if self._identity or self._clock.now() - changed_at < RECENT:
            log.warning("the log is not the one we knew: reading from its beginning, sending what is open again")
            await membership.rewind(self._ownership.shards)
            self._put(await self._recovery.overdue(self._ownership.shards, FAR))
        self._identity = identity
