"""What a process has done since it began, in numbers that only grow: read by whoever scrapes it (profiles/metrics.py).

Law of this file: counting is an addition, once a commit or an attempt; nothing is formatted or locked.
"""

from collections import Counter
from collections.abc import Iterable

from holdfast.core.commands import RunOutcome, StepResult


class Meter:
    """Counts of one process. `runs_ended` by status."""

    def __init__(self) -> None:
        self.inputs = 0
        self.commits = 0
        self.commit_failures = 0
        self.events = 0
        self.tasks = 0
        self.runs_ended: Counter[str] = Counter()
        self.steps_completed = 0
        self.steps_failed = 0

    def committed(self, *, inputs: int, events: int, tasks: int, ended: Iterable[RunOutcome]) -> None:
        """Count what a commit has written, once it is durable."""
        self.commits += 1
        self.inputs += inputs
        self.events += events
        self.tasks += tasks
        for outcome in ended:
            self.runs_ended[outcome.status] += 1

    def executed(self, result: StepResult | None) -> None:
        """Count an attempt that was executed here; None is one that somebody else holds."""
        if result is None:
            return
        if result.error is None:
            self.steps_completed += 1
        else:
            self.steps_failed += 1
