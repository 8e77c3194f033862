"""The deterministic loop with the program whose code runs on it.

Law of this file: a turn stands still when its program has been asked for enough (core/behind.py), wherever that is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol, cast
from zlib import crc32

from holdfast.core.behind import PART_BYTES
from holdfast.core.commands import Request, ScheduleStep, StartChild
from holdfast.sdk.definitions import Caller
from holdfast.sdk.durable_timers import Timers
from holdfast.sdk.loop import WorkflowLoop


class Asking(Timers, Caller, Protocol):
    """The program of a loop."""

    part: int

    def asked_for(self) -> tuple[Sequence[Request], Mapping[str, bytes]]:
        """Give what this part of the turn has asked for, and the large payloads in it."""


class ProgramLoop(WorkflowLoop):
    """The deterministic loop, with the program whose code runs on it."""

    __slots__ = ("_weighed", "caller")

    def __init__(self, program: Asking, identity: str, turn_steps: int) -> None:
        super().__init__(program, turn_steps)
        self.look = min(self.look, max(1, program.part // 8))
        self.caller: Caller = program
        self.identity = identity
        self.salt = crc32(identity.encode()) >> 4 << 32  # a hash has 61 bits
        self._weighed: tuple[Sequence[Request], int, int] = ((), 0, 0)

    def is_full(self) -> bool:
        program = cast("Asking", self.timers)
        asked, blobs = program.asked_for()
        if len(asked) >= program.part:
            return True
        weighed, number, size = self._weighed
        if weighed is not asked:
            number = size = 0
        size += sum(len(one.input.data) for one in asked[number:] if isinstance(one, (ScheduleStep, StartChild)))
        self._weighed = asked, len(asked), size
        return size + sum(map(len, blobs.values())) >= PART_BYTES


async def raised(error: Exception) -> NoReturn:
    raise error


async def awaited(work: Any) -> Any:
    """Await what is no coroutine: what a function gives that is marked as async may be anything."""
    return await work
