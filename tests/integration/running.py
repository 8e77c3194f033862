"""The real engine of one process over one real store and log, to be run, crashed and started again by tests.

Laws of this file:
- A crash cancels everything the process was doing, wherever it stood, and says goodbye to nobody.
- Time passes faster for what only waits (the sweeper, taking shards back); the store's clock is the real one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.sqlite import EmbeddedLog, SqliteDeferredInputs, SqliteLedger, SqliteStore
from holdfast.app.client.run_client import RunClient
from holdfast.app.effects.execute import carrier
from holdfast.app.executor.invocation import Invoker
from holdfast.app.log_identity import remember
from holdfast.app.orchestrator.draft import Input
from holdfast.app.orchestrator.pipeline import CACHE_BYTES, Orchestrator
from holdfast.app.orchestrator.programs import latest_version, programs
from holdfast.app.schemas import SchemaCache
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.local_dispatch import LocalWorker
from holdfast.core import events as e
from holdfast.core.behind import PART
from holdfast.core.commands import Addressed, Command, SignalRun, StartRun
from holdfast.core.payload import Payload
from holdfast.core.run import ENDED, PARKED
from holdfast.ports.codec import Codec
from holdfast.ports.deferred import DeferredInput, DeferredInputs, WaitingRun
from holdfast.ports.journal import StoredRun
from holdfast.ports.ledger import Ledger
from holdfast.ports.log import Log, Record, Topic
from holdfast.ports.store import Store
from holdfast.ports.topics import Topics
from holdfast.ports.unavailable import Unavailable

NAMESPACE = "pipe"
SHARDS = 8
SPEED = 25.0
DEADLINE = 30.0
CODEC = AvroCodec()
TOPICS = [
    Topic(f"{NAMESPACE}.{name}.v1", 1 if name == "dlq" else SHARDS)
    for name in ("commands", "results", "tasks.default", "tasks.elsewhere", "events", "outcomes", "dlq")
]

Decorate = Callable[[SqliteStore], Store]
LedgerOf = Callable[[SqliteStore], Ledger]


class FastClock:
    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


class Undeferred:
    """The port of deferred inputs where all processes are of one release: nothing is ever kept."""

    async def keep(self, inputs: Sequence[DeferredInput]) -> None:
        raise AssertionError(inputs)

    async def waiting(self, limit: int, *, shards: Collection[int] | None = None) -> Sequence[WaitingRun]:
        return ()

    async def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        return ()

    async def forget(self, places: Collection[int]) -> None:
        raise AssertionError(places)


class Process:
    """Orchestrator and worker of one process, put together as a composition root does it."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        log: Log,
        name: str,
        *,
        namespace: str = NAMESPACE,
        shards: int = SHARDS,
        publishes: bool = False,
        cache_bytes: int = CACHE_BYTES,
        queues: frozenset[str] = frozenset({"default"}),
        databases: Mapping[str, str] = MappingProxyType({}),
        threads: int = 256,
        deferred: DeferredInputs | None = None,
        codec: Codec = CODEC,
        schemas: SchemaCache | None = None,
        turn_part: int = PART,
    ) -> None:
        clock = FastClock()
        self.name = name
        self.store = store
        self.log = log
        self.codec = codec
        effects = carrier(
            ledger_=ledger,
            store=store,
            clock=clock,
            host=LinuxHost(),
            databases=NamedDatabases(databases),
            process=name,
            invoker=Invoker(threads),
        )
        self.invoker = effects.invoker
        self.ledger = ledger
        self.worker = LocalWorker(Execution(store, effects), lambda result: self.orchestrator.put_result(result))  # noqa: PLW0108 - made after it
        self.orchestrator = Orchestrator(
            store=store,
            ledger=ledger,
            log_=log,
            clock=clock,
            codec=codec,
            deferred=deferred or Undeferred(),
            schemas=schemas,
            new_program=programs(namespace, turn_part=turn_part),
            default_version=latest_version,
            namespace=namespace,
            shards=shards,
            process=name,
            serves=queues.__contains__,
            dispatch=self.worker.submit,
            local_backlog=lambda: self.worker.backlog,
            publishes=publishes,
            cache_bytes=cache_bytes,
        )
        self.run_client = RunClient(
            store=store, log_=log, clock=clock, codec=codec, namespace=namespace, shards=shards, publishes=False
        )
        self.others = asyncio.all_tasks()
        self.serving: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.serving = asyncio.get_running_loop().create_task(self.orchestrator.serve())
        waiting = asyncio.get_running_loop().create_task(self.orchestrator.ready.wait())
        await asyncio.wait([waiting, self.serving], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self.check()

    def check(self) -> None:
        """The process must not have ended by itself."""
        if self.serving is not None and self.serving.done() and not self.serving.cancelled():
            self.serving.result()

    async def crash(self) -> None:
        """Stop everything at once, wherever it stands."""
        self.invoker.close()
        for _ in range(3):
            mine = asyncio.all_tasks() - self.others - {asyncio.current_task()}
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)
        live = self.orchestrator.live
        live.drop([one.run.run_id for one in live if one.run.behind])  # else code that had not begun would complain

    # -- in

    async def start(self, workflow: str, run_id: str, value: Any = None, **attributes: str) -> None:
        """Send a start by the log."""
        await self.send(run_id, start(workflow, value, **attributes))

    async def send(self, run_id: str, command: Command) -> None:
        await self.run_client.send(run_id, command)

    async def submit(self, run_id: str, command: Command) -> None:
        """Hand a command over in memory, and wait until what follows from it is committed."""
        async with asyncio.timeout(DEADLINE):
            await self.orchestrator.submit(Addressed(run_id, command))

    def find(self, found: list[Input]) -> None:
        """Put what the sweeper finds in its lane."""
        self.orchestrator._intake.put_swept(found)  # noqa: SLF001 - two scans at once do not come when they are called

    # -- out

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(DEADLINE):
            while not happened():
                self.check()
                await asyncio.sleep(0.005)

    async def until_status(self, run_id: str, *statuses: str) -> StoredRun:
        async with asyncio.timeout(DEADLINE):
            while True:
                self.check()
                stored = await self._history(run_id)
                if stored is not None and stored.row.status in statuses:
                    return stored
                await asyncio.sleep(0.005)

    async def until_ended(self, *run_ids: str) -> None:
        for run_id in run_ids:
            await self.until_status(run_id, *ENDED)

    async def until_recorded(self, run_id: str, *kinds: str) -> StoredRun:
        """Wait until a run's history holds events of these kinds."""
        async with asyncio.timeout(DEADLINE):
            while True:
                self.check()
                stored = await self._history(run_id)
                if stored is not None and set(kinds) <= {one.type for one in stored.history}:
                    return stored
                await asyncio.sleep(0.005)

    async def parked(self, run_id: str) -> e.RunParked:
        """Wait until a run is parked; gives why."""
        stored = await self.until_status(run_id, PARKED)
        found = [event for event in events_of(stored) if isinstance(event, e.RunParked)]
        return found[-1]

    async def result(self, run_id: str) -> Any:
        """Wait for the end of a run, which is to be a success."""
        last = events_of(await self.until_status(run_id, *ENDED), self.codec)[-1]
        assert isinstance(last, e.RunCompleted), last
        return msgspec.json.decode(last.result.data)

    async def until_empty_log(self) -> None:
        """Wait until the engine has acknowledged all that was sent to it."""
        async with asyncio.timeout(DEADLINE):
            for topic in ("commands", "results"):
                while True:
                    self.check()
                    tail = await self.log.tail(f"{NAMESPACE}.{topic}.v1", earliest=True)
                    await tail.watch(range(SHARDS))
                    left = await tail.poll(0.0, 1)
                    await tail.close()
                    if not left:
                        break
                    await asyncio.sleep(0.01)

    async def dead_letters(self, count: int = 1) -> list[Record]:
        """Wait for that many dead letters."""
        tail = await self.log.tail(f"{NAMESPACE}.dlq.v1", earliest=True)
        found: list[Record] = []
        try:
            await tail.watch(range(SHARDS))
            async with asyncio.timeout(DEADLINE):
                while len(found) < count:
                    self.check()
                    found.extend(await tail.poll(0.05, 1000))
            found.extend(await tail.poll(0.05, 1000))
        finally:
            await tail.close()
        return found

    async def kinds(self, run_id: str) -> list[str]:
        stored = await self._history(run_id)
        return [] if stored is None else [one.type for one in stored.history]

    async def _history(self, run_id: str) -> StoredRun | None:
        with suppress(Unavailable):
            return await self.store.history(run_id)
        return None


