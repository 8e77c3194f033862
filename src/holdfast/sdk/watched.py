"""Functions that are watched, because no audit event tells of them: clocks, chance, and facts of the process.

Laws of this file:
- `install()` changes the process, once; outside of turns everything is what it was. A composition root calls it before
  it loads an application. What was imported by name before that is found and watched, too.
- A watched function has no answer of its own in a turn: it is refused, or gives what a trusted library is given.

What cannot be caught: a clock kept before `install()` elsewhere than as a module's global (a default of a parameter,
`keep = datetime.now`); what was opened or started before the turn (a file, a database connection); the order of
a set of strings, `id()` and `hash()`. There the replay notices, if another request follows.
"""

import _thread
import concurrent.futures
import ctypes
import datetime as dt
import gc
import os
import platform
import random
import resource
import socket
import ssl
import sys
import tempfile
import threading
import time
import uuid
from asyncio import _get_running_loop
from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any, Final

from holdfast.sdk import trusted
from holdfast.sdk.frames import is_of_stdlib
from holdfast.sdk.guard import IN_A_STEP, Deterministic, check, install_audit_hook
from holdfast.sdk.late import when_imported
from holdfast.sdk.logs import silence_replays

SLEEP: Final = "Use await asyncio.sleep(), which is durable here."
NOW: Final = "Use workflow.now(), or move it into a step."
CHANCE: Final = "Use workflow.random() or workflow.uuid4(), or move it into a step."
FACT: Final = "It differs between processes: ask in a step and await the step here."

_ENGINE: Final = __name__.partition(".")[0]

Give = Callable[..., Any]

_CLOCKS: Final[dict[str, Give]] = {
    "time": trusted.seconds,
    "time_ns": trusted.nanoseconds,
    "monotonic": trusted.seconds,
    "monotonic_ns": trusted.nanoseconds,
    "perf_counter": trusted.seconds,
    "perf_counter_ns": trusted.nanoseconds,
    "process_time": trusted.seconds,
    "process_time_ns": trusted.nanoseconds,
    "thread_time": trusted.seconds,
    "thread_time_ns": trusted.nanoseconds,
    "clock_gettime": trusted.seconds,
    "clock_gettime_ns": trusted.nanoseconds,
}
_OF_A_TIME: Final[dict[str, tuple[int, Give]]] = {
    "localtime": (0, trusted.localtime),
    "gmtime": (0, trusted.gmtime),
    "ctime": (0, trusted.ctime),
    "asctime": (0, trusted.asctime),
    "strftime": (1, trusted.strftime),
}
"""They read the clock only when the argument at this place is left out."""

_OF_A_PATH: Final = ("access", "lstat", "readlink", "stat", "statvfs")
_FACTS: Final[tuple[tuple[ModuleType, tuple[str, ...]], ...]] = (
    (
        os,
        (
            "cpu_count",
            "get_terminal_size",
            "getcwd",
            "getcwdb",
            "getloadavg",
            "getlogin",
            "getpid",
            "getppid",
            "process_cpu_count",
            "sched_getaffinity",
            "times",
            "uname",
        ),
    ),
    (
        platform,
        (
            "architecture",
            "freedesktop_os_release",
            "libc_ver",
            "machine",
            "node",
            "platform",
            "processor",
            "release",
            "system",
            "uname",
            "version",
        ),
    ),
    (resource, ("getrusage",)),
    (tempfile, ("gettempdir", "gettempdirb")),
    (threading, ("get_ident", "get_native_id")),
    (uuid, ("getnode",)),
)
_CONNECTED: Final[tuple[tuple[type[Any], tuple[str, ...]], ...]] = (
    (socket.socket, ("recv", "recv_into", "recvfrom", "recvfrom_into", "send", "sendall")),
    (ssl.SSLSocket, ("read", "recv", "recv_into", "send", "sendall", "write")),
)
"""Of a socket that was connected before: a connection kept in a pool is refused as a new one is."""


_POOLS: Final = (concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor)
"""A pool whose threads run already starts none: what it is asked for is refused in any case."""

_ENVIRON: Final = ("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update")
"""What writes; some of it only when a name is there, or is not."""


