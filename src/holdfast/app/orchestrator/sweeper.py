"""The sweeper: finds what should have happened by now and has not, for the shards of this process.

Laws of this file:
- It only asks: what it finds goes through the runs' own deciding, so that sweeping twice changes nothing.
- A log that is not the one we knew (deleted, made anew) means: read from the earliest, say everything again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from holdfast.app.log_identity import changed_at, identity_of
from holdfast.app.orchestrator.death_review import DeathReview
from holdfast.app.orchestrator.draft import Input, Resend, TakeInbox
from holdfast.app.orchestrator.expired_leases import ExpiredLeases
from holdfast.app.orchestrator.load import Loader
from holdfast.app.orchestrator.missed_verdicts import MissedVerdicts
from holdfast.app.orchestrator.ownership import Ownership
from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.orchestrator.timers import HORIZON, DueTimers
from holdfast.ports.clock import Clock
from holdfast.ports.log import Log, Outgoing, TopicMissing, Unreachable
from holdfast.ports.store import Store, Unavailable

log = logging.getLogger(__name__)

EVERY = 2.0
TIMERS_EVERY = 20.0
IDENTITY_EVERY = 10.0
INBOX_KEPT = 24 * 3600 * 1_000_000
TIMER_LIMIT = 50_000
RECENT = 3600 * 1_000_000

Rewind = Callable[[Collection[int]], Awaitable[None]]


class Sweeper:
    """The clockwork beside the pipeline."""

    def __init__(  # noqa: PLR0913 - it looks after everything
        self,
        *,
        store: Store,
        log_: Log,
        clock: Clock,
        ownership: Ownership,
        timers: DueTimers,
        lookup: Loader,
        recovery: Recovery,
        put: Callable[[list[Input]], None],
        expired_leases: ExpiredLeases,
        missed_verdicts: MissedVerdicts,
        deaths: DeathReview,
    ) -> None:
        self._store = store
        self._log = log_
        self._clock = clock
        self._ownership = ownership
        self._timers = timers
        self._loader = lookup
        self._recovery = recovery
        self._put = put
        self._expired_leases = expired_leases
        self._missed_verdicts = missed_verdicts
        self._deaths = deaths
        self._topics = recovery.topics
        self._identity = ""
        self._changed_at = 0
        self._assignments = 0
        self._fresh: frozenset[int] = frozenset()  # taken over, and the ledger not asked yet what their runs missed
        self._rewound: frozenset[int] = frozenset()  # since the last assignment: shards read from the beginning

    async def take_over(self, fresh: Collection[int], publish: Callable[[list[Outgoing]], Awaitable[None]]) -> None:
        """Do for shards that are new to this process what their last owner could not finish."""
        self._assignments += 1
        self._rewound = frozenset()
        self._fresh |= frozenset(fresh)
        await self._loader.learn_inbox(self._ownership.shards)
        if not fresh:
            return
        await self._deaths.learn()
        records, numbers = await self._recovery.unpublished(fresh)
        await publish(records)
        rows = await self._store.shards(list(numbers))
        self._ownership.published({shard: (rows[shard].epoch, number) for shard, number in numbers.items()})
        await self._scan_timers(fresh)
        self._put(await self._recovery.orphans(fresh, self._clock.now()))

    async def serve(self, rewind: Rewind) -> None:
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
                    await self._deaths.review(self._ownership.shards, self._clock.now())
                if loop.time() - identity_at >= IDENTITY_EVERY:
                    identity_at = loop.time()
                    await self._check_identity(rewind)
            except (Unavailable, Unreachable, TopicMissing) as away:
                log.info("sweeping waits: %s", away)

    async def _sweep(self) -> None:
        shards = self._ownership.shards
        if not shards:
            return
        now = self._clock.now()
        await self._ask_after_attempts(shards, now)
        self._put(await self._expired_leases.of(shards, now))
        late = self._loader.waiting_since(now - INBOX_KEPT)
        self._put([Input(row.shard, row.run_id, TakeInbox(row)) for row in late])
        for row in late:
            self._loader.forget(row)

    async def _ask_after_attempts(self, shards: frozenset[int], now: int) -> None:
        """Tell what the ledger knows of attempts that are overdue, or were another owner's; ask after the overdue."""
        if self._fresh:
            self._put(await self._missed_verdicts.of(await self._recovery.by_log(self._fresh & shards), now))
            self._fresh = frozenset()
        rows = await self._recovery.overdue(shards, now)
        self._put(await self._missed_verdicts.of(rows, now))
        self._put([Input(row.shard, row.run_id, Resend(row, due=True), row.incarnation) for row in rows])

    async def _scan_timers(self, shards: Collection[int]) -> None:
        if shards:
            now = self._clock.now()
            self._timers.arm(await self._store.due_timers(shards, now + HORIZON, TIMER_LIMIT), now)

    async def _check_identity(self, rewind: Rewind) -> None:
        """Compare the log with the one we knew, in memory and in the store; another one has to hear what is open again.

        For an hour after the change every assignment begins anew, whoever noticed it: the group gives out the positions
        that it has, and they may still be those of the old log.
        """
        identity = await identity_of(self._log, self._topics)
        if identity != self._identity:
            now = self._clock.now()
            known_since = await changed_at(self._store, identity, now)
            self._changed_at = now if self._identity else known_since
            self._identity = identity
            self._rewound = frozenset()
        if self._clock.now() - self._changed_at < RECENT:
            await self._begin_anew(rewind, self._ownership.shards - self._rewound)

    async def _begin_anew(self, rewind: Rewind, shards: frozenset[int]) -> None:
        """Read these shards from the beginning of the new log, and send again what is open."""
        if shards:
            log.warning("the log is not the one we knew: reading from its beginning, sending what is open again")
            assignments = self._assignments
            await rewind(shards)
            self._put(await self._recovery.everything(shards))
            if assignments == self._assignments:
                self._rewound |= shards
