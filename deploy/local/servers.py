"""Kafka, PostgreSQL and Redis without containers, in one folder, for development and tests.

Laws of this file:
- Ports are chosen once for a folder and kept, so that clients find the server again after a restart. They lie below the
  range from which the system takes the ports of outgoing connections: a client that retries a dead server from inside
  that range can connect to itself.
- What a failed or interrupted `up` has started, it takes away again; what ran before goes on.
- `servers.json` is written before anyone waits for a server, so that no process is ever unaccounted for.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.local.kinds import HOST, KINDS, Kind, Unfit, as_user
from deploy.local.processes import Process, identify, kill, pause, resume, stop, wait_until

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {kind.name: kind for kind in KINDS}
PORTS = range(20_000, 32_000)
TAIL = 15


@dataclass(frozen=True)
class Server:
    """What is recorded of one server; without a process it was stopped on purpose or never started."""

    folder: Path
    ports: dict[str, int]
    process: Process | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive


class Servers:
    """The servers of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "servers.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One command at a time on one folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            message = f"{self.folder}: {error.strerror}; choose another folder with --dir"
            raise Unfit(message) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def known(self) -> dict[str, Server]:
        """What is recorded."""
        if not self.record.exists():
            return {}
        return {
            name: Server(Path(it["folder"]), it["ports"], Process(**it["process"]) if it["process"] else None)
            for name, it in json.loads(self.record.read_text(encoding="utf-8")).items()
        }

    def note(self, name: str, server: Server) -> None:
        """Record one server, atomically."""
        entries = {key: asdict(it) for key, it in {**self.known(), name: server}.items()}
        draft = self.record.with_suffix(".new")
        draft.write_text(json.dumps(entries, indent=2, default=str) + "\n", encoding="utf-8")
        draft.replace(self.record)

    def start(self, kind: Kind, proxies: int = 0) -> None:
        """Start it unless it runs."""
        server = self.known().get(kind.name) or self._settle(kind, proxies)
        if server.alive:
            say(kind.name, f"is up on {HOST}:{server.ports['port']}")
            return
        folder = _usable(server.folder, kind)
        server = replace(server, folder=folder, process=None)
        self.note(kind.name, server)
        kind.prepare(folder, server.ports)
        with (folder / "log").open("ab") as log:
            child = subprocess.Popen(
                kind.command(folder, server.ports),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(kind.user()),
            )
        self.note(kind.name, replace(server, process=identify(child.pid)))
        say(kind.name, f"starting on {HOST}:{server.ports['port']}")

    def wait(self, kind: Kind, seconds: float) -> None:
        """Return when it answers; if it does not, end it and say why."""
        server, since = self.known()[kind.name], time.monotonic()
        wait_until(lambda: not server.alive or kind.ready(server.ports), seconds)
        if server.alive and kind.ready(server.ports):
            say(kind.name, f"ready after {time.monotonic() - since:.1f} s more")
            return
        why = "did not answer in time" if server.alive else "ended at once"
        log = server.folder / "log"
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        raise Unfit("\n    ".join([f"{kind.name} {why}; the end of {log}:", *tail]))

    def stop(self, kind: Kind, *, by_force: bool = False, wipe: bool = False) -> None:
        """Stop it and wait until it is gone, with its data if told so."""
        server = self.known().get(kind.name)
        if server is None:
            return
        if server.process and server.alive:
            if by_force or not stop(server.process, kind.request_to_stop, kind.patience):
                kill(server.process)
            say(kind.name, "killed" if by_force else "stopped")
        if wipe:
            shutil.rmtree(server.folder, ignore_errors=True)
            say(kind.name, "data deleted")
        self.note(kind.name, replace(server, process=None))

    def _settle(self, kind: Kind, proxies: int) -> Server:
        """Choose its ports; Kafka, which tells its clients where to go, has two more for each proxy before it."""
        taken = {port for server in self.known().values() for port in server.ports.values()}
        ports: dict[str, int] = {}
        proxied = [f"{end}{number}" for number in range(1, proxies + 1) for end in ("behind", "proxy")]
        for name in (*kind.ports, *(proxied if kind.name == "kafka" else ())):
            ports[name] = _free_port(taken | set(ports.values()))
        return Server(self.folder / kind.name, ports)


def up(servers: Servers, kinds: list[Kind], *, seconds: float, owner: int | None, proxies: int = 0) -> None:
    """Start what is down, wait until all answer."""
    missing = [program for kind in kinds for program in kind.missing()]
    if missing:
        message = f"missing: {', '.join(missing)}. Install with: sudo deploy/local/prerequisites"
        raise Unfit(message)
    with servers.alone():
        ran = {name for name, server in servers.known().items() if server.alive}
        try:
            for kind in kinds:
                servers.start(kind, proxies)
            for kind in kinds:
                servers.wait(kind, seconds)
        except BaseException:
            for kind in (kind for kind in kinds if kind.name not in ran):
                servers.stop(kind, by_force=True)
            raise
    if owner is not None:
        _guard(servers, owner)


def down(servers: Servers, kinds: list[Kind], *, by_force: bool, wipe: bool) -> None:
    """Stop what is up."""
    if not servers.record.exists():
        print(f"nothing was ever started in {servers.folder}")
        return
    with servers.alone():
        for kind in reversed(kinds):
            servers.stop(kind, by_force=by_force, wipe=wipe)


