"""The command line with real processes on the embedded profile."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client
from holdfast.settings import load
from tests.integration.commandline import (
    HOLDFAST,
    PATIENCE,
    complaint,
    done,
    environment,
    holdfast,
    line_of,
    started,
    until_status,
)

APP = """
import asyncio
from holdfast import Retry, signal, step, workflow


@step
async def add(one: int, other: int) -> int:
    return one + other


@step(retry=Retry(attempts=1))
async def refuse(why: str) -> None:
    raise ValueError(why)


@workflow
async def total(numbers: list[int]) -> int:
    found = 0
    for number in numbers:
        found = await add(found, number)
    return found


@workflow
async def refused(why: str) -> None:
    await refuse(why)


@workflow
async def waiting() -> str:
    return await signal("word", str)


@workflow
async def stubborn(swallows: int) -> str:
    for number in range(swallows):
        try:
            await signal("never")
        except asyncio.CancelledError:
            await add(number, 1)
    return await signal("word", str)


@workflow
async def tidying() -> None:
    try:
        await signal("never")
    finally:
        await signal("tidy")
"""


@contextmanager
def dev(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "app.py").write_text(APP)
    with started(folder, "dev", "app.py") as process:
        assert "serving workflows refused, stubborn, tidying, total, waiting" in line_of(process)
        assert "start a run: holdfast start refused --wait" in line_of(process)
        yield process


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where `holdfast dev app.py` runs."""
    folder = tmp_path_factory.mktemp("shop")
    with dev(folder):
        yield folder


def test_a_run_started_before_dev_is_done_when_dev_comes(tmp_path: Path) -> None:
    assert done(tmp_path, "start", "total", "--id", "early", "--input", "[1, 2]") == "early\n"

    with dev(tmp_path):
        assert until_status(tmp_path, "early", "COMPLETED")["result"] == 3


def test_start_with_wait_prints_the_result_as_json(shop: Path) -> None:
    assert done(shop, "start", "total", "--input", "[1, 2, 3]", "--wait") == "6\n"
    assert done(shop, "start", "total", "--input", "-", "--wait", stdin="[4]") == "4\n"
    (shop / "numbers.json").write_text("[5, 5]\n")
    assert done(shop, "start", "total", "--input", "@numbers.json", "--wait") == "10\n"


def test_the_same_start_again_gives_the_same_result_and_another_one_is_refused(shop: Path) -> None:
    for _ in range(2):
        assert done(shop, "start", "total", "--id", "again", "--input", "[7]", "--wait") == "7\n"

    said = complaint(holdfast(shop, "start", "total", "--id", "again", "--input", "[8]"), 2)

    assert "run again exists with another workflow or input" in said