def start(workflow: str, value: Any = None, **attributes: str) -> StartRun:
    return StartRun(workflow=workflow, input=Payload(data=msgspec.json.encode(value)), attributes=attributes)


def signal_of(name: str, value: Any = None, message_id: str = "m1") -> SignalRun:
    return SignalRun(name=name, message_id=message_id, input=Payload(data=msgspec.json.encode(value)))


def events_of(stored: StoredRun, codec: Codec = CODEC) -> list[e.Event]:
    return [codec.decode_event(one.type, one.data) for one in stored.history]


def header(record: Record, name: str) -> str:
    return dict(record.headers)[name].decode()


async def assert_whole(store: Store, *run_ids: str, codec: Codec = CODEC) -> None:
    """Each of these runs was started once, and its history is gapless, with one result a step and one end."""
    found = await store.load(run_ids)
    assert set(found) == set(run_ids)
    for run_id, stored in found.items():
        assert [one.seq for one in stored.history] == list(range(1, len(stored.history) + 1)), run_id
        times = [one.at for one in stored.history]
        assert times == sorted(times), run_id
        events = events_of(stored, codec)
        kinds = Counter(type(event).__name__ for event in events)
        assert kinds["RunStarted"] == 1, (run_id, kinds)
        settled = Counter(event.step_id for event in events if isinstance(event, (e.StepCompleted, e.StepFailed)))
        scheduled = Counter(event.step_id for event in events if isinstance(event, e.StepScheduled))
        assert all(count == 1 for count in (*settled.values(), *scheduled.values())), (run_id, settled, scheduled)
        assert settled.keys() <= scheduled.keys()
        if stored.row.status in ENDED:
            assert sum(isinstance(event, e.OUTCOMES) for event in events) == 1, run_id
            assert isinstance(events[-1], e.OUTCOMES), run_id


