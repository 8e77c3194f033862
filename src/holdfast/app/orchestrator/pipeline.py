"""The orchestrator: the owner of shards, who turns commands into events.

It is one pipelined loop: a slice is computed while the one before commits and the one before that is published.
Where the rules stand: deciding in core/run.py, failures of a commit in commit.py, ownership in ownership.py.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

from holdfast.app.backoff import backoff
from holdfast.app.blobs import BlobShelf
from holdfast.app.deaths import UNWATCHED, DeathWatch
from holdfast.app.meter import Meter
from holdfast.app.orchestrator.attempt_scan import PAGE
from holdfast.app.orchestrator.commit import Committer, Failed, halves
from holdfast.app.orchestrator.death_review import DeathReview
from holdfast.app.orchestrator.deferral import Deferrals
from holdfast.app.orchestrator.draft import Draft, Input, positions_of
from holdfast.app.orchestrator.encode import encode_records
from holdfast.app.orchestrator.expired_leases import ExpiredLeases
from holdfast.app.orchestrator.intake import Intake
from holdfast.app.orchestrator.joining import joined
from holdfast.app.orchestrator.load import Loader
from holdfast.app.orchestrator.missed_verdicts import MissedVerdicts
from holdfast.app.orchestrator.ownership import Ownership
from holdfast.app.orchestrator.publish import Published, Publisher
from holdfast.app.orchestrator.record_reader import RecordReader
from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.orchestrator.refused_inputs import put_aside_or_park, split_or_put_aside
from holdfast.app.orchestrator.run_cache import LiveRuns, NewProgram
from holdfast.app.orchestrator.said_again import said_again
from holdfast.app.orchestrator.sweeper import Sweeper
from holdfast.app.orchestrator.timers import DueTimers
from holdfast.app.orchestrator.turn import Turns
from holdfast.app.orchestrator.waiters import Lost, Waiters
from holdfast.app.oversized_records import put_aside
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import (
    Addressed,
    ExecuteStep,
    ResumeRun,
    StepResult,
)
from holdfast.core.identity import shard_of
from holdfast.ports.clock import Clock
from holdfast.ports.codec import Codec
from holdfast.ports.deferred import DeferredInputs
from holdfast.ports.journal import BadData
from holdfast.ports.ledger import Ledger
from holdfast.ports.log import Log, Membership, TopicMissing, Unreachable
from holdfast.ports.store import Store
from holdfast.ports.topics import Topics
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

CACHE_BYTES = 128 * 1024 * 1024
POLL_RECORDS = 2_000
POLL_WAIT = 0.5
TIMER_WAIT = 0.5
TIMERS_AT_ONCE = 1_000
LOCAL_BACKLOG = 64
"""Tasks that wait in this process, beyond which none is sent again: a fresh one waits behind them."""
REASSESS_AFTER = 1.0
MICROS = 1_000_000


class Orchestrator:
    """One process's share of the shards. `dispatch` takes tasks of the queues that this process serves itself."""

    def __init__(  # noqa: PLR0913 - the ports and the application meet here
        self,
        *,
        store: Store,
        ledger: Ledger,
        log_: Log,
        clock: Clock,
        codec: Codec,
        deferred: DeferredInputs,
        new_program: Callable[[BlobShelf], NewProgram],
        default_version: Callable[[str], str],
        namespace: str,
        shards: int,
        process: str,
        instance: str | None = None,
        serves: Callable[[str], bool] = lambda _: False,
        dispatch: Callable[[ExecuteStep], None] = lambda _: None,
        local_backlog: Callable[[], int] = lambda: 0,
        publishes: bool = True,
        cache_bytes: int = CACHE_BYTES,
        scan_page: int = PAGE,
        deaths: DeathWatch = UNWATCHED,
        schemas: SchemaCache | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.topics = Topics(namespace)
        self.ready = asyncio.Event()
        self.live = LiveRuns(cache_bytes)
        self._meter = meter or Meter()
        self._store = store
        self._log = log_
        self._clock = clock
        self._shards = shards
        self._instance = instance
        self._serves = serves
        self._dispatch = dispatch
        self._wire = Wire(self.topics, codec, shards)
        blobs = BlobShelf(store)
        schemas = schemas or SchemaCache(codec)
        reader = RecordReader(codec, self._wire, shards, schemas)
        self._intake = Intake(reader=reader, shards=shards)
        self._deferrals = Deferrals(deferred, self._wire, reader)
        self._ownership = Ownership(store, process)
        self._timers = DueTimers()
        waits = self._deferrals.waits
        self._loader = Loader(
            store, codec, self.live, blobs, default_version, reader=reader, schemas=schemas, waits=waits
        )
        self._turns = Turns(
            codec=codec,
            wire=self._wire,
            live=self.live,
            new_program=new_program(blobs),
            process=process,
            serves=serves,
            publishes=publishes,
            deaths=deaths,
            deferrals=self._deferrals,
        )
        self._committer = Committer(
            store,
            self._ownership,
            keep=self._deferrals.keep,
            meanwhile=self._encode,
            committed=self._committed,
            failed=self._failed,
        )
        too_large = partial(put_aside, topics=self.topics, store=store)
        self._publisher = Publisher(log_, self._ownership, self._acknowledge, too_large)
        self._recovery = Recovery(
            store, codec, self._wire, schemas, publishes=publishes, keep=self._deferrals.keep_span
        )
        self._sweeper = Sweeper(
            store=store,
            log_=log_,
            clock=clock,
            ownership=self._ownership,
            timers=self._timers,
            lookup=self._loader,
            recovery=self._recovery,
            put=self._intake.put_swept,
            has_room=lambda: self._intake.has_swept_room and local_backlog() < LOCAL_BACKLOG,
            expired_leases=ExpiredLeases(ledger, process),
            missed_verdicts=MissedVerdicts(ledger, namespace),
            deaths=DeathReview(store, codec, deaths, schemas),
            deferrals=self._deferrals,
            page=scan_page,
        )
        self._membership: Membership | None = None
        self._generation = 0
        self._reading = 0
        self._fresh: frozenset[int] = frozenset()  # taken, and not yet taken over from their last owner
        self._serving = asyncio.Event()
        self._shifting = asyncio.Lock()
        self.waiters = Waiters(shards)
        self._asides: set[asyncio.Task[None]] = set()

    # -- life

    async def serve(self) -> None:
        """Serve until cancelled; the store and the log may come and go meanwhile."""
        self._membership = await joined(
            self._log, self.topics, self._instance, on_assigned=self._assigned, on_revoked=self._revoked
        )
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._fetch(self._membership))
            loops.create_task(self._compute())
            loops.create_task(self._committer.serve())
            loops.create_task(self._publisher.serve())
            loops.create_task(self._fire_timers())
            loops.create_task(self._sweeper.serve(self._rewind))

    async def drain(self) -> None:
        """Commit and publish what is in flight, and leave the group: others take over at once."""
        self._serving.clear()
        try:
            await self._committer.drained()
            await self._publisher.drained()
        finally:  # also when the time for it is over: who does not leave the group keeps the shards
            if self._membership is not None:
                await self._membership.close()
            # Code that never began its calls would be heard complaining of that when the process ends.
            self.live.drop([live.run.run_id for live in self.live if live.run.behind])

    @property
    def shards(self) -> frozenset[int]:
        """The shards that this process owns."""
        return self._ownership.shards

    @property
    def backlog(self) -> int:
        """How many inputs wait in memory."""
        return len(self._intake)

    # -- in

    def put_result(self, result: StepResult) -> None:
        """Take the result of a step that this very process executed."""
        self._intake.put_result(result)

    async def room_for_results(self) -> None:
        """Wait until there is room for more results: before that no further step is to be executed here."""
        await self._intake.room_for_results()

    def submit(self, addressed: Addressed) -> asyncio.Future[bool]:
        """Take a command directly; the future is done when what follows from it is committed: False if nothing did.

        It raises `DeadLetter` when the command can never be handled, `Lost` when the shard moved meanwhile.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        shard = shard_of(addressed.run_id, self._shards)
        self._intake.put([Input(shard, addressed.run_id, addressed.command, addressed.incarnation, waiter=waiter)])
        return waiter

    async def _fetch(self, membership: Membership) -> None:
        while True:
            await self._intake.room()
            try:
                records = await membership.poll(POLL_WAIT, POLL_RECORDS)
                self._intake.put_records(records, self._reading)
            except Unreachable as away:
                log.warning("cannot read from the log: %s; retrying", away)
                await asyncio.sleep(REASSESS_AFTER)

    async def _fire_timers(self) -> None:
        while True:
            due = self._timers.next_due()
            now = self._clock.now()
            if due is not None and due <= now:
                await self._intake.room()
                self._intake.put(self._timers.take_due(now, TIMERS_AT_ONCE))
            wait = TIMER_WAIT if due is None else (due - now) / MICROS
            await self._clock.sleep(min(TIMER_WAIT, max(wait, 0.001)))

    # -- the pipeline

    async def _compute(self) -> None:
        while True:
            inputs = await self._intake.next_slice()
            generation = self._generation
            await self._serving.wait()
            await self._committer.room()
            mine = await self._before_resume(self._only_mine(inputs))
            if not mine:
                continue
            try:
                loaded = await self._loader.of(mine)
            except (BadData, Unavailable) as error:
                if await self._loader.blames(mine, error):
                    for part in reversed(split_or_put_aside(mine, str(error), self._wire)):
                        self._intake.again(part)
                    continue
                log.warning("cannot load runs: %s; retrying", error)
                await asyncio.sleep(REASSESS_AFTER)
                self._intake.after_those(mine)
                continue
            if generation != self._generation or not self._serving.is_set() or not self._committer.has_room():
                self._intake.after_those(mine)
                continue
            draft = self._turns.handle(loaded.inputs, self._clock.now(), loaded)
            draft.assumed_new = loaded.assumed_new
            self._loader.remember(loaded, draft)
            self._intake.again(mine[len(draft.inputs) :])
            self._committer.put(draft)

    async def _before_resume(self, inputs: list[Input]) -> list[Input]:
        """Cut a slice at its first resume, which needs its run's whole history: all before it is committed first."""
        if ResumeRun not in {type(one.command) for one in inputs}:
            return inputs
        at = next(n for n, one in enumerate(inputs) if isinstance(one.command, ResumeRun))
        if at == 0:
            await self._committer.drained()
        cut = max(at, 1)
        self._intake.again(inputs[cut:])
        return inputs[:cut]

    def _only_mine(self, inputs: list[Input]) -> list[Input]:
        has = self._ownership.has
        others = frozenset(shard for shard in {one.shard for one in inputs} if not has(shard))
        if not others:
            return inputs
        self._orphaned([one for one in inputs if one.shard in others])
        return [one for one in inputs if one.shard not in others]

    async def _committed(self, draft: Draft) -> None:
        """What follows once a draft is durable: hand over, arm, tell, publish."""
        self._meter.committed(
            inputs=len(draft.inputs),
            events=sum(len(batch.events) for batch in draft.by_shard.values()),
            tasks=len(draft.tasks),
            ended=draft.ended,
        )
        if self._deferrals.committed(draft):
            self._sweeper.wake()
        for live in draft.touched.values():
            self.live.committed(live)
        self._loader.early.committed(draft)
        self._encode(draft)
        for task, _live, _at in draft.tasks.values():
            self._dispatch(task)
        if draft.timers:
            self._timers.disarm(key for key, row in draft.timers.items() if row is None)
            self._timers.arm((row for row in draft.timers.values() if row is not None), self._clock.now())
        self.waiters.tell(draft)
        self._intake.put(draft.verdicts())
        self.live.trim()
        positions = positions_of(draft.inputs, self._reading)
        if draft.prompt or draft.events or positions:
            numbers = {shard: (batch.epoch, batch.number) for shard, batch in draft.by_shard.items()}
            await self._publisher.put(Published(draft.prompt, draft.events, numbers, positions, self._reading))

    def _encode(self, draft: Draft) -> None:
        encode_records(draft, self._wire, self._serves)

    def _failed(self, failure: Failed, on_top: list[Draft]) -> None:
        """Nothing of a draft was written: forget what was computed, feed what came in again."""
        self._generation += 1
        self._meter.commit_failures += 1
        drafts = [failure.draft, *on_top]
        for draft in drafts:
            self._turns.take_back(draft)
            self.live.drop(draft.touched)
        self._loader.doubt()
        if failure.lost:
            log.warning("fenced: shards %s have another owner", sorted(failure.lost))
            self._lose(failure.lost)
        slices = [failure.draft.inputs]
        if failure.bad is not None and not failure.draft.assumed_new:  # else the store is asked first which runs exist
            slices = halves(failure.draft.inputs)
            if len(slices) == 1:
                log.error("the store refuses run %s: %s", slices[0][0].run_id, failure.bad)
                slices = [put_aside_or_park(slices[0], failure.bad, self._wire)]
        slices.extend(draft.inputs for draft in on_top)
        for inputs in reversed(slices):
            self._intake.again(inputs)

    # -- shards come and go

    async def _revoked(self, _: Collection[int]) -> None:
        """A revoke waits for the batch in flight."""
        self._serving.clear()
        await self._committer.drained()

    async def _assigned(self, shards: Collection[int]) -> None:
        async with self._shifting:
            # After a rebalance the records of all shards come again, from the group's positions.
            await self._settle(frozenset(shards), anew=frozenset(shards))

    async def _settle(self, shards: frozenset[int], *, anew: frozenset[int], rewound: bool = False) -> None:
        """Take shards, however long the store is away; the records of those in `anew` come again."""
        async for number in backoff():
            try:
                await self._take(shards, anew)
                if rewound:
                    await self._rewind(anew)
            except (Unavailable, Unreachable, TopicMissing) as away:
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot take shards: %s; retrying", away)
            else:
                break
        self._serving.set()
        self.ready.set()

    async def _take(self, shards: frozenset[int], anew: frozenset[int]) -> None:
        taken = await self._ownership.take(shards)
        self._fresh = (self._fresh & shards) | taken.fresh
        gone = frozenset(live.shard for live in self.live if live.shard not in taken.kept)
        self._generation += 1
        self.live.drop_shards(gone)
        self._timers.forget(frozenset(range(self._shards)) - taken.kept)
        self.waiters.let_go(lambda shard: shard not in shards)
        # Results and timers of shards that we kept do not come again.
        self._orphaned(
            self._intake.discard(
                lambda one: (
                    one.shard not in shards or one.held is not None or (one.origin is not None and one.shard in anew)
                )
            )
        )
        self._reading += 1
        await self._sweeper.take_over(self._fresh, self._publisher.publish)
        self._fresh = frozenset()
        if taken.fresh:
            log.info("took %d shards, kept %d", len(taken.fresh), len(taken.kept))

    def _lose(self, shards: frozenset[int]) -> None:
        """Another process owns these shards, whatever the group says: it may have been us who was paused."""
        self._ownership.lose(shards)
        self.waiters.let_go(shards.__contains__)
        self.live.drop_shards(shards)
        self._deferrals.lose(shards)
        self._timers.forget(shards)
        self._orphaned(self._intake.discard(lambda one: one.shard in shards))
        self._aside(self._reassess())

    async def _reassess(self) -> None:
        """Read the assignment again before taking back what was lost, and read that anew; never in a loop."""
        await self._clock.sleep(REASSESS_AFTER * 5)
        async with self._shifting:
            assigned = frozenset() if self._membership is None else await self._membership.assigned()
            missing = assigned - self._ownership.shards
            if missing:
                log.info("shards %s are still assigned to this process: taking them again", sorted(missing))
                await self._revoked(missing)
                # The batch in flight may have been fenced on others: what was dropped of them is to be read again, too.
                await self._settle(assigned, anew=assigned - self._ownership.shards, rewound=True)

    def _orphaned(self, inputs: list[Input]) -> None:
        """Local results and commands of lost shards go to their new owner by the log; records are its own to read."""
        now = self._clock.now()
        said = [said_again(one, self._wire, now) for one in inputs if one.origin is None]
        records = [record for record in said if record is not None]
        if records:
            self._aside(self._publisher.publish(records))
        for one in inputs:
            if one.waiter is not None and not one.waiter.done():
                one.waiter.set_exception(Lost(one.run_id))

    # -- out

    def _acknowledge(self, positions: Mapping[tuple[str, int], int], reading: int) -> None:
        """Say how far we are; what was read before we began anew tells nothing of what is read since."""
        if self._membership is not None and reading == self._reading:
            self._aside(self._membership.acknowledge(positions))

    async def _rewind(self, shards: Collection[int]) -> None:
        """Read shards from their earliest records on."""
        if self._membership is not None:
            await self._membership.rewind(shards)
            self._reading += 1

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