def test_show_json_has_exactly_the_fields_of_the_contract(shop: Path) -> None:
    done(shop, "start", "total", "--id", "shown", "--input", "[1, 2]", "--attribute", "shop=left", "--wait")

    view = json.loads(done(shop, "show", "shown", "--json"))

    assert set(view) == {
        *("run_id", "workflow", "version", "status", "result", "error", "attributes"),
        *("started_at", "ended_at", "shard", "incarnation", "steps", "children", "parent", "parked", "waiting"),
    }
    assert (view["run_id"], view["workflow"], view["status"], view["result"]) == ("shown", "total", "COMPLETED", 3)
    assert view["attributes"] == {"shop": "left"}
    assert view["steps"] == [
        {"id": f"add#{number}", "name": "add", "state": "COMPLETED", "attempts": 1, "error": None} for number in (1, 2)
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", view["started_at"])


def test_show_for_people_tells_status_result_and_steps(shop: Path) -> None:
    done(shop, "start", "total", "--id", "pretty", "--input", "[1]", "--wait")

    said = done(shop, "show", "pretty")

    for word in ("pretty", "COMPLETED", "total", "add#1"):
        assert word in said
    assert "\x1b" not in said


def test_history_json_is_a_gapless_list(shop: Path) -> None:
    done(shop, "start", "total", "--id", "told", "--input", "[1]", "--wait")

    events = json.loads(done(shop, "history", "told", "--json"))

    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert [event["type"] for event in events] == ["RunStarted", "StepScheduled", "StepCompleted", "RunCompleted"]
    assert all(set(event) == {"seq", "type", "at", "data"} for event in events)
    assert events[0]["data"]["input"] == [1]
    assert len(done(shop, "history", "told").splitlines()) == 4


def test_list_is_one_json_object_a_line_and_filters(shop: Path) -> None:
    for name in ("listed-1", "listed-2"):
        done(shop, "start", "total", "--id", name, "--input", "[1]", "--wait")
    done(shop, "start", "waiting", "--id", "listed-3")
    until_status(shop, "listed-3", "SUSPENDED")

    def listed(*options: str) -> set[str]:
        return {json.loads(line)["run_id"] for line in done(shop, "list", "--json", *options).splitlines()}

    assert {"listed-1", "listed-2", "listed-3"} <= listed()
    assert {"listed-1", "listed-2"} <= listed("--workflow", "total", "--status", "completed")
    assert "listed-3" not in listed("--workflow", "total")
    assert "listed-3" in listed("--status", "SUSPENDED")
    assert len(listed("--limit", "2")) == 2
    assert "listed-1" in done(shop, "list")


def test_a_signal_is_heard_once_for_one_message_id(shop: Path) -> None:
    done(shop, "start", "waiting", "--id", "hears")
    for _ in range(2):
        result = holdfast(shop, "signal", "hears", "word", "--input", '"go"', "--message-id", "m1")
        assert result.returncode in {0, 2}  # the second may find that the run has ended

    view = until_status(shop, "hears", "COMPLETED")
    heard = [one for one in json.loads(done(shop, "history", "hears", "--json")) if one["type"] == "SignalReceived"]

    assert view["result"] == "go"
    assert len(heard) == 1
    assert "has ended (COMPLETED)" in complaint(holdfast(shop, "signal", "hears", "word"), 2)


def test_a_signal_may_come_before_its_run(shop: Path) -> None:
    assert "not started yet" in done(shop, "signal", "hears-early", "word", "--input", '"soon"')

    assert done(shop, "start", "waiting", "--id", "hears-early", "--wait") == '"soon"\n'


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        (("cancel", "--reason", "changed her mind"), "CANCELLED", "changed her mind"),
        (("terminate", "--reason", "entered twice"), "TERMINATED", "entered twice"),
    ],
)
def test_a_run_can_be_cancelled_and_terminated(shop: Path, command: tuple[str, ...], status: str, why: str) -> None:
    run = f"ends-{command[0]}"
    done(shop, "start", "waiting", "--id", run)

    done(shop, command[0], run, *command[1:])

    until_status(shop, run, status)
    assert why in complaint(holdfast(shop, "start", "waiting", "--id", run, "--wait"), 1)
    assert "nothing to" in done(shop, command[0], run, *command[1:])


def test_a_failed_run_is_exit_code_1_with_the_reason(shop: Path) -> None:
    result = holdfast(shop, "start", "refused", "--id", "fails", "--input", '"no paper"', "--wait")

    assert "no paper" in complaint(result, 1)
    assert result.stdout == ""
    assert json.loads(done(shop, "show", "fails", "--json"))["steps"][0]["state"] == "FAILED"


def test_an_unknown_workflow_parks_and_wait_says_why_with_exit_code_1(shop: Path) -> None:
    said = complaint(holdfast(shop, "start", "nothing", "--id", "parks", "--wait"), 1)

    assert "there is no workflow 'nothing'" in said
    assert "holdfast resume parks" in said
    assert "unknown_workflow" in json.loads(done(shop, "show", "parks", "--json"))["parked"]
    assert "nothing to resume" in done(shop, "resume", done(shop, "start", "waiting", "--id", "moves").strip())


def test_an_unknown_run_is_exit_code_3(shop: Path) -> None:
    for command in (("show",), ("watch",), ("terminate", "--reason", "x")):
        result = holdfast(shop, command[0], "nobody", *command[1:], "--no-wait")
        assert "there is no run nobody" in complaint(result, 3)


def test_a_run_that_was_just_started_elsewhere_is_waited_for(tmp_path: Path) -> None:
    done(tmp_path, "start", "total", "--id", "soon", "--input", "[1]")  # published, and nobody serves yet

    with started(tmp_path, "show", "soon", "--json") as showing, dev(tmp_path):
        said, complained = showing.communicate(timeout=PATIENCE)

    assert showing.returncode == 0, complained
    assert json.loads(said)["run_id"] == "soon"


