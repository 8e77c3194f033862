"""The three kinds of server: what each needs, how its folder is prepared, how it is run, when it is ready.

Laws of this file:
- Every listener is bound to 127.0.0.1.
- PostgreSQL keeps fsync on: what is tested and measured on it is durable. Redis persists nothing: it is not the truth.
- Preparing is all or nothing: what is half made lies under another name and is thrown away by the next try.
"""

from __future__ import annotations

import base64
import fcntl
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypedDict

from deploy.local.processes import inhabitants, wait_until

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
KAFKA_VERSION = "4.3.1"
OLDEST_JAVA = 17

KAFKA_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}{listeners}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=8388608
# A broker that was killed may register again only when its old session is over, which is 9 s by default.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
"""
KAFKA_LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c: %m%n
"""


class Unfit(Exception):
    """A server cannot be prepared or started; the message is for a person, in one line."""


class Identity(TypedDict):
    """Whom a subprocess runs as; None: as whom we run."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


class Kind(Protocol):
    """What `servers.py` must know of a server."""

    name: str
    ports: tuple[str, ...]
    request_to_stop: signal.Signals
    patience: float

    def missing(self) -> list[str]:
        """The programs it needs and does not find."""

    def user(self) -> pwd.struct_passwd | None:
        """The system user it must run as, or None for ours."""

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> None:
        """Make `folder` ready to run in; changes nothing that is there."""

    def command(self, folder: Path, ports: Mapping[str, int]) -> list[str]:
        """The command line of the server itself, in the foreground."""

    def ready(self, ports: Mapping[str, int]) -> bool:
        """Whether it answers requests."""

    def setting(self, ports: Mapping[str, int]) -> str:
        """The `HOLDFAST_*` variable that points to it, as `NAME=value`."""


class Kafka(Kind):
    """One broker that is its own controller (KRaft), from the jars on Maven Central."""

    name = "kafka"
    ports = ("port", "controller")
    request_to_stop = signal.SIGTERM
    patience = 60.0

    def missing(self) -> list[str]:
        needed = [] if java() else [f"java >= {OLDEST_JAVA}"]
        return needed if _jars().is_dir() or shutil.which("mvn") else [*needed, "mvn"]

    def user(self) -> None:
        return None

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> None:
        fetch_jars()
        properties = folder / "server.properties"
        values = {"host": HOST, "data": folder / "data", "port": ports["port"], "controller": ports["controller"]}
        properties.write_text(KAFKA_PROPERTIES.format(**values, **_proxied(ports)), encoding="utf-8")
        (folder / "log4j2.properties").write_text(KAFKA_LOGGING, encoding="utf-8")
        if not (folder / "data" / "bootstrap.checkpoint").exists():
            shutil.rmtree(folder / "data", ignore_errors=True)
            run([*self._java(folder, "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format", "--standalone",
                 "-t", _cluster_id(), "-c", str(properties)], folder)  # fmt: skip

    def command(self, folder: Path, ports: Mapping[str, int]) -> list[str]:
        del ports  # they are in the properties
        return [*self._java(folder, "-Xmx512m", "-Xms256m"), "kafka.Kafka", str(folder / "server.properties")]

    def ready(self, ports: Mapping[str, int]) -> bool:
        """It names at least one broker, which it does once it has registered itself."""
        api, version, correlation, no_client, no_topics, create = 3, 4, 1, -1, 0, 0
        metadata = struct.pack(">hhihiB", api, version, correlation, no_client, no_topics, create)
        answer = _ask(ports["port"], struct.pack(">i", len(metadata)) + metadata, 16)
        if len(answer) < 16:
            return False
        _size, _correlation, _throttle, brokers = struct.unpack(">iiii", answer)
        return bool(brokers >= 1)

    def setting(self, ports: Mapping[str, int]) -> str:
        return f"HOLDFAST_LOG=kafka://{HOST}:{ports['port']}"

    def _java(self, folder: Path, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
        return [java() or "java", *options, "-XX:+UseSerialGC", "-XX:-UsePerfData", logging, "-cp", f"{_jars()}/*"]


class Postgres(Kind):
    """A cluster of its own with one database `holdfast`, whose superuser is `holdfast`, without a password."""

    name = "postgres"
    ports = ("port",)
    request_to_stop = signal.SIGINT  # "fast": ends the sessions, then writes a checkpoint
    patience = 60.0

    def missing(self) -> list[str]:
        return [] if _postgres_bin() else ["postgresql"]

    def user(self) -> pwd.struct_passwd | None:
        """PostgreSQL refuses to run as root."""
        return pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> None:
        del ports  # they are on the command line
        if (folder / "data").exists():
            self._unlock(folder / "data")
            return
        binaries, half = _postgres_bin(), folder / "half"
        shutil.rmtree(half, ignore_errors=True)
        run([f"{binaries}/initdb", "-D", str(half), "-U", "holdfast", "--auth=trust", "--no-sync", "--encoding=UTF8",
             "--locale=C"], folder, self.user())  # fmt: skip
        run([f"{binaries}/postgres", "--single", "-D", str(half), "-c", "unix_socket_directories=", "postgres"],
            folder, self.user(), "CREATE DATABASE holdfast;\n")  # fmt: skip
        half.rename(folder / "data")

    def command(self, folder: Path, ports: Mapping[str, int]) -> list[str]:
        options = {
            "listen_addresses": HOST,
            "port": ports["port"],
            "unix_socket_directories": "",  # their path may not be long, ours may
            "max_connections": 200,
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "fsync": "on",
            "synchronous_commit": "on",
        }
        given = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [f"{_postgres_bin()}/postgres", "-D", str(folder / "data"), *given]

    def ready(self, ports: Mapping[str, int]) -> bool:
        """It asks for a password or lets us in; while it recovers it answers with an error."""
        words = struct.pack(">i", 3 << 16) + b"user\0holdfast\0database\0holdfast\0\0"
        return _ask(ports["port"], struct.pack(">i", len(words) + 4) + words, 1) == b"R"

    def setting(self, ports: Mapping[str, int]) -> str:
        return f"HOLDFAST_STORE=postgresql://holdfast@{HOST}:{ports['port']}/holdfast"

    def _unlock(self, data: Path) -> None:
        """Delete the lock of a killed server: PostgreSQL takes a zombie for alive, and would refuse to start."""
        if not wait_until(lambda: not inhabitants(data), self.patience):
            pids = ", ".join(str(process.pid) for process in inhabitants(data))
            message = f"postgres: another server runs in {data} (pid {pids}); stop it first"
            raise Unfit(message)
        (data / "postmaster.pid").unlink(missing_ok=True)


class Redis(Kind):
    """In memory only."""

    name = "redis"
    ports = ("port",)
    request_to_stop = signal.SIGTERM
    patience = 20.0

    def missing(self) -> list[str]:
        return [] if shutil.which("redis-server") else ["redis-server"]

    def user(self) -> None:
        return None

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> None:
        del ports  # they are on the command line
        (folder / "data").mkdir(exist_ok=True)

    def command(self, folder: Path, ports: Mapping[str, int]) -> list[str]:
        return ["redis-server", "--bind", HOST, "--port", str(ports["port"]), "--dir", str(folder / "data"),
                "--save", "", "--appendonly", "no", "--daemonize", "no"]  # fmt: skip

    def ready(self, ports: Mapping[str, int]) -> bool:
        return _ask(ports["port"], b"PING\r\n", 5) == b"+PONG"

    def setting(self, ports: Mapping[str, int]) -> str:
        return f"HOLDFAST_KEYS=redis://{HOST}:{ports['port']}/0"


KINDS: tuple[Kind, ...] = (Kafka(), Postgres(), Redis())  # the slowest first: the others start while it does


def java() -> str | None:
    """A Java that is new enough: JAVA_HOME's, the PATH's, or one that Debian installed beside it."""
    return next((program for program in _javas() if _java_version(program) >= OLDEST_JAVA), None)


def fetch_jars() -> None:
    """Kafka's jars, once for a user: shared by every folder and every test run."""
    jars = _jars()
    if jars.is_dir():
        return
    jars.parent.mkdir(parents=True, exist_ok=True)
    with (jars.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars.is_dir():
            return
        print(f"kafka: fetching Kafka {KAFKA_VERSION} with Maven, once, into {jars}", flush=True)
        with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
            run(["mvn", "-q", "-B", "-f", str(HERE / "kafka.pom.xml"), "dependency:copy-dependencies",
                 f"-DoutputDirectory={folder}/jars"], HERE)  # fmt: skip
            Path(folder, "jars").rename(jars)


def run(command: list[str], folder: Path, user: pwd.struct_passwd | None = None, words: str = "") -> None:
    """Run to the end, or say in one line what it complained about."""
    done = subprocess.run(
        command, cwd=folder, input=words, capture_output=True, text=True, check=False, **as_user(user)
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        complaint = re.compile("error|fatal|exception", re.IGNORECASE)
        telling = next(filter(complaint.search, lines), "no message")
        message = f"{Path(command[0]).name} failed ({done.returncode}): {telling}"
        raise Unfit(message)


def as_user(user: pwd.struct_passwd | None) -> Identity:
    """The options of a subprocess that is to run as `user`."""
    if user is None:
        return Identity(user=None, group=None, extra_groups=None)
    return Identity(user=user.pw_uid, group=user.pw_gid, extra_groups=[])


def _proxied(ports: Mapping[str, int]) -> dict[str, str]:
    """The listeners behind proxies: each tells its clients the proxy's port, where they go on."""
    numbers = [name.removeprefix("proxy") for name in ports if name.startswith("proxy")]
    return {
        "listeners": "".join(f",PROXY{number}://{HOST}:{ports['behind' + number]}" for number in numbers),
        "advertised": "".join(f",PROXY{number}://{HOST}:{ports['proxy' + number]}" for number in numbers),
        "protocols": "".join(f",PROXY{number}:PLAINTEXT" for number in numbers),
    }


def _jars() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "holdfast" / f"kafka-{KAFKA_VERSION}"


def _javas() -> Iterator[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield f"{home}/bin/java"
    if found := shutil.which("java"):
        yield found
    yield from map(str, sorted(Path("/usr/lib/jvm").glob("*/bin/java")))


def _java_version(program: str) -> int:
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return 0
    version = re.search(r'version "(\d+)', told)
    return int(version[1]) if version else 0


def _postgres_bin() -> Path | None:
    """The newest of Debian's versions, which are kept off the PATH; else the PATH's."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _cluster_id() -> str:
    """128 bits as Kafka writes them; it takes a leading dash for an option."""
    return "h" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]


def _ask(port: int, question: bytes, size: int) -> bytes:
    """The first `size` bytes of the answer; fewer if it has no more to say."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), 2) as connection:
            connection.settimeout(2)
            connection.sendall(question)
            while len(answer) < size and (more := connection.recv(size - len(answer))):
                answer += more
    except OSError:
        return b""
    return answer
