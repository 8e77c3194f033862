"""A fresh process that tries calls in turns: each in a child of its own, cold, again, and after it was made outside.

On its standard input a JSON list of texts of Python, each run as a line of the author's; on its output what came of
each, three times: "refused", "given", or the error. A line is really run, in a child: it must do no harm there.
"""

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.core.events import RunStarted
from holdfast.core.payload import Payload
from holdfast.sdk.definitions import Workflow, workflow
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.watched import install

FILE = "/author/flow.py"
START = 1_700_000_000_000_000
NAMES = (
    "asyncio", "codecs", "concurrent.futures", "dataclasses", "datetime", "gettext", "hashlib",
    "importlib.metadata", "importlib.resources", "inspect", "json", "linecache", "locale", "logging", "mimetypes",
    "os", "pkgutil", "platform", "random", "resource", "secrets", "shutil", "socket", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "traceback", "urllib.request", "uuid", "warnings",
    "zoneinfo",
)  # fmt: skip


def in_a_turn(work: Callable[[], Any]) -> Any:
    """What `work` gives, or raises, when an author calls it in a workflow."""

    async def main() -> None:
        try:
            given = work()
            told.append(await given if inspect.isawaitable(given) else given)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test hears of it
            errors.append(error)

    told: list[Any] = []
    errors: list[BaseException] = []
    definition: Workflow[..., Any] = Workflow(main, "turn", "1")
    program = LiveProgram(lambda *_: definition, lambda payload: payload.data, "ns", "run-1", 0)
    program.apply(RunStarted(workflow="turn", version="1", input=Payload()), START)
    program.evict()
    if errors:
        raise errors[0]
    return told[0]


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
    return {**found, "Path": Path, "ZoneInfo": found["zoneinfo"].ZoneInfo, "workflow": workflow}


def outcome(work: Callable[[], Any]) -> str:
    try:
        in_a_turn(work)
    except NotDeterministic as refusal:
        return "refused" if refusal.file in {FILE, __file__} else str(refusal)  # here a coroutine is awaited
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