def test_watch_of_a_run_tells_each_event_once_and_ends_with_it(shop: Path) -> None:
    done(shop, "start", "waiting", "--id", "watched")
    until_status(shop, "watched", "SUSPENDED")
    with started(shop, "watch", "watched", "--json") as watching:
        assert json.loads(line_of(watching))["type"] == "RunStarted"
        done(shop, "signal", "watched", "word", "--input", '"go"')
        said, complained = watching.communicate(timeout=PATIENCE)

    rest = [json.loads(line) for line in said.splitlines()]
    assert watching.returncode == 0, complained
    assert [one["type"] for one in rest] == ["SignalReceived", "RunCompleted"]
    assert all(one["run_id"] == "watched" for one in rest)


def test_watch_of_all_runs_tells_changes_until_ctrl_c(shop: Path) -> None:
    done(shop, "start", "waiting", "--id", "present")
    until_status(shop, "present", "SUSPENDED")
    with started(shop, "watch", "--json") as watching:
        seen = [json.loads(line_of(watching))]
        while seen[-1]["run_id"] != "present":
            seen.append(json.loads(line_of(watching)))
        assert "ended_at" in seen[-1]
        done(shop, "signal", "present", "word", "--input", '"go"')
        while (seen[-1]["run_id"], seen[-1]["status"]) != ("present", "COMPLETED"):
            seen.append(json.loads(line_of(watching)))
        watching.send_signal(signal.SIGINT)
        _, complained = watching.communicate(timeout=PATIENCE)

    assert watching.returncode == 130
    assert complained == ""


