"""Whatever the ledger is asked, in whatever order: the laws of a row."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.asks import CONFLICT, GUARDS, Ask, Move, Prove, Renew, Resolve, Terms, Unmoved
from holdfast.core.effects import FAILED, HELD, PLANNED, SUCCEEDED, Effect, decide, evolve
from holdfast.testing.conformance.effects import any_ask
from tests.unit.effect_stories import NOON, SECOND, planned

terms = st.builds(
    Terms,
    guard=st.sampled_from(GUARDS),
    window=st.sampled_from([None, 60.0]),
    lifetime=st.sampled_from([None, 30.0]),
    lookup=st.booleans(),
)
chances = st.randoms(use_true_random=False)
lives = settings(deadline=None, max_examples=100)


def live(terms: Terms, chance: random.Random, asks: int = 40) -> tuple[Effect, Effect, list[Move]]:
    """Ask anything, as time goes on: the row planned, the row as it stands, and its moves."""
    first = effect = planned(terms).effect
    moves: list[Move] = []
    now = NOON
    for _ in range(asks):
        now += chance.choice([0, 1, 20, 70]) * SECOND
        ask = any_ask(chance, effect)
        move = decide(effect, ask, now)
        if isinstance(move, Unmoved):
            continue
        after = evolve(effect, move)
        hold_the_laws_of_a_move(effect, ask, move, after)
        effect = after
        moves.append(move)
    return first, effect, moves


def hold_the_laws_of_a_move(before: Effect, ask: Ask, move: Move, after: Effect) -> None:
    assert move.was == before.state
    assert after.state == move.to
    assert after.version == before.version + (0 if isinstance(ask, Renew) else 1)
    assert after.fence >= before.fence
    assert not before.settled or (after.state == before.state and move.what == CONFLICT)
    assert after.state != PLANNED or not after.unclear
    assert after.state != SUCCEEDED or after.result is not None
    assert after.state != FAILED or after.error is not None
    assert not move.sent or after.last_sent_at == move.at
    if before.owner != after.owner and before.state in HELD and not hasattr(ask, "fence"):
        assert after.fence > before.fence  # never from hand to hand under one fence


@lives
@given(terms, chances)
def test_a_row_is_the_fold_of_its_moves(terms: Terms, chance: random.Random) -> None:
    first, effect, moves = live(terms, chance)
    again = first
    for move in moves:
        again = evolve(again, move)
    assert again == effect
    told = [move.version for move in moves if move.what != "renew"]
    assert told == list(range(1, len(told) + 1))


@lives
@given(terms, chances)
def test_nothing_moves_what_is_settled_but_a_proof_against_a_closed_effect(terms: Terms, chance: random.Random) -> None:
    _, effect, _ = live(terms, chance, asks=80)
    if not effect.settled:
        return
    for _ in range(40):
        ask = any_ask(chance, effect)
        move = decide(effect, ask, NOON + 10**12)
        if isinstance(move, Move):
            assert isinstance(ask, Prove)
            assert effect.state != SUCCEEDED
            assert evolve(effect, move).state == effect.state


@lives
@given(terms, chances)
def test_a_verdict_on_another_version_moves_nothing(terms: Terms, chance: random.Random) -> None:
    _, effect, _ = live(terms, chance)
    for version in (effect.version - 1, effect.version + 1):
        verdict = Resolve(who="ann", version=version, verdict="retry", reason="late")
        assert isinstance(decide(effect, verdict, NOON), Unmoved)