class Watched:
    """A function that is judged in a turn and runs as ever outside it. Being an object, it never binds as a method."""

    __slots__ = ("__wrapped__", "_advice", "_call", "_has_path", "_own", "_reads_at")

    def __init__(
        self,
        call: str,
        real: Callable[..., Any],
        advice: str,
        own: Give | None = None,
        *,
        reads_at: int | None = None,
        has_path: bool = False,
    ) -> None:
        self.__wrapped__ = real
        self._call = call
        self._advice = advice
        self._own = own
        self._reads_at = reads_at
        self._has_path = has_path

    def __call__(self, *args: Any, **named: Any) -> Any:
        loop: object = _get_running_loop()
        if isinstance(loop, Deterministic):
            at = self._reads_at
            if at is not None and len(args) > at and args[at] is not None:
                return self.__wrapped__(*args, **named)
            path = (args[0] if args else named.get("path")) if self._has_path else None
            if check(self._call, self._advice, path=path, has_own=self._own is not None) and self._own is not None:
                return self._own(loop, *args, **named)
        return self.__wrapped__(*args, **named)

    # In `os.supports_fd` and its like, it is the function that it stands for.

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __eq__(self, other: object) -> bool:
        return self is other or self.__wrapped__ == other

    def __repr__(self) -> str:
        return f"<{self._call}, watched>"


class _SharedRandom(random.Random):
    """The generator behind the module `random`: all of the module's functions end in one of these."""

    def random(self) -> float:
        loop: object = _get_running_loop()
        if isinstance(loop, Deterministic) and check("random.random", CHANCE, has_own=True):
            return trusted.chance(loop).random()
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        loop: object = _get_running_loop()
        if isinstance(loop, Deterministic) and check("random.getrandbits", CHANCE, has_own=True):
            return trusted.chance(loop).getrandbits(k)
        return super().getrandbits(k)

    @property
    def gauss_next(self) -> float | None:
        # Every second call of gauss() keeps a number for the next.
        if isinstance(_get_running_loop(), Deterministic) and check("random.gauss", CHANCE, has_own=True):
            return None
        return self._second

    @gauss_next.setter
    def gauss_next(self, value: float | None) -> None:
        if not isinstance(_get_running_loop(), Deterministic):
            self._second = value

    def seed(self, a: Any = None, version: int = 2) -> None:
        if isinstance(_get_running_loop(), Deterministic):
            check("random.seed", CHANCE)
        super().seed(a, version)

    def getstate(self) -> tuple[Any, ...]:
        if isinstance(_get_running_loop(), Deterministic):
            check("random.getstate", CHANCE)
        return super().getstate()

    def setstate(self, state: tuple[Any, ...]) -> None:
        if isinstance(_get_running_loop(), Deterministic):
            check("random.setstate", CHANCE)
        super().setstate(state)


_seed: Final = random.Random.seed


@wraps(_seed)
def _watched_seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    loop: object = _get_running_loop()
    if a is None and isinstance(loop, Deterministic) and check("random.Random() without a seed", CHANCE, has_own=True):
        a = trusted.seed(loop)
    _seed(self, a, version)


class _Replacing:
    """What is put in the place of what; the real functions are kept, so that none takes another's address."""

    def __init__(self) -> None:
        self._by_address: dict[int, tuple[Any, Any]] = {}

    def function(self, module: ModuleType, name: str, **how: Any) -> None:
        real = getattr(module, name, None)
        if real is not None:  # else it is of another version of Python
            self.name(module, name, Watched(f"{module.__name__}.{name}", real, **how))

    def name(self, module: ModuleType, name: str, watched: Any) -> None:
        real = getattr(module, name)
        self._by_address[id(real)] = (real, watched)
        setattr(module, name, watched)

    def everywhere(self) -> None:
        """Judge `from time import time` alike, whether it was run before `install()` or is after."""
        modules: dict[str, Any] = dict(sys.modules)
        for name, module in modules.items():
            if name in sys.builtin_module_names or name.partition(".")[0] == _ENGINE:
                continue
            # Not by asking the module, which would load one that waits for its first use, or may lie about its class.
            is_module = issubclass(type(module), ModuleType)
            members: Any = object.__getattribute__(module, "__dict__") if is_module else {}
            is_stdlib = is_of_stdlib(members.get("__file__") or "")
            for member, value in list(members.items()):
                _, watched = self._by_address.get(id(value), (None, None))
                # With a thread's number Python itself finds what is on its way already, as when it prints a dataclass.
                if watched is not None and not (is_stdlib and value is _thread.get_ident):
                    members[member] = watched


def _watch_random(replacing: _Replacing) -> None:
    shared: Any = random._inst  # noqa: SLF001 - the module's functions are its methods
    second = vars(shared).pop("gauss_next", None)
    shared.__class__ = _SharedRandom  # reaches `from random import choice` too
    shared.gauss_next = second
    for name in ("random", "getrandbits", "seed", "getstate", "setstate"):
        replacing.name(random, name, getattr(shared, name))
    random.Random.seed = _watched_seed  # type: ignore[method-assign]  # where Random() goes for its seed


