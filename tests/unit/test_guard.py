"""What workflow code is refused, and what everyone else is not."""

# ruff: noqa: PLW0108 - a lambda here is the author's line, which a refusal has to name

import asyncio
import datetime as dt
import importlib
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import choice
from typing import Any

import pytest

from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.loop import DurableTimer, WorkflowLoop
from holdfast.sdk.watched import Watched, install

HERE = Path(__file__)


class NoTimers:
    def start(self, timer: DurableTimer) -> None:
        raise AssertionError

    def cancel(self, timer: DurableTimer) -> None:
        raise AssertionError

    def is_waiting(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def guarded() -> None:
    install()


def in_a_workflow(work: Callable[[], Any]) -> Any:
    """What `work` gives, or raises, when an author calls it in a workflow."""

    async def main() -> Any:
        return work()

    loop = WorkflowLoop(NoTimers())
    task = loop.create_task(main())
    loop.drain()
    try:
        return task.result()
    finally:
        loop.close()


REFUSED: dict[str, Callable[[], Any]] = {
    "open": lambda: HERE.open(),
    "os.stat": lambda: HERE.stat(),
    "os.getpid": lambda: os.getpid(),
    "os.environ": lambda: os.environ.update(NAME="value"),
    "os.listdir": lambda: os.listdir("."),  # noqa: PTH208 - the call itself is the subject
    "socket.__new__": lambda: socket.socket(),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
    "os.system": lambda: os.system("true"),  # noqa: S605 - never gets there
    "os.fork": lambda: os.fork(),
    "time.sleep": lambda: time.sleep(0),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "time.time": lambda: time.time(),
    "time.monotonic": lambda: time.monotonic(),
    "time.localtime": lambda: time.localtime(),
    "time.strftime": lambda: time.strftime("%H"),
    "datetime.datetime.now": lambda: dt.datetime.now(dt.UTC),
    "datetime.datetime.utcnow": lambda: dt.datetime.utcnow(),  # noqa: DTZ003 - the call itself is the subject
    "datetime.datetime.today": lambda: dt.datetime.today(),  # noqa: DTZ002 - the call itself is the subject
    "random.random": lambda: random.random(),
    "random.Random.randint": lambda: random.randint(1, 6),
    "random.Random.choice": lambda: choice("abc"),
    "random.Random.shuffle": lambda: random.shuffle([1, 2]),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "random.Random() without a seed": lambda: random.Random(),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "secrets.token_hex": lambda: secrets.token_hex(),
    "os.urandom": lambda: os.urandom(1),
}


@pytest.mark.parametrize("call", REFUSED)
def test_a_workflow_is_refused_what_a_replay_could_not_repeat(call: str) -> None:
    work = REFUSED[call]
    with pytest.raises(NotDeterministic) as refusal:
        in_a_workflow(work)
    named = "time.time" if call.endswith("today") else call
    assert named in refusal.value.call
    assert (refusal.value.file, refusal.value.line) == (str(HERE), work.__code__.co_firstlineno)
    assert "lambda:" in str(refusal.value)


@pytest.mark.parametrize("call", ["open", "time.time", "random.Random.randint", "uuid.uuid4", "time.sleep"])
def test_the_same_call_outside_a_turn_is_what_it_always_was(call: str) -> None:
    result = REFUSED[call]()
    if call == "open":
        result.close()


def test_another_thread_may_do_all_of_it_while_a_turn_runs() -> None:
    ready, go, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[float] = []

    def elsewhere() -> None:
        ready.set()
        assert go.wait(10)
        seen.extend([time.time(), random.random(), len(HERE.read_text())])
        done.set()

    def work() -> None:
        go.set()
        assert done.wait(10)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert ready.wait(10)
    in_a_workflow(work)
    thread.join()
    assert len(seen) == 3


def test_a_refusal_behind_the_standard_library_names_both_calls() -> None:
    with pytest.raises(NotDeterministic, match=r"uuid\.uuid4 \(os\.urandom\) .* refused.*\n.*\n.*workflow\.uuid4\(\)"):
        in_a_workflow(lambda: uuid.uuid4())


@pytest.fixture
def module_of_the_author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "author_lazy.py").write_text("import time\nat = time.time()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "author_lazy"
    sys.modules.pop("author_lazy", None)


def test_a_lazy_import_works(module_of_the_author: str) -> None:
    assert in_a_workflow(lambda: importlib.import_module(module_of_the_author)).at > 0


def test_logging_and_tracebacks_work_in_a_workflow(tmp_path: Path) -> None:
    logger = logging.getLogger("author")
    handler = logging.FileHandler(tmp_path / "author.log", delay=True)
    logger.addHandler(handler)

    def work() -> str:
        try:
            raise ValueError("seen")
        except ValueError:
            logger.exception("failed")
            return traceback.format_exc()

    try:
        assert 'raise ValueError("seen")' in in_a_workflow(work)
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert "ValueError: seen" in (tmp_path / "author.log").read_text()


def test_a_watched_clock_does_not_become_a_method() -> None:
    class Holder:
        clock = time.time

    assert Holder().clock() > 0  # type: ignore[misc]  # the test does what types forbid


def test_installing_twice_watches_once() -> None:
    install()
    assert isinstance(time.time, Watched)
    assert not isinstance(time.time.__wrapped__, Watched)


def test_something_among_the_modules_that_only_says_that_it_is_one_stops_nobody() -> None:
    program = """
import sys, types
class Library:
    __slots__ = ()
    __class__ = property(lambda self: types.ModuleType)
sys.modules["compiled_library"] = Library()
from holdfast.sdk.watched import install
install()
print("watched")
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.stdout == "watched\n", told.stderr


def test_gathers_in_a_set_are_ordered_by_number() -> None:
    async def main() -> list[int]:
        gathers = [asyncio.gather(asyncio.get_running_loop().create_future()) for _ in range(20)]
        done: set[Awaitable[Any]] = set(gathers)
        positions = [gathers.index(gather) for gather in done]  # type: ignore[arg-type]  # the test does what types forbid
        for gather in gathers:
            gather.cancel()
        return positions

    loop = WorkflowLoop(NoTimers())
    task = loop.create_task(main())
    loop.drain()
    shift = task.result().index(0)
    assert task.result()[shift:] + task.result()[:shift] == list(range(20))
    loop.close()


def test_the_shared_generator_gives_the_same_numbers_as_before() -> None:
    state = random.getstate()
    try:
        random.seed(7)
        own = random.Random(7)
        assert [random.random(), random.randint(1, 99), random.gauss(0, 1)] == [
            own.random(),
            own.randint(1, 99),
            own.gauss(0, 1),
        ]
    finally:
        random.setstate(state)


def test_importing_the_guard_changes_nothing() -> None:
    code = "import time; before = time.time; import holdfast.sdk.watched; assert time.time is before"
    source = str(HERE.parents[2] / "src")
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": source})
