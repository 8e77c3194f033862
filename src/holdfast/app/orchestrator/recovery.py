"""Taking over: say again what an earlier owner may not have said.

Laws of this file:
- What is published again is made from history by the same pure functions, with the ids it had.
- Attempts handed over in memory are sent again at once, whoever their owner was: another process died with them, and
  this one may never have heard that the commit which was to send them had succeeded.
- A task is published again only while its attempt is open and went by the log.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from holdfast.app.orchestrator.draft import Input, Resend
from holdfast.app.orchestrator.run_cache import recorded
from holdfast.app.records import Wire, trace_of
from holdfast.app.schemas import SchemaCache
from holdfast.core import events as e
from holdfast.core.commands import ExecuteStep, RunOutcome
from holdfast.core.identity import event_id
from holdfast.core.messages import PutAside
from holdfast.core.react import react
from holdfast.core.run import Run, evolve
from holdfast.ports.codec import Codec
from holdfast.ports.log import Outgoing
from holdfast.ports.store import AttemptRow, Span, Store, StoredRun

LIMIT = 10_000
EVERYTHING = 10_000_000
NOBODY = ""
FOR_EVER = 2**62

Attempt = tuple[str, int, str, int]


class Recovery:
    """Reads what a shard's last owner left; where history is its own record (not `publishes`), only dead letters."""

    def __init__(
        self, store: Store, codec: Codec, wire: Wire, schemas: SchemaCache | None = None, *, publishes: bool = True
    ) -> None:
        self._store = store
        self._schemas = schemas or SchemaCache(codec)
        self._codec = codec
        self._wire = wire
        self.topics = wire.topics
        self._publishes = publishes

    async def unpublished(self, shards: Collection[int]) -> tuple[list[Outgoing], dict[int, int]]:
        """Make the records that the outbox still holds, and tell the last batch of each shard."""
        rows = await self._store.outbox(shards)
        spans = [span for row in rows for span in row.spans]
        stored = await self.load({span.run_id for span in spans})
        # Attempts that were handed over in memory, or are settled by now, were never the log's: see `orphans`.
        attempts = await self._store.open_attempts(shards, FOR_EVER, EVERYTHING) if spans else []
        by_log = frozenset((a.run_id, a.incarnation, a.step_id, a.attempt) for a in attempts if a.sent_to is None)
        records = [
            record
            for span in spans
            if span.run_id in stored
            for record in self.records(stored[span.run_id], span, by_log)
            if self._publishes or record.topic == self.topics.dlq
        ]
        return records, {row.shard: row.number for row in rows}

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        """Load runs, and see to it that their events can be read."""
        stored = await self._store.load(run_ids)
        await self._schemas.prepare(one.data for found in stored.values() for one in found.history)
        return stored

    def records(self, stored: StoredRun, span: Span, by_log: Collection[Attempt] = ()) -> list[Outgoing]:
        """Make the records of a stretch of history; tasks only of the attempts that went `by_log`."""
        run = Run(stored.row.run_id, stored.row.incarnation)
        if span.incarnation != run.incarnation:
            return []
        trace = trace_of(run.run_id, run.incarnation)
        made: list[Outgoing] = []
        cause = ""
        for one, past in zip(stored.history, recorded(self._codec, stored), strict=True):
            messages = react(run, past.event) if span.first <= past.seq <= span.last else None
            run = evolve(run, past.event)
            if type(past.event) in e.INPUTS or not cause:
                cause = event_id(run.run_id, run.incarnation, past.seq)
            if messages is None:
                continue
            made += self._wire.events([one], past.at, trace, cause)
            for message in messages:
                match message:
                    case RunOutcome():
                        told = replace(message, started_at=stored.row.started_at, ended_at=past.at)
                        made.append(self._wire.outcome(told, run.incarnation, past.seq, trace))
                    case PutAside(refused=refused):
                        made.append(self._wire.refused(run.run_id, refused, past.at))
                    case ExecuteStep(step_id=step_id, attempt=attempt):
                        if (run.run_id, run.incarnation, step_id, attempt) in by_log:
                            made.append(self._wire.task(message, past.at, trace))
                    case _:
                        pass  # it stands in the store's own tables, since the commit of its event
        return made

    async def orphans(self, shards: Collection[int], now: int) -> list[Input]:
        """Find the attempts that are due, or were handed over in memory."""
        rows = await self._store.open_attempts(shards, now, EVERYTHING, not_sent_to=NOBODY)
        return [Input(row.shard, row.run_id, Resend(row), row.incarnation) for row in rows]

    async def by_log(self, shards: Collection[int]) -> Sequence[AttemptRow]:
        """Find the attempts that went by the log, whenever they are due."""
        return [row for row in await self._store.open_attempts(shards, FOR_EVER, EVERYTHING) if row.sent_to is None]

    async def overdue(self, shards: Collection[int], now: int) -> Sequence[AttemptRow]:
        """Find the attempts that nobody has answered for too long."""
        return await self._store.open_attempts(shards, now, LIMIT)

    async def everything(self, shards: Collection[int]) -> list[Input]:
        """Find all attempts: what was sent to a log that is no more has to be sent again."""
        rows = await self._store.open_attempts(shards, FOR_EVER, LIMIT)
        return [Input(row.shard, row.run_id, Resend(row), row.incarnation) for row in rows]
