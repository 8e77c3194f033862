"""A run whose code is behind: a turn that asked for very much was cut, and goes on in parts.

Laws of this file:
- A cut stands in history (`TurnCut`, with how many requests were recorded before it). A replay cuts where history says,
  not where its own limit is, so that the limit may change between releases.
- What comes in meanwhile is recorded at once, and settles what it settles. The code hears of it when the turn has come
  to its end: in order, each at the time at which it was recorded.
- The code cannot tell that it was cut: its loop stands still between two steps, and so does its time.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from holdfast.core import events as e
from holdfast.core.commands import ContinueRun, Request

PART: Final = 512
"""Requests that one commit records of a turn: some 30 ms of work, which is what other runs wait for."""
PART_BYTES: Final = 1024 * 1024
"""Bytes of arguments that it records: what a commit of many small inputs has, too."""
TURN: Final = "turn:"
"""The id of the timer that finds a run whose turn nobody continues; the author's own are named by the code."""


class Code(Protocol):
    """A workflow's code that may stand still in the middle of a turn."""

    history_length: int
    paused: bool
    """Whether the turn has not come to its end: `go_on` continues it."""
    part: int
    """How many requests a part of a turn has, about."""

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        """Begin a turn."""

    def go_on(self) -> Sequence[Request]:
        """Continue the turn that is paused."""


class Behind:
    """What the code of one run has still to do: the rest of its turn, then the inputs that wait.

    `asked` are requests that a replay has met beyond the cut in its history: they are recorded first.
    """

    __slots__ = ("asked", "heard_at", "waiting")

    def __init__(self, heard_at: int = 0, waiting: Iterable[e.Recorded] = ()) -> None:
        self.heard_at = heard_at
        self.asked: Sequence[Request] = ()
        self.waiting = deque(waiting)

    def note(self, events: Iterable[e.Event], seq: int, at: int) -> None:
        """Keep what was recorded from `seq` on for the code to hear later."""
        for number, event in enumerate(events, seq):
            if type(event) in e.INPUTS:
                self.waiting.append(e.Recorded(number, at, event))

    def holds_up(self, request: Request) -> bool:
        """Tell whether a run does not go on as new yet: signals and cancellations that wait are for this incarnation.

        The code asks again after each event.
        """
        return bool(self.waiting) and isinstance(request, ContinueRun)

    def has_more(self, code: Code) -> bool:
        return bool(self.asked or self.waiting) or code.paused

    def rest(self, code: Code) -> Sequence[Request] | None:
        """Give what the turn goes on to ask for; None when it has come to its end."""
        if self.asked:
            asked, self.asked = self.asked, ()
            return asked
        return code.go_on() if code.paused else None

    def hear(self, code: Code) -> Sequence[Request] | None:
        """Tell the code of the next input that waits, and give what it asks for; None when there is none."""
        if not self.waiting:
            return None
        recorded = self.waiting.popleft()
        self.heard_at = max(self.heard_at, recorded.at)
        code.history_length = recorded.seq
        return code.apply(recorded.event, self.heard_at)
