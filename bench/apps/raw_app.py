"""The raw limit: the rows and messages of the workload, written by the same drivers, with no engine between them.

Nothing is decided, decoded or consumed here. A lane takes whatever waits, up to a batch, and writes it in the order in
which an engine must: store first, then send, four rounds for three steps. So this is what these drivers, the servers
and the disk give on this machine, batched like this; an engine that sends less or batches better may pass it.

Per workflow: 1 command, 3 tasks, 3 results, 8 events (start; scheduled and completed of each step; end) and 1 outcome
on Kafka; 8 rows of history and 1 run in the store.

Run as `python -m bench.apps.raw_app PORT STORE KAFKA`; STORE is a PostgreSQL URL. On a SQLite file it is a library.
"""

import asyncio
import itertools
import sqlite3
import sys
from collections.abc import Sequence
from typing import Protocol

import psycopg
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from bench.apps.wire import serve
from bench.engines import STEPS, expected

BATCH = 64
LANES = 4
PARTITIONS = 8
TOPICS = ("commands", "tasks", "results", "events", "outcomes")
BODY = b'{"content_type":"application/json","encoding":null,"data":"1042","blob":null,"meta":null}'
HEADERS = [("ce_id", b"bench-1042/0/7"), ("ce_type", b"holdfast.StepCompleted.v1"), ("ce_source", b"holdfast")]

SCHEMA = (
    "CREATE TABLE runs (run_id text PRIMARY KEY, status text NOT NULL)",
    """CREATE TABLE history (
        run_id text NOT NULL, seq integer NOT NULL, type text NOT NULL, data {bytes} NOT NULL, PRIMARY KEY (run_id, seq)
    )""",
)
COMMIT_POSTGRES = """
WITH new_runs AS (
    INSERT INTO runs (run_id, status) SELECT id, %(status)s FROM unnest(%(runs)s::text[]) AS given (id)
    ON CONFLICT (run_id) DO UPDATE SET status = excluded.status
)
INSERT INTO history (run_id, seq, type, data)
SELECT * FROM unnest(%(ids)s::text[], %(seqs)s::int4[], %(types)s::text[], %(data)s::bytea[])
"""
COMMIT_SQLITE = (
    "INSERT INTO runs (run_id, status) VALUES (?, ?) ON CONFLICT (run_id) DO UPDATE SET status = excluded.status",
    "INSERT INTO history (run_id, seq, type, data) VALUES (?, ?, ?, ?)",
)

Event = tuple[str, int, str, bytes]


class Store(Protocol):
    """Where the rows go; a commit is on disk when it returns."""

    async def commit(self, runs: Sequence[str], status: str, events: Sequence[Event]) -> None:
        """Write one round of one lane."""


class Postgres:
    """One connection, one statement a round."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    async def commit(self, runs: Sequence[str], status: str, events: Sequence[Event]) -> None:
        ids, seqs, types, data = (list(column) for column in zip(*events, strict=True))
        parameters = {"runs": list(runs), "status": status, "ids": ids, "seqs": seqs, "types": types, "data": data}
        await self._connection.execute(COMMIT_POSTGRES, parameters, prepare=True, binary=True)


class Sqlite:
    """One connection, one transaction a round, in a thread because the commit blocks."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        for statement in SCHEMA:
            self._connection.execute(statement.format(bytes="blob"))

    async def commit(self, runs: Sequence[str], status: str, events: Sequence[Event]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._commit, runs, status, events)

    def _commit(self, runs: Sequence[str], status: str, events: Sequence[Event]) -> None:
        run_rows, event_rows = COMMIT_SQLITE
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(run_rows, [(run, status) for run in runs])
        self._connection.executemany(event_rows, events)
        self._connection.execute("COMMIT")


