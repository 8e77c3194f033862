"""What is known of processes that died, and what follows: from the reports of a machine to the parking of a run."""

from collections.abc import Sequence

import pytest

from holdfast.app.deaths import ATTEMPTS, PAGE, TURNS, UNWATCHED, DeathWatch
from holdfast.app.orchestrator.death_review import is_over
from holdfast.core import events as e
from holdfast.core.identity import shard_of
from holdfast.core.run import Run
from holdfast.ports.deaths import Death
from holdfast.ports.recorder import Crash, Unrecorded
from holdfast.ports.unavailable import Unavailable
from tests.simulation.deaths import Obituaries
from tests.unit.given import RUN_ID, completed, ended, given, scheduled, started


def turn(process: str, seq: int = 3, *, reason: str = "", detail: str = "") -> Death:
    return Death(run_id=RUN_ID, incarnation=0, step_id="", process=process, seq=seq, reason=reason, detail=detail)


def attempt(process: str, step_id: str = "read#1") -> Death:
    return Death(run_id=RUN_ID, incarnation=0, step_id=step_id, process=process, attempt=1)


class Kept:
    """Fulfils `ports.deaths.Deaths`."""

    def __init__(self) -> None:
        self.rows = Obituaries(lambda: 1)
        self.away = False

    async def report(self, deaths: Sequence[Death]) -> None:
        self._answer()
        self.rows.report(deaths)

    async def read(self, limit: int, after: Death | None = None) -> Sequence[Death]:
        self._answer()
        return self.rows.read(limit, after)

    async def forget(self, deaths: Sequence[Death]) -> None:
        self._answer()
        self.rows.forget(deaths)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("away")


class Machine(Unrecorded):
    """A machine with records of processes that are gone."""

    def __init__(self, *crashes: Crash) -> None:
        self.left = list(crashes)

    def crashed(self) -> Sequence[Crash]:
        return list(self.left)

    def settle(self, crash: Crash) -> None:
        self.left.remove(crash)


def watch(kept: Kept, machine: Unrecorded | None = None) -> DeathWatch:
    return DeathWatch(kept, machine or Unrecorded(), None, process="me", shards=8)


def run_at(seq: int) -> Run:
    return Run(RUN_ID, status="RUNNING", seq=seq)


async def test_what_died_on_this_machine_is_reported_once_and_then_removed() -> None:
    kept, machine = Kept(), Machine(Crash("p-1", (turn("p-1"), attempt("p-1"))))
    reporting = watch(kept, machine)

    await reporting.begin()

    assert [death.step_id for death in await kept.read(10)] == ["", "read#1"]
    assert {death.shard for death in await kept.read(10)} == {shard_of(RUN_ID, 8)}
    assert machine.left == []
    assert reporting.somebody_died


async def test_a_record_stays_until_the_store_has_it() -> None:
    kept, machine = Kept(), Machine(Crash("p-1", (turn("p-1"),)))
    kept.away = True
    with pytest.raises(Unavailable):
        await watch(kept, machine).report()
    assert len(machine.left) == 1


async def test_a_run_is_stopped_when_two_processes_died_in_the_turn_that_comes_next() -> None:
    kept = Kept()
    watching = watch(kept)
    for number in range(TURNS):
        await watching.read()
        assert watching.stuck(run_at(3), "order") is None
        await kept.report([turn(f"p-{number}")])
    await watching.read()

    stuck = watching.stuck(run_at(3), "order")

    assert stuck is not None
    assert stuck.reason == "process_died"
    for word in ("'order'", "p-0, p-1", f"holdfast resume {RUN_ID}"):
        assert word in str(stuck)


async def test_a_turn_that_was_done_since_is_no_suspect() -> None:
    kept = Kept()
    await kept.report([turn("p-1", seq=3), turn("p-2", seq=5)])
    watching = watch(kept)
    await watching.read()
    assert watching.stuck(run_at(3), "order") is not None  # it died further on, too
    assert watching.stuck(run_at(4), "order") is None
    assert watching.stuck(run_at(6), "order") is None


async def test_other_runs_and_incarnations_are_not_blamed() -> None:
    kept = Kept()
    await kept.report([turn("p-1"), turn("p-2")])
    watching = watch(kept)
    await watching.read()
    assert watching.stuck(Run("other", seq=0), "order") is None
    assert watching.stuck(Run(RUN_ID, incarnation=1), "order") is None


async def test_one_death_is_enough_when_the_process_said_why_it_ended_itself() -> None:
    kept = Kept()
    await kept.report([turn("p-1", reason="turn_too_long", detail="shop.py:12 spins")])
    watching = watch(kept)
    await watching.read()
    stuck = watching.stuck(run_at(3), "order")
    assert stuck is not None
    assert stuck.reason == "turn_too_long"
    assert str(stuck) == f"shop.py:12 spins\nMend it, then: holdfast resume {RUN_ID}"


async def test_the_deaths_of_a_step_are_counted_by_process() -> None:
    kept = Kept()
    watching = watch(kept)
    for number in range(ATTEMPTS):
        await kept.report([attempt(f"p-{number}"), attempt(f"p-{number}")])
    await watching.read()
    assert watching.of_step(RUN_ID, 0, "read#1") == ATTEMPTS
    assert watching.of_step(RUN_ID, 0, "read#2") == 0


async def test_more_deaths_than_a_page_are_known() -> None:
    kept = Kept()
    await kept.report([attempt(f"p-{number:05}") for number in range(2 * PAGE + 1)])
    watching = watch(kept)
    await watching.read()
    assert watching.of_step(RUN_ID, 0, "read#1") == 2 * PAGE + 1


async def test_what_is_forgotten_counts_no_more() -> None:
    kept = Kept()
    await kept.report([turn("p-1"), attempt("p-1")])
    watching = watch(kept)
    await watching.read()
    await watching.forget([turn("p-1")])
    assert [death.step_id for death in watching.known()] == ["read#1"]
    await watching.forget([attempt("p-1")])
    assert not watching.somebody_died
    assert list(await kept.read(10)) == []


async def test_nobody_who_watches_nothing_is_bothered() -> None:
    await UNWATCHED.begin()
    await UNWATCHED.read()
    assert not UNWATCHED.somebody_died


@pytest.mark.parametrize(
    ("death", "past", "over"),
    [
        (turn("p", seq=2), (started(), scheduled()), False),
        (turn("p", seq=1), (started(), scheduled()), True),
        (turn("p", seq=9), (started(), ended()), True),
        (attempt("p"), (started(), scheduled()), False),
        (attempt("p"), (started(), scheduled(), completed()), True),
        (attempt("p"), (started(), scheduled(), ended()), True),
        (attempt("p"), (started(), scheduled(), e.StepAbandoned(step_id="read#1")), True),
        (attempt("p", "read#2"), (started(), scheduled()), True),
    ],
)
def test_a_death_is_over_when_what_it_died_of_is(death: Death, past: tuple[e.Event, ...], over: bool) -> None:
    assert is_over(death, given(*past).state()) is over
