"""A worker that takes its tasks from the log: whom it waits for, and how it leaves."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.adapters.avro import AvroCodec
from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.memory import MemoryKeys
from holdfast.adapters.sqlite import EmbeddedLog, SqliteLedger, SqliteSchemas, SqliteStore
from holdfast.app.deduplication import key_of
from holdfast.app.effects.execute import carrier
from holdfast.app.executor.invocation import Invoker
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.worker import Worker
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.payload import Payload
from holdfast.ports.keys import Claimed, Held, Known
from holdfast.ports.log import Outgoing
from holdfast.ports.topics import Topics
from holdfast.sdk.definitions import step
from holdfast.sdk.effects import effect
from holdfast.testing.conformance.effects import effect as planned
from holdfast.testing.conformance.effects import plan
from holdfast.testing.conformance.rows import owner
from tests.integration.running import CODEC, NAMESPACE, SHARDS, FastClock, install
from tests.unit.newer import RELEASE, NewerCodec, noted

begun: Counter[str] = Counter()
gates: dict[str, asyncio.Event] = {}
sleeping = threading.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begun.clear()
    gates.clear()
    sleeping.clear()


@step
async def worker_step(name: str) -> str:
    begun[name] += 1
    if name in gates:
        await gates[name].wait()
    return name


@step
def worker_sleeper(name: str) -> str:
    begun[name] += 1
    sleeping.wait(30)
    return name


def task(name: str, step_name: str = "worker_step") -> ExecuteStep:
    return ExecuteStep(
        run_id=name, incarnation=0, step_id=f"{step_name}#1", attempt=1, name=step_name, kind="step",
        queue="default", input=Payload(data=f'"{name}"'.encode()), timeout=30.0,
    )  # fmt: skip


class SlowKeys(MemoryKeys):
    """Keys that answer when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def claim(self, keys: Sequence[str], owner: str, ttl: float) -> Sequence[Claimed | Held | Known]:
        self.asked.set()
        await self.answers.wait()
        return await super().claim(keys, owner, ttl)


class Bench:
    """One worker, with the log and the keys around it."""

    def __init__(self, store: SqliteStore, log: EmbeddedLog, codec: AvroCodec) -> None:
        self.keys = SlowKeys()
        self.invoker = Invoker(1)
        self.log = log
        self.schemas = SqliteSchemas(store)
        self._store = store
        effects = carrier(
            ledger_=SqliteLedger(store), store=store, clock=FastClock(), host=LinuxHost(),
            databases=NamedDatabases({}), process="worker", invoker=self.invoker,
        )  # fmt: skip
        self.worker = Worker(
            store=store, log_=log, keys=self.keys, clock=FastClock(), codec=codec, namespace=NAMESPACE, shards=SHARDS,
            queues=["default"], process="worker", execution=Execution(store, effects),
            schemas=SchemaCache(codec, self.schemas),
        )  # fmt: skip

    async def put(self, *names: str) -> None:
        for name in names:
            await self.send(task(name))

    async def send(self, told: ExecuteStep, codec: AvroCodec = CODEC) -> None:
        wire = Wire(Topics(NAMESPACE), codec, SHARDS)
        await self.log.publish([wire.task(told, 0, "0" * 32)])

    async def plan(self, effect_id: str) -> None:
        await plan(await owner(self._store), planned(effect_id))

    async def results(self) -> list[StepResult]:
        tail = await self.log.tail(f"{NAMESPACE}.results.v1", earliest=True)
        try:
            await tail.watch(range(SHARDS))
            return [CODEC.decode_result(record.value) for record in await tail.poll(0.2, 100)]
        finally:
            await tail.close()


@asynccontextmanager
async def bench(path: Path, codec: AvroCodec | None = None) -> AsyncIterator[Bench]:
    await install(path)
    store = SqliteStore(path)
    await store.open()
    log = EmbeddedLog(store)
    await log.open()
    one = Bench(store, log, codec or AvroCodec())
    serving = asyncio.get_running_loop().create_task(one.worker.serve())
    try:
        await one.worker.ready.wait()
        async with asyncio.timeout(20):
            yield one
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await log.close()
        await store.close()


async def until_begun(name: str) -> None:
    while not begun[name]:
        await asyncio.sleep(0.005)


async def test_a_worker_that_leaves_finishes_and_tells_what_it_has_begun(tmp_path: Path) -> None:
    gates["a"] = asyncio.Event()
    async with bench(tmp_path / "holdfast.db") as one:
        await one.put("a")
        await until_begun("a")
        leaving = asyncio.get_running_loop().create_task(one.worker.drain(10))
        await asyncio.sleep(0)
        gates["a"].set()
        await leaving
        assert [result.run_id for result in await one.results()] == ["a"]


