"""Publishing again what the store holds of a time.

Law: what is published again is made by the same functions from the same history, and bears the ids it had.
"""

from collections.abc import Sequence
from typing import Protocol

from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.ports.codec import Codec
from holdfast.ports.journal import Journal, Span, StoredEvent
from holdfast.ports.log import Log
from holdfast.ports.queries import Queries

PAGE = 1_000


class RepublishStore(Journal, Queries, Protocol):
    """What is read: stored events of a time, and the runs that they belong to."""


class Republisher:
    """Reads the store and writes to `events` or `outcomes`."""

    def __init__(self, store: RepublishStore, log_: Log, codec: Codec, wire: Wire, schemas: SchemaCache) -> None:
        self._store = store
        self._log = log_
        self._wire = wire
        self._recovery = Recovery(store, codec, wire, schemas)

    async def republish(self, since: int, until: int, *, outcomes: bool) -> int:
        """Publish what was stored in [since, until); tells how many records."""
        after: Span | None = None
        number = 0
        while page := await self._store.history_between(since, until, outcomes_only=outcomes, after=after, limit=PAGE):
            number += await self._publish(page, self._wire.topics.outcomes if outcomes else self._wire.topics.events)
            last = page[-1]
            after = Span(last.run_id, last.incarnation, last.seq, last.seq)
        return number

    async def _publish(self, page: Sequence[StoredEvent], topic: str) -> int:
        """Publish one page; a run's events of a page are one stretch of its history."""
        stretches: dict[tuple[str, int], list[int]] = {}
        for one in page:
            stretches.setdefault((one.run_id, one.incarnation), []).append(one.seq)
        present = await self._recovery.load({run_id for run_id, _ in stretches})
        spans = [Span(run_id, incarnation, min(seqs), max(seqs)) for (run_id, incarnation), seqs in stretches.items()]
        records = [
            record
            for span in spans
            if span.run_id in present
            for record in self._recovery.records(await self._recovery.incarnation_of(present[span.run_id], span), span)
            if record.topic == topic
        ]
        await self._log.publish(records)
        return len(records)
