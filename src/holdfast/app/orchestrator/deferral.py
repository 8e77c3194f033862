"""Runs that wait for a newer release: what comes in for them is kept in the store, and taken up by who can read it.

Laws of this file:
- A run waits when a newer release has written into its history, or to it, what is not known here. It is not parked.
- What comes in for a run that waits is kept behind what is kept of it already, before the offsets pass it.
- A run waits until all that is kept of it has had its effect; that may happen twice, as with any record.
- Timers, open attempts and signals before their run stand in the store anyway: of them only the word is kept to look.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

import msgspec

from holdfast.app.orchestrator.draft import AskAgain, Draft, Input, Unread
from holdfast.app.orchestrator.loaded import Loaded
from holdfast.app.orchestrator.record_reader import RecordReader
from holdfast.app.orchestrator.said_again import as_record, is_found
from holdfast.app.records import Wire
from holdfast.core.identity import digest
from holdfast.ports.codec import Newer, Unreadable
from holdfast.ports.deferred import DeferredInput, DeferredInputs
from holdfast.ports.journal import Span
from holdfast.ports.log import Record

log = logging.getLogger(__name__)

RUNS = 1_000_000
PAGE = 100
"""Inputs of a run that are on their way at a time."""
LOOK = "look"
"""The identity of a row that only says that its run waits: what came in stands in the store."""
NEVER = -1
"""The reading of a record that was kept: no offset of the log is acknowledged for it."""

Place = tuple[int, str]
"""A run by its shard and id. Of a record whose run id cannot be read, the id is empty."""

Put = Callable[[list[Input]], None]
Publish = Callable[[int, Span], Awaitable[None]]


class Kept(msgspec.Struct, frozen=True):
    """What a row holds: a record, or a stretch of history to be published, or only the word to look at the run."""

    record: Record | None = None
    span: Span | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Deferrals:
    """The runs of this process's shards that wait."""

    def __init__(self, inputs: DeferredInputs, wire: Wire, reader: RecordReader) -> None:
        self._inputs = inputs
        self._wire = wire
        self._reader = reader
        self._waiting: dict[Place, tuple[str, str]] = {}  # with the reason, and the release that knows more
        self._unread: set[Place] = set()  # not to be read here
        self._on_way: dict[int, Place] = {}  # rows that were put in, until what follows from them is committed
        self._done: list[int] = []
        self._drafted = 0
        self._to_keep: Counter[Place] = Counter()  # inputs of drafts that are not kept yet

    def waits(self, one: Input) -> bool:
        """Tell whether an input has to wait; what is found in the store has no place in line."""
        place = (one.shard, one.run_id)
        if place not in self._waiting:
            return False
        return place in self._unread if one.held is not None or is_found(one) else True

    # -- in a turn

    def defers(self, draft: Draft, one: Input, at: int, loaded: Loaded) -> bool:
        """Put an input aside if its run waits, or if it or its run's history cannot be read here."""
        if not isinstance(one.command, Unread) and not (one.run_id and (self._waiting or loaded.newer)):
            return False  # the usual case
        place = (one.shard, one.run_id)
        error = one.command.error if isinstance(one.command, Unread) else loaded.newer.get(one.run_id)
        if error is not None:
            self._cannot(place, error)
        elif not self.waits(one):
            return False
        if one.held is None:
            self._put_aside(draft, one, place, at)
        else:
            self._on_way.pop(one.held, None)  # it stays where it is
        return True

    def _cannot(self, place: Place, error: Unreadable) -> None:
        """Note that a run waits for a process that knows more than this one."""
        release = error.release if isinstance(error, Newer) else ""
        if place not in self._unread:
            log.warning("run %s waits for a newer release: %s", place[1] or "(of an unreadable id)", error)
        self._unread.add(place)
        self._waiting[place] = (str(error), release)

    def _put_aside(self, draft: Draft, one: Input, place: Place, at: int) -> None:
        record = as_record(one, self._wire, at)
        identity = LOOK
        if record is not None:
            # A log that is made anew gives out the same offsets again: a record is itself by what it says.
            identity = digest(record.topic.encode(), record.key or b"", record.value, _encode(record.headers)).hex()
        reason, release = self._waiting[place]
        row = DeferredInput(one.shard, one.run_id, identity, _encode(Kept(record)), reason, release)
        draft.deferred.append(row)
        self._drafted += 1
        self._to_keep[place] += 1

    # -- beside it

    async def keep(self, draft: Draft) -> None:
        """Keep what a draft has put aside, before it is committed.

        Raises:
            Unavailable: the store is away.
        """
        await self._inputs.keep(draft.deferred)
        self.is_kept(draft)

    def is_kept(self, draft: Draft) -> None:
        """Note that what a draft has put aside is kept, or is fed again."""
        if not draft.is_kept:
            draft.is_kept = True
            self._to_keep.subtract((row.shard, row.run_id) for row in draft.deferred)

    async def keep_span(self, shard: int, span: Span, error: Unreadable) -> None:
        """Keep a stretch of history that has to be published and cannot be read here."""
        place = (shard, span.run_id)
        self._cannot(place, error)
        reason, release = self._waiting[place]
        identity = f"history {span.incarnation}/{span.first}-{span.last}"
        await self._inputs.keep(
            [DeferredInput(shard, span.run_id, identity, _encode(Kept(span=span)), reason, release)]
        )

    def committed(self, draft: Draft) -> bool:
        """Note that inputs which were kept have had their effect; tells whether there were any."""
        places = [one.held for one in draft.inputs if one.held is not None and one.held in self._on_way]
        self._done += places
        return bool(places)

    @property
    def has_done(self) -> bool:
        return bool(self._done)

    def lose(self, shards: Collection[int]) -> None:
        """Forget about the runs of these shards."""
        self._waiting = {place: why for place, why in self._waiting.items() if place[0] not in shards}
        self._unread = {place for place in self._unread if place[0] not in shards}
        self._on_way = {row: place for row, place in self._on_way.items() if place[0] not in shards}

    async def learn(self, shards: Collection[int]) -> None:
        """Learn which runs of these shards wait, before anything is handled for them; others are forgotten.

        Raises:
            Unavailable: the store is away.
        """
        self._waiting = {place: why for place, why in self._waiting.items() if place[0] in shards}
        self._unread &= self._waiting.keys()
        self._on_way.clear()  # what was on its way was dropped with the shards
        for run in await self._inputs.waiting(RUNS, shards=shards) if shards else ():
            self._waiting.setdefault((run.shard, run.run_id), (run.reason, run.release))

    async def take_up(self, shards: Collection[int], put: Put, publish: Publish) -> None:
        """Let go on what can be read here: put in what is kept of each run that waits, some of it at a time.

        Raises:
            Unavailable: the store is away.
        """
        if self._done:
            done, self._done = self._done, []
            try:
                await self._inputs.forget(done)
            except BaseException:
                self._done += done
                raise
            for row in done:
                self._on_way.pop(row, None)
        drafted, on_way = self._drafted, set(self._on_way.values())
        waiting = {(run.shard, run.run_id): run for run in await self._inputs.waiting(RUNS, shards=shards)}
        for place, run in waiting.items():
            self._waiting.setdefault(place, (run.reason, run.release))
            if place not in self._unread and place not in on_way:
                await self._put_in(place, put, publish)
        if drafted == self._drafted:
            over = [place for place in self._waiting if place not in waiting and not self._to_keep[place]]
            for place in over:
                if place not in self._unread:
                    log.info("run %s waits no longer", place[1])
                    del self._waiting[place]

    async def _put_in(self, place: Place, put: Put, publish: Publish) -> None:
        found: list[Input] = []
        for row in await self._inputs.read(*place, PAGE):
            kept = _decode(row.data)
            if kept.span is not None:
                if found:
                    break  # after those
                try:
                    await publish(row.shard, kept.span)
                except Unreadable as error:
                    self._cannot(place, error)
                    return
                self._done.append(row.place)
                continue
            one = Input(row.shard, row.run_id, AskAgain(""), reading=NEVER)
            if kept.record is not None:
                one = self._reader.read(kept.record, NEVER)
            one.held = row.place
            found.append(one)
        self._on_way.update({one.held: place for one in found if one.held is not None})
        put(found)
