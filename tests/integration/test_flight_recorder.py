"""The flight recorder: what a process was doing is read after its end, and after its end alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.adapters.recorder import SLOTS, FlightFolder
from holdfast.ports.deaths import Death

PROGRAM = """
import ctypes, os, signal, sys
from pathlib import Path
from holdfast.adapters.recorder import FlightFolder

recorder = FlightFolder(Path({folder!r})).record("the pilot")
recorder.turn("earlier", 0, 1)
recorder.turn("order-1042", 2, 2**33)
done = recorder.begin("order-1", 0, "done#1", 1)
recorder.begin("order-1042", 2, "grind ü#1", 3)
recorder.begin("order-7", 0, "grind#1", 1)
recorder.begin("order-7", 0, "grind#1", 2)
recorder.end(done)
{then}
"""
IN_HAND = {
    ("order-1042", 2, "", 2**33, 0),
    ("order-1042", 2, "grind ü#1", 0, 3),
    ("order-7", 0, "grind#1", 0, 2),
}


def ended(folder: Path, then: str) -> None:
    program = PROGRAM.format(folder=str(folder), then=then)
    subprocess.run([sys.executable, "-c", program], timeout=30, check=False)


def reader(folder: Path) -> str:
    """Another process that looks for crashes, and how many it gets."""
    program = f"""
from pathlib import Path
from holdfast.adapters.recorder import FlightFolder
print(len(FlightFolder(Path({str(folder)!r})).crashed()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


@contextmanager
def living(folder: Path) -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(folder=str(folder), then="print('flies', flush=True); input()")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "flies\n"
            yield process
        finally:
            process.kill()


def facts(deaths: tuple[Death, ...]) -> set[tuple[str, int, str, int, int]]:
    return {(death.run_id, death.incarnation, death.step_id, death.seq, death.attempt) for death in deaths}


@pytest.mark.parametrize(
    "then",
    [
        "os._exit(1)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "ctypes.string_at(0)",
        "os.abort()",
    ],
)
def test_what_a_process_had_in_hand_is_read_after_it_died(tmp_path: Path, then: str) -> None:
    ended(tmp_path, then)

    (crash,) = FlightFolder(tmp_path).crashed()

    assert crash.process == "the pilot"
    assert facts(crash.held) == IN_HAND


def test_a_process_that_ends_in_good_order_leaves_nothing(tmp_path: Path) -> None:
    ended(tmp_path, "recorder.close()")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_had_nothing_in_hand_is_no_crash_and_its_file_goes(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from holdfast.adapters.recorder import FlightFolder
FlightFolder(Path({str(tmp_path)!r})).record("idle").landed()
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert FlightFolder(tmp_path).crashed() == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_told_to_stop_is_not_counted(tmp_path: Path) -> None:
    ended(tmp_path, "recorder.stopping(); os._exit(1)")
    assert FlightFolder(tmp_path).crashed() == []


def test_the_record_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    with living(tmp_path) as process:
        assert FlightFolder(tmp_path).crashed() == []
        assert len(list(tmp_path.iterdir())) == 1
        process.kill()
        process.wait(30)
        assert len(FlightFolder(tmp_path).crashed()) == 1


def test_a_process_that_is_paused_is_not_dead(tmp_path: Path) -> None:
    with living(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert FlightFolder(tmp_path).crashed() == []


def test_a_child_that_lives_on_does_not_hide_the_death(tmp_path: Path) -> None:
    program = PROGRAM.format(folder=str(tmp_path), then="os.fork() and os._exit(1)\nsys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        process.wait(30)
        assert len(FlightFolder(tmp_path).crashed()) == 1


def test_two_readers_do_not_both_get_a_record(tmp_path: Path) -> None:
    ended(tmp_path, "os._exit(1)")
    folder = FlightFolder(tmp_path)

    (crash,) = folder.crashed()

    assert reader(tmp_path) == "0\n"
    assert folder.crashed() == []  # it is in this reader's hands already
    folder.settle(crash)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_was_not_settled_is_there_for_the_next_reader(tmp_path: Path) -> None:
    ended(tmp_path, "os._exit(1)")
    assert reader(tmp_path) == "1\n"
    assert reader(tmp_path) == "1\n"


def test_what_ended_the_machine_is_not_counted(tmp_path: Path) -> None:
    ended(tmp_path, "os._exit(1)")
    (path,) = tmp_path.iterdir()
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"another-boot-of-this-machine".ljust(64, b"\0"))
    assert FlightFolder(tmp_path).crashed() == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "odd.flight").write_bytes(b"holdfast")
    assert FlightFolder(tmp_path).crashed() == []


def test_a_process_says_why_it_ends_itself(tmp_path: Path) -> None:
    ended(tmp_path, "recorder.accuse('turn_too_long', 'shop.py:12 spins\\n' + 'x' * 5000); os._exit(70)")
    (crash,) = FlightFolder(tmp_path).crashed()
    (turn,) = (death for death in crash.held if death.is_turn)
    assert turn.reason == "turn_too_long"
    assert turn.detail.startswith("shop.py:12 spins\nxxx")


def test_more_attempts_than_there_is_room_for_are_executed_all_the_same(tmp_path: Path) -> None:
    recorder = FlightFolder(tmp_path).record("busy")
    slots = [recorder.begin("r", 0, f"s#{number}", 1) for number in range(SLOTS + 5)]
    assert slots[SLOTS:] == [0] * 5
    assert recorder.begin("r", 0, "s" * 4_000, 1) == 0
    for slot in slots:
        recorder.end(slot)
    assert recorder.begin("r", 0, "again#1", 1)
    recorder.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        FlightFolder(tmp_path / "taken").record("p")
    assert FlightFolder(tmp_path / "nowhere").crashed() == ()


def test_a_process_does_not_read_its_own_record_or_those_of_its_other_engines(tmp_path: Path) -> None:
    folder = FlightFolder(tmp_path)
    one, other = folder.record("one"), FlightFolder(tmp_path).record("other")
    one.begin("r", 0, "s#1", os.getpid())
    assert folder.crashed() == []
    one.close()
    other.close()
    assert list(tmp_path.iterdir()) == []
