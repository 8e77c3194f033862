"""Large payloads: kept aside in the store, read back before the code needs them.

Laws of this file:
- Workflow code never waits for a blob; whoever feeds it has fetched them first.
- What was fetched since the last `release` is never evicted, however full the shelf is: the present slice reads it.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from holdfast.app.backoff import backoff
from holdfast.core import events as e
from holdfast.core.commands import Command, CompleteStep, ExecuteStep, HearChild, HearLedger, SignalRun, StartRun
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck
from holdfast.ports.blobs import Blobs
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

SHELF_BYTES = 64 * 1024 * 1024


def payload_of(said: e.Event | Command | ExecuteStep) -> Payload | None:
    """Find the payload that workflow code will read of an event or command."""
    if isinstance(said, (e.RunStarted, e.SignalReceived, StartRun, SignalRun, ExecuteStep)):
        return said.input
    if isinstance(said, (e.StepCompleted, CompleteStep, HearLedger, HearChild, e.ChildCompleted, e.RunCompleted)):
        return said.result
    return None


class BlobShelf:
    """Large payloads at hand, least recently used first. Beyond `limit` bytes are only those that are held."""

    def __init__(self, store: Blobs, limit: int = SHELF_BYTES) -> None:
        self._store = store
        self._limit = limit
        self._shelf: OrderedDict[str, bytes] = OrderedDict()
        self._held: set[str] = set()
        self._bytes = 0

    def release(self) -> None:
        """Say that the slice is over: what it held may go."""
        self._held.clear()
        self._trim()

    async def fetch(self, said: Iterable[e.Event | Command | ExecuteStep]) -> None:
        """Bring the blobs of these events and commands to hand, and hold them until `release`."""
        names = {payload.blob for one in said if (payload := payload_of(one)) is not None and payload.blob is not None}
        self._hold(names)
        missing = [name for name in sorted(names) if name not in self._shelf]
        if missing:
            self._put(await self._store.blobs(missing))

    async def keep(self, blobs: Mapping[str, bytes]) -> None:
        """Store blobs, have them at hand, and hold them until `release`."""
        await self._store.put_blobs(blobs)
        self._hold(blobs)
        self._put(blobs)

    async def fetch_input(self, task: ExecuteStep) -> None:
        """Bring the large input of a task to hand, however long the store is away. It is read before anything else."""
        self.release()
        async for _ in backoff():
            try:
                await self.fetch([task])
            except Unavailable as away:
                log.warning("cannot fetch a large input: %s; retrying", away)
            else:
                return

    async def store_result(self, blobs: Mapping[str, bytes]) -> None:
        """Store the large result of an attempt, however long the store is away; nobody here reads it again."""
        async for _ in backoff():
            try:
                await self._store.put_blobs(blobs)
            except Unavailable as away:
                log.warning("cannot store a large result: %s; retrying", away)
            else:
                return

    def lay_out(self, blobs: Mapping[str, bytes]) -> None:
        """Have blobs at hand that the present slice is about to store, and hold them until `release`."""
        self._hold(blobs)
        self._put(blobs)

    def read(self, payload: Payload) -> bytes:
        """Give the bytes of a payload.

        Raises:
            ProgramStuck: its blob is not there.
        """
        if payload.blob is None:
            return payload.data
        data = self._shelf.get(payload.blob)
        if data is None:
            raise ProgramStuck("blob_missing", f"the large payload {payload.blob} is not in the store; put it back")
        self._shelf.move_to_end(payload.blob)
        return data

    def _hold(self, names: Iterable[str]) -> None:
        for name in names:
            self._held.add(name)
            if name in self._shelf:
                self._shelf.move_to_end(name)

    def _put(self, blobs: Mapping[str, bytes]) -> None:
        self._held.update(blobs)
        for name, data in blobs.items():
            if name not in self._shelf:
                self._shelf[name] = data
                self._bytes += len(data)
        self._trim()

    def _trim(self) -> None:
        """Evict the least recently used, up to the first that is held: all that are held come after it."""
        while self._bytes > self._limit and next(iter(self._shelf)) not in self._held:
            _, data = self._shelf.popitem(last=False)
            self._bytes -= len(data)