def _watch_method(owner: type[Any], name: str, call: str) -> None:
    real = getattr(owner, name)

    @wraps(real)
    def watched(self: Any, *args: Any, **named: Any) -> Any:
        if isinstance(_get_running_loop(), Deterministic):
            check(call, IN_A_STEP)
        return real(self, *args, **named)

    setattr(owner, name, watched)


def _watch_datetime() -> None:
    """Watch `datetime.now` and `utcnow`, which are C and read the clock themselves.

    The type stays the one that it is. Python has no way to write to its dictionary, but its garbage collector knows it;
    then the interpreter is told to forget what it has looked up.
    """
    for members in gc.get_referents(vars(dt.datetime)):
        if isinstance(members, dict) and "utcnow" in members:
            members["now"] = classmethod(_now(members["now"]))
            members["utcnow"] = classmethod(_utcnow(members["utcnow"]))
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))


def _now(real: Any) -> Callable[..., dt.datetime]:
    def now(cls: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
        """Return the current date and time, in the time zone `tz` if one is given."""
        loop: object = _get_running_loop()
        if isinstance(loop, Deterministic) and check("datetime.datetime.now", NOW, has_own=True):
            return trusted.now(loop, cls, tz)
        given: dt.datetime = real.__get__(None, cls)(tz)
        return given

    return now


def _utcnow(real: Any) -> Callable[..., dt.datetime]:
    def utcnow(cls: type[dt.datetime]) -> dt.datetime:
        """Return the current date and time in UTC, without a time zone."""
        loop: object = _get_running_loop()
        if isinstance(loop, Deterministic) and check("datetime.datetime.utcnow", NOW, has_own=True):
            return trusted.utcnow(loop, cls)
        given: dt.datetime = real.__get__(None, cls)()
        return given

    return utcnow


def _watch_clocks(replacing: _Replacing) -> None:
    for name, own in _CLOCKS.items():
        replacing.function(time, name, advice=NOW, own=own)
    for name, (reads_at, own) in _OF_A_TIME.items():
        replacing.function(time, name, advice=NOW, own=own, reads_at=reads_at)


def _watch_late(replacing: _Replacing) -> None:
    def numpy(module: ModuleType) -> None:
        shared = getattr(getattr(module, "mtrand", None), "_rand", module)
        for name, value in list(vars(module).items()):
            if getattr(value, "__self__", module) is shared or name in {"ranf", "sample", "seed", "set_bit_generator"}:
                replacing.function(module, name, advice=CHANCE)

    def uuid7(module: ModuleType) -> None:
        replacing.function(module, "uuid7", advice=CHANCE, own=trusted.uuid7)

    when_imported("numpy.random", numpy)
    when_imported("pydantic_ai._uuid", uuid7)  # it counts for the whole process


@cache
def install() -> None:
    """Watch the whole process; for a composition root. Costs other code 0.2 µs for each clock reading and draw."""
    install_audit_hook()
    replacing = _Replacing()
    _watch_clocks(replacing)
    replacing.function(time, "sleep", advice=SLEEP)
    for module, name in ((os, "urandom"), (os, "getrandom"), (ssl, "RAND_bytes")):
        replacing.function(module, name, advice=CHANCE, own=trusted.random_bytes)
    replacing.function(uuid, "uuid1", advice=CHANCE, own=trusted.uuid1)
    for name in ("uuid6", "uuid7"):  # they count for the whole process
        replacing.function(uuid, name, advice=CHANCE, own=trusted.uuid7)
    _watch_late(replacing)
    _watch_random(replacing)
    for name in _OF_A_PATH:
        replacing.function(os, name, advice=IN_A_STEP, has_path=True)
    for module, names in _FACTS:
        for name in names:
            replacing.function(module, name, advice=FACT)
    if sys.version_info < (3, 12):  # where threads have no audit event
        replacing.function(threading, "_start_new_thread", advice=IN_A_STEP)
    replacing.everywhere()
    for owner, names in _CONNECTED:
        for name in names:
            _watch_method(owner, name, f"socket.{name}")
    for name in _ENVIRON:
        _watch_method(type(os.environ), name, f"os.environ.{name}")
    for pool in _POOLS:
        _watch_method(pool, "submit", f"{pool.__name__}.submit")
    _watch_datetime()
    silence_replays()