def test_watch_draws_in_a_terminal(shop: Path) -> None:
    done(shop, "start", "total", "--id", "drawn", "--input", "[1]", "--wait")
    ours, theirs = pty.openpty()
    try:
        watching = subprocess.Popen(
            [*HOLDFAST, "watch", "drawn"],
            cwd=shop,
            env=environment(TERM="xterm", COLUMNS="100"),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        _, complained = watching.communicate(timeout=PATIENCE)
        drawn = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert (watching.returncode, complained) == (0, b"")
    assert "\x1b[" in drawn
    assert "add#1" in drawn
    assert "COMPLETED" in drawn


def test_a_reader_that_goes_away_ends_the_command_without_a_word(shop: Path) -> None:
    with started(shop, "watch", "--json") as watching:
        assert watching.stdout is not None
        watching.stdout.close()
        done(shop, "start", "waiting", "--id", "unseen")
        assert watching.wait(PATIENCE) == 141
        assert watching.stderr is not None
        assert watching.stderr.read() == ""


def test_a_second_dev_on_one_file_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with dev(tmp_path) as first:
        said = complaint(holdfast(tmp_path, "dev", "app.py"), 4)

    assert f"process {first.pid} " in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_service_drains_and_ends_cleanly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with dev(tmp_path) as process:
        process.send_signal(number)
        _, complained = process.communicate(timeout=PATIENCE)

    assert process.returncode == code
    assert "Traceback" not in complained


def test_an_application_that_raises_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import holdfast\n\nnope()\n")

    said = complaint(holdfast(tmp_path, "dev", "app.py"), 2)

    assert said == "holdfast: your application: app.py:3: NameError: name 'nope' is not defined\n"


def test_a_port_that_is_in_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = complaint(holdfast(tmp_path, "dev", "app.py", "--health", address), 4)

    assert address in said
    assert "HOLDFAST_HEALTH" in said


def test_install_says_what_it_would_do_then_does_it_then_has_nothing_to_do(tmp_path: Path) -> None:
    would = done(tmp_path, "install", "--dry-run")
    assert not (tmp_path / ".holdfast").exists()
    assert would.startswith("would do: ")

    assert "64 shards" in done(tmp_path, "install")
    assert done(tmp_path, "install") == "nothing to do: all is installed\n"
    assert done(tmp_path, "install", "--dry-run") == "nothing to do: all is installed\n"
    assert "cannot change to 32" in complaint(holdfast(tmp_path, "install", "--shards", "32"), 2)


def test_doctor_finds_a_healthy_installation_and_a_missing_one(shop: Path, tmp_path: Path) -> None:
    healthy = done(shop, "doctor")
    missing = holdfast(tmp_path, "doctor")

    assert "64 shards" in healthy
    assert all(line.startswith("ok ") for line in healthy.splitlines())
    assert missing.returncode == 4
    assert "run holdfast install" in missing.stdout


def test_a_cluster_out_of_reach_is_exit_code_4_within_ten_seconds(tmp_path: Path) -> None:
    nobody = {"HOLDFAST_STORE": "postgresql://u:geheim@127.0.0.1:9/x", "HOLDFAST_LOG": "kafka://127.0.0.1:9"}
    for command in (("start", "total"), ("show", "order-1"), ("doctor",)):
        began = time.monotonic()
        result = holdfast(tmp_path, *command, **nobody)
        took = time.monotonic() - began

        assert complaint(result, 4)
        assert took < 10
        assert "geheim" not in result.stdout + result.stderr


def test_dead_letters_are_listed_with_their_reason(shop: Path) -> None:
    async def signal_too_late() -> None:
        async with Client(load({"store": f"sqlite:///{shop / '.holdfast' / 'holdfast.db'}"}, {})) as client:
            await client.signal("dead", "word", "late", message_id="late-1")

    done(shop, "start", "total", "--id", "dead", "--input", "[1]", "--wait")
    asyncio.run(signal_too_late())

    deadline = time.monotonic() + PATIENCE
    letters: list[dict[str, Any]] = []
    while not any(letter["key"] == "dead" for letter in letters):
        assert time.monotonic() < deadline
        letters = [json.loads(line) for line in done(shop, "dlq", "list", "--json").splitlines()]
    (letter,) = (letter for letter in letters if letter["key"] == "dead")
    assert letter["error_class"] == "run_ended"
    assert letter["source_topic"] == "holdfast.commands.v1"
    assert "run_ended" in done(shop, "dlq", "list")

    shown = json.loads(done(shop, "dlq", "show", str(letter["offset"])))
    assert shown["headers"]["holdfast_error_class"] == "run_ended"
    assert "run_ended" in done(shop, "dlq", "redrive", "--filter", "class=run_ended,run=dead", "--dry-run")
    assert complaint(holdfast(shop, "dlq", "show", "999999"), 3)
    assert done(shop, "dlq", "redrive", "--filter", "run=dead,since=1h") == "redriven 1 of 1 dead letters\n"
    deadline = time.monotonic() + PATIENCE
    while max(letter["redriven"] for letter in letters) == 0:
        assert time.monotonic() < deadline
        written = done(shop, "dlq", "list", "--filter", "run=dead", "--json").splitlines()
        letters = [json.loads(line) for line in written]
    assert [letter["redriven"] for letter in letters] == [0, 1]


def test_a_signal_of_the_wrong_type_is_told_to_its_sender_and_the_run_goes_on(shop: Path) -> None:
    done(shop, "start", "waiting", "--id", "typed")

    said = complaint(holdfast(shop, "signal", "typed", "word", "--input", "12"), 1)

    assert "holdfast: the signal: run typed refuses it: signal 'word' does not fit" in said
    letters = [json.loads(line) for line in done(shop, "dlq", "list", "--json").splitlines()]
    assert [letter["error_class"] for letter in letters if letter["key"] == "typed"] == ["unfit_signal"]
    assert done(shop, "signal", "typed", "word", "--input", '"twelve"') == "told typed: word\n"
    assert until_status(shop, "typed", "COMPLETED")["result"] == "twelve"


def test_who_waits_for_a_run_that_nobody_serves_is_told_how_to_serve_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with started(tmp_path, "start", "total", "--id", "lonely", "--input", "[1]", "--wait") as waits:
        assert waits.stderr is not None
        said = waits.stderr.readline()
        assert "run lonely waits: no process serves .holdfast/holdfast.db" in said
        assert said.rstrip().endswith("In another terminal, and in this folder: holdfast dev APP")
        with started(tmp_path, "dev", "app.py"):
            assert waits.stdout is not None
            assert waits.stdout.readline() == "1\n"


async def test_result_warns_of_a_run_that_nobody_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Client(load({"store": f"sqlite:///{tmp_path}/lonely.db"})) as client:
        run = await client.start("total", [1], id="lonely")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.result(), PATIENCE / 2)
    told = [record.getMessage() for record in caplog.records if record.name == "holdfast.client"]
    assert len(told) == 1
    assert "run lonely waits: no process serves" in told[0]


