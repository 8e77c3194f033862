"""What the store must be asked before a slice can be handled.

Laws of this file:
- One round trip a question for the whole slice, and none in the usual case: all runs in memory.
- What is read for one slice is bounded: beyond `LOAD_BYTES` the inputs of further runs wait for the next slice.
- A start is taken for new on trust: the store refuses a second first event of a run, and a refused draft is fed again
  after asking. For a while after shards were taken and after a failure, when starts come twice, it is asked at once.
- Signals that came before their run are asked for when a start comes (`early_signals.py`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from holdfast.app.blobs import BlobShelf
from holdfast.app.orchestrator.draft import Draft, Input, TakeInbox, Unread
from holdfast.app.orchestrator.early_signals import EarlySignals
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
from holdfast.ports.journal import BadData, Journal
from holdfast.ports.unavailable import ServerFault, Unavailable

RECENT = 20_000
UNSURE = 2_000
LOAD_BYTES = 8 * 1024 * 1024
FIRST_HISTORIES = 8
"""Histories read before any size is known; while they are small, three times as many with each further question."""


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
        self.early = EarlySignals(store, schemas)
        self._shards: frozenset[int] = frozenset()
        self._unsure = UNSURE  # so many starts are asked about
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._faults = Faults()
        self._purge_checks = PurgeChecks(store, codec, schemas)

    async def of(self, inputs: list[Input]) -> Loaded:
        """Find out what a slice needs: schemas, histories, signals seen, blobs. What has no room waits (`inputs`)."""
        self._blobs.release()
        await self._reader.read_again(inputs)
        loaded = Loaded(self._default_version, self._blobs.lay_out)
        loaded.inbox = self.early.rows
        inputs = await self._read_early(inputs)
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
        referring.extend(self._early_and_large(inputs))
        if referring:
            await self._blobs.fetch(referring)
        if is_large:
            await self._keep_large(inputs)
        await self._check_purges(inputs, loaded)
        # A run that was in memory may be forgotten while the others are loaded: the last look is right before the turn.
        while unknown := self._unknown(inputs, loaded):
            inputs = before_any_of(await self._load(unknown, loaded), inputs)
        loaded.inputs = inputs
        self._faults.clear(inputs)
        return loaded

    async def _check_purges(self, inputs: list[Input], loaded: Loaded) -> None:
        """Find out which of the runs that are to be purged may not be."""
        purges = [one.run_id for one in inputs if isinstance(one.command, PurgeRun)]
        if purges:
            loaded.kept = await self._purge_checks.of(purges)

    async def _read_early(self, inputs: list[Input]) -> list[Input]:
        """Read the signals that wait for runs which this slice is about; tells for which inputs there was room."""
        if not self.early.any_wait:
            return inputs
        in_memory = self._live.ids
        about = dict.fromkeys(
            one.run_id
            for one in inputs
            if isinstance(one.command, (StartRun, SignalRun, TakeInbox)) and one.run_id not in in_memory
        )
        return before_any_of(about.keys() - await self.early.read(about, LOAD_BYTES), inputs)

    def _early_and_large(self, inputs: list[Input]) -> list[e.Event]:
        """Find the signals whose payloads the code of a run will read that begins in this slice."""
        if not self.early.rows:
            return []
        starts = {one.run_id for one in inputs if isinstance(one.command, StartRun)}
        found: list[e.Event] = []
        for row in (row for run_id in starts for row in self.early.rows.get(run_id, ())):
            with suppress(Unreadable):  # the turn meets it, too
                found.append(self._codec.decode_event("SignalReceived", row.data))
        return found

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

    async def _load(self, unknown: dict[str, bool], loaded: Loaded) -> Collection[str]:
        """Load runs, as many as there is room for; tells which have to wait."""
        starts = [run_id for run_id, is_start in unknown.items() if is_start]
        there: Collection[str] = ()
        if starts and self._unsure > 0:
            loaded.starts_asked += len(starts)
            there = await self._store.existing(starts)
        elif starts:
            loaded.assumed_new = True
        # In the order of the inputs: those of the first are loaded in any case.
        wanted = [run_id for run_id, is_start in unknown.items() if not is_start or run_id in there]
        most = FIRST_HISTORIES
        while wanted:
            some, wanted = wanted[:most], wanted[most:]
            await self._load_at_once(some, loaded)
            if loaded.size >= LOAD_BYTES:
                break
            most *= 3
        loaded.asked.update(unknown.keys() - set(wanted))
        return wanted

    async def _load_at_once(self, wanted: Sequence[str], loaded: Loaded) -> None:
        said: list[e.Event] = []
        found = await self._store.load(wanted)
        missing = [run_id for run_id in wanted if run_id not in found]
        if missing:
            loaded.tombstones.update(await self._store.tombstones(missing))
        loaded.size += sum(len(one.data) for stored in found.values() for one in stored.history)
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

    def remember(self, loaded: Loaded, draft: Draft) -> None:
        """Note what a slice that was handled has used up, and the signals that are decided on but not committed yet."""
        self.early.note(draft)
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
        """A commit failed: what was noted of it is not so."""
        self._recent.clear()
        self._unsure = UNSURE
        self.early.forget()

    async def begin(self, shards: Collection[int]) -> None:
        """Begin to look up for these shards, and for no others."""
        self._shards = frozenset(shards)
        self._unsure = UNSURE
        self._recent.clear()
        await self.early.learn(shards)


def before_any_of(run_ids: Collection[str], inputs: list[Input]) -> list[Input]:
    """Cut a slice before its first input for one of these runs."""
    if not run_ids:
        return inputs
    return inputs[: next(number for number, one in enumerate(inputs) if one.run_id in run_ids)]


def _manner(payload: Payload) -> dict[str, Any]:
    """Tell how the bytes of a payload are to be read."""
    return {"content_type": payload.content_type, "encoding": payload.encoding, "meta": payload.meta}
