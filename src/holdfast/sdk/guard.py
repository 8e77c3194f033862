"""What workflow code is refused, and the error that says so.

Laws of this file:
- Workflow code runs on a thread exactly while that thread's running event loop is `Deterministic`. There is no other
  flag, so code of other threads and of the process's own loop is never refused anything.
- A refusal names the call and the author's line, and says what to write instead.
- What is refused depends on who asks and for what, never on what the process has cached, imported or opened before.
- Who asks is the innermost code that is not Python's own. Readers (readers.py) may always; a library may read what was
  installed; a trusted library (trusted.py) gets the run's own clock and chance; all else is refused.
- Importing this module changes nothing. `install()` of watched.py changes the process, once.
"""

import asyncio
import os
import sys
from asyncio import _get_running_loop
from collections.abc import Iterable
from functools import cache
from random import Random
from types import FrameType
from typing import Any, Final, NoReturn

from holdfast.sdk import readers
from holdfast.sdk.collecting import is_collecting, is_of_collector, watch_collector
from holdfast.sdk.frames import (
    Place,
    carries,
    is_author,
    is_engine,
    is_generated,
    is_library,
    is_stdlib,
    module_of,
    standing,
    turn,
)
from holdfast.sdk.trusted import is_trusted

IN_A_STEP: Final = "Move it into a step and await the step here."

_OF_FILES: Final = frozenset({"open", "os.listdir", "os.scandir"})
"""Whose first argument is a path that may belong to the deployment."""

_REFUSED: Final = _OF_FILES | {
    "_thread.start_joinable_thread",
    "_thread.start_new_thread",
    "builtins.input",
    "ftplib.sendcmd",
    "http.client.send",
    "imaplib.send",
    "os.chdir",
    "os.chmod",
    "os.chown",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.getxattr",
    "os.kill",
    "os.killpg",
    "os.link",
    "os.listxattr",
    "os.lockf",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.spawn",
    "os.symlink",
    "os.system",
    "os.truncate",
    "os.unsetenv",
    "os.utime",
    "poplib.putline",
    "pty.spawn",
    "smtplib.send",
    "socket.__new__",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.gethostname",
    "socket.getnameinfo",
    "socket.sendmsg",
    "socket.sendto",
    "sqlite3.connect",
    "subprocess.Popen",
    "threading._start_new_thread",
    "time.sleep",
}

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Deterministic:
    """Marks an event loop whose callbacks are workflow code."""

    __slots__ = ()

    def next_number(self) -> int:
        """The next number in the order of creation."""
        raise NotImplementedError

    def coroutines(self) -> Iterable[Any]:
        """Those of the tasks that are not done, the youngest first."""
        raise NotImplementedError

    def time(self) -> float:
        """The time of the event being applied, in seconds since the epoch."""
        raise NotImplementedError

    def repeats(self) -> bool:
        """Whether what runs has happened before, or has no effect: then it says nothing."""
        raise NotImplementedError

    def chance(self, path: str) -> Random:
        """The generator that libraries draw from when they ask by this path of functions; the same in every replay."""
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
        if is_library(frame):
            library = library or frame
        elif _is_somebody(frame):
            author = frame
            break
        elif library is None:
            asked = f"{module}.{frame.f_code.co_qualname}"
    blamed = author or _waiting() or library or sys._getframe(depth)  # noqa: SLF001 - as above
    named = call if asked == call else f"{asked} ({call})"
    raise NotDeterministic(named, advice, blamed.f_code.co_filename, blamed.f_lineno)


def _waiting() -> FrameType | None:
    """A task that a library has made has no line of the author's: take that of the youngest task that has one."""
    loop: Any = _get_running_loop()
    coroutines: Iterable[Any] = loop.coroutines() if isinstance(loop, Deterministic) else ()
    return next((frame for one in coroutines for frame in standing(one) if is_author(frame)), None)


def check(call: str, advice: str = IN_A_STEP, *, path: object = None, has_own: bool = False) -> bool:
    """Judge a call of the frame above the caller's: refused, or allowed; True: with what the run has of its own."""
    asking = sys._getframe(2)  # noqa: SLF001 - the only way to a frame
    module = module_of(asking)
    if (is_engine(module) and not carries(module)) or is_collecting():
        return False
    who: tuple[FrameType, str] | None = None
    for frame, module in turn(asking):
        if who is None:
            if is_engine(module) and not carries(module):
                return False
            if _is_somebody(frame) or is_trusted(module):
                who = frame, module
        if readers.is_reader(module, frame.f_code.co_name) or is_of_collector(frame):
            return False
    if path is not None and _may_read(who, call, path):
        return False
    if has_own and who is not None:
        if is_trusted(who[1]) or carries(who[1]):
            return True
        if is_library(who[0]):
            advice += f' Or let it have the run\'s own: workflow.trust("{who[1].partition(".")[0]}").'
    refuse(call, advice, depth=3)


def _is_somebody(frame: FrameType) -> bool:
    return not (is_generated(frame) or is_stdlib(frame))


def _may_read(who: tuple[FrameType, str] | None, call: str, path: object) -> bool:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    file = os.fsdecode(path)
    if call == "open" and readers.is_of_zones(file):
        return True
    return who is not None and is_library(who[0]) and readers.is_deployed(file)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in _REFUSED and isinstance(_get_running_loop(), Deterministic):
        path = args[0] if event in _OF_FILES and args and not _is_writing(event, args) else None
        check(event, path=path)


def _is_writing(event: str, args: tuple[Any, ...]) -> bool:
    return event == "open" and len(args) > 2 and isinstance(args[2], int) and bool(args[2] & _WRITES)  # noqa: PLR2004 - path, mode, flags


@cache
def install_audit_hook() -> None:
    """Refuse, from now on, what audit events tell of; there is no way back. Costs other code 0.2 µs for each event."""
    watch_collector()
    sys.addaudithook(_audit)


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
