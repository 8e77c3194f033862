"""What happens to the shop: each story tells one kind of misfortune, and ends when every customer has an answer.

Law: a story does its harm while orders are under way, or it fails: harm to an idle installation proves nothing.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec

from examples.demo.cluster import SERVICES, everyone_ready
from examples.demo.processes import Process, run
from examples.demo.servers import Servers
from examples.demo.shop import HOLDFAST, Shop, killed, open_shop, share
from holdfast.core.events import StepScheduled
from tests.chaos.checks import Found, examined, published

PATIENCE = 180.0
LATENCY = 0.1
TAKEN_OVER = 45.0
FENCED = re.compile(r"\bfenced\b", re.IGNORECASE)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How a story ended."""

    story: str
    seed: int
    runs: int
    kills: int
    seconds: float
    found: Found

    @property
    def holds(self) -> bool:
        return not self.found.wrong


class Stage:
    """Where a story plays: a folder, a seed, and how many orders come."""

    def __init__(self, folder: Path, *, runs: int, seed: int, servers: Servers | None = None) -> None:
        self.folder = folder
        self.runs = runs
        self.seed = seed
        self.chance = random.Random(seed)
        self.servers = servers
        self.namespace = f"chaos{random.SystemRandom().randrange(10**9)}"
        self._since = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    async def settings(self) -> dict[str, str]:
        """Give the settings of a new installation."""
        if self.servers is None:
            return {"HOLDFAST_STORE": f"sqlite:///{self.folder / 'holdfast.db'}"}
        settings = self.servers.settings(self.namespace)
        await run(*HOLDFAST, "install", environment=settings)
        return settings

    def told(self, story: str, found: Found, kills: int = 0) -> Told:
        seconds = round(time.monotonic() - self._since, 1)
        return Told(story=story, seed=self.seed, runs=self.runs, kills=kills, seconds=seconds, found=found)

    async def ended(self, shop: Shop, *, in_order: bool = True) -> Found:
        """Wait for every customer, then check everything."""
        await shop.customers.finish(PATIENCE)
        found = await examined(shop.client, shop.customers)
        if self.servers is None:
            return found
        broker = f"127.0.0.1:{self.servers.port('kafka')}"
        names = [order["order"] for order in shop.customers.orders]
        topics = await published(shop.client, names, broker, in_order=in_order)
        return msgspec.structs.replace(found, wrong=found.wrong + topics)


async def embedded_kills(stage: Stage, kills: int) -> Told:
    """The only process is killed, again and again."""
    async with open_shop(
        stage.folder, await stage.settings(), {"dev": "dev"}, orders=stage.runs, latency=LATENCY
    ) as shop:
        await _killing(shop, stage, [shop.services["dev"]] * kills)
        return stage.told("embedded: kill -9", await stage.ended(shop), kills)


async def cluster_kills(stage: Stage, kills: int) -> Told:
    """Orchestrators and workers are killed in turn."""
    async with open_shop(stage.folder, await stage.settings(), SERVICES, orders=stage.runs, latency=LATENCY) as shop:
        await everyone_ready(shop)
        services = list(shop.services.values())
        victims = [services[number % len(services)] for number in range(kills)]
        stage.chance.shuffle(victims)
        await _killing(shop, stage, victims)
        return stage.told("cluster: kill -9", await stage.ended(shop), kills)


async def workers_killed(stage: Stage) -> Told:
    """All workers die in the middle of charging; what they had begun must not wait for the time limit of its step."""
    async with open_shop(stage.folder, await stage.settings(), SERVICES, orders=stage.runs, latency=LATENCY) as shop:
        await everyone_ready(shop)
        shop.customers.place(stage.runs, apart=0.0)
        await _until(lambda: _charging(shop), "no card was being charged")
        died = time.monotonic()
        for name in ("worker-1", "worker-2"):
            assert await shop.services[name].kill()
            await shop.services[name].start()
        await shop.customers.finish(PATIENCE)
        took = time.monotonic() - died
        found = await stage.ended(shop)
        if took > TAKEN_OVER:
            found = msgspec.structs.replace(found, wrong=(*found.wrong, f"taking over from dead workers took {took} s"))
        return stage.told("cluster: workers killed in mid-charge", found, 2)


