"""What a client does over the ports: publish commands, wait for outcomes, read.

Laws of this file:
- A command is sent when the log has it; whether anything follows from it, the run's history tells.
- "Not stored yet" is not "not found": what was just started is waited for.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from holdfast.app.client.existence import Existence
from holdfast.app.client.outcome_listener import FALLBACK, OutcomeListener
from holdfast.app.randomness import new_id
from holdfast.app.records import Wire, rfc3339
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import Addressed, Command, RunOutcome, StartRun
from holdfast.core.events import OUTCOMES, RunStarted
from holdfast.core.identity import run_id as checked
from holdfast.core.identity import shard_of
from holdfast.core.payload import same
from holdfast.core.purging import Tombstone
from holdfast.core.react import outcome
from holdfast.core.run import ENDED, PARKED, Run
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.codec import Codec
from holdfast.ports.journal import RunRow, StoredEvent, StoredRun
from holdfast.ports.log import Log, Outgoing
from holdfast.ports.queries import Queries
from holdfast.ports.topics import Topics

LOOK_UP = 5.0
SETTLE = 0.02


class ClientStore(Queries, Blobs, Protocol):
    """What a client asks: what people read, and the large payloads that it sends and gets."""


class RunPurged(Exception):
    """The run has ended and was purged: its result is no more."""

    def __init__(self, tombstone: Tombstone) -> None:
        super().__init__(told_of(tombstone))
        self.run_id = tombstone.run_id
        self.tombstone = tombstone


class RunClient:
    """The way in for commands, by the log."""

    def __init__(
        self,
        *,
        store: ClientStore,
        log_: Log,
        clock: Clock,
        codec: Codec,
        namespace: str,
        shards: int,
        publishes: bool,
        schemas: SchemaCache | None = None,
    ) -> None:
        self.store = store
        self.codec = codec
        self._schemas = schemas or SchemaCache(codec)
        self.topics = Topics(namespace)
        self.wire = Wire(self.topics, codec, shards)
        self.shards = shards
        self._log = log_
        self._clock = clock
        self._publishes = publishes
        self._outcomes: OutcomeListener | None = None
        self.existence = Existence(store)

    async def send(
        self,
        run: str,
        command: Command,
        blobs: Mapping[str, bytes] | None = None,
        incarnation: int | None = None,
    ) -> None:
        """Publish a command, to one incarnation or to the present one; its large payloads are kept first.

        Raises:
            InvalidRunId: at the door.
            Unreachable: the log is away; whether it has the command is unknown, sending again is safe.
        """
        run = checked(run)
        if blobs:
            await self.store.put_blobs(blobs)
        ce_type, value = self.codec.encode_command(Addressed(run, command, incarnation))
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", new_id().encode()),
            ("ce_source", f"/holdfast/{self.topics.namespace}/client".encode()),
            ("ce_type", ce_type.encode()),
            ("ce_time", rfc3339(self._clock.now()).encode()),
            ("ce_subject", run.encode()),
            ("ce_correlationid", run.encode()),
            ("content-type", b"application/avro"),
        )
        partition = shard_of(run, self.shards)
        await self._log.publish([Outgoing(self.topics.commands, run.encode(), value, headers, partition)])

    async def expect(self, run: str) -> asyncio.Future[RunOutcome] | None:
        """Listen for the outcome of a run that is about to be started; None where outcomes are read from the store."""
        if not self._publishes:
            return None
        if self._outcomes is None:
            self._outcomes = OutcomeListener(self._log, self.codec, self.topics, self.shards, self._schemas)
        return await self._outcomes.expect(run)

    async def outcome(
        self, run: str, *, stop_when_parked: bool = False, told: asyncio.Future[RunOutcome] | None = None
    ) -> RunOutcome | RunRow:
        """Wait for a run's outcome, or with `stop_when_parked` for its row once it stands parked.

        `told` is what `expect` gave before the run was started: then the store is asked only when nothing is heard.
        """
        if told is not None and not stop_when_parked:
            await asyncio.wait([told], timeout=FALLBACK)
        elif self._publishes:
            told = await self.expect(run)
        mark = 0
        while told is None or not told.done():
            found = await self._look(run, stop_when_parked=stop_when_parked)
            if found is not None:
                return found
            if told is not None:
                await asyncio.wait([told], timeout=FALLBACK)
            else:
                mark = await self.store.changed(mark)
        return told.result()

    async def _look(self, run: str, *, stop_when_parked: bool) -> RunOutcome | RunRow | None:
        stored = await self.history(run)
        if stored is None:
            tombstone = (await self.store.tombstones([run])).get(run)
            if tombstone is not None:
                raise RunPurged(tombstone)
            return None
        if stored.row.status in ENDED:
            return outcome_of(stored, self.codec)
        if stop_when_parked and stored.row.status == PARKED:
            return stored.row
        return None

    async def history(self, run: str) -> StoredRun | None:
        """Read a run whole, and see to it that its events can be read."""
        stored = await self.store.history(run)
        if stored is not None:
            await self._schemas.prepare(one.data for one in stored.history)
        return stored

    async def is_taken(self, run: str, start: StartRun) -> bool:
        """Tell whether the id of a run belongs to one with another workflow or input, which may be purged."""
        stored = await self.history(run)
        if stored is None:
            tombstone = (await self.store.tombstones([run])).get(run)
            return tombstone is not None and not tombstone.is_of(start.workflow, start.input)
        began = self.codec.decode_event(stored.history[0].type, stored.history[0].data)
        if not isinstance(began, RunStarted):
            return True
        return began.workflow != start.workflow or not same(began.origin or began.input, start.input)

    async def incarnation(self, run: str, incarnation: int) -> tuple[StoredEvent, ...]:
        """Read the history of one incarnation of a run."""
        history = tuple(await self.store.incarnation(run, incarnation))
        await self._schemas.prepare(one.data for one in history)
        return history

    async def find(self, run: str, wait: float = LOOK_UP) -> StoredRun | None:
        """Read a run; one that was just started is waited for up to `wait` seconds, one that was purged is not."""
        until = self._clock.monotonic() + wait
        while True:
            stored = await self.history(run)
            if stored is not None or self._clock.monotonic() >= until or await self.store.tombstones([run]):
                return stored
            await asyncio.sleep(SETTLE)

    async def close(self) -> None:
        if self._outcomes is not None:
            await self._outcomes.close()


def told_of(tombstone: Tombstone) -> str:
    """Say what is left to say of a purged run."""
    ended, purged = rfc3339(tombstone.ended_at), rfc3339(tombstone.purged_at)
    return f"run {tombstone.run_id} ended on {ended} and was purged on {purged}: its history and result are no more"


def outcome_of(stored: StoredRun, codec: Codec) -> RunOutcome | None:
    """Read the outcome of a run out of its row and its last event: what was between may be a newer release's."""
    if not stored.history:
        return None
    row, last = stored.row, stored.history[-1]
    event = codec.decode_event(last.type, last.data)
    if not isinstance(event, OUTCOMES):
        return None
    run = Run(row.run_id, row.incarnation, workflow=row.workflow, version=row.version, attributes=row.attributes)
    return outcome(run, event, started_at=row.started_at, ended_at=last.at)
