"""Who called a run: the place in another run where its end is waited for.

Laws of this file:
- A child's run id is a function of its place in its parent, or the author's choice; no clock and no chance is in it.
- A child answers the place that called it, and nobody else may close it in that place's name.
"""

from typing import Final

import msgspec

from holdfast.core.identity import RUN_ID_LIMIT, digest

TERMINATE: Final = "terminate"
CANCEL: Final = "cancel"
ABANDON: Final = "abandon"
POLICIES = (TERMINATE, CANCEL, ABANDON)
"""What becomes of a child that is open when its parent ends (`parent_close`)."""

_HEAD = 200
"""Characters of the parent's id at the head of a child's id that is a digest."""


class Parent(msgspec.Struct, frozen=True):
    """The step of a run that called a child; `detached` if it waits for the start alone."""

    run_id: str
    incarnation: int
    step_id: str
    detached: bool = False
    close: str = TERMINATE

    @property
    def hears_start(self) -> bool:
        """Whether the child says that it has started: somebody waits for it, or nobody asks after it later."""
        return self.detached or self.close == ABANDON

    @property
    def hears_end(self) -> bool:
        """Whether the child says how it ended."""
        return not self.detached or self.close != ABANDON

    def is_same(self, other: "Parent | None") -> bool:
        """Tell whether both are one place."""
        return other is not None and (self.run_id, self.incarnation, self.step_id) == (
            other.run_id,
            other.incarnation,
            other.step_id,
        )


def child_run_id(run: str, incarnation: int, step: str) -> str:
    """Name the child that a step of a run calls: `order-1042:ship#1`; a digest where that is no run id."""
    place = run if incarnation == 0 else f"{run}~{incarnation}"
    name = f"{place}:{step}"
    if len(name) <= RUN_ID_LIMIT and name.isascii() and name.isprintable():
        return name
    mark = digest(run.encode(), incarnation.to_bytes(4, "big"), step.encode()).hex()
    return f"{run[:_HEAD]}:{mark}"