async def zombie(stage: Stage) -> Told:
    """An orchestrator is stopped until its shards are another's, and wakes up believing that they are its own.

    The payment provider refuses for a while: so the sleeper holds timers that come due in its sleep, and acts on them
    before anybody tells it that it is nobody.
    """
    async with open_shop(stage.folder, await stage.settings(), SERVICES, orders=stage.runs, latency=LATENCY) as shop:
        await everyone_ready(shop)
        await _refuse_charges(shop, 1_000_000)
        shop.customers.place(stage.runs, apart=0.05)
        sleeper = shop.services["orchestrator-1"]
        await _until(lambda: _has_timers(shop, sleeper), "the orchestrator has nothing that waits")
        sleeper.pause()
        await _until(lambda: _has_no_shards(shop, sleeper), "the shards of the stopped orchestrator did not move")
        sleeper.resume()
        await _refuse_charges(shop, 0)
        found = await stage.ended(shop)
        if not FENCED.search(sleeper.said()):
            found = msgspec.structs.replace(found, wrong=(*found.wrong, "the zombie's log does not say fenced"))
        return stage.told("cluster: zombie", found)


async def redis_flushed(stage: Stage) -> Told:
    """Redis forgets everything, several times."""
    assert stage.servers is not None
    async with open_shop(stage.folder, await stage.settings(), SERVICES, orders=stage.runs, latency=LATENCY) as shop:
        await everyone_ready(shop)
        shop.customers.place(stage.runs, apart=0.05)
        for _ in range(3):
            await _some_are_under_way(shop)
            await flush(stage.servers.port("redis"))
            await asyncio.sleep(stage.chance.uniform(0.1, 0.5))
        return stage.told("cluster: Redis flushed", await stage.ended(shop))


async def kafka_wiped(stage: Stage) -> Told:
    """Kafka loses its data, topics and all; what the store holds completes, and is told again on the new topics."""
    assert stage.servers is not None
    settings = await stage.settings()
    async with open_shop(stage.folder, settings, SERVICES, orders=stage.runs, latency=LATENCY) as shop:
        await everyone_ready(shop)
        shop.customers.place(stage.runs, apart=0.02)
        await _until(lambda: _all_stored(shop), "not every start was stored")
        await _some_are_under_way(shop)
        await stage.servers.wipe("kafka")
        await stage.servers.start("kafka")
        await run(*HOLDFAST, "install", environment=settings)
        await shop.customers.finish(PATIENCE)
        for what in ("--outcomes", "--events"):
            await run(*HOLDFAST, "republish", what, "--since", "2000-01-01T00:00:00Z", environment=settings)
        return stage.told("cluster: Kafka's log deleted", await stage.ended(shop, in_order=False))


async def _killing(shop: Shop, stage: Stage, victims: list[Process]) -> None:
    for place, victim in enumerate(victims):
        shop.customers.place(share(stage.runs, len(victims), place), apart=0.05)
        assert await killed(victim, stage.chance), f"{victim.name} had ended by itself: {victim.said()[-2000:]}"
        await victim.start()


async def _some_are_under_way(shop: Shop) -> None:
    """Wait until orders are in the middle of their way."""

    async def met() -> bool:
        running = await shop.client.profile.store.runs(status="RUNNING", limit=1)
        return bool(running)

    await _until(met, "no order was under way")


async def _charging(shop: Shop) -> bool:
    names = [order["order"] for order in shop.customers.orders]
    runs = (await shop.client.profile.store.load(names)).values()
    decode = shop.client.profile.codec.decode_event
    last = [decode(event.type, event.data) for run in runs for event in run.history[-1:]]
    return any(isinstance(event, StepScheduled) and event.name == "charge" for event in last)


async def _all_stored(shop: Shop) -> bool:
    names = [order["order"] for order in shop.customers.orders]
    return len(await shop.client.profile.store.existing(names)) == len(names)


async def _shards_of(shop: Shop, process: Process) -> list[int]:
    rows = await shop.client.profile.store.shards(range(shop.client.profile.shards))
    return [row.shard for row in rows.values() if f"-{process.pid}-" in row.owner]


async def _has_no_shards(shop: Shop, process: Process) -> bool:
    return not await _shards_of(shop, process)


async def _has_timers(shop: Shop, process: Process) -> bool:
    far = shop.client.profile.clock.now() + 3_600_000_000
    return bool(await shop.client.profile.store.due_timers(await _shards_of(shop, process), far, 1))


async def _refuse_charges(shop: Shop, number: int) -> None:
    """Let the provider refuse the next `number` charges with a 503, before it has charged anything."""
    async with (
        aiohttp.ClientSession(shop.environment["PAYMENTS_URL"]) as payments,
        payments.post("/faults", json={"fail_before_charge": number}) as answer,
    ):
        assert answer.status == 200


async def _until(condition: Callable[[], Awaitable[bool]], otherwise: str, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.05)


async def flush(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"FLUSHALL\r\n")
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
