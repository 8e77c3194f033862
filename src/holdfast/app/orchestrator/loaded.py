"""What is known of the runs of a slice before it is handled."""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from holdfast.app.orchestrator.draft import Input
from holdfast.core import events as e
from holdfast.core.commands import Request, StartRun
from holdfast.core.purging import Tombstone
from holdfast.core.replay import ProgramStuck
from holdfast.ports.codec import Unreadable
from holdfast.ports.journal import InboxRow, StoredRun

CONTINUED_AT_ONCE = 100
"""Incarnations that one commit opens of a run; the last one is parked, for its code does not wait for anything."""


class Loaded:
    """What the store said about the runs of a slice before it was handled."""

    def __init__(self, default_version: Callable[[str], str], lay_out: Callable[[Mapping[str, bytes]], None]) -> None:
        self.lay_out = lay_out  # blobs that the slice is about to store, for code that reads them in the same slice
        self.stored: dict[str, StoredRun] = {}
        self.histories: dict[str, list[e.Recorded]] = {}
        self.asked: set[str] = set()
        self.inputs: list[Input] = []  # those that this is enough for; the rest of the slice waits for the next
        self.size = 0  # bytes of histories
        self.starts_asked = 0
        self.assumed_new = False  # some starts are taken for new without asking
        self.unreadable: dict[str, str] = {}
        self.newer: dict[str, Unreadable] = {}  # histories in which a newer release wrote what is not known here
        self.tombstones: dict[str, Tombstone] = {}
        self.kept: dict[str, str] = {}  # runs that may not be purged yet, and why
        self.seen: set[tuple[str, str]] = set()
        self.inbox: dict[str, list[InboxRow]] = {}
        self._default_version = default_version

    def versioned(self, command: StartRun) -> StartRun:
        """Let a new run begin with the version of today."""
        return replace(command, version=self.version_of(command.workflow))

    def version_of(self, workflow: str) -> str:
        """Tell the version of today."""
        return self._default_version(workflow)


class Stuck:
    """The code of a run that cannot be rebuilt: every event finds it stuck, with the reason."""

    replaying = False
    history_length = 0
    paused = True
    part = 0

    def __init__(self, stuck: ProgramStuck) -> None:
        self._stuck = stuck

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        raise self._stuck

    def go_on(self) -> Sequence[Request]:
        raise self._stuck

    def where(self, request: Request | None) -> str:
        return ""

    def is_cancelling(self) -> bool:
        return True

    def evict(self) -> None:
        """Nothing to drop."""

    def take_blobs(self) -> dict[str, bytes]:
        return {}


class NotLoaded(Exception):
    """A resume needs the run's whole history at hand; load it and try again."""


def never_waits(run_id: str, _incarnation: int) -> Stuck:
    """Stand for the code of a run that goes on as new again and again, and never waits for anything."""
    text = f"the code has gone on as new {CONTINUED_AT_ONCE} times and never waited for anything"
    return Stuck(ProgramStuck("never_waits", f"{text}\nMend it, then: holdfast resume {run_id}"))
