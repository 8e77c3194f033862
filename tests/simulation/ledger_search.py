"""Every state that can come about, breadth first, so that a trace to a broken law is a shortest one.

Laws of this file:
- A state is visited once; which of two like workers is which is forgotten in the state and remembered in the trace.
- There is a way out of a state if work alone, without a fault, a cancellation or a person, leads from it to a settled
  or parked effect; a person's verdict leads on from there.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.core.effects import PARKED
from tests.simulation.ledger_world import PERSON, WORK, Steps, World


class Violation(NamedTuple):
    """A law that was broken, and the shortest way there in words."""

    law: str
    trace: tuple[str, ...]


class Found(NamedTuple):
    """What a search saw: all moves from state to state, and `turned_away`: a proof that the ledger did not take."""

    states: int
    violation: Violation | None = None
    turned_away: Violation | None = None
    times_turned_away: int = 0
    moves: frozenset[tuple[str, str]] = frozenset()


class Origin(NamedTuple):
    before: int
    words: str
    slot: int
    swapped: bool


def explore(steps: Steps, wanted: str = "") -> Found:
    """Visit every state; stops at the first broken law, or at the first time that the `wanted` one is broken."""
    first = World(steps.rules.first)
    worlds = [first]
    numbers = {first: 0}
    origins = [Origin(-1, "", -1, swapped=False)]
    work: list[list[int]] = []
    personal: list[list[int]] = []
    turned_away: Violation | None = None
    times = 0
    for number, world in enumerate(worlds):
        on: list[int] = []
        by_person: list[int] = []
        for step in steps.of(world):
            if step.lost and steps.rules.rows[world.row].state == PARKED:
                times += 1
                if turned_away is None:
                    turned_away = Violation(
                        "a proof in hand is turned away", tuple(told(origins, number, step.words, step.slot))
                    )
            after, swapped = steps.canonical(step.world)
            target = numbers.get(after)
            if target is None:
                target = numbers[after] = len(worlds)
                worlds.append(after)
                origins.append(Origin(number, step.words, step.slot, swapped))
                broken = step.broken or steps.law(after)
                if broken and wanted in {"", broken}:
                    return Found(len(worlds), Violation(broken, tuple(told(origins, target))), turned_away, times)
            elif step.broken and wanted in {"", step.broken}:
                return Found(len(worlds), Violation(step.broken, tuple(told(origins, number, step.words, step.slot))))
            if step.kind == WORK:
                on.append(target)
            elif step.kind == PERSON:
                by_person.append(target)
        work.append(on)
        personal.append(by_person)
    violation = stuck(steps, worlds, origins, work, personal)
    return Found(len(worlds), violation, turned_away, times, frozenset(steps.rules.moves))


def stuck(
    steps: Steps, worlds: Sequence[World], origins: Sequence[Origin], work: list[list[int]], personal: list[list[int]]
) -> Violation | None:
    """Find the first state that work alone does not lead out of, or a parked one that a person cannot settle."""
    rows = [steps.rules.rows[world.row] for world in worlds]
    ended = [number for number, row in enumerate(rows) if row.settled or row.state == PARKED]
    if left := outside(len(worlds), ended, work):
        return Violation("no way out", tuple(told(origins, left[0])))
    settled = [number for number, row in enumerate(rows) if row.settled]
    if left := outside(len(worlds), settled, [on + by for on, by in zip(work, personal, strict=True)]):
        return Violation("no way to settle it", tuple(told(origins, left[0])))
    return None


def outside(count: int, ends: Sequence[int], edges: Sequence[Sequence[int]]) -> list[int]:
    """Give the states from which no edge leads to one of `ends`, nearest to the beginning first."""
    before: list[list[int]] = [[] for _ in range(count)]
    for number, on in enumerate(edges):
        for target in on:
            before[target].append(number)
    good = bytearray(count)
    waiting = list(ends)
    for number in ends:
        good[number] = 1
    while waiting:
        for number in before[waiting.pop()]:
            if not good[number]:
                good[number] = 1
                waiting.append(number)
    return [number for number in range(count) if not good[number]]


def told(origins: Sequence[Origin], number: int, *last: str | int) -> Iterator[str]:
    """Tell how a state came about; workers keep their names, though the states forget them."""
    way: list[Origin] = []
    while origins[number].before >= 0:
        way.append(origins[number])
        number = origins[number].before
    names = ["worker 1", "worker 2"]
    for origin in reversed(way):
        yield origin.words.format(names[origin.slot] if origin.slot >= 0 else "")
        if origin.swapped:
            names.reverse()
    if last:
        words, slot = last
        yield str(words).format(names[int(slot)] if int(slot) >= 0 else "")