def test_a_signal_that_nobody_takes_says_so(tmp_path: Path) -> None:
    with dev(tmp_path):
        done(tmp_path, "start", "waiting", "--id", "left")
        until_status(tmp_path, "left", "SUSPENDED")
    said = done(tmp_path, "signal", "left", "word", "--input", '"x"')
    assert said.startswith("told left: word (nobody has taken it yet; run left waits: no process serves")


def test_a_cancellation_that_was_swallowed_may_be_asked_for_again(shop: Path) -> None:
    done(shop, "start", "stubborn", "--id", "deaf", "--input", "1")
    until_status(shop, "deaf", "SUSPENDED")
    assert done(shop, "cancel", "deaf") == "asked: cancel deaf\n"
    until_status(shop, "deaf", "SUSPENDED")
    assert done(shop, "signal", "deaf", "other") == "told deaf: other\n"
    until_steps(shop, "deaf", "add#1")
    assert done(shop, "cancel", "deaf") == "asked: cancel deaf\n"
    assert until_status(shop, "deaf", "CANCELLED")["status"] == "CANCELLED"
    assert done(shop, "cancel", "deaf") == "run deaf has ended (CANCELLED); nothing to cancel\n"


def test_a_cancellation_that_changes_nothing_says_so(shop: Path) -> None:
    done(shop, "start", "tidying", "--id", "tidy")
    until_status(shop, "tidy", "SUSPENDED")
    done(shop, "cancel", "tidy")

    said = done(shop, "cancel", "tidy")

    assert "run tidy was asked to stop at 20" in said
    assert "its code is still at work on it: nothing is changed; to end it without asking its code: " in said
    done(shop, "signal", "tidy", "tidy")
    until_status(shop, "tidy", "CANCELLED")


def until_steps(folder: Path, run: str, step: str) -> None:
    """Wait until a step of a run is completed, and the run waits for something else."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        view = json.loads(done(folder, "show", run, "--json"))
        if view["status"] == "SUSPENDED" and (step, "COMPLETED") in {
            (one["id"], one["state"]) for one in view["steps"]
        }:
            return
    raise AssertionError(f"{step} of {run} is not completed")


def test_a_scrape_of_a_serving_process_tells_what_it_has_done(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with started(tmp_path, "dev", "app.py", "--health", address) as process:
        line_of(process)
        done(tmp_path, "start", "total", "--input", "[1, 2]", "--wait")

        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
            numbers = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")

    expected = {
        "holdfast_ready": "1",
        "holdfast_shards": "64",
        'holdfast_runs_ended_total{status="COMPLETED"}': "1",
        'holdfast_attempts_total{outcome="completed"}': "2",
    }
    assert {name: numbers.get(name) for name in expected} == expected


def test_a_purged_run_is_told_of_by_its_tombstone_and_its_id_is_not_new_again(shop: Path) -> None:
    done(shop, "start", "total", "--id", "goes", "--input", "[1]", "--wait")

    assert done(shop, "purge", "goes") == "purged goes\n"

    assert "was purged on" in complaint(holdfast(shop, "show", "goes"), 3)
    assert "purged before" in done(shop, "purge", "goes")
    assert done(shop, "start", "total", "--id", "goes", "--input", "[1]") == "goes\n"
    assert "was purged on" in complaint(holdfast(shop, "start", "total", "--id", "goes", "--input", "[1]", "--wait"), 3)
    assert "choose another id" in complaint(holdfast(shop, "start", "total", "--id", "goes", "--input", "[2]"), 2)


def test_a_run_that_goes_on_or_was_never_there_is_not_purged(shop: Path) -> None:
    done(shop, "start", "waiting", "--id", "kept")
    until_status(shop, "kept", "SUSPENDED")

    assert "only a run that has ended can be purged" in complaint(holdfast(shop, "purge", "kept"), 1)
    assert "there is no run nowhere" in complaint(holdfast(shop, "purge", "nowhere", "--no-wait"), 3)
