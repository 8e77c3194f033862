"""Taking over: say again what an earlier owner may not have said.

Laws of this file:
- What is published again is made from history by the same pure functions, with the ids it had.
- Attempts handed over in memory were never the log's: the sweeper sends them again.
- A task is published again only while its attempt is open and went by the log.
- The outbox is read in pages, and the runs of one batch are in memory at a time.
- What cannot be read here is kept for a newer release (deferral.py), and the cursor goes on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from holdfast.app.orchestrator.run_cache import recorded
from holdfast.app.records import Wire, trace_of
from holdfast.app.schemas import SchemaCache
from holdfast.core import events as e
from holdfast.core.commands import ExecuteStep, RunOutcome
from holdfast.core.identity import event_id
from holdfast.core.messages import PutAside, Send
from holdfast.core.react import react
from holdfast.core.run import Run, evolve
from holdfast.ports.codec import Codec, Newer, UnknownSchema, Unreadable
from holdfast.ports.journal import Journal, OutboxRow, Span, StoredRun
from holdfast.ports.log import Outgoing

OUTBOX_PAGE = 100

Attempt = tuple[str, int, str, int]
Keep = Callable[[int, Span, Unreadable], Awaitable[None]]
"""Keeps for a newer release what cannot be read here."""
Place = tuple[str, int]


class Recovery:
    """Reads what a shard's last owner left; where history is its own record (not `publishes`), only dead letters."""

    def __init__(
        self,
        store: Journal,
        codec: Codec,
        wire: Wire,
        schemas: SchemaCache | None = None,
        *,
        publishes: bool = True,
        keep: Keep | None = None,
    ) -> None:
        self._keep = keep or _raise
        self._store = store
        self._schemas = schemas or SchemaCache(codec)
        self._codec = codec
        self._wire = wire
        self.topics = wire.topics
        self._publishes = publishes

    async def unpublished(self, shards: Collection[int]) -> AsyncIterator[tuple[OutboxRow, list[Outgoing]]]:
        """Make the records that the outbox still holds, batch by batch, in the order (shard, number)."""
        after: tuple[int, int] | None = None
        while rows := await self._store.outbox(shards, OUTBOX_PAGE, after):
            for row in rows:
                yield row, await self._records_of(row.shard, row.spans)
            after = (rows[-1].shard, rows[-1].number)

    async def _records_of(self, shard: int, spans: Sequence[Span]) -> list[Outgoing]:
        present = await self.load({span.run_id for span in spans})
        stored: dict[Place, StoredRun] = {}
        known = []
        for span in spans:
            if span.run_id in present:
                found = await self.incarnation_of(present[span.run_id], span)
                try:
                    recorded(self._codec, found)
                except (Newer, UnknownSchema) as error:
                    await self._keep(shard, span, error)
                    continue
                stored[place_of(span)] = found
                known.append(span)
        return await self._records(stored, known)

    async def records_of(self, span: Span) -> list[Outgoing]:
        """Make the records of a stretch of history that waited for this process.

        Raises:
            Unreadable: this process cannot read it either.
        """
        present = await self.load([span.run_id])
        if not present:
            return []
        return await self._records({place_of(span): await self.incarnation_of(present[span.run_id], span)}, [span])

    async def _records(self, stored: Mapping[Place, StoredRun], known: Sequence[Span]) -> list[Outgoing]:
        by_log = await self._attempts_by_log(stored, known)
        return [
            record
            for span in known
            for record in self.records(stored[place_of(span)], span, by_log)
            if self._publishes or record.topic == self.topics.dlq
        ]

    async def incarnation_of(self, present: StoredRun, span: Span) -> StoredRun:
        """Give the incarnation that a span is of, which may be closed since."""
        row = present.row
        if span.incarnation == row.incarnation:
            return present
        history = tuple(await self._store.incarnation(span.run_id, span.incarnation))
        await self._schemas.prepare(one.data for one in history)
        return StoredRun(replace(row, incarnation=span.incarnation), history)

    async def _attempts_by_log(self, stored: Mapping[Place, StoredRun], spans: Sequence[Span]) -> frozenset[Attempt]:
        """Tell which attempts that were sent in these spans are open and went by the log."""
        events = (
            (span, self._codec.decode_event(one.type, one.data))
            for span in spans
            for one in stored[place_of(span)].history[span.first - 1 : span.last]
        )
        named = ((span, getattr(event, "step_id", None)) for span, event in events)
        keys = {(span.run_id, span.incarnation, step_id) for span, step_id in named if step_id is not None}
        rows = await self._store.attempts(keys) if keys and self._publishes else ()
        return frozenset((a.run_id, a.incarnation, a.step_id, a.attempt) for a in rows if a.sent_to is None)

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        """Load runs, and see to it that their events can be read."""
        stored = await self._store.load(run_ids)
        await self._schemas.prepare(one.data for found in stored.values() for one in found.history)
        return stored

    def records(self, stored: StoredRun, span: Span, by_log: Collection[Attempt] = ()) -> list[Outgoing]:
        """Make the records of a stretch of history; tasks only of the attempts that went `by_log`."""
        run = Run(stored.row.run_id, stored.row.incarnation)
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
                    case Send():
                        made.append(self._wire.send(message, past.at, trace))
                    case PutAside(refused=refused):
                        made.append(self._wire.refused(run.run_id, refused, past.at))
                    case ExecuteStep(step_id=step_id, attempt=attempt):
                        if (run.run_id, run.incarnation, step_id, attempt) in by_log:
                            made.append(self._wire.task(message, past.at, trace))
                    case _:
                        pass  # it stands in the store's own tables, since the commit of its event
        return made


async def _raise(_shard: int, _span: Span, error: Unreadable) -> None:
    raise error


def place_of(span: Span) -> Place:
    """Name the incarnation that a span is of."""
    return span.run_id, span.incarnation
