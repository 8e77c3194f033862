"""What tells one task from another for the keys, and which result answers a duplicate.

Law of this file: all attempts of an effect have one name, for the ledger has one row of it.
"""

from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import SETTLED

EFFECTS = "effect/"


class Duplicates:
    """How many duplicates of effects the keys have answered, and how many got as far as the ledger."""

    def __init__(self) -> None:
        self.by_keys = 0
        self.by_ledger = 0

    @property
    def share(self) -> float:
        """The part of all duplicates that the keys have answered, from 0 to 1; 1 where there was none."""
        return self.by_keys / (self.by_keys + self.by_ledger) if self.by_keys + self.by_ledger else 1.0

    def __str__(self) -> str:
        total = self.by_keys + self.by_ledger
        return f"{total} duplicates of effects, {self.by_keys} of them ({self.share:.0%}) answered by the keys"


def key_of(task: ExecuteStep) -> str:
    """Name an attempt for the keys; all attempts of an effect have one name."""
    if task.guard is not None and task.key is not None:
        return f"{EFFECTS}{task.key}"
    return f"{task.run_id}/{task.incarnation}/{task.step_id}/{task.attempt}"


def is_final(key: str, result: StepResult) -> bool:
    """Tell whether duplicates may be answered with a result: of a step's attempt always, of an effect when settled.

    All attempts of an effect share a name: what one of them failed of is no answer to the next.
    """
    return result.ledger in SETTLED or not key.startswith(EFFECTS)
