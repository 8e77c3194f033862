"""The sweeper: finds what should have happened by now and has not, for the shards of this process.

Laws of this file:
- It only asks: what it finds goes through the runs' own deciding, so that sweeping twice changes nothing.
- It reads in pages, and the next page when there is room for it: an hour's overdue work is no flood.
- A log that is not the one we knew (deleted, made anew) means: read from the earliest, say everything again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from holdfast.app.log_identity import changed_at, identity_of
from holdfast.app.orchestrator.attempt_scan import PAGE, PAGES, AttemptScan
from holdfast.app.orchestrator.death_review import DeathReview
from holdfast.app.orchestrator.deferral import Deferrals
from holdfast.app.orchestrator.draft import Input, Resend, TakeInbox
from holdfast.app.orchestrator.expired_leases import ExpiredLeases
from holdfast.app.orchestrator.load import Loader
from holdfast.app.orchestrator.missed_verdicts import MissedVerdicts
from holdfast.app.orchestrator.ownership import Ownership
from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.orchestrator.timers import HORIZON, DueTimers
from holdfast.ports.clock import Clock
from holdfast.ports.installation import Installation
from holdfast.ports.journal import Journal, Span
from holdfast.ports.log import Log, Outgoing, TopicMissing, Unreachable
from holdfast.ports.timers import AttemptRow, TimerRow, Timers
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

EVERY = 2.0
TIMERS_EVERY = 20.0
IDENTITY_EVERY = 10.0
INBOX_EVERY = 60.0
INBOX_KEPT = 24 * 3600 * 1_000_000
TIMER_LIMIT = 50_000
TIMER_PAGE = 1_000
SOON = 0.005
RECENT = 3600 * 1_000_000

Publish = Callable[[list[Outgoing]], Awaitable[None]]
Rewind = Callable[[Collection[int]], Awaitable[None]]


class SweeperStore(Journal, Timers, Installation, Protocol):
    """What the sweeper asks: epochs, the scans, and the identity of the log."""


class Sweeper:
    """The clockwork beside the pipeline."""

    def __init__(  # noqa: PLR0913 - it looks after everything
        self,
        *,
        store: SweeperStore,
        log_: Log,
        clock: Clock,
        ownership: Ownership,
        timers: DueTimers,
        lookup: Loader,
        recovery: Recovery,
        put: Callable[[list[Input]], None],
        has_room: Callable[[], bool],
        expired_leases: ExpiredLeases,
        missed_verdicts: MissedVerdicts,
        deaths: DeathReview,
        deferrals: Deferrals,
        page: int = PAGE,
    ) -> None:
        self._store = store
        self._log = log_
        self._clock = clock
        self._ownership = ownership
        self._timers = timers
        self._loader = lookup
        self._recovery = recovery
        self._put = put
        self._has_room = has_room
        self._expired_leases = expired_leases
        self._missed_verdicts = missed_verdicts
        self._deaths = deaths
        self._deferrals = deferrals
        self._publish: Publish | None = None
        self._page = page
        self._topics = recovery.topics
        self._identity = ""
        self._changed_at = 0
        self._assignments = 0
        self._fresh: frozenset[int] = frozenset()  # taken over, and their open attempts not asked after yet
        self._taken_over: AttemptScan | None = None
        self._lost_log: AttemptScan | None = None
        self._due: AttemptScan | None = None
        self._waits_for_room = False
        self._woken = asyncio.Event()
        self._timers_left = False  # in the store, due within the minute, for want of room in memory
        self._rewound: frozenset[int] = frozenset()  # since the last assignment: shards read from the beginning

    async def take_over(self, fresh: Collection[int], publish: Publish) -> None:
        """Publish what the last owner of shards that are new to this process did not; the rest is the sweeper's."""
        self._assignments += 1
        self._rewound = frozenset()
        self._lost_log = None
        self._publish = publish
        await self._deferrals.learn(self._ownership.shards)
        await self._loader.begin(self._ownership.shards)
        if not fresh:
            return
        await self._deaths.learn()
        async for row, records in self._recovery.unpublished(fresh):
            await publish(records)
            epoch = (await self._store.shards([row.shard]))[row.shard].epoch
            self._ownership.published({row.shard: (epoch, row.number)})
        await self._scan_timers(fresh)
        self._fresh |= frozenset(fresh)
        self._taken_over = AttemptScan(self._store, self._fresh, page=self._page)
        self._woken.set()

    async def serve(self, rewind: Rewind) -> None:
        """Look after everything from time to time."""
        loop = asyncio.get_running_loop()
        waited, timers_at, identity_at, inbox_at = 0.0, loop.time(), loop.time() - IDENTITY_EVERY, loop.time()
        while True:
            waited += await self._pause()
            try:
                await self._ask_after_attempts()
                if waited >= EVERY or self._deferrals.has_done:
                    await self._take_up()
                if waited >= EVERY:
                    waited = 0.0
                    await self._sweep()
                if self._timers_left and len(self._timers) < TIMER_LIMIT // 2:
                    await self._scan_timers(self._ownership.shards)
                if loop.time() - timers_at >= TIMERS_EVERY:
                    timers_at = loop.time()
                    await self._scan_timers(self._ownership.shards)
                    await self._deaths.review(self._ownership.shards, self._clock.now())
                if loop.time() - inbox_at >= INBOX_EVERY:
                    inbox_at = loop.time()
                    await self._look_into_inbox()
                if loop.time() - identity_at >= IDENTITY_EVERY:
                    identity_at = loop.time()
                    await self._check_identity(rewind)
            except (Unavailable, Unreachable, TopicMissing) as away:
                log.info("cannot sweep: %s; retrying", away)
                await self._clock.sleep(EVERY)

    async def _pause(self) -> float:
        """Wait for the next look: a moment where a scan waits for room, not at all after a takeover. Tells how long."""
        seconds = SOON if self._waits_for_room else EVERY
        waits = [asyncio.ensure_future(one) for one in (self._clock.sleep(seconds), self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        self._woken.clear()
        return seconds

    def wake(self) -> None:
        """Look at once: what waited for a newer release has had its effect, there may be more."""
        self._woken.set()

    async def _take_up(self) -> None:
        """Let runs go on that waited for what this process can read."""
        if self._ownership.shards and self._has_room():
            await self._deferrals.take_up(self._ownership.shards, self._put, self._say_again)

    async def _say_again(self, shard: int, span: Span) -> None:
        records = await self._recovery.records_of(span)
        if self._publish is not None and self._ownership.has(shard):
            await self._publish(records)

    async def _sweep(self) -> None:
        shards = self._ownership.shards
        if not shards:
            return
        now = self._clock.now()
        if self._due is None or self._due.is_over:
            self._due = AttemptScan(self._store, shards, now, page=self._page)
        if self._has_room():
            self._put(await self._expired_leases.of(shards, now))

    async def _look_into_inbox(self) -> None:
        """Put aside signals that waited too long; found again, they were put aside already."""
        shards = self._ownership.shards
        if shards and self._has_room():
            late = await self._store.expired_inbox(shards, self._clock.now() - INBOX_KEPT, self._page)
            self._put([Input(row.shard, row.run_id, TakeInbox(row)) for row in late])
        await self._loader.early.look(shards)

    async def _ask_after_attempts(self) -> None:
        """Go on with the scans as far as there is room for what they find."""
        self._waits_for_room = False
        scan = self._taken_over
        if scan is not None and await self._scan(scan, self._of_last_owner) and scan is self._taken_over:
            self._fresh -= scan.shards
            self._taken_over = None
        scan = self._lost_log
        if scan is not None and await self._scan(scan, self._of_lost_log) and scan is self._lost_log:
            self._rewound |= scan.shards
            self._lost_log = None
        if self._due is not None:
            await self._scan(self._due, self._of_overdue)

    async def _scan(self, scan: AttemptScan, found: Callable[[Sequence[AttemptRow]], Awaitable[list[Input]]]) -> bool:
        """Go on with a scan; tells whether it is over."""
        for _ in range(PAGES):
            if scan.is_over:
                break
            if not self._has_room():
                self._waits_for_room = True
                break
            rows = await scan.page()
            if rows:
                self._put(await found(rows))
            scan.turn()
            await asyncio.sleep(0)  # the embedded store answers at once: live work has its turn between two pages
        return scan.is_over

    async def _of_last_owner(self, rows: Sequence[AttemptRow]) -> list[Input]:
        """Send again what is due, or was handed over in memory, and tell what the ledger knows of the rest.

        Whoever its owner was: another process died with it, and this one may never have heard that the commit which was
        to send it had succeeded.
        """
        now = self._clock.now()
        lost = [row for row in rows if row.sent_to is not None or row.resend_at <= now]
        by_log = [row for row in rows if row.sent_to is None]
        return [*await self._missed_verdicts.of(by_log, now), *map(ask_for, lost)]

    async def _of_overdue(self, rows: Sequence[AttemptRow]) -> list[Input]:
        """Tell what the ledger knows of attempts that nobody has answered for too long, and ask after them."""
        words = await self._missed_verdicts.of(rows, self._clock.now())
        return [*words, *(ask_for(row, due=True) for row in rows)]

    async def _of_lost_log(self, rows: Sequence[AttemptRow]) -> list[Input]:
        """What was sent to a log that is no more has to be sent again."""
        return list(map(ask_for, rows))

    async def _scan_timers(self, shards: Collection[int]) -> None:
        """Bring the timers of the next minute to memory, the soonest first, as many as it holds."""
        if not shards:
            return
        now = self._clock.now()
        last: TimerRow | None = None
        self._timers_left = True
        while len(self._timers) < TIMER_LIMIT:
            rows = await self._store.due_timers(shards, now + HORIZON, TIMER_PAGE, last)
            self._timers.arm(rows, now)
            if len(rows) < TIMER_PAGE:
                self._timers_left = False
                return
            last = rows[-1]

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
            begun = frozenset() if self._lost_log is None else self._lost_log.shards
            await self._begin_anew(rewind, self._ownership.shards - self._rewound - begun)

    async def _begin_anew(self, rewind: Rewind, shards: frozenset[int]) -> None:
        """Read these shards from the beginning of the new log, and send again what is open."""
        if shards:
            log.warning("the log was replaced: reading it from the beginning, sending open attempts again")
            assignments = self._assignments
            await rewind(shards)
            if assignments == self._assignments:
                self._lost_log = AttemptScan(self._store, shards, page=self._page)


def ask_for(row: AttemptRow, *, due: bool = False) -> Input:
    """Ask whether an attempt is still open: then it is sent again."""
    return Input(row.shard, row.run_id, Resend(row, due=due), row.incarnation)
