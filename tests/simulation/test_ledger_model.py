"""The model check of the effect ledger, as tests: every model holds, every mutant is caught."""

from collections.abc import Iterator
from functools import cache

import pytest

from holdfast.core.effects import SETTLED
from tests.simulation import ledger_model
from tests.simulation.ledger_model import catch
from tests.simulation.ledger_mutants import MODELS, MUTANTS, PROOF_UNDER_THE_FENCE
from tests.simulation.ledger_search import outside

check = cache(ledger_model.check)
caught: dict[str, list[str]] = {}
SMALL = ("at_most_once", "lookup", "transaction", "provider_key", "provider_key with a lookup")

MOVES = """
    PLANNED → CLAIMED INFLIGHT PARKED CANCELLED
    CLAIMED → CLAIMED INFLIGHT PLANNED IN_DOUBT PARKED SUCCEEDED FAILED CANCELLED
    INFLIGHT → PLANNED IN_DOUBT SUCCEEDED FAILED
    IN_DOUBT → CLAIMED INFLIGHT RECONCILING PARKED SUCCEEDED
    RECONCILING → IN_DOUBT INFLIGHT PARKED SUCCEEDED
    PARKED → PLANNED SUCCEEDED FAILED
"""
"""From IN_DOUBT to CLAIMED: a `transaction` alone. Never from INFLIGHT to CANCELLED; from what is settled, nowhere."""


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    """Write the figures of the whole, if the whole was run."""
    yield
    if caught.keys() == MUTANTS.keys():
        found = {name: check(setting) for name, setting in MODELS.items()}
        violations = {
            name: [one.violation.law, *one.violation.trace] for name, one in found.items() if one.violation is not None
        }
        models = {name: one.states for name, one in found.items()}
        ledger_model.write({"models": models, "mutants": caught, "violations": violations})


@pytest.mark.parametrize("name", MODELS)
def test_no_interleaving_breaks_a_law_of_the_ledger(name: str) -> None:
    found = check(MODELS[name])

    assert found.violation is None, "\n".join([found.violation.law, *found.violation.trace])
    assert found.turned_away is None
    assert found.states > 500  # a model in which little can happen proves little
    assert {after for _, after in found.moves} >= SETTLED


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    found = catch(mutant)

    assert found.violation is not None, f"{name} breaks nothing"
    assert found.violation.law == mutant.law
    assert len(found.violation.trace) <= 14  # short enough to be read
    caught[name] = [*found.violation.trace, f"→ {found.violation.law}"]


def test_the_moves_that_come_about_are_those_of_the_table() -> None:
    table = {
        (line.split()[0], after) for line in MOVES.strip().splitlines() for after in line.partition("→")[2].split()
    }
    assert frozenset().union(*(check(MODELS[name]).moves for name in SMALL)) == table


def test_a_proof_that_needed_the_fence_would_break_nothing_and_park_what_was_proven() -> None:
    found = catch(PROOF_UNDER_THE_FENCE)

    assert found.violation is None
    assert found.turned_away is not None
    assert found.turned_away.trace[-1] == "worker 1 records the proof, in vain (fence)"


def test_a_state_without_a_way_out_is_found() -> None:
    assert outside(4, ends=[2], edges=[[1], [2], [], [3]]) == [3]
