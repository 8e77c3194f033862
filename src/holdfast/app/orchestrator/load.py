"""What the store must be asked before a slice can be handled.

Laws of this file:
- One round trip a question for the whole slice, and none in the usual case: all runs in memory.
- A start is taken for new on trust: the store refuses a second first event of a run, and a refused draft is fed again
  after asking. For a while after shards were taken and after a failure, when starts come twice, it is asked at once.
- Signals that came before their run are known by heart for the shards of this process: only their owner writes them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from holdfast.app.blobs import BlobShelf
from holdfast.app.orchestrator.draft import Input, Unread
from holdfast.app.orchestrator.loaded import Loaded
from holdfast.app.orchestrator.record_reader import RecordReader
from holdfast.app.orchestrator.run_cache import LiveRuns, recorded
from holdfast.app.orchestrator.server_faults import Faults, runs_of
from holdfast.app.purge_checks import PurgeChecks
from holdfast.app.schemas import SchemaCache
from holdfast.core import events as e
from holdfast.core.commands import (
    Command,
    CompleteStep,
    HearChild,
    HearLedger,
    PurgeRun,
    ResumeRun,
    SignalRun,
    StartRun,
)
from holdfast.core.payload import INLINE_LIMIT, Payload, claim_check
from holdfast.ports.codec import Codec, Newer, UnknownSchema, Unreadable
from holdfast.ports.journal import BadData, InboxRow, Journal
from holdfast.ports.unavailable import ServerFault, Unavailable

RECENT = 20_000
UNSURE = 2_000
FOR_EVER = 2**62


class Loader:
    """Asks the store about the runs of a slice."""

    def __init__(
        self,
        store: Journal,
        codec: Codec,
        live: LiveRuns,
        blobs: BlobShelf,
        default_version: Callable[[str], str],
        *,
        reader: RecordReader,
        schemas: SchemaCache,
        waits: Callable[[Input], bool],
    ) -> None:
        self._store = store
        self._reader = reader
        self._waits = waits
        self._schemas = schemas
        self._codec = codec
        self._live = live
        self._blobs = blobs
        self._default_version = default_version
        self._inbox: dict[str, list[InboxRow]] = {}
        self._shards: frozenset[int] = frozenset()
        self.doubtful = False
        self._unsure = UNSURE  # so many starts are asked about
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._faults = Faults()
        self._purge_checks = PurgeChecks(store, codec, schemas)

    async def of(self, inputs: list[Input]) -> Loaded:
        """Find out what a slice needs: schemas, histories, signals seen, blobs."""
        self._blobs.release()
        await self._reader.read_again(inputs)
        if self.doubtful:
            await self.learn_inbox(self._shards)
        loaded = Loaded(self._default_version, self._blobs.lay_out)
        loaded.inbox = self._inbox
        signals: list[Input] = []
        referring: list[e.Event | Command] = []
        is_large = False
        for one in inputs:
            command = one.command
            # Every run comes by these: `type() is` where it can be, as in core/run.py.
            if type(command) is StartRun or type(command) is SignalRun:
                if type(command) is SignalRun:
                    signals.append(one)
                if command.input.blob is not None:
                    referring.append(command)
                is_large = is_large or len(command.input.data) > INLINE_LIMIT
            elif (
                (type(command) is CompleteStep or isinstance(command, (HearLedger, HearChild)))
                and command.result is not None
                and command.result.blob is not None
            ):
                referring.append(command)
        if signals:
            await self._see(signals, loaded)
        if referring:
            await self._blobs.fetch(referring)
        if is_large:
            await self._keep_large(inputs)
        await self._check_purges(inputs, loaded)
        # A run that was in memory may be forgotten while the others are loaded: the last look is right before the turn.
        while unknown := self._unknown(inputs, loaded):
            await self._load(unknown, loaded)
        self._faults.clear(inputs)
        return loaded

    async def _check_purges(self, inputs: list[Input], loaded: Loaded) -> None:
        """Find out which of the runs that are to be purged may not be."""
        purges = [one.run_id for one in inputs if isinstance(one.command, PurgeRun)]
        if purges:
            loaded.kept = await self._purge_checks.of(purges)

    async def _keep_large(self, inputs: list[Input]) -> None:
        """Keep aside what a producer without the client said inline: compressed on the wire, an event is not."""
        blobs: dict[str, bytes] = {}
        for one in inputs:
            command = one.command
            if isinstance(command, (StartRun, SignalRun)) and len(command.input.data) > INLINE_LIMIT:
                input_ = msgspec.structs.replace(claim_check(command.input.data, blobs), **_manner(command.input))
                one.command = msgspec.structs.replace(command, input=input_)
        if blobs:
            await self._blobs.keep(blobs)

    def _unknown(self, inputs: list[Input], loaded: Loaded) -> dict[str, bool]:
        unknown: dict[str, bool] = {}
        in_memory, waits = self._live.ids, self._waits
        for one in inputs:
            run_id = one.run_id
            if type(one.command) is Unread or waits(one):
                continue
            if run_id in in_memory and type(one.command) is not ResumeRun:
                continue
            if run_id and run_id not in loaded.asked:
                # A parent says its start again: better to ask the store than to have it refuse a draft.
                is_new = type(one.command) is StartRun and one.command.parent is None
                unknown.setdefault(run_id, is_new)
        return unknown

    async def _load(self, unknown: dict[str, bool], loaded: Loaded) -> None:
        loaded.asked.update(unknown)
        starts = [run_id for run_id, is_start in unknown.items() if is_start]
        wanted = [run_id for run_id, is_start in unknown.items() if not is_start]
        if starts and self._unsure > 0:
            loaded.starts_asked += len(starts)
            wanted.extend(await self._store.existing(starts))
        elif starts:
            loaded.assumed_new = True
        if not wanted:
            return
        said: list[e.Event] = []
        found = await self._store.load(wanted)
        missing = [run_id for run_id in wanted if run_id not in found]
        if missing:
            loaded.tombstones.update(await self._store.tombstones(missing))
        await self._schemas.prepare(one.data for stored in found.values() for one in stored.history)
        for run_id, stored in found.items():
            try:
                history = recorded(self._codec, stored)
            except (Newer, UnknownSchema) as newer:  # nobody but an engine writes history
                loaded.newer[run_id] = newer
                continue
            except Unreadable as error:
                loaded.unreadable[run_id] = str(error)
                continue
            loaded.stored[run_id] = stored
            loaded.histories[run_id] = history
            said.extend(past.event for past in history)
        await self._blobs.fetch(said)

    async def _see(self, signals: list[Input], loaded: Loaded) -> None:
        pairs = [(one.run_id, one.command.message_id) for one in signals if isinstance(one.command, SignalRun)]
        loaded.seen = set(await self._store.seen_signals(pairs)) | {pair for pair in pairs if pair in self._recent}

    def remember(self, loaded: Loaded) -> None:
        """Note what a slice that was handled has used up, and the signals that are decided on but not committed yet."""
        self._unsure -= loaded.starts_asked
        for pair in loaded.seen:
            self._recent[pair] = None
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    async def blames(self, inputs: list[Input], error: BadData | Unavailable) -> bool:
        """Tell whether these runs are at fault, not the server: it refuses them, or can read something else."""
        if not isinstance(error, ServerFault):
            return isinstance(error, BadData)
        runs = runs_of(inputs)
        try:
            await self._store.shards(list(self._shards))
        except Unavailable:
            self._faults.over(runs)
            return False
        if not self._faults.met(runs, asyncio.get_running_loop().time()):
            return False
        self._faults.blame(runs)
        return True

    def doubt(self) -> None:
        """A commit failed: what was noted of it is not so. The inbox is learned again before the next slice."""
        self._recent.clear()
        self._unsure = UNSURE
        self.doubtful = True

    async def learn_inbox(self, shards: Collection[int]) -> None:
        """Learn by heart which signals wait for runs of these shards; forgets all others."""
        self._shards = frozenset(shards)
        self._unsure = UNSURE
        rows = await self._store.expired_inbox(shards, FOR_EVER, 1_000_000) if shards else ()
        await self._schemas.prepare(row.data for row in rows)
        self._recent.clear()
        self._inbox = {}
        for row in rows:
            self._inbox.setdefault(row.run_id, []).append(row)
        self.doubtful = False

    def waiting_since(self, before: int) -> list[InboxRow]:
        """Find signals that came before `before` and whose run never did."""
        return [row for rows in self._inbox.values() for row in rows if row.at < before]

    def forget(self, row: InboxRow) -> None:
        rows = self._inbox.get(row.run_id, [])
        kept = [one for one in rows if one.message_id != row.message_id]
        if kept:
            self._inbox[row.run_id] = kept
        else:
            self._inbox.pop(row.run_id, None)


def _manner(payload: Payload) -> dict[str, Any]:
    """Tell how the bytes of a payload are to be read."""
    return {"content_type": payload.content_type, "encoding": payload.encoding, "meta": payload.meta}
