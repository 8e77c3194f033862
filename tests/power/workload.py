"""One process at work on an embedded file, witnessed: `python -m tests.power.workload STORE …`.

It is what `holdfast dev` serves, or a client beside it; store and log mark what they acknowledge.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from holdfast import Client
from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.sqlite import EmbeddedLog, SqliteStore, file
from holdfast.core.commands import SignalRun, StartRun
from holdfast.ports import journal as port
from holdfast.ports.journal import ShardBatch
from holdfast.ports.log import Outgoing
from holdfast.profiles import embedded
from holdfast.settings import Settings, load
from tests.integration.bus import serving
from tests.power import facts
from tests.power.workflows import SIGNAL, WORD, id_of, message_of, story_of, waits

DIED = 9
CODEC = AvroCodec()


class TellingStore(SqliteStore):
    """The real store, which marks what it acknowledged."""

    async def commit(self, batch: Mapping[int, ShardBatch]) -> port.Committed | port.Fenced:
        answer = await super().commit(batch)
        if isinstance(answer, port.Committed):
            numbers = {shard: part.number for shard, part in batch.items()}
            events = tuple(facts.key_of(event) for part in batch.values() for event in part.events)
            facts.mark(facts.Committed(numbers, events))
        return answer

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        await super().put_blobs(blobs)
        facts.mark(facts.Kept(tuple(blobs)))


class TellingLog(EmbeddedLog):
    """The real log, which marks what it acknowledged."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await super().publish(records)
        for record in records:
            if not record.stored and ".commands." in record.topic:
                facts.mark(fact_of(record.headers, record.value))


def fact_of(headers: Sequence[tuple[str, bytes]], value: bytes) -> facts.Started | facts.Signalled:
    """Say what a command stands for."""
    addressed = CODEC.decode_command(tuple(headers), value)
    match addressed.command:
        case StartRun():
            return facts.Started(addressed.run_id)
        case SignalRun(message_id=message_id):
            return facts.Signalled(addressed.run_id, message_id)
        case other:
            raise TypeError(f"no process here sends {other}")


async def drive(client: Client, number: int, tell: Callable[[facts.AnyFact], None] = facts.mark) -> None:
    """Start a run, signal it if it waits, and wait for its result; the same again changes nothing."""
    definition, value, result = story_of(number)
    handle = await client.start(definition, value, id=id_of(number))
    tell(facts.Started(id_of(number)))
    if waits(number):
        await client.signal(id_of(number), SIGNAL, WORD, message_id=message_of(number))
        tell(facts.Signalled(id_of(number), message_of(number)))
    assert await handle.result() == result
    tell(facts.Ended(id_of(number)))


async def drive_all(client: Client, numbers: range, at_once: int, leave_after: int | None) -> None:
    """Drive runs, `at_once` at a time; leave when so many have ended, with the others under way."""
    room = asyncio.Semaphore(at_once)
    ended = 0
    enough = asyncio.Event()

    async def one(number: int) -> None:
        nonlocal ended
        async with room:
            await drive(client, number)
        ended += 1
        if ended == leave_after:
            enough.set()

    everyone = asyncio.gather(*(one(number) for number in numbers))
    waiting = asyncio.ensure_future(enough.wait())
    both: list[asyncio.Future[Any]] = [everyone, waiting]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if leave_after is None:
        await everyone
    everyone.cancel()
    await asyncio.gather(everyone, return_exceptions=True)


async def work(given: argparse.Namespace, settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        engine = None
        if not given.client:
            engine = await stack.enter_async_context(serving(settings))
            facts.mark(facts.Ready())
        client = await stack.enter_async_context(Client(settings, engine=engine))
        beside = await others(given.store, given.beside) if given.beside else None
        await drive_all(client, range(given.first, given.end), given.at_once, given.leave_after)
        assert beside is None or await beside.wait() == 0
        if given.die:
            os._exit(DIED)


async def others(store: Path, numbers: str) -> asyncio.subprocess.Process:
    """Let a client in a process of its own, witnessed as this one is, drive other runs."""
    first, end = numbers.split("-")
    own = ("--client", "--first", first, "--end", end)
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.power.workload", store, *own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--end", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--leave-after", type=int)
    parser.add_argument("--die", action="store_true", help="end as kill -9 does")
    parser.add_argument("--client", action="store_true", help="be a client of another process's engine")
    parser.add_argument("--beside", metavar="FIRST-END", help="runs of a client in another process")
    parser.add_argument("--checkpoint", type=int, default=file.CHECKPOINT_PAGES)
    parser.add_argument("--synchronous", default=file.SYNCHRONOUS)
    given = parser.parse_args()
    told: dict[Any, dict[str, Any]] = {
        embedded: {"SqliteStore": TellingStore, "EmbeddedLog": TellingLog},
        file: {"CHECKPOINT_PAGES": given.checkpoint, "SYNCHRONOUS": given.synchronous},
    }
    for module, names in told.items():
        for name, value in names.items():
            setattr(module, name, value)
    state = {"HOLDFAST_STATE": os.environ["HOLDFAST_STATE"]}
    asyncio.run(work(given, load({"store": f"sqlite:///{given.store}"}, state)))


if __name__ == "__main__":
    main()
