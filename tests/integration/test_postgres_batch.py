"""What a batch becomes before it goes to PostgreSQL: rows of which none is touched twice."""

import pytest

from holdfast.adapters.ledger import flat
from holdfast.adapters.postgres.arrays import binaries, flags, numbers, numbers_or_none, texts
from holdfast.adapters.postgres.commit import TRIM_EVERY, collapsed, laid_out, moved
from holdfast.core.asks import Ask, Cancel
from holdfast.ports.journal import BadData, RunRow, ShardBatch, Span
from holdfast.ports.judging import judge
from holdfast.testing.conformance.effects import effect
from holdfast.testing.conformance.rows import SECOND, attempt, event, run, timer, waiting


def test_an_attempt_closed_and_opened_again_is_only_opened() -> None:
    batch = ShardBatch(1, 1, 0, attempts_closed=[("r", 0, "a#1"), ("r", 0, "b#1")])
    batch.attempts_opened = [attempt("r", "a#1", resend_at=1), attempt("r", "a#1", resend_at=2)]
    rows = collapsed({0: batch})
    assert rows["closed"] == [("r", 0, "b#1")]
    assert rows["opened"] == batch.attempts_opened[1:]


def test_a_timer_cleared_and_set_again_is_only_set() -> None:
    batch = ShardBatch(1, 1, 0, timers_cleared=[("r", 0, "a#1"), ("r", 0, "b#1")])
    batch.timers_set = [timer("r", "a#1", SECOND)]
    rows = collapsed({0: batch})
    assert rows["cleared"] == [("r", 0, "b#1")]
    assert rows["set"] == batch.timers_set


def test_a_signal_taken_and_put_again_stays_in_the_inbox() -> None:
    batch = ShardBatch(1, 1, 0, inbox_taken=[("r", "m1"), ("r", "m2")], inbox_put=[waiting("r", "m1")])
    rows = collapsed({0: batch})
    assert rows["taken"] == [("r", "m2")]
    assert rows["put"] == batch.inbox_put


def test_a_run_started_and_changed_is_one_new_row_as_it_ends() -> None:
    ended = RunRow("r", 0, 0, "order", "2", "COMPLETED", {"n": "1"}, started_at=0, ended_at=7)
    batch = ShardBatch(1, 1, 0, started=[run("r")], changed=[ended])
    rows = collapsed({0: batch})
    assert rows["started"] == [RunRow("r", 0, 0, "order", "2", "COMPLETED", {"n": "1"}, SECOND, 7)]
    assert rows["changed"] == []


def test_of_two_incarnations_in_one_batch_the_later_one_is_kept() -> None:
    batch = ShardBatch(1, 1, 0, started=[run("r"), run("r", incarnation=1)], changed=[run("r", status="COMPLETED")])
    rows = collapsed({0: batch})
    assert rows["started"] == [run("r", incarnation=1)]
    assert rows["changed"] == []


def test_of_two_changes_of_a_run_the_last_one_is_kept() -> None:
    batch = ShardBatch(1, 1, 0, changed=[run("r", status="PARKED"), run("r")])
    assert collapsed({0: batch})["changed"] == [run("r")]


def test_a_run_started_twice_in_one_batch_is_refused() -> None:
    with pytest.raises(BadData, match="run r is started twice"):
        collapsed({0: ShardBatch(1, 1, 0, started=[run("r"), run("r")])})


def test_the_outbox_is_trimmed_now_and_then() -> None:
    numbers_of_trims = [n for n in range(1, 3 * TRIM_EVERY) if collapsed({0: ShardBatch(1, n, n - 1)})["trimmed"]]
    assert numbers_of_trims == [TRIM_EVERY, 2 * TRIM_EVERY]


def test_a_statement_bears_only_the_parts_that_have_rows() -> None:
    batch = ShardBatch(1, 1, 0, events=[event("r", 1)], spans=[Span("r", 0, 1, 1)])
    asked, values = laid_out({0: batch})
    assert b"INSERT INTO history" in asked.sql
    assert b"INSERT INTO outbox" in asked.sql
    assert b"timers" not in asked.sql
    assert set(asked.names) == set(values)


def test_arrays_are_what_postgresql_expects_on_the_wire() -> None:
    assert texts([]).data.hex() == "000000000000000000000019"
    assert texts(["ab", None]).data.hex() == "000000010000000100000019000000020000000100000002" + "6162" + "ffffffff"
    assert binaries([b"\x00"]).data.hex() == "000000010000000000000011000000010000000100000001" + "00"
    assert binaries([None]).data.hex() == "0000000100000001000000110000000100000001" + "ffffffff"
    assert flags([True, False]).data.hex() == (
        "0000000100000000000000100000000200000001" + "00000001" + "01" + "00000001" + "00"
    )
    assert numbers([-2]).data.hex() == "000000010000000000000014000000010000000100000008" + "fffffffffffffffe"
    assert numbers_or_none([None]).data.hex() == "0000000100000001000000140000000100000001" + "ffffffff"


def test_an_effect_planned_and_moved_in_one_batch_is_one_new_row_as_it_ends() -> None:
    asks: list[tuple[str, Ask]] = [("a", Cancel(who="owner")), ("b", Cancel(who="owner"))]
    judged = judge({name: effect(name) for name in "ab"}, asks, now=7)
    rows = moved({0: ShardBatch(1, 1, 0, planned=[effect("a")])}, judged)
    assert rows["planned"] == [flat(judged.changes[0].now)]
    assert [row[0] for row in rows["effects"]] == ["b"]
    assert [row[0] for row in rows["story"]] == ["a", "b"]


def test_an_effect_planned_twice_in_one_batch_is_refused() -> None:
    with pytest.raises(BadData, match="effect a is planned twice"):
        laid_out({0: ShardBatch(1, 1, 0, planned=[effect("a"), effect("a")])})


def test_a_batch_that_asks_nothing_of_the_ledger_bears_none_of_it() -> None:
    asked, _ = laid_out({0: ShardBatch(1, 1, 0, events=[event("r", 1)])})
    assert b"effect" not in asked.sql
