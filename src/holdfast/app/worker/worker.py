"""The worker: executes steps, keeps nothing.

Laws of this file:
- A step is executed at least once; its result is published before its task is marked as done.
- What is finished is not executed again while the keys remember it; without keys it may be, and only time is lost.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from holdfast.app.backoff import backoff
from holdfast.app.deduplication import is_final, key_of
from holdfast.app.executor.invocation import Withdrawn
from holdfast.app.oversized_records import put_aside
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.app.worker.execute import Execution
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.retry import Failure
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.codec import Codec, Newer, UnknownSchema, Unreadable
from holdfast.ports.keys import Held, Keys, Known
from holdfast.ports.log import Log, Outgoing, Record, Tasks, TooLarge, TopicMissing, Unreachable
from holdfast.ports.topics import Topics
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

CONCURRENCY = 256
POLL_WAIT = 0.5
RESULT_KEPT = 3600.0
CLAIM = 10.0
CLAIM_AGAIN = 3.0
HELD_PAUSE = 0.2


class FinishedTask(msgspec.Struct, frozen=True):
    """What a finished task has to say: `final` if the keys may keep it under `key` for duplicates."""

    record: Record
    outgoing: Outgoing | None
    key: str = ""
    final: bool = False


class Worker:
    """Takes tasks from queues of the log, executes them out of order, publishes results."""

    def __init__(  # noqa: PLR0913 - the ports meet here
        self,
        *,
        store: Blobs,
        log_: Log,
        keys: Keys,
        clock: Clock,
        codec: Codec,
        namespace: str,
        shards: int,
        queues: Sequence[str],
        process: str,
        instance: str | None = None,
        concurrency: int = CONCURRENCY,
        execution: Execution,
        schemas: SchemaCache | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._log = log_
        self._keys = keys
        self._clock = clock
        self._codec = codec
        self._schemas = schemas or SchemaCache(codec)
        self._topics = Topics(namespace)
        self._wire = Wire(self._topics, codec, shards)
        self._queues = list(queues)
        self._process = process
        self._instance = instance
        self._concurrency = concurrency
        self._store = store
        self._execution = execution
        self._running: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._results: asyncio.Queue[FinishedTask] = asyncio.Queue()
        self._claims: set[str] = set()
        self._stopping = False
        self._tasks: Tasks | None = None

    async def serve(self) -> None:
        """Serve until cancelled."""
        tasks = await self._join()
        self.ready.set()
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._take(tasks))
            loops.create_task(self._publish(tasks))
            loops.create_task(self._keep_claims())

    @property
    def idle(self) -> bool:
        return not self._running

    @property
    def running(self) -> int:
        """How many steps are under way."""
        return len(self._running)

    async def drain(self, deadline: float) -> None:
        """Stop taking, finish what runs up to `deadline` seconds, publish and commit it."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline
        while self._running and (left := until - loop.time()) > 0:
            await asyncio.wait(self._running, timeout=left)
        if self._execution.duplicates.by_keys or self._execution.duplicates.by_ledger:
            log.info("%s", self._execution.duplicates)
        try:
            await self._results.join()
        finally:  # also when the time for it is over: who does not leave the group keeps the partitions
            if self._tasks is not None:
                await self._tasks.close()

    async def _join(self) -> Tasks:
        topics = [self._topics.tasks(queue) for queue in self._queues]
        async for number in backoff():
            try:
                self._tasks = await self._log.tasks(topics, f"{self._topics.namespace}.worker", instance=self._instance)
            except (Unreachable, TopicMissing) as away:
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot join the consumer group: %s; retrying", away)
            else:
                return self._tasks
        raise AssertionError("backoff() has no end")

    async def _take(self, tasks: Tasks) -> None:
        while not self._stopping:
            free = self._concurrency - len(self._running)
            if free <= 0:
                # Back-pressure: stop fetching and stay a member of the group until a step has finished.
                tasks.pause()
                self._freed.clear()
                await self._freed.wait()
                tasks.resume()
                continue
            try:
                records = await tasks.poll(POLL_WAIT, free)
            except Unreachable as away:
                log.warning("cannot fetch tasks: %s; retrying", away)
                await self._clock.sleep(1.0)
                continue
            if records and not self._stopping:
                await self._begin(records)

    async def _begin(self, records: Sequence[Record]) -> None:
        readable: list[tuple[Record, ExecuteStep]] = []
        for record in records:
            try:
                readable.append((record, self._codec.decode_task(record.value)))
            except UnknownSchema:
                readable += await self._read_again(record)
            except Unreadable as error:
                self._leave(record, error)
        names = [key_of(task) for _, task in readable]
        claims = await self._keys.claim(names, self._process, CLAIM) if names else []
        if self._stopping:
            await self._let_go(names)
            return  # nothing begins any more: they are not done, and go to whoever has the partitions next
        for (record, task), claim in zip(readable, claims, strict=True):
            if not isinstance(claim, Known) or not self._pass_on(record, task, claim.result):
                running = asyncio.get_running_loop().create_task(self._work(record, task, held=isinstance(claim, Held)))
                self._running.add(running)
                running.add_done_callback(self._done)

    async def _read_again(self, record: Record) -> list[tuple[Record, ExecuteStep]]:
        """Read a task whose schema is not known yet, however long the store is away."""
        async for number in backoff():
            try:
                return [(record, await self._schemas.read(partial(self._codec.decode_task, record.value)))]
            except Unavailable as away:
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot look up the schema of a task: %s; retrying", away)
            except Unreadable as error:
                self._leave(record, error)
                return []
        raise AssertionError("backoff() has no end")

    def _leave(self, record: Record, error: Unreadable) -> None:
        """Put a task aside that nobody can read; one for a newer release is sent again, as its attempt stays open."""
        if isinstance(error, Newer):
            log.warning("a task is left to a worker of release %s or newer: %s", error.release, error)
            self._results.put_nowait(FinishedTask(record, None))
        else:
            self._results.put_nowait(FinishedTask(record, self._wire.dead(record, error.reason, str(error))))

    def _pass_on(self, record: Record, task: ExecuteStep, known: bytes) -> bool:
        """Publish a result that the keys remember, as it is; False if it cannot be read here, as if they did not."""
        try:
            result = self._codec.decode_result(known)
        except Unreadable:
            return False
        self._count(task)
        self._results.put_nowait(FinishedTask(record, self._wire.result(result, self._clock.now(), known)))
        return True

    def _count(self, task: ExecuteStep) -> None:
        if task.guard is not None:
            self._execution.duplicates.by_keys += 1

    def _done(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._freed.set()

    async def _work(self, record: Record, task: ExecuteStep, *, held: bool) -> None:
        if held:
            known = await self._wait_for_other(task)
            if known is not None and self._pass_on(record, task, known):
                return
            if self._stopping:
                return
        key = key_of(task)
        self._claims.add(key)
        try:
            result = await self._execution.run(task, self._tell_late)
            self._execution.meter.executed(result)
        except Withdrawn:
            await self._let_go([key])  # not done: it goes to whoever has the partition next
            return
        finally:
            self._claims.discard(key)
        self._say(record, result, key)

    def _tell_late(self, result: StepResult) -> None:
        """Publish what an effect came to after its task was done."""
        record = self._wire.result(result, self._clock.now())
        telling = asyncio.get_running_loop().create_task(self._publish_all([record]))
        self._running.add(telling)
        telling.add_done_callback(self._done)

    async def _keep_claims(self) -> None:
        """Claim again what runs here: claims of a process that died expire within `CLAIM`, whatever the timeouts."""
        while True:
            await self._clock.sleep(CLAIM_AGAIN)
            await self._keys.claim(list(self._claims), self._process, CLAIM)

    async def _wait_for_other(self, task: ExecuteStep) -> bytes | None:
        """Somebody else has the same attempt: wait for its result as long as it may take, then do it ourselves."""
        until = self._clock.monotonic() + task.timeout
        while self._clock.monotonic() < until and not self._stopping:
            await self._clock.sleep(HELD_PAUSE)
            match (await self._keys.claim([key_of(task)], self._process, CLAIM))[0]:
                case Known(result=result):
                    return result
                case Held():
                    continue
                case _:
                    return None
        return None

    def _say(self, record: Record, result: StepResult | None, key: str) -> None:
        outgoing = None if result is None else self._wire.result(result, self._clock.now())
        final = result is not None and is_final(key, result)
        self._results.put_nowait(FinishedTask(record, outgoing, key, final=final))

    async def _publish(self, tasks: Tasks) -> None:
        while True:
            batch = [await self._results.get()]
            while not self._results.empty():
                batch.append(self._results.get_nowait())
            await self._say_all([said for said in batch if said.outgoing is not None])
            await self._let_go([said.key for said in batch if said.key and not said.final])
            for said in batch:
                await tasks.done(said.record)
                self._results.task_done()

    async def _say_all(self, batch: list[FinishedTask]) -> None:
        """Publish results and remember the final ones, in this order on their ways; neither waits for the other."""
        known = {said.key: said.outgoing.value for said in batch if said.final and said.key and said.outgoing}
        async with asyncio.TaskGroup() as both:
            if known:
                both.create_task(self._keys.remember(known, RESULT_KEPT))
            both.create_task(self._publish_all([said.outgoing for said in batch if said.outgoing is not None]))

    async def _let_go(self, names: list[str]) -> None:
        """Give claims back: the next attempt of an effect is not to wait for this one's."""
        if names:
            await self._keys.release(names, self._process)

    async def _publish_all(self, records: list[Outgoing]) -> None:
        async for number in backoff():
            try:
                await self._log.publish(records)
            except (Unreachable, TopicMissing) as away:
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot publish results: %s; retrying", away)
            except TooLarge as large:
                records = list(records)
                records[large.index] = await self._shortened(records[large.index], str(large))
            else:
                return

    async def _shortened(self, record: Outgoing, text: str) -> Outgoing:
        if record.topic == self._topics.dlq:
            return await put_aside(record, text, self._topics, self._store)
        result = self._codec.decode_result(record.value)
        failure = Failure("TooLarge", text, step=result.step_id, retryable=False)
        short = msgspec.structs.replace(result, result=None, error=failure)
        return self._wire.result(short, self._clock.now())
