"""A seed that breaks a law is told with as few faults as it takes, and with the command that plays it again."""

import re

import pytest

from tests.simulation import __main__ as program
from tests.simulation import shrink
from tests.simulation.faults import KILL, Fault
from tests.simulation.planted import SOURCE, Bug, bugs
from tests.simulation.world import Verdict, Violation, simulate

SEED = 9
"""A world without violations, with many faults."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """A world that breaks a law whenever the third and the last of its faults come together."""
    real = simulate(SEED)
    assert not real.violations
    places = list(real.injected)
    needed = {places[2], places[-1]}

    def simulated(seed: int, plan: dict[tuple[str, int], Fault] | None = None, *, traced: bool = False) -> Verdict:
        injected = real.injected if plan is None else plan
        broken = (Violation("law", "broken", 1.0),) if needed <= injected.keys() else ()
        return real._replace(injected=injected, violations=broken, trace=["the last thing that happened"])

    for module in (shrink, program):
        monkeypatch.setattr(module, "simulate", simulated)
    return simulated(SEED)


def test_what_it_does_not_take_is_left_out(failing: Verdict) -> None:
    places = list(failing.injected)
    assert list(shrink.shrink(failing)) == [places[2], places[-1]]


def test_a_failing_seed_is_told_with_the_command_that_plays_it_again(
    failing: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.play(SEED, None, traced=False) == 1
    said = capsys.readouterr().out
    assert f"seed {SEED} breaks a law with 2 of its {len(failing.injected)} faults" in said
    assert "the last thing that happened" in said
    only = re.search(rf"python -m tests\.simulation --seed {SEED} --trace --only '(.+)'", said)
    assert only is not None
    assert program.play(SEED, only[1], traced=False) == 1
    assert "2 faults" in capsys.readouterr().out


def test_a_plan_of_what_was_injected_is_the_same_world() -> None:
    drawn = simulate(SEED, traced=True)
    assert len(drawn.injected) > 10
    assert simulate(SEED, drawn.injected, traced=True).trace == drawn.trace


def test_a_world_without_faults_breaks_no_law_and_one_fault_is_one_fault() -> None:
    assert simulate(SEED, {}).injected == {}
    killed = simulate(SEED, {("nemesis", 1): Fault(KILL, 0.5, 0.9)})
    assert [fault.kind for fault in killed.injected.values()] == [KILL]
    assert not killed.violations


def test_a_planted_bug_whose_text_is_gone_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"'stale'.*stands 0 times.*renew it"):
        Bug("stale", "core/run.py", "no such text", "").applied((SOURCE / "core/run.py").read_text())


def test_every_planted_bug_changes_its_module() -> None:
    for bug in bugs():
        source = (SOURCE / bug.file).read_text()
        assert bug.applied(source) != source
        compile(bug.applied(source), bug.file, "exec")