async def test_a_worker_that_leaves_does_not_wait_for_what_another_one_has(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        await one.keys.claim([key_of(task("a"))], "another", 60)
        await one.put("a", "b")
        await until_begun("b")
        async with asyncio.timeout(5):
            await one.worker.drain(15)
        assert (begun["a"], one.worker.idle) == (0, True)


async def test_a_worker_that_leaves_begins_nothing_that_it_was_about_to_begin(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        one.keys.asked.clear()
        one.keys.answers.clear()
        await one.put("a")
        while not one.keys.asked.is_set():
            await asyncio.sleep(0.005)
        await one.worker.drain(1)
        one.keys.answers.set()
        await asyncio.sleep(0.05)
        assert (begun["a"], one.worker.idle) == (0, True)
        assert await one.keys.claim([key_of(task("a"))], "another", 60) == [Claimed()]


async def test_what_waits_for_a_thread_when_a_worker_leaves_goes_to_whoever_comes_next(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        await one.send(task("a", "worker_sleeper"))
        await until_begun("a")
        await one.send(task("b", "worker_sleeper"))
        while len(one.worker._running) < 2:  # noqa: SLF001 - nothing else shows it
            await asyncio.sleep(0.005)
        one.invoker.drain()
        leaving = asyncio.get_running_loop().create_task(one.worker.drain(10))
        await asyncio.sleep(0)
        sleeping.set()
        await leaving
        assert [result.run_id for result in await one.results()] == ["a"]
        assert begun["b"] == 0
        assert await one.keys.claim([key_of(task("b", "worker_sleeper"))], "another", 60) == [Claimed()]


@effect(guard="at_most_once")
async def worker_effect(name: str) -> str:
    begun[name] += 1
    return name


async def test_the_usual_duplicate_of_an_effect_never_reaches_the_ledger(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        told = ExecuteStep(
            run_id="r", incarnation=0, step_id="charge#k", attempt=1, name="worker_effect", kind="effect",
            queue="default", input=Payload(data=b'"r"'), timeout=30.0, guard="at_most_once", key="k",
        )  # fmt: skip
        await one.plan("k")
        for number in range(1, 4):
            await one.send(told)
            while len(await one.results()) < number:
                await asyncio.sleep(0.005)
            if number == 2:
                await one.keys.close()  # everything is forgotten
        counted = one.worker._execution.duplicates  # noqa: SLF001 - what the log says when the worker leaves
        assert (begun["r"], counted.by_keys, counted.by_ledger, counted.share) == (1, 1, 1, 0.5)


async def raw_results(one: Bench, number: int) -> list[bytes]:
    tail = await one.log.tail(f"{NAMESPACE}.results.v1", earliest=True)
    found: list[bytes] = []
    try:
        await tail.watch(range(SHARDS))
        while len(found) < number:
            found += [record.value for record in await tail.poll(0.05, 100)]
    finally:
        await tail.close()
    return found


async def test_a_remembered_result_that_cannot_be_read_here_is_as_if_it_were_not_remembered(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        for name, value in (("a", NewerCodec().encode_result(said("a"))), ("b", b"from another time")):
            await one.keys.remember({key_of(task(name)): value}, 60)
        await one.put("a", "b")
        while len(found := await one.results()) < 2:
            await asyncio.sleep(0.005)
        assert {result.run_id: result.result for result in found} == {
            name: Payload(data=f'"{name}"'.encode()) for name in ("a", "b")
        }
        assert begun == {"a": 1, "b": 1}


async def test_a_remembered_result_of_a_newer_release_is_published_with_all_that_it_tells(tmp_path: Path) -> None:
    newer = NewerCodec()
    codec = AvroCodec()
    codec.learn(newer.schemas(RELEASE))
    async with bench(tmp_path / "holdfast.db", codec) as one:
        remembered = newer.encode_result(said("a"))
        await one.keys.remember({key_of(task("a")): remembered}, 60)
        await one.put("a")
        assert await raw_results(one, 1) == [remembered]
        assert begun["a"] == 0


async def test_a_task_of_a_newer_schema_is_executed(tmp_path: Path) -> None:
    newer = NewerCodec()
    async with bench(tmp_path / "holdfast.db") as one:
        await one.schemas.register(newer.schemas(RELEASE))
        await one.send(task("a"), newer)
        while not (found := await one.results()):
            await asyncio.sleep(0.005)
        assert [result.run_id for result in found] == ["a"]


async def test_a_task_of_a_type_that_is_newer_is_left_and_no_dead_letter(tmp_path: Path) -> None:
    async with bench(tmp_path / "holdfast.db") as one:
        await one.schemas.register(NewerCodec().schemas(RELEASE))
        await one.log.publish([Outgoing(f"{NAMESPACE}.tasks.default.v1", b"a/s", noted("a"))])
        await one.put("b")
        while not (found := await one.results()):
            await asyncio.sleep(0.005)
        assert [result.run_id for result in found] == ["b"]
        tail = await one.log.tail(f"{NAMESPACE}.dlq.v1", earliest=True)
        await tail.watch(range(SHARDS))
        assert await tail.poll(0.05, 10) == []
        await tail.close()


def said(name: str) -> StepResult:
    result = Payload(data=f'"{name}"'.encode())
    return StepResult(run_id=name, incarnation=0, step_id="worker_step#1", attempt=1, result=result)
