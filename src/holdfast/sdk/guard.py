"""What workflow code must not do, and the error that says so.

Laws of this file:
- Workflow code runs on a thread exactly while that thread's running event loop is `Deterministic`. There is no other
  flag, so code of other threads and of the process's own loop is never refused anything.
- A refusal names the call and the author's line, and says what to write instead.
- Importing this module changes nothing. `install()`, called by the composition root alone, changes the process, once.
- Imports, logging and the printing of tracebacks may read files and clocks inside a turn: nothing of it comes back to
  the workflow.

What `install()` catches, in a turn: sockets, files, folders, processes, threads (audit events); `time.sleep`,
`time.time`, `monotonic`, `perf_counter` and their `_ns`, also behind `date.today` and `datetime.today`; `os.urandom`,
and with it `uuid.uuid4` and `secrets`; `uuid.uuid1`; the functions of the module `random`, even where one was imported
by name before (all but `random.random` itself).

What it cannot catch: `datetime.now` and `datetime.utcnow`, which are C and read the clock themselves; a clock imported
by name before (`from time import time`); the author's own `random.Random()`; numpy's generators; a set of strings,
whose order changes with every process. There the replay notices, when another request follows, and parks the run.
"""

import asyncio
import os
import random
import sys
import threading
import time
import uuid
from asyncio import _get_running_loop
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NoReturn

from holdfast.sdk.frames import Place, is_engine, is_library, is_stdlib, turn

IN_A_STEP: Final = "Move it into a step and await the step here."
SLEEP: Final = "Use await asyncio.sleep(), which is durable here."
NOW: Final = "Use workflow.now(), or move it into a step."
CHANCE: Final = "Use workflow.random() or workflow.uuid4(), or move it into a step."

# An import may run these; what is in OUTSIDE it may not.
_INSIDE: Final = frozenset({
    "open",
    "os.link",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
    "os.symlink",
    "os.truncate",
    "socket.gethostname",
})  # fmt: skip
_OUTSIDE: Final = frozenset({
    "_thread.start_joinable_thread",
    "_thread.start_new_thread",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "socket.__new__",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.getnameinfo",
    "socket.sendmsg",
    "socket.sendto",
    "sqlite3.connect",
    "subprocess.Popen",
    "threading._start_new_thread",
    "time.sleep",
})  # fmt: skip
_REFUSED: Final = _INSIDE | _OUTSIDE

_CLOCKS: Final = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")

_IMPORTS: Final = frozenset({
    "_frozen_importlib",
    "_frozen_importlib_external",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "zipimport",
})  # fmt: skip
_REPORTS: Final = frozenset({"linecache", "logging", "traceback", "warnings"})


class Deterministic:
    """Marks an event loop whose callbacks are workflow code."""

    __slots__ = ()

    def next_number(self) -> int:
        """The next number in the order of creation."""
        raise NotImplementedError


class NotDeterministic(RuntimeError):
    """Workflow code asked for something that a replay could not repeat."""

    def __init__(self, call: str, advice: str, file: str, line: int) -> None:
        self.call = call
        self.file = file
        self.line = line
        super().__init__(
            f"{call} in workflow code is refused: a replay could not repeat it\n  {Place(file, line)}\n  {advice}"
        )


def refuse(call: str, advice: str = IN_A_STEP, *, depth: int = 1) -> NoReturn:
    """Raise NotDeterministic in the name of the author's line, `depth` frames or more above the caller's."""
    asked, author, library = call, None, None
    for frame, module in turn(sys._getframe(depth)):  # noqa: SLF001 - the only way to a frame
        if is_engine(module):
            continue
        if is_stdlib(frame):
            asked = f"{module}.{frame.f_code.co_qualname}" if author is None and library is None else asked
        elif is_library(frame):
            library = library or frame
        else:
            author = frame
            break
    blamed = author or library or sys._getframe(depth)  # noqa: SLF001 - as above
    named = call if asked == call else f"{asked} ({call})"
    raise NotDeterministic(named, advice, blamed.f_code.co_filename, blamed.f_lineno)


