"""Signals that came before their run: they wait in the store, and are read when a start asks for them.

Laws of this file:
- What waits is in the store. In memory are the rows of runs that the present slice asks about, and of those that a
  draft on its way puts there or takes away: the store does not know of these yet. Nothing here grows with a shard.
- While no signal waits in any shard of this process, no start asks for one. Only the owner of a shard puts any there.
- For one run id `LIMIT` signals wait at most, of `LIMIT_BYTES` together.
"""

from collections import Counter
from collections.abc import Collection

from holdfast.app.orchestrator.draft import Draft, Input
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import SignalRun
from holdfast.core.events import SignalReceived
from holdfast.core.run import INBOX_FULL, DeadLetter
from holdfast.ports.codec import Codec
from holdfast.ports.journal import InboxRow, Journal
from holdfast.ports.log import Outgoing

LIMIT = 1_000
LIMIT_BYTES = 1024 * 1024
AT_ONCE = 16
"""Runs whose signals are read in one question: it brings `LIMIT_BYTES` of each at most."""
FOR_EVER = 2**62


def signal_of(codec: Codec, row: InboxRow) -> SignalRun:
    """Read a signal that waited.

    Raises:
        Unreadable: a newer release wrote it.
    """
    event = codec.decode_event("SignalReceived", row.data)
    assert isinstance(event, SignalReceived)  # noqa: S101 - by its name
    return SignalRun(name=event.name, message_id=event.message_id, input=event.input)


def require_room(run_id: str, rows: Collection[InboxRow]) -> None:
    """See to it that one more signal may wait for a run beside these.

    Raises:
        DeadLetter: as many wait as may.
    """
    if len(rows) >= LIMIT or sum(len(row.data) for row in rows) >= LIMIT_BYTES:
        text = f"{len(rows)} signals wait for run {run_id}, which was not started: start it, then send this again"
        raise DeadLetter(INBOX_FULL, text)


def keep(draft: Draft, codec: Codec, one: Input, command: SignalRun, rows: list[InboxRow], at: int) -> None:
    """Let a signal wait for its run, beside the `rows` that do; one that waits already is the same.

    Raises:
        DeadLetter: as many wait as may.
    """
    if any(row.message_id == command.message_id for row in rows):
        return
    require_room(one.run_id, rows)
    event = SignalReceived(message_id=command.message_id, name=command.name, input=command.input)
    row = InboxRow(one.run_id, command.message_id, one.shard, command.name, codec.encode_event(event), at)
    rows.append(row)
    draft.batch(one.shard).inbox_put.append(row)


def take_out(draft: Draft, row: InboxRow) -> None:
    """Take a signal out of the inbox, whether it is there already or was about to be put there."""
    batch = draft.batch(row.shard)
    batch.inbox_put = [one for one in batch.inbox_put if one is not row]
    batch.inbox_taken.append((row.run_id, row.message_id))


def never_started(codec: Codec, wire: Wire, row: InboxRow) -> Outgoing:
    """Give the dead letter of a signal whose run never came."""
    text = f"run {row.run_id} was not started within a day of its signal {row.name!r}"
    return wire.dead(wire.command(row.run_id, signal_of(codec, row), row.at), "start_missing", text)


class EarlySignals:
    """The inbox, as far as it must be in memory: `rows` by run id, which a turn reads and changes."""

    def __init__(self, store: Journal, schemas: SchemaCache) -> None:
        self._store = store
        self._schemas = schemas
        self.rows: dict[str, list[InboxRow]] = {}
        self.any_wait = True
        self._puts = 0
        self._asked: frozenset[str] = frozenset()
        self._on_their_way: Counter[str] = Counter()

    async def learn(self, shards: Collection[int]) -> None:
        """Begin with these shards, no draft being on its way: find out whether any signal waits in them."""
        self.forget()
        self.any_wait = True
        await self.look(shards)

    async def look(self, shards: Collection[int]) -> None:
        """Find out whether signals still wait, so that starts need not ask."""
        if not self.any_wait:
            return
        puts = self._puts
        there = await self._store.expired_inbox(shards, FOR_EVER, 1) if shards else ()
        self.any_wait = bool(there or self._on_their_way) or puts != self._puts

    async def read(self, run_ids: Collection[str], most: int) -> frozenset[str]:
        """Read what waits for these runs, up to about `most` bytes; tells whose signals are in `rows` by then."""
        self._asked = frozenset(run_ids)
        self._keep(self._asked)
        unknown = [run_id for run_id in run_ids if run_id not in self.rows]
        size = 0
        while unknown and size < most:
            some, unknown = unknown[:AT_ONCE], unknown[AT_ONCE:]
            found = await self._store.inbox(some)
            await self._schemas.prepare(row.data for row in found)
            for run_id in some:
                self.rows.setdefault(run_id, [])
            for row in found:
                self.rows[row.run_id].append(row)
                size += len(row.data)
        return self._asked.difference(unknown)

    def note(self, draft: Draft) -> None:
        """A draft is on its way to the store: what it changes is known here until it is there."""
        touched = {row.run_id for batch in draft.by_shard.values() for row in batch.inbox_put}
        if touched:
            self._puts += 1
            self.any_wait = True
        touched |= {run_id for batch in draft.by_shard.values() for run_id, _ in batch.inbox_taken}
        self._on_their_way.update(touched)
        draft.inbox_of = touched
        self._asked = frozenset()
        for run_id in touched:
            self.rows.setdefault(run_id, [])
        self._keep(self._asked)

    def committed(self, draft: Draft) -> None:
        """The store knows what a draft changed."""
        for run_id in draft.inbox_of:
            self._on_their_way[run_id] -= 1
            if self._on_their_way[run_id] <= 0:
                del self._on_their_way[run_id]
        if draft.inbox_of:
            self._keep(self._asked)

    def forget(self) -> None:
        """No draft is on its way any more: the store knows best."""
        self.rows.clear()
        self._on_their_way.clear()
        self._asked = frozenset()

    def _keep(self, asked: frozenset[str]) -> None:
        """Forget the rows of all other runs than those asked about, and those that a draft changes."""
        for run_id in [one for one in self.rows if one not in asked and one not in self._on_their_way]:
            del self.rows[run_id]
