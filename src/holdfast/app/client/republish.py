"""Publishing again what the store holds, with the ids it had: for consumers who lost their topics or their place."""

from collections.abc import AsyncIterator

from holdfast.app.orchestrator.recovery import Recovery
from holdfast.app.records import Wire
from holdfast.ports.codec import Codec
from holdfast.ports.log import Log
from holdfast.ports.store import Span, Store

PAGE = 500


async def republish(
    store: Store, log: Log, codec: Codec, wire: Wire, *, outcomes: bool, since: int, until: int
) -> AsyncIterator[int]:
    """Publish the outcomes, or else the events, whose time is in [since, until); yields how many, page by page."""
    recovery = Recovery(store, codec, wire)
    after: Span | None = None
    topic = wire.topics.outcomes if outcomes else wire.topics.events
    while True:
        page = await store.history_between(since, until, outcomes_only=outcomes, after=after, limit=PAGE)
        if not page:
            return
        spans: dict[str, Span] = {}
        for one in page:
            known = spans.get(one.run_id)
            first = one.seq if known is None or known.incarnation != one.incarnation else known.first
            spans[one.run_id] = Span(one.run_id, one.incarnation, first, one.seq)
        stored = await store.load(list(spans))
        records = [
            record
            for run_id, span in spans.items()
            if run_id in stored
            for record in recovery.records(stored[run_id], span)
            if record.topic == topic
        ]
        await log.publish(records)
        yield len(records)
        last = page[-1]
        after = Span(last.run_id, last.incarnation, last.seq, last.seq)
