"""The world that the storm comes over: two installations, a payment provider, and a link between each pair of them.

Laws of this file:
- Whoever ends is started again after a moment, as by any supervisor; ending otherwise than by SIGKILL, or because a
  server is out of reach while starting, is a crash and counts against us.
- Holdfast's services reach servers and provider by links alone; clients, the operator and the faults go directly.
- Faults on one victim come one after the other (`alone`); faults on different victims overlap.
"""

import asyncio
import contextlib
import mmap
import shutil
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from examples.demo.processes import LISTENING, ROOT, Died, Process, Processes, free_port, run
from examples.demo.servers import Servers
from examples.demo.shop import HOLDFAST
from holdfast import Client
from holdfast.settings import load
from tests.chaos import entries
from tests.chaos.proxy import Link, links

Place = Literal["cluster", "embedded"]

APP = ROOT / "tests" / "chaos" / "order.py"
SHIM = ROOT / "tests" / "chaos" / "shim.c"
SERVICE = (sys.executable, "-m", "tests.chaos.service")
SHARDS = "16"
NAMESPACE = "storm"
AGAIN = 0.5
OUT_OF_REACH = 4
KILLED = -9
PROXIES = {"orchestrator": 1, "worker": 2}
"""Kafka's listeners, by whose link is before it."""
SERVICES = {
    "orchestrator-1": "orchestrator",
    "orchestrator-2": "orchestrator",
    "worker-1": "worker",
    "worker-2": "worker",
    "both-1": "run",
}


class Dials:
    """The dials of one preloaded shim: how far its clock is off, and whether its disk is full."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(16))
        self.path = path
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 16)

    def clock_off(self, seconds: float) -> None:
        struct.pack_into("q", self._mapped, 0, int(seconds * 1_000_000))

    def disk_full(self, *, full: bool) -> None:
        struct.pack_into("q", self._mapped, 8, int(full))


class Service:
    """A process and its supervisor."""

    def __init__(self, process: Process, role: str, dials: Dials | None = None) -> None:
        self.process = process
        self.role = role
        self.dials = dials
        self.alone = asyncio.Lock()
        self.awake_since = 0.0
        self.crashes: list[str] = []

    @property
    def name(self) -> str:
        return self.process.name

    async def keep(self) -> None:
        """Start it, again and again."""
        while True:
            await self.process.start()
            code = await self.process.ended()
            if code not in {KILLED, OUT_OF_REACH}:
                self.crashes.append(f"{self.name} ended with {code}:\n{self.process.said()[-6000:]}")
            await asyncio.sleep(AGAIN)

    async def ready(self) -> None:
        """Wait until it serves, in this life or a later one."""
        while True:
            try:
                if self.role == "provider":
                    await self.process.until(LISTENING)
                else:
                    await self.process.ready()
                return
            except Died:
                await asyncio.sleep(AGAIN)


@dataclass(frozen=True)
class Disk:
    """The disk of the embedded store: small and its own if we may mount one, else a folder that the shim calls full."""

    folder: Path
    mounted: bool

    def fill(self) -> None:
        """Take all the room there is."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


@dataclass(frozen=True)
class World:
    """All there is."""

    servers: Servers
    links: Mapping[str, Link]
    services: Mapping[str, Service]
    clients: Mapping[Place, Client]
    payments: str
    book: Path
    disk: Disk
    shimmed: bool
    settings: Mapping[Place, Mapping[str, str]]
    server_alone: Mapping[str, asyncio.Lock] = field(
        default_factory=lambda: {name: asyncio.Lock() for name in ("kafka", "postgres", "redis")}
    )

    def of_role(self, *roles: str) -> list[Service]:
        return [service for service in self.services.values() if service.role in roles]

    @property
    def crashes(self) -> list[str]:
        return [crash for service in self.services.values() for crash in service.crashes]


