"""What the witness (shim.c) wrote down: the operations of all processes on one folder, in one order."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("=IIQq")


class Operation(NamedTuple):
    """`number` counts operations; `at` is an offset, a length, or for a sync the number of the first it misses."""

    number: int
    kind: str
    name: str
    data: bytes
    at: int


def read(path: Path) -> Iterator[Operation]:
    """Read a whole journal."""
    content = path.read_bytes()
    numbers: dict[int, int] = {}
    place = number = 0
    while place < len(content):
        numbers[place] = number
        kind, name_length, length, at = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        name = content[place : place + name_length].decode()
        place += name_length
        data = content[place : place + length]
        place += length
        yield Operation(number, chr(kind), name, data, numbers[at] if chr(kind) == "S" else at)
        number += 1


def until(operations: list[Operation], meets: Callable[[Operation], bool]) -> int:
    """Count the operations up to and with the first that `meets`."""
    return next(one.number for one in operations if meets(one)) + 1
