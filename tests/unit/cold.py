"""A fresh process that tries calls in turns: each in a child of its own, cold, again, and after it was made outside.

On its standard input a JSON list of texts of Python, each run as a line of the author's; on its output what came of
each, three times: "refused", "given", or the error. A line is really run, in a child: it must do no harm there.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.loop import DurableTimer, WorkflowLoop
from holdfast.sdk.watched import install

FILE = "/author/flow.py"
START = 1_700_000_000_000_000
NAMES = (
    "asyncio", "codecs", "concurrent.futures", "dataclasses", "datetime", "decimal", "email", "gettext", "importlib",
    "inspect", "linecache", "locale", "logging", "mimetypes", "os", "pathlib", "pkgutil", "platform", "random", "re",
    "secrets", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "traceback", "uuid",
    "warnings", "zoneinfo",
)  # fmt: skip


class NoTimers:
    def start(self, timer: DurableTimer) -> None:
        """Nothing is due."""

    def cancel(self, timer: DurableTimer) -> None:
        """Nothing waits."""

    def is_waiting(self) -> bool:
        return False


def in_a_turn(work: Callable[[], Any]) -> Any:
    """What `work` gives, or raises, when an author calls it in a workflow."""

    async def main() -> Any:
        given = work()
        return await given if asyncio.iscoroutine(given) else given

    loop = WorkflowLoop(NoTimers())
    loop.set_time(START)
    task = loop.create_task(main())
    loop.drain()
    try:
        return task.result()
    finally:
        loop.close()


def line_of(text: str, names: dict[str, Any]) -> Callable[[], Any]:
    """Make a function of one line of the author's."""
    try:
        code = compile(text, FILE, "eval")
    except SyntaxError:
        code = compile(text, FILE, "exec")
    names["__name__"] = "flow"
    return lambda: eval(code, names)  # noqa: S307 - a line of the test's own


def names() -> dict[str, Any]:
    found = {name.partition(".")[0]: __import__(name) for name in NAMES}
    return {**found, "Path": found["pathlib"].Path, "ZoneInfo": found["zoneinfo"].ZoneInfo}


def outcome(work: Callable[[], Any]) -> str:
    try:
        in_a_turn(work)
    except NotDeterministic:
        return "refused"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return repr(error)
    return "given"


def tried(text: str) -> list[str]:
    """Cold, again in the same process, and in another one that has made the call outside of turns before."""
    return [*in_a_child(lambda: cold(text)), *in_a_child(lambda: warm(text))]


def cold(text: str) -> list[str]:
    work = line_of(text, names())
    return [outcome(work), outcome(work)]


def warm(text: str) -> list[str]:
    work = line_of(text, names())
    me = os.getpid()
    with contextlib.suppress(Exception):
        work()
    if os.getpid() != me:
        os._exit(0)  # the line was a fork
    return [outcome(work)]


def in_a_child(work: Callable[[], list[str]]) -> list[str]:
    reading, writing = os.pipe()
    if not os.fork():
        sys.stdin, sys.stdout = Path(os.devnull).open(), Path(os.devnull).open("w")  # noqa: SIM115 - they end with the child
        try:
            told: list[str] = work()
        except BaseException as error:  # noqa: BLE001 - as in outcome()
            told = [repr(error)]
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b'["died"]')
    os.wait()
    return told


if __name__ == "__main__":
    install()
    texts: list[str] = json.load(sys.stdin)
    json.dump([tried(text) for text in texts], sys.stdout)
