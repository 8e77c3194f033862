"""Libraries that workflow code may use although they ask for the time and for chance: they are given the run's own.

Laws of this file:
- Whoever asks is the innermost code that is not Python's own. If it is of a trusted library, its clocks tell the time
  of the event being applied, and chance is drawn from the run: the same again in every replay.
- What libraries draw takes nothing from `workflow.random()`. It depends on the turn and on the functions through which
  it is asked for: what a library draws once in a process, or once more in its next release, changes nothing else.
- Trust is a fact of the code, not of a process: it is said where workflows are defined, and is the same in each.
- Only clocks and chance are given. Sockets, files, threads, `time.sleep` stay refused.
"""

import datetime as dt
import random
import sys
import time
import uuid
from typing import Any, Final, Protocol

from holdfast.sdk.frames import path_of

DEFAULT: Final = (
    "agents",
    "anyio",
    "backoff",
    "genai_prices",
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

    def chance(self, path: str) -> random.Random: ...


def chance(run: Own) -> random.Random:
    """Give the generator for whoever asks."""
    return run.chance(path_of(sys._getframe(1)))  # noqa: SLF001 - the only way to a frame


def seconds(run: Own, *_: Any) -> float:
    return run.time()


def nanoseconds(run: Own, *_: Any) -> int:
    return round(run.time() * 1_000_000) * 1_000


def random_bytes(run: Own, size: int, *_: Any) -> bytes:
    return chance(run).randbytes(size)


def uuid1(run: Own, *_: Any, **__: Any) -> uuid.UUID:
    return uuid.UUID(int=chance(run).getrandbits(128), version=1)


def uuid7(run: Own, *_: Any, **__: Any) -> uuid.UUID:
    """Make it of the run's time and chance, without the counter that a process would keep."""
    bits = chance(run).getrandbits(74)
    return uuid.UUID(int=int(run.time() * 1_000) << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & (1 << 62) - 1)


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
    return chance(run).getrandbits(256)