@contextlib.asynccontextmanager
async def open_world(folder: Path, *, disk_size: int) -> AsyncIterator[World]:
    """Open a world in `folder`; `disk_size` in MiB. All ends with the block."""
    servers = Servers(folder / "servers", proxies=len(PROXIES))
    shim = built_shim(folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(servers.wipe)
        await servers.start()
        settings = {**servers.settings(NAMESPACE), "HOLDFAST_SHARDS": SHARDS}
        settings[entries.SETTING] = settings["HOLDFAST_STORE"]
        await run(*HOLDFAST, "install", environment=settings)
        disk = stack.enter_context(open_disk(folder / "disk", disk_size))
        here = {
            "HOLDFAST_STORE": f"sqlite:///{disk.folder / 'holdfast.db'}",
            entries.SETTING: f"sqlite:///{disk.folder / 'shop.db'}",
        }
        await asyncio.gather(entries.prepare(settings), entries.prepare(here))
        provider = free_port()
        opened = await stack.enter_async_context(links(targets(servers, provider)))
        processes = await stack.enter_async_context(Processes(folder))
        book = folder / "book.jsonl"
        command = (sys.executable, "-m", "examples.providers.payment", "--port", str(provider), "--latency", "0.03")
        services = {"provider": Service(processes.new("provider", (*command, "--book", str(book)), {}), "provider")}
        for name, serves in {**SERVICES, "embedded": "dev"}.items():
            role = name.partition("-")[0]
            environment = here if role == "embedded" else linked(settings, opened, role)
            pays = opened["embedded-provider" if role == "embedded" else "worker-provider"]
            dials = None if shim is None else Dials(folder / f"{name}.dials")
            environment = {
                **environment,
                **preloaded(shim, dials, disk.folder),
                "PAYMENTS_URL": f"http://127.0.0.1:{pays.port}",
            }
            process = processes.new(name, (*SERVICE, serves, str(APP)), environment, serves=True)
            services[name] = Service(process, role, dials)
        await stack.enter_async_context(supervised(services))
        clients: dict[Place, Client] = {
            "cluster": await stack.enter_async_context(Client(load(environ=settings))),
            "embedded": await stack.enter_async_context(Client(load(environ=here))),
        }
        yield World(
            servers=servers,
            links=opened,
            services=services,
            clients=clients,
            payments=f"http://127.0.0.1:{provider}",
            book=book,
            disk=disk,
            shimmed=shim is not None,
            settings={"cluster": settings, "embedded": here},
        )


@contextlib.asynccontextmanager
async def supervised(services: Mapping[str, Service]) -> AsyncIterator[None]:
    """Keep services alive; returns when all are ready."""
    keepers = [asyncio.create_task(service.keep()) for service in services.values()]
    try:
        await asyncio.sleep(0)
        await asyncio.gather(*(service.ready() for service in services.values()))
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


def targets(servers: Servers, provider: int) -> dict[str, tuple[int, int]]:
    """Name the links: the port of each one's server, and its own."""
    found = {}
    for role, number in PROXIES.items():
        found[f"{role}-kafka"] = (servers.port("kafka", f"behind{number}"), servers.port("kafka", f"proxy{number}"))
        for server in ("postgres", "redis"):
            found[f"{role}-{server}"] = (servers.port(server), free_port())
    for role in ("worker", "embedded"):
        found[f"{role}-provider"] = (provider, free_port())
    return found


def linked(settings: Mapping[str, str], opened: Mapping[str, Link], role: str) -> dict[str, str]:
    """Give the settings of a service that reaches everything by its role's links; `both` has an orchestrator's."""
    role = role if role in PROXIES else "orchestrator"
    store = f"postgresql://holdfast@127.0.0.1:{opened[f'{role}-postgres'].port}/holdfast"
    return {
        **settings,
        "HOLDFAST_STORE": store,
        entries.SETTING: store,
        "HOLDFAST_LOG": f"kafka://127.0.0.1:{opened[f'{role}-kafka'].port}",
        "HOLDFAST_KEYS": f"redis://127.0.0.1:{opened[f'{role}-redis'].port}/0",
    }


def preloaded(shim: Path | None, dials: Dials | None, disk: Path) -> dict[str, str]:
    if shim is None or dials is None:
        return {}
    return {"LD_PRELOAD": str(shim), "CHAOS_DIALS": str(dials.path), "CHAOS_DISK": str(disk)}


def built_shim(folder: Path) -> Path | None:
    """Compile the shim; None where it cannot be."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    built = folder / "shim.so"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *options, "-o", built, SHIM, "-ldl"], check=True)
    return built


@contextlib.contextmanager
def open_disk(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of `size` MiB in memory, if we may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