def _check(call: str, advice: str) -> None:
    """Refuse `call` in the frame above the caller's, unless the engine, an import or a report asks for it."""
    asking = sys._getframe(2)  # noqa: SLF001 - the only way to a frame
    if is_engine(asking.f_globals.get("__name__", "")):
        return
    for _, module in turn(asking):
        if module.partition(".")[0] in _REPORTS or (module in _IMPORTS and call not in _OUTSIDE):
            return
    refuse(call, advice, depth=3)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if event in _REFUSED and isinstance(_get_running_loop(), Deterministic):
        _check(event, IN_A_STEP)


@cache
def install_audit_hook() -> None:
    """Refuse, from now on, what audit events tell of; there is no way back. Costs other code 0.2 µs for each event."""
    sys.addaudithook(_audit)


class Watched:
    """A function that is refused in a turn and runs as ever outside it. Being an object, it never binds as a method."""

    __slots__ = ("__wrapped__", "_advice", "_call")

    def __init__(self, call: str, real: Callable[..., Any], advice: str) -> None:
        self.__wrapped__ = real
        self._call = call
        self._advice = advice

    def __call__(self, *args: Any, **named: Any) -> Any:
        if isinstance(_get_running_loop(), Deterministic):
            _check(self._call, self._advice)
        return self.__wrapped__(*args, **named)

    def __repr__(self) -> str:
        return f"<{self._call}, watched>"


class _SharedRandom(random.Random):
    """The generator behind the module `random`: all of the module's functions end in one of these two."""

    def random(self) -> float:
        if isinstance(_get_running_loop(), Deterministic):
            _check("random.random", CHANCE)
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        if isinstance(_get_running_loop(), Deterministic):
            _check("random.getrandbits", CHANCE)
        return super().getrandbits(k)


def _watch_random() -> None:
    shared = random._inst  # noqa: SLF001 - the module's functions are its methods
    shared.__class__ = _SharedRandom  # reaches `from random import choice` too
    random.random = shared.random
    random.getrandbits = shared.getrandbits
    random._urandom = Watched("os.urandom", os.urandom, CHANCE)  # type: ignore[attr-defined]  # noqa: SLF001 - behind secrets


def _refused(name: str) -> Any:
    def method(*_: Any, **__: Any) -> Any:
        refuse(f"loop.{name}")

    method.__name__ = name
    return method


class RefusingLoop(Deterministic, asyncio.AbstractEventLoop):
    """What an event loop can do, and workflow code must not ask of it."""

    __slots__ = ()

    add_reader = _refused("add_reader")
    add_signal_handler = _refused("add_signal_handler")
    add_writer = _refused("add_writer")
    call_soon_threadsafe = _refused("call_soon_threadsafe")
    connect_accepted_socket = _refused("connect_accepted_socket")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    create_connection = _refused("create_connection")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    remove_reader = _refused("remove_reader")
    remove_signal_handler = _refused("remove_signal_handler")
    remove_writer = _refused("remove_writer")
    run_forever = _refused("run_forever")
    run_in_executor = _refused("run_in_executor")
    run_until_complete = _refused("run_until_complete")
    sendfile = _refused("sendfile")
    set_default_executor = _refused("set_default_executor")
    set_task_factory = _refused("set_task_factory")
    shutdown_default_executor = _refused("shutdown_default_executor")
    sock_accept = _refused("sock_accept")
    sock_connect = _refused("sock_connect")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendfile = _refused("sock_sendfile")
    sock_sendto = _refused("sock_sendto")
    start_tls = _refused("start_tls")
    stop = _refused("stop")
    subprocess_exec = _refused("subprocess_exec")
    subprocess_shell = _refused("subprocess_shell")


@cache
def install() -> None:
    """Watch the whole process; for a composition root. Costs other code 0.2 µs for each clock reading and draw."""
    install_audit_hook()
    for name in _CLOCKS:
        setattr(time, name, Watched(f"time.{name}", getattr(time, name), NOW))
    _watch_random()
    time.sleep = Watched("time.sleep", time.sleep, SLEEP)
    if sys.version_info < (3, 12):  # where threads have no audit event
        start = "_start_new_thread"
        setattr(threading, start, Watched(f"threading.{start}", getattr(threading, start), IN_A_STEP))
    os.urandom = Watched("os.urandom", os.urandom, CHANCE)
    uuid.uuid1 = Watched("uuid.uuid1", uuid.uuid1, CHANCE)
