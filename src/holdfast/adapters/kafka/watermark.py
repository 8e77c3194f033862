"""What of a partition is finished, when it is finished out of order.

Laws of this file:
- `low` is the first offset that was handed out and is not finished, or the next to come. It never goes back.
- What is committed is `low`, and in the commit's metadata the runs of finished offsets above it, so that a successor
  does not hand them out again. Offsets that do not exist (gaps in the log) count as finished.
- The runs are written as ASCII of at most `FINISHED_LIMIT` bytes. Near it `full` is true, and no more is to be handed
  out; beyond it the highest runs are left out: their work may be repeated, never lost.
"""

import base64
import binascii
from collections import deque
from collections.abc import Iterator

from holdfast.adapters.kafka.progress import FINISHED_LIMIT

_ROOM = FINISHED_LIMIT // 4 * 3
_FULL = _ROOM - 1024
_WORST_RUN = 10
_SEVEN_BITS = 0x7F
_MORE = 0x80

Run = tuple[int, int]
"""From the first offset to the one after the last."""


class Watermark:
    """The progress of one partition, from `low` on; `finished` is what was committed of the offsets above."""

    def __init__(self, low: int, finished: str = "") -> None:
        self._position = low
        self._order: deque[int] = deque()
        self._open: set[int] = set()
        self._known = deque(_decoded(low, finished))

    @property
    def low(self) -> int:
        """The offset to commit."""
        while self._order and self._order[0] not in self._open:
            self._order.popleft()
        if self._order:
            return self._order[0]
        # Nothing is open: what is known to be finished right here counts too.
        return self._known[0][1] if self._known and self._known[0][0] <= self._position else self._position

    @property
    def position(self) -> int:
        """The next offset to come."""
        return self._position

    @property
    def full(self) -> bool:
        """Whether the metadata has no room for much more."""
        return (len(self._open) + len(self._known)) * _WORST_RUN > _FULL and sum(map(len, self._pieces())) > _FULL

    def take(self, offset: int) -> bool:
        """Note that a record has come; whether it is to be handed out, for it is not finished."""
        self._position = offset + 1
        while self._known and self._known[0][1] <= offset:
            self._known.popleft()
        if self._known and self._known[0][0] <= offset:
            return False
        self._order.append(offset)
        self._open.add(offset)
        return True

    def finish(self, offset: int) -> None:
        """Note that a record is finished; twice is once, and one that never came is nothing."""
        self._open.discard(offset)

    def finished(self) -> str:
        """Write the runs above `low`, as far as there is room."""
        data = bytearray()
        for piece in self._pieces():
            if len(data) + len(piece) > _ROOM:
                break
            data += piece
        return base64.b64encode(bytes(data)).decode().rstrip("=")

    def _pieces(self) -> Iterator[bytes]:
        """Write each run as two numbers: how far it begins after the last one, and how long it is."""
        last = self.low
        for first, end in self._runs():
            yield _number(first - last) + _number(end - first)
            last = end

    def _runs(self) -> Iterator[Run]:
        """Join the finished stretches above `low` that touch, and leave out the empty ones."""
        joined: Run | None = None
        for first, end in self._stretches():
            if first >= end:
                continue
            if joined is not None and first <= joined[1]:
                joined = (joined[0], max(joined[1], end))
                continue
            if joined is not None:
                yield joined
            joined = (first, end)
        if joined is not None:
            yield joined

    def _stretches(self) -> Iterator[Run]:
        """What lies between the open offsets, up to the position; then what was known beyond it."""
        begun = low = self.low
        for offset in self._order:
            if offset in self._open:
                yield (begun, offset)
                begun = offset + 1
        yield (begun, self._position)
        for first, end in self._known:
            yield (max(first, self._position, low), end)


def _number(value: int) -> bytes:
    """Write seven bits a byte, the lowest first."""
    written = bytearray()
    while value > _SEVEN_BITS:
        written.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    written.append(value)
    return bytes(written)


def _decoded(low: int, finished: str) -> list[Run]:
    """Read the runs; what somebody else wrote is none."""
    try:
        data = base64.b64decode(finished + "=" * (-len(finished) % 4), validate=True)
    except (binascii.Error, ValueError):
        return []
    numbers = _numbers(data)
    runs, last = [], low
    for gap, length in zip(numbers[::2], numbers[1::2], strict=False):
        runs.append((last + gap, last + gap + length))
        last += gap + length
    return runs


def _numbers(data: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & _SEVEN_BITS) << shift
        if byte & _MORE:
            shift += 7
        else:
            numbers.append(value)
            value, shift = 0, 0
    return numbers
