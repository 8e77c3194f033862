"""Whatever the code does and whatever happens to it: rebuilt from its history it stands where it stood."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core import events as e
from holdfast.core.behind import PART
from holdfast.core.replay import Nondeterminism
from tests.replay.worlds import Number, Plan, live, make_plan, replayed, state, stored

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]

plans = st.builds(make_plan, st.randoms(use_true_random=False))
seeds = st.integers(0, 2**32)
parts = st.sampled_from((1, 2, 3, PART))
"""After how many requests a turn is cut: at every possible place, at some, and in these small worlds never."""
unhurried = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(plans, seeds, parts, parts)
def test_the_state_rebuilt_from_history_is_the_live_state(plan: Plan, seed: int, part: int, other: int) -> None:
    """A replay cuts where history says, whatever the limit is of the process that replays."""
    world = live(plan, seed, rebuilds=False, part=part)
    try:
        assert replayed(world.history, other).run == world.run
    finally:
        world.close()


@unhurried
@given(plans, seeds, parts)
def test_evicting_a_run_before_every_event_leaves_the_same_history(plan: Plan, seed: int, part: int) -> None:
    kept = live(plan, seed, rebuilds=False, part=part)
    evicted = live(plan, seed, rebuilds=True, part=part)
    try:
        assert evicted.history == kept.history
        assert evicted.run == kept.run
    finally:
        kept.close()
        evicted.close()


@unhurried
@given(plans, seeds, parts)
def test_a_run_that_is_parked_and_resumed_again_and_again_can_be_rebuilt(plan: Plan, seed: int, part: int) -> None:
    kept = live(plan, seed, rebuilds=False, trouble=True, part=part)
    evicted = live(plan, seed, rebuilds=True, trouble=True, part=part)
    try:
        assert evicted.history == kept.history
        Number.mended = True
        assert replayed(kept.history).run == kept.run
    finally:
        kept.close()
        evicted.close()


@unhurried
@given(plans, seeds, st.data())
def test_every_beginning_of_a_history_can_be_rebuilt_at_a_turns_end(plan: Plan, seed: int, data: st.DataObject) -> None:
    world = live(plan, seed, rebuilds=False)
    world.close()
    ends = [
        at
        for at in range(1, len(world.history) + 1)
        if at == len(world.history) or not isinstance(world.history[at].event, REQUESTS)
    ]
    at = data.draw(st.sampled_from(ends))
    rebuilt = replayed(world.history[:at])
    assert rebuilt.run.seq == at


@unhurried
@given(plans, seeds, st.data())
def test_a_history_that_lacks_what_the_code_asks_for_is_noticed(plan: Plan, seed: int, data: st.DataObject) -> None:
    world = live(plan, seed, rebuilds=False)
    world.close()
    asked = [n for n, one in enumerate(world.history) if isinstance(one.event, (e.StepScheduled, e.TimerStarted))]
    if not asked:
        return
    missing = data.draw(st.sampled_from(asked))
    with pytest.raises((Nondeterminism, KeyError)):
        replayed([one for n, one in enumerate(world.history) if n != missing])


REQUESTS = (
    e.StepScheduled, e.StepAbandoned, e.StepWithdrawn, e.TimerStarted, e.TimerCancelled, e.RunCompleted, e.RunFailed,
    e.RunCancelled, e.SignalRefused,
)  # fmt: skip


@pytest.mark.timeout(180)
def test_a_fresh_process_with_another_heap_and_hash_seed_rebuilds_the_same() -> None:
    worlds = [
        live(make_plan(random.Random(seed), depth=4), seed, rebuilds=False, trouble=seed % 2 == 0, part=1 + seed % 7)
        for seed in range(60)
    ]
    for one in worlds:
        one.close()
    histories = json.dumps([stored(one.history) for one in worlds])
    for hash_seed, ballast in (("1", 1_000), ("4242", 77_777)):
        done = subprocess.run(
            [sys.executable, "-m", "tests.replay.again", str(ballast)],
            input=histories,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert json.loads(done.stdout)["states"] == [state(one.run) for one in worlds]


def test_chance_makes_worlds_worth_living_in() -> None:
    """Else the properties above would hold of nothing much."""
    kinds: Counter[str] = Counter()
    for seed in range(300):
        world = live(
            make_plan(random.Random(seed)), seed, rebuilds=False, trouble=True, part=2 if seed % 3 == 0 else PART
        )
        world.close()
        kinds.update({type(one.event).__name__ for one in world.history})
    kinds.pop("RunTerminated", None)
    # A terminated run is not replayed. Children live in the simulation, which has parents for them, and so do runs that
    # go on as new.
    elsewhere = {"RunTerminated", "RunContinued", *(name for name in e.TYPES if name.startswith("Child"))}
    assert set(kinds) == set(e.TYPES) - elsewhere, kinds
    assert kinds["RunCompleted"] > 50
    assert kinds["RunResumed"] > 20
