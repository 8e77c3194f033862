"""From a failing seed to the few faults that it takes.

Law of this file: what is left out is tried out: a smaller plan counts only if it breaks the same law.
"""

from tests.simulation.faults import Place, Plan
from tests.simulation.world import Verdict, simulate

MOST_TRIES = 250


def shrink(found: Verdict) -> Plan:
    """Leave out faults, many at once and then one by one, as long as the law is still broken."""
    law = found.violations[0].law
    places = list(found.injected)
    tries = 0
    size = max(1, len(places) // 2)
    while tries < MOST_TRIES:
        smaller: list[Place] | None = None
        for start in range(0, len(places), size):
            rest = places[:start] + places[start + size :]
            tries += 1
            if breaks(found, law, rest):
                smaller = rest
                break
        if smaller is not None:
            places = smaller
        elif size == 1:
            break
        else:
            size = max(1, size // 2)
    return {place: found.injected[place] for place in places}


def breaks(found: Verdict, law: str, places: list[Place]) -> bool:
    plan = {place: found.injected[place] for place in places}
    again = simulate(found.seed, plan)
    return bool(again.violations) and again.violations[0].law == law
