"""The numbers of a process as text that Prometheus reads."""

from holdfast.app.meter import Meter
from holdfast.core.commands import StepResult
from holdfast.core.retry import Failure
from holdfast.profiles.metrics import Metric, exposition


def result(error: Failure | None = None) -> StepResult:
    return StepResult(run_id="r", incarnation=0, step_id="s#1", attempt=1, error=error)


def test_a_metric_is_told_with_its_help_and_its_type() -> None:
    assert exposition([Metric("shards", "gauge", "Shards that this process owns.", 64)]) == (
        "# HELP holdfast_shards Shards that this process owns.\n# TYPE holdfast_shards gauge\nholdfast_shards 64\n"
    )


def test_a_metric_with_a_label_has_one_line_for_each_of_its_values() -> None:
    text = exposition([Metric("runs_ended_total", "counter", "h", {"FAILED": 1, "COMPLETED": 2}, "status")])

    assert text.splitlines()[2:] == [
        'holdfast_runs_ended_total{status="COMPLETED"} 2',
        'holdfast_runs_ended_total{status="FAILED"} 1',
    ]


def test_a_large_count_keeps_all_of_its_digits() -> None:
    assert exposition([Metric("events_total", "counter", "h", 12_345_678_901)]).endswith(" 12345678901\n")


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    text = exposition([Metric("m", "gauge", "h", {'a"} 1\n\\': 1}, "of")])

    assert text.splitlines()[2:] == [r'holdfast_m{of="a\"} 1\n\\"} 1']


def test_attempts_are_counted_by_their_outcome_and_one_of_somebody_else_is_not() -> None:
    meter = Meter()
    for executed in (result(), result(), result(Failure("ValueError", "no")), None):
        meter.executed(executed)

    assert (meter.steps_completed, meter.steps_failed) == (2, 1)