class Kafka:
    """The messages, one batch for each topic and partition, acknowledged by all in-sync replicas."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def send(self, counts: dict[str, int], runs: Sequence[str]) -> None:
        """Send `counts[topic]` messages of each run; return when the broker has acknowledged all of them."""
        batches: dict[tuple[str, int], BatchBuilder] = {}
        for topic, count in counts.items():
            for run, _ in itertools.product(runs, range(count)):
                place = (topic, hash(run) % PARTITIONS)
                batch = batches.get(place)
                if batch is None:
                    batch = batches[place] = self._producer.create_batch()
                if batch.append(key=run.encode(), value=BODY, timestamp=None, headers=HEADERS) is None:
                    raise RuntimeError("a batch is full: raise max_batch_size or lower BATCH")
        sent = [
            await self._producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), batch in batches.items()
        ]
        await asyncio.gather(*sent)


class Lane:
    """Takes what waits, writes it round by round, answers."""

    def __init__(
        self, waiting: "asyncio.Queue[tuple[int, asyncio.Future[int]]]", store: Store, log: Kafka | None
    ) -> None:
        self._waiting = waiting
        self._store = store
        self._log = log

    async def work(self) -> None:
        """Go on until the process is ended; an error reaches those who wait."""
        while True:
            taken = [await self._waiting.get()]
            while len(taken) < BATCH and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            try:
                await self._write([f"bench-{n}" for n, _ in taken])
            except Exception as error:  # noqa: BLE001 - told to each of the batch, which ends the measurement
                for _, answer in taken:
                    answer.set_exception(error)
            else:
                for n, answer in taken:
                    answer.set_result(expected(n))

    async def _write(self, runs: Sequence[str]) -> None:
        # Events hold nobody up; a task's and a result's acknowledgement stand for the hop that the next step waits for.
        published = [asyncio.ensure_future(self._send({"commands": 1}, runs))]
        for step in range(STEPS + 1):
            last = step == STEPS
            kinds = ("StepCompleted" if step else "RunStarted", "RunCompleted" if last else "StepScheduled")
            events = [(run, 2 * step + place, kind, BODY) for run in runs for place, kind in enumerate(kinds, start=1)]
            await self._store.commit(runs, "COMPLETED" if last else "RUNNING", events)
            published.append(asyncio.ensure_future(self._send({"events": 2}, runs)))
            await self._send({"outcomes" if last else "tasks": 1}, runs)
            if not last:
                await self._send({"results": 1}, runs)
        await asyncio.gather(*published)

    async def _send(self, counts: dict[str, int], runs: Sequence[str]) -> None:
        if self._log is not None:
            await self._log.send(counts, runs)


class Application:
    """The lanes, and the way into them."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
        self._lanes: list[asyncio.Task[None]] = []

    async def open(self, store: str, kafka: str | None = None) -> None:
        """Open the lanes."""
        for one in await _stores(store):
            # A producer for each lane: aiokafka has one request under way for each producer and broker.
            lane = Lane(self._waiting, one, await _kafka(kafka) if kafka else None)
            self._lanes.append(asyncio.create_task(lane.work()))

    async def run(self, n: int) -> int:
        """Write workflow `n`, and give its result."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((n, answer))
        return int(await answer)

    async def close(self) -> None:
        """End the lanes."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)


async def main(port: int, store: str, kafka: str) -> None:
    """Open the lanes and answer."""
    application = Application()
    await application.open(store, kafka)
    await serve(application.run, port)


async def _kafka(address: str) -> Kafka:
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=1 << 20
    )
    await producer.start()
    return Kafka(producer)


async def _stores(store: str) -> list[Store]:
    if not store.startswith("postgresql://"):
        return [Sqlite(store)]  # SQLite has one writer: a second lane would only wait for the first
    connections = [await psycopg.AsyncConnection.connect(store, autocommit=True) for _ in range(LANES)]
    for statement in SCHEMA:
        await connections[0].execute(statement.format(bytes="bytea"))
    return [Postgres(connection) for connection in connections]


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
