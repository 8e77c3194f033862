"""Libraries that workflow code may use although they ask for the time and for chance: they are given the run's own.

Laws of this file:
- Whoever asks is the innermost code that is not Python's own. If it is of a trusted library, its clocks tell the time
  of the event being applied, and chance is drawn from the run: the same again in every replay.
- What libraries draw takes nothing from `workflow.random()`, and begins anew with every turn: a library that draws once
  more, or once in a process, changes no other turn.
- Trust is a fact of the code, not of a process: it is said where workflows are defined, and is the same in each.
- Only clocks and chance are given. Sockets, files, threads, `time.sleep` stay refused.
"""

import datetime as dt
import random
import time
import uuid
from typing import Any, Final, Protocol

DEFAULT: Final = (
    "agents",
    "anyio",
    "backoff",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "logfire",
    "openai",
    "opentelemetry",
    "pydantic",
    "pydantic_ai",
    "pydantic_graph",
    "stamina",
    "structlog",
    "tenacity",
)
"""Trusted without being asked for: agent loops, and what they stand on."""

_trusted: Final = set(DEFAULT)


def trust(*packages: str) -> None:
    """Trust these packages, or modules, and what is below them."""
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")):
            raise ValueError(f"trust({package!r}): name a package or module, as in import statements")
    _trusted.update(packages)


def is_trusted(module: str) -> bool:
    while module:
        if module in _trusted:
            return True
        module = module.rpartition(".")[0]
    return False


class Own(Protocol):
    """What a run has of its own."""

    def time(self) -> float: ...

    def chance(self) -> random.Random: ...


def seconds(run: Own, *_: Any) -> float:
    return run.time()


def nanoseconds(run: Own, *_: Any) -> int:
    return round(run.time() * 1_000_000) * 1_000


def random_bytes(run: Own, size: int, *_: Any) -> bytes:
    return run.chance().randbytes(size)


def uuid1(run: Own, *_: Any, **__: Any) -> uuid.UUID:
    return uuid.UUID(int=run.chance().getrandbits(128), version=1)


def localtime(run: Own, *_: Any) -> time.struct_time:
    return time.localtime(run.time())


def gmtime(run: Own, *_: Any) -> time.struct_time:
    return time.gmtime(run.time())


def ctime(run: Own, *_: Any) -> str:
    return time.ctime(run.time())


def asctime(run: Own, *_: Any) -> str:
    return time.asctime(time.localtime(run.time()))


def strftime(run: Own, form: str, *_: Any) -> str:
    return time.strftime(form, time.localtime(run.time()))


def now(run: Own, kind: type[dt.datetime], zone: dt.tzinfo | None) -> dt.datetime:
    return kind.fromtimestamp(run.time(), zone)


def utcnow(run: Own, kind: type[dt.datetime]) -> dt.datetime:
    return kind.fromtimestamp(run.time(), dt.UTC).replace(tzinfo=None)


def seed(run: Own) -> int:
    return run.chance().getrandbits(256)