def status(servers: Servers, kinds: list[Kind]) -> bool:
    """Print a table; whether all of them answer."""
    known, healthy = servers.known(), True
    print(f"{'server':10}{'state':11}{'address':22}{'pid':9}folder")
    for kind in kinds:
        server = known.get(kind.name)
        answers = server is not None and server.alive and kind.ready(server.ports)
        healthy &= answers
        state = "up" if answers else "no answer" if server and server.alive else "down"
        address = f"{HOST}:{server.ports['port']}" if server else "-"
        pid = str(server.process.pid) if server and server.process and server.alive else "-"
        print(f"{kind.name:10}{state:11}{address:22}{pid:9}{server.folder if server else '-'}")
    return healthy


def env(servers: Servers, kinds: list[Kind]) -> None:
    """Print the settings of a process that is to use them."""
    known = servers.known()
    lost = [kind.name for kind in kinds if kind.name not in known or not known[kind.name].alive]
    if lost:
        message = f"not up: {', '.join(lost)}. Start with: {_how('up', servers)}"
        raise Unfit(message)
    for kind in kinds:
        print(f"export {kind.setting(known[kind.name].ports)}")


def outlive(servers: Servers, owner: int) -> None:
    """Wait for the end of a process, then stop and delete everything: its tests may have been killed."""
    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        handle = None
    if handle is not None:
        select.select([handle], [], [])
    if servers.folder.exists():
        down(servers, list(KINDS), by_force=True, wipe=True)
        shutil.rmtree(servers.folder, ignore_errors=True)


def say(name: str, words: str) -> None:
    """One line of progress."""
    print(f"{name}: {words}", flush=True)


def main(command: str | None = None) -> None:
    """Run one command; the executables beside this file name theirs."""
    given = _arguments(command)
    servers = Servers(given.dir.resolve())
    kinds = [kind for kind in KINDS if not given.names or kind.name in given.names]
    try:
        sys.exit(_obey(given, servers, kinds))
    except Unfit as error:
        sys.exit(f"{given.command}: {error}")
    except KeyboardInterrupt:
        print(f"{given.command}: interrupted", file=sys.stderr)
        sys.exit(130)


def _obey(given: argparse.Namespace, servers: Servers, kinds: list[Kind]) -> int:
    match given.command:
        case "up":
            up(servers, kinds, seconds=given.timeout, owner=given.owner, proxies=given.proxies)
            print(f'to use them: eval "$({_how("env", servers)})"    to stop them: {_how("down", servers)}')
        case "down":
            down(servers, kinds, by_force=given.kill, wipe=given.wipe)
        case "status":
            return 0 if status(servers, kinds) else 1
        case "env":
            env(servers, kinds)
        case "pause" | "resume":
            for kind in kinds:
                server = servers.known().get(kind.name)
                if server and server.process:
                    (pause if given.command == "pause" else resume)(server.process)
        case "outlive":
            outlive(servers, given.owner)
    return 0


def _how(command: str, servers: Servers) -> str:
    chosen = "" if servers.folder == _default_folder() else f" --dir {servers.folder}"
    return f"deploy/local/{command}{chosen}"


def _default_folder() -> Path:
    return Path(os.environ.get("HOLDFAST_LOCAL") or ROOT / ".local").resolve()


def _arguments(command: str | None) -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--dir", type=Path, default=_default_folder(), help="their folder (HOLDFAST_LOCAL; default .local)"
    )
    shared.add_argument("names", nargs="*", metavar="|".join(BY_NAME), help="which servers; default all")
    parser = argparse.ArgumentParser(description="Kafka, PostgreSQL and Redis without containers, on 127.0.0.1.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", parents=[shared], help="start what is down, wait until all answer")
    start.add_argument("--timeout", type=float, default=120, help="seconds to wait for each (default 120)")
    start.add_argument("--while", dest="owner", type=int, metavar="PID", help="delete everything when PID has ended")
    start.add_argument(
        "--proxies", type=int, default=0, metavar="N", help="Kafka gets N listeners for proxies before it"
    )
    end = commands.add_parser("down", parents=[shared], help="stop what is up; ports and data stay")
    end.add_argument("--kill", action="store_true", help="SIGKILL to the server and its children")
    end.add_argument("--wipe", action="store_true", help="delete the data too")
    for name, sense in (("status", "a table"), ("env", "the settings"), ("pause", "SIGSTOP"), ("resume", "SIGCONT")):
        commands.add_parser(name, parents=[shared], help=sense)
    guard = commands.add_parser("outlive", parents=[shared], help="wait for a process to end, then delete everything")
    guard.add_argument("--owner", type=int, required=True)
    given = parser.parse_args([command, *sys.argv[1:]] if command else None)
    unknown = [name for name in given.names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return given


def _free_port(taken: set[int]) -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as attempt:
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
            if port not in taken:
                return port
    message = f"no free port from {PORTS.start} to {PORTS.stop}"
    raise Unfit(message)


def _usable(folder: Path, kind: Kind) -> Path:
    """The folder, owned by the user of the server; another one where that user cannot come to it."""
    folder.mkdir(parents=True, exist_ok=True)
    user = kind.user()
    if user is None:
        return folder
    os.chown(folder, user.pw_uid, user.pw_gid)
    reached = subprocess.run(["test", "-w", str(folder)], cwd="/", check=False, **as_user(user))
    if reached.returncode == 0:
        return folder
    other = Path(tempfile.mkdtemp(prefix="holdfast-"))
    os.chown(other, user.pw_uid, user.pw_gid)
    say(kind.name, f"the user {user.pw_name} cannot reach {folder}: its data lie in {other}")
    return other


def _guard(servers: Servers, owner: int) -> None:
    subprocess.Popen(
        [sys.executable, "-m", "deploy.local.servers", "outlive", "--dir", str(servers.folder), "--owner", str(owner)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    main()
