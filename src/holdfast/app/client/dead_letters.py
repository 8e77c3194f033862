"""Dead letters: reading them, and giving them back to the topic where they stood.

Laws of this file:
- A redriven record has the key, the value and the headers that came, but for our own marks, and an identity from the
  place where it stood (`holdfast_redriven`). Redriven again, the same dead letter has the same identity: a duplicate.
- A record that dies again is a new dead letter, which says how often it was redriven.
- A redrive ends where the topic ended when it began: it never meets what it has caused.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from holdfast.app.oversized_records import BlobMissing, restored
from holdfast.app.records import OURS, REDRIVEN, header, times_redriven
from holdfast.core.identity import digest
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.log import Log, Outgoing, Record, TooLarge

PAGE = 1_000
LAST_WORD = 1.0  # seconds without a record: the topic's end
PACES = 10
"""Batches in a second."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; None: any. Times in microseconds since the epoch, `until` excluded."""

    error_class: str | None = None
    topic: str | None = None
    run: str | None = None
    since: int = 0
    until: int | None = None

    def takes(self, letter: Record) -> bool:
        at = letter.timestamp * 1_000
        return (
            at >= self.since
            and (self.until is None or at < self.until)
            and (self.error_class is None or said(letter, "holdfast_error_class") == self.error_class)
            and (self.topic is None or said(letter, "holdfast_source_topic") == self.topic)
            and (self.run is None or run_of(letter) == self.run)
        )


class Found(msgspec.Struct, frozen=True):
    """How many dead letters are meant, and the offset of the last."""

    count: int
    last: int


class Refused(msgspec.Struct, frozen=True):
    """A dead letter that was not redriven, and why."""

    letter: Record
    why: str


Batch = tuple[int, list[Refused]]
"""How many of a batch were published, and what was not."""


class DeadLetters:
    """The dead letters of a namespace."""

    def __init__(self, log_: Log, blobs: Blobs, clock: Clock, topic: str) -> None:
        self._log = log_
        self._blobs = blobs
        self._clock = clock
        self._topic = topic

    async def read(self, wanted: Wanted, *, last: int | None = None) -> AsyncGenerator[Record, None]:
        """Read the dead letters that are meant, the oldest first, up to the offset `last`."""
        tail = await self._log.tail(self._topic, earliest=True)
        try:
            await tail.watch([0])
            while records := await tail.poll(LAST_WORD, PAGE):
                for record in records:
                    if last is not None and record.offset > last:
                        return
                    if wanted.takes(record):
                        yield record
        finally:
            await tail.close()

    async def find(self, wanted: Wanted) -> Found:
        """Count what is meant."""
        count, last = 0, -1
        async with aclosing(self.read(wanted)) as letters:
            async for letter in letters:
                count, last = count + 1, letter.offset
        return Found(count, last)

    async def redrive(
        self, wanted: Wanted, found: Found, *, rate: int
    ) -> AsyncGenerator[tuple[int, list[Refused]], None]:
        """Publish again what was found, at most `rate` a second; tells after each batch how many, and what was refused.

        Raises:
            TopicMissing: a source topic does not exist any more.
            Unreachable: some of the batch may have been published; redrive again, what was published is a duplicate.
        """
        size = max(1, rate // PACES)
        batch: list[Record] = []
        began, done = self._clock.monotonic(), 0
        async with aclosing(self.read(wanted, last=found.last)) as letters:
            async for letter in letters:
                batch.append(letter)
                if len(batch) < size:
                    continue
                yield await self._publish(batch)
                done += len(batch)
                batch = []
                ahead = done / rate - (self._clock.monotonic() - began)
                if ahead > 0:
                    await self._clock.sleep(ahead)
        if batch:
            yield await self._publish(batch)

    async def _publish(self, batch: list[Record]) -> Batch:
        refused: list[Refused] = []
        ready: list[tuple[Record, Outgoing]] = []
        for letter in batch:
            try:
                ready.append((letter, redriven(await restored(letter, self._blobs))))
            except (BlobMissing, NoSource) as error:
                refused.append(Refused(letter, str(error)))
        while ready:
            try:
                await self._log.publish([record for _, record in ready])
                break
            except TooLarge as error:  # the others are published again: a duplicate has the same identity
                letter, _ = ready.pop(error.index)
                refused.append(Refused(letter, f"{error}: raise the topic's max.message.bytes first"))
        return len(ready), refused


class NoSource(Exception):
    """A dead letter that does not say where it stood: nothing of ours has written it."""


def redriven(letter: Record) -> Outgoing:
    """Make the record that goes back to its topic.

    Raises:
        NoSource: it does not say where it stood.
    """
    topic = said(letter, "holdfast_source_topic")
    if topic is None:
        raise NoSource("it has no header holdfast_source_topic: publish it by hand")
    place = [header(letter, f"holdfast_source_{part}") or b"" for part in ("topic", "partition", "offset")]
    cause = [header(letter, name) or b"" for name in ("ce_source", "ce_id")]
    identity = f"redriven/{times_redriven(letter) + 1}/{digest(*place, *cause).hex()}"
    headers = tuple(one for one in letter.headers if not one[0].startswith(OURS))
    return Outgoing(topic, letter.key or b"", letter.value, (*headers, (REDRIVEN, identity.encode())))


def run_of(letter: Record) -> str | None:
    """Name the run that a record is about by its key: a run id, or that of a task, run id/step id."""
    return None if letter.key is None else letter.key.decode(errors="replace").partition("/")[0]


def said(letter: Record, name: str) -> str | None:
    value = header(letter, name)
    return None if value is None else value.decode(errors="replace")
