"""Committing drafts, one after the other, whatever goes wrong.

Laws of this file:
- An answer that was lost is asked for (the shards' last batch) before anything is done again.
- Fenced: the lost shards are dropped, all else is fed again. A data error: bisected down to the run, which is parked.
- A lost connection is waited for. A server that fails about one draft again and again, and can still take its shards
  anew, is not at fault: the draft is bisected like one of bad data. No earlier try of it can be written any more.
- What was computed on top of a failed draft is discarded whole; its inputs are fed again in their order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from holdfast.app.backoff import backoff
from holdfast.app.orchestrator.draft import Draft, Input
from holdfast.app.orchestrator.ownership import Ownership
from holdfast.app.orchestrator.server_faults import Faults, runs_of
from holdfast.ports.blobs import Blobs
from holdfast.ports.journal import BadData, Committed, Fenced, Journal
from holdfast.ports.unavailable import ServerFault, Unavailable

log = logging.getLogger(__name__)


class Failed:
    """A draft that was not committed, and why; `lost` are shards of another owner, `bad` says it is the data.

    `is_fenced_off`: its shards were taken anew since it got its numbers.
    """

    __slots__ = ("bad", "draft", "is_fenced_off", "lost")

    def __init__(self, draft: Draft, lost: frozenset[int], bad: str | None, *, is_fenced_off: bool = False) -> None:
        self.draft = draft
        self.lost = lost
        self.bad = bad
        self.is_fenced_off = is_fenced_off


class CommitStore(Journal, Blobs, Protocol):
    """What a commit writes: large payloads first, then the batch that names them."""


class Committer:
    """A queue of one: while a draft commits, the next is computed. `meanwhile` is called while the store writes."""

    def __init__(
        self,
        store: CommitStore,
        ownership: Ownership,
        *,
        keep: Callable[[Draft], Awaitable[None]],
        meanwhile: Callable[[Draft], None],
        committed: Callable[[Draft], Awaitable[None]],
        failed: Callable[[Failed, list[Draft]], None],
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._keep = keep
        self._meanwhile = meanwhile
        self._committed = committed
        self._failed = failed
        self._queue: asyncio.Queue[Draft] = asyncio.Queue(1)
        self._free = asyncio.Event()
        self._faults = Faults()

    def has_room(self) -> bool:
        return not self._queue.full()

    async def room(self) -> None:
        """Wait until the next draft may be computed: nothing is computed that would have to wait."""
        while self._queue.full():
            self._free.clear()
            await self._free.wait()

    def put(self, draft: Draft) -> None:
        self._queue.put_nowait(draft)

    async def drained(self) -> None:
        await self._queue.join()

    async def serve(self) -> None:
        while True:
            draft = await self._queue.get()
            self._free.set()
            try:
                failure = await self.commit(draft)
                if failure is None:
                    await self._committed(draft)
                else:
                    self._failed(failure, self._discard())
            finally:
                self._queue.task_done()

    def _discard(self) -> list[Draft]:
        """Take back what was computed on top of a failed draft."""
        on_top: list[Draft] = []
        while not self._queue.empty():
            on_top.append(self._queue.get_nowait())
            self._queue.task_done()
        self._free.set()
        return on_top

    async def commit(self, draft: Draft) -> Failed | None:
        """Commit a draft, however long the store is away; None when it is durable."""
        if draft.blobs:
            await self._keep_blobs(draft)
        if draft.deferred:
            await self._keep_deferred(draft)
        if not draft.by_shard:
            return None
        gone = frozenset(shard for shard in draft.by_shard if not self._ownership.has(shard))
        if gone:
            return Failed(draft, gone, None)
        self._ownership.number(draft.by_shard)
        failure = await self._until_known(draft)
        if failure is None:
            self._faults.clear(draft.inputs)
        elif not failure.is_fenced_off:
            self._ownership.unnumber(draft.by_shard)
        return failure

    async def _until_known(self, draft: Draft) -> Failed | None:
        clock = asyncio.get_running_loop().time
        async for number in backoff():
            try:
                if number and await self._ownership.was_committed(draft.by_shard):
                    return None
                match await self._written(draft):
                    case Committed(answers=answers):
                        draft.answers = answers
                        return None
                    case Fenced(shards=shards):
                        return await self._unless_committed(draft, Failed(draft, shards, None))
            except BadData as bad:
                return await self._unless_committed(draft, Failed(draft, frozenset(), str(bad)))
            except ServerFault as fault:
                log.warning("cannot commit: %s; retrying", fault)
                if self._faults.met(runs_of(draft.inputs), clock()):
                    try:
                        return await self._give_up(draft, str(fault))
                    except Unavailable:
                        self._faults.over(runs_of(draft.inputs))  # it is the server: nothing else can be written either
            except Unavailable as away:
                self._faults.over(runs_of(draft.inputs))
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot commit: %s; retrying", away)
        raise AssertionError("backoff() has no end")

    async def _written(self, draft: Draft) -> Committed | Fenced:
        """Have the store write a draft, and do meanwhile what can be done before its answer."""
        if not draft.happened:
            return await self._store.commit(draft.by_shard)
        writing = asyncio.ensure_future(self._store.commit(draft.by_shard))
        try:
            await asyncio.sleep(0)  # the store is asked first
            self._meanwhile(draft)
            return await writing
        finally:
            writing.cancel()  # for one that is done this does nothing

    async def _give_up(self, draft: Draft, text: str) -> Failed | None:
        """Fence a draft off, so that it may be told apart; None if it was committed after all.

        Raises:
            Unavailable: the server cannot write anything else either.
        """
        lost = await self._ownership.lost(draft.by_shard)
        if lost:
            return await self._unless_committed(draft, Failed(draft, lost, None))
        if await self._ownership.retake(draft.by_shard):
            return None
        self._faults.blame(runs_of(draft.inputs))
        return Failed(draft, frozenset(), text, is_fenced_off=True)

    async def _unless_committed(self, draft: Draft, failure: Failed) -> Failed | None:
        """A refusal may be the echo of our own earlier try, whose answer was lost."""
        async for _ in backoff():
            try:
                return None if await self._ownership.was_committed(draft.by_shard) else failure
            except Unavailable:
                continue
        raise AssertionError("backoff() has no end")

    async def _keep_blobs(self, draft: Draft) -> None:
        async for _ in backoff():
            try:
                await self._store.put_blobs(draft.blobs)
            except Unavailable as away:
                log.warning("cannot store large payloads: %s; retrying", away)
            else:
                return

    async def _keep_deferred(self, draft: Draft) -> None:
        async for _ in backoff():
            try:
                await self._keep(draft)
            except Unavailable as away:
                log.warning("cannot keep what waits for a newer release: %s; retrying", away)
            else:
                return


def halves(inputs: list[Input]) -> list[list[Input]]:
    """Split a refused slice by run, in order; one run alone is not split."""
    runs = list(dict.fromkeys(one.run_id for one in inputs))
    if len(runs) < 2:  # noqa: PLR2004 - two halves
        return [inputs]
    first = frozenset(runs[: len(runs) // 2])
    return [[one for one in inputs if one.run_id in first], [one for one in inputs if one.run_id not in first]]
