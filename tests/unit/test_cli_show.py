"""What a terminal is shown of a run: within a page, whatever the run holds."""

import io
from typing import Any

import pytest
from rich.console import Console

from holdfast.cli.drawing import PIPED_WIDTH, picture_of_all, picture_of_run
from holdfast.cli.looking import event_line, json_line, run_line
from holdfast.core import events as e
from holdfast.core.payload import JSON, Payload
from holdfast.core.retry import Failure
from holdfast.ports.journal import StoredRun
from holdfast.views import describe, listed, told
from tests.unit.test_cli_views import CODEC, payload, scheduled, started, stored

ESCAPE = "\x1b[2J\x1b]0;title\x07"
LONG = "reserve_" * 30
FAR = 2**62


def shown(run: StoredRun, width: int = PIPED_WIDTH) -> str:
    written = io.StringIO()
    picture = picture_of_run(run, describe(run, CODEC), CODEC)
    Console(file=written, width=width, highlight=False).print(picture)
    return written.getvalue()


def failed(message: str, step_id: str = "print#1") -> e.StepFailed:
    return e.StepFailed(step_id=step_id, attempt=1, error=Failure("Boom", message))


RUNS: list[tuple[e.Event, ...]] = [
    (started(), scheduled(LONG), failed("x" * 9_000, LONG)),
    (started(), scheduled(), failed(f"a {ESCAPE} b \u202e c \0 d")),
    (started(), scheduled(), failed("[/red] [bold]no markup[/bold] [link=x]")),
    (started(), e.RunCompleted(result=payload("y" * 3_000_000))),
    (started(), e.RunCompleted(result=payload([{"name": LONG}] * 500))),
    (started(), e.RunCompleted(result=Payload(data=b'"\\ud800"'))),
    (started(), e.RunCompleted(result=Payload(data=b"\xff\xfe", content_type=JSON))),
    (started(), e.RunCompleted(result=Payload(data=b"[" * 50_000 + b"]" * 50_000))),
    (started(), e.RunCompleted(result=Payload(data=b"1e400"))),
    (started(), e.RunFailed(error=Failure(LONG, ESCAPE * 100))),
    (started(), e.RunTerminated(reason=ESCAPE + LONG)),
    (started(), e.TimerStarted(timer_id="timer#1", due_at=FAR)),
    (started(), e.RunParked(reason="engine_error", detail=f"{ESCAPE}\n{LONG}")),
    (
        e.RunStarted(
            workflow=f"{ESCAPE}{LONG}", version=LONG, input=payload(1), attributes={LONG: ESCAPE, "名前": "値" * 90}
        ),
    ),
]


@pytest.mark.parametrize("events", RUNS)
@pytest.mark.parametrize("width", [PIPED_WIDTH, 40])
def test_a_run_is_shown_within_its_width_and_does_nothing_to_the_terminal(
    events: tuple[e.Event, ...], width: int
) -> None:
    text = shown(stored(*events), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text) < 40_000


@pytest.mark.parametrize("events", RUNS)
def test_a_run_is_a_line_of_a_list_and_its_events_are_lines(events: tuple[e.Event, ...]) -> None:
    run = stored(*events)
    lines = [run_line(listed(run.row)), *(event_line(told(one, CODEC)) for one in run.history)]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("events", RUNS)
def test_a_run_is_told_to_scripts_as_json(events: tuple[e.Event, ...]) -> None:
    run = stored(*events)
    assert json_line(describe(run, CODEC)).startswith(b'{"run_id":')
    assert json_line([told(one, CODEC) for one in run.history]).startswith(b"[")


def test_a_large_result_says_how_to_see_all_of_it() -> None:
    text = shown(stored(started(), e.RunCompleted(result=payload("y" * 5_000))))
    assert "(5002 characters; all of it: holdfast show order-1 --json)" in " ".join(text.split())


def test_all_runs_in_motion_are_drawn_whatever_they_are_parked_for() -> None:
    run: dict[str, Any] = {
        "status": "PARKED", "workflow": "[/x]", "started_at": "2026-11-23T12:00:00+00:00", "parked": f"[/y] {ESCAPE}",
    }  # fmt: skip
    written = io.StringIO()
    Console(file=written, width=PIPED_WIDTH).print(picture_of_all({"r": run}, ["r"]))
    assert "[/y] \\x1b[2J" in written.getvalue()
