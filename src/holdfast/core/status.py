"""The statuses of a run, in the words of its users."""

from holdfast.core import events as e

RUNNING = "RUNNING"
SUSPENDED = "SUSPENDED"
PARKED = "PARKED"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
TERMINATED = "TERMINATED"
CONTINUED = "CONTINUED"
"""Of an incarnation that the next one follows; a run has this status never, for both are one commit."""
ENDED = frozenset({COMPLETED, FAILED, CANCELLED, TERMINATED, CONTINUED})
STATUSES = (RUNNING, SUSPENDED, PARKED, COMPLETED, FAILED, CANCELLED, TERMINATED)

STATUS_AFTER: dict[type[e.Event], str] = {
    e.RunCompleted: COMPLETED,
    e.RunFailed: FAILED,
    e.RunCancelled: CANCELLED,
    e.RunTerminated: TERMINATED,
    e.RunContinued: CONTINUED,
}
