"""Faults of the server about the same runs, again and again: tells whether the server is at fault, or these runs are.

Laws of this file:
- A lost connection blames nobody: it is waited for. Only a server that is there, and answers with a fault, is counted.
- One fault is an accident. `MOST` in a row about the same runs, over at least `LASTING` seconds, are none: the runs are
  told apart. Of suspects one fault is enough to tell them apart further, and of a run that was found out, to refuse it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeVar

from holdfast.app.orchestrator.draft import Input

MOST: Final = 3
LASTING: Final = 10.0
"""Seconds for which the server has to fail about the same runs: longer than a failover or a moment without memory."""
REMEMBERED: Final = 1_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Faults:
    """Counts the faults of the server about the runs of each slice."""

    __slots__ = ("_found_out", "_met", "_suspects")

    def __init__(self) -> None:
        self._met: OrderedDict[frozenset[str], tuple[int, float]] = OrderedDict()
        self._suspects: OrderedDict[str, None] = OrderedDict()
        self._found_out: OrderedDict[str, None] = OrderedDict()

    def met(self, runs: frozenset[str], now: float) -> bool:
        """Count one more fault, at `now` (seconds, monotonic); True when these runs are at fault."""
        count, since = self._met.get(runs, (0, now))
        count += 1
        _remember(self._met, runs, (count, since))
        known = self._suspects if len(runs) > 1 else self._found_out
        return runs <= known.keys() or (count >= MOST and now - since >= LASTING)

    def blame(self, runs: frozenset[str]) -> None:
        """Suspect these runs from now on, since something else could be written; one alone is found out."""
        self.over(runs)
        known = self._suspects if len(runs) > 1 else self._found_out
        for run_id in runs:
            _remember(known, run_id, None)

    def over(self, runs: frozenset[str]) -> None:
        """Something else happened about these runs: a fault that comes next is not in a row with those before."""
        self._met.pop(runs, None)

    def clear(self, inputs: Iterable[Input]) -> None:
        """What follows from these was written, or could be looked up: nothing is the matter with their runs."""
        if self._met or self._suspects or self._found_out:
            runs = runs_of(inputs)
            self.over(runs)
            for run_id in runs:
                self._suspects.pop(run_id, None)
                self._found_out.pop(run_id, None)


def runs_of(inputs: Iterable[Input]) -> frozenset[str]:
    return frozenset(one.run_id for one in inputs)


def _remember(known: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    if len(known) > REMEMBERED:
        known.popitem(last=False)