async def assert_nothing_open(store: Store) -> None:
    """No timer, attempt or message is left behind."""
    shards = list(range(SHARDS))
    assert await store.due_timers(shards, 2**62, 10) == []
    assert (await store.open_attempts(shards, 2**62, 10)).rows == ()
    assert await store.expired_inbox(shards, 2**62, 10) == []


async def install(path: Path) -> None:
    """Make the file that the processes of a test share."""
    store = SqliteStore(path)
    await store.install(SHARDS)
    await store.open()
    log = EmbeddedLog(store)
    await log.open()
    await log.install(TOPICS)
    await remember(store, log, Topics(NAMESPACE))
    await log.close()
    await store.close()


@asynccontextmanager
async def process(
    path: Path,
    name: str = "p1",
    *,
    decorate: Decorate = lambda store: store,
    ledger_of: LedgerOf = SqliteLedger,
    publishes: bool = False,
    cache_bytes: int = CACHE_BYTES,
    begin: bool = True,
    databases: Mapping[str, str] = MappingProxyType({}),
    threads: int = 256,
    turn_part: int = PART,
) -> AsyncIterator[Process]:
    """Run a process on the file at `path`; it crashes at the end."""
    if not path.exists():
        await install(path)
    file = SqliteStore(path)
    await file.open()
    log = EmbeddedLog(file)
    await log.open()
    running = Process(
        decorate(file),
        ledger_of(file),
        log,
        name,
        publishes=publishes,
        cache_bytes=cache_bytes,
        databases=databases,
        threads=threads,
        deferred=SqliteDeferredInputs(file),
        turn_part=turn_part,
    )
    try:
        if begin:
            await running.begin()
        yield running
        running.check()
    finally:
        await running.crash()
        await file.close()
