"""The kinds of fault: each does one kind of harm to one victim.

Laws of this file:
- `strike` returns when the harm is over; `recovered` returns when what was harmed serves again.
- A fault undoes what it did, also when the storm is broken off.
- What is on its way to the provider is held up for less than LIFETIME, whatever comes together.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping

import aiohttp

from examples.demo.processes import run
from examples.demo.shop import HOLDFAST
from holdfast.adapters.kafka.log import KafkaLog
from holdfast.ports.log import TopicMissing, Unreachable
from tests.chaos.proxy import Link
from tests.chaos.stories import flush
from tests.chaos.stream import Stream
from tests.chaos.world import NAMESPACE, Place, Service, World

NEW_IN_BURST = 5
BETWEEN_STOPS = 5.0
"""Seconds in which whoever was stopped does what it was about to do."""


class Fault:
    """One fault that is about to happen in `place`."""

    place: Place = "cluster"

    def __init__(self, world: World, stream: Stream, chance: random.Random) -> None:
        self.world = world
        self.stream = stream
        self.chance = chance

    async def strike(self) -> None:
        """Do the harm, as long as it lasts."""
        raise NotImplementedError

    async def recovered(self, since: float) -> float:
        """Wait for the first run that ends after `since`, the moment at which the harm was over; give the seconds."""
        return await self.stream.next_end(self.place, since) - since


class OfService(Fault):
    """Of a service of some roles."""

    roles: tuple[str, ...] = ()

    def __init__(self, world: World, stream: Stream, chance: random.Random) -> None:
        super().__init__(world, stream, chance)
        self.victim: Service = chance.choice(world.of_role(*self.roles))
        self.place = "embedded" if self.victim.role == "embedded" else "cluster"

    async def recovered(self, since: float) -> float:
        await self.victim.ready()
        return max(time.time() - since, await super().recovered(since))


class Killed(OfService):
    """SIGKILL; its supervisor starts it again."""

    async def strike(self) -> None:
        async with self.victim.alone:
            while not await self.victim.process.kill():
                await asyncio.sleep(0.1)  # it is just being started again


class Stopped(OfService):
    """SIGSTOP for a while: for some a blink, for some longer than its group and its leases wait."""

    longest = 18.0

    async def strike(self) -> None:
        async with self.victim.alone:
            await self.victim.ready()
            await asyncio.sleep(self.victim.awake_since + BETWEEN_STOPS - time.monotonic())
            self.victim.process.pause()
            try:
                await asyncio.sleep(self.chance.choice((0.5, self.chance.uniform(1, self.longest))))
            finally:
                self.victim.process.resume()
                self.victim.awake_since = time.monotonic()


class StoppedProvider(Stopped):
    longest = 4.0


class ClockJumped(OfService):
    """Its wall clock is set forward or back by up to a day, and set right after a while."""

    roles = ("worker", "orchestrator", "both")

    async def strike(self) -> None:
        assert self.victim.dials is not None
        async with self.victim.alone:
            sign = self.chance.choice((-1, 1))
            self.victim.dials.clock_off(sign * 10 ** self.chance.uniform(0, 5))
            try:
                await asyncio.sleep(self.chance.uniform(1, 6))
            finally:
                self.victim.dials.clock_off(0)


class DiskFull(OfService):
    """The disk of the embedded store has no room left for a while."""

    roles = ("embedded",)

    async def strike(self) -> None:
        async with self.victim.alone:
            disk = self.world.disk
            if disk.mounted:
                disk.fill()
            elif self.victim.dials is not None:
                self.victim.dials.disk_full(full=True)
            try:
                await asyncio.sleep(self.chance.uniform(1, 4))
            finally:
                disk.empty()
                if self.victim.dials is not None:
                    self.victim.dials.disk_full(full=False)


class OfServer(Fault):
    """Of Kafka, PostgreSQL or Redis."""

    server = ""

    async def strike(self) -> None:
        async with self.world.server_alone[self.server]:
            await self.harm()

    async def harm(self) -> None:
        raise NotImplementedError


class Restarted(OfServer):
    async def harm(self) -> None:
        await self.world.servers.stop(self.server)
        await self.world.servers.start(self.server)


class KilledServer(OfServer):
    """SIGKILL to the server and its children, and started again."""

    async def harm(self) -> None:
        await self.world.servers.kill(self.server)
        await self.world.servers.start(self.server)


class Flushed(OfServer):
    server = "redis"

    async def harm(self) -> None:
        await flush(self.world.servers.port("redis"))


class Wiped(OfServer):
    """Kafka's data is deleted, topics and all; what only Kafka knew its senders say again."""

    server = "kafka"

    async def harm(self) -> None:
        await self.world.servers.wipe("kafka")
        await self.world.servers.start("kafka")
        async with self.world.server_alone["postgres"]:  # the installation asks it
            await run(*HOLDFAST, "install", environment=dict(self.world.settings["cluster"]))
        self.stream.say_again()


class Rebalances(Fault):
    """Members join both groups, take what they are given, do nothing with it, and leave; again and again."""

    async def strike(self) -> None:
        for _ in range(self.chance.randint(3, 6)):
            with contextlib.suppress(Unreachable, TopicMissing, TimeoutError):
                async with asyncio.timeout(15.0):
                    await self._come_and_go()

    async def _come_and_go(self) -> None:
        log = KafkaLog(self.world.settings["cluster"]["HOLDFAST_LOG"].removeprefix("kafka://"), client_id="rebalances")
        topics = [f"{NAMESPACE}.{name}.v1" for name in ("commands", "results")]
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(log.close)
            await log.open()
            group = f"{NAMESPACE}.orchestrator"
            shards = await log.join(topics, group, on_assigned=_ignore, on_revoked=_ignore, instance=None)
            stack.push_async_callback(shards.close)
            tasks = await log.tasks([f"{NAMESPACE}.tasks.default.v1"], f"{NAMESPACE}.worker", instance=None)
            stack.push_async_callback(tasks.close)
            await asyncio.gather(shards.poll(0.5, 100), tasks.poll(0.5, 100))
            await asyncio.sleep(self.chance.uniform(0, 1))


class OfLink(Fault):
    """Of all connections between a kind of service and a server, or the provider."""

    def __init__(self, world: World, stream: Stream, chance: random.Random) -> None:
        super().__init__(world, stream, chance)
        self.link: Link = chance.choice(list(world.links.values()))
        self.place = "embedded" if self.link.name.startswith("embedded") else "cluster"


class Cut(OfLink):
    """Every connection ends at once, several times."""

    async def strike(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            self.link.cut()
            await asyncio.sleep(self.chance.uniform(0, 0.7))


class Delayed(OfLink):
    """All that passes takes longer."""

    async def strike(self) -> None:
        self.link.delay = self.chance.uniform(0.05, 1.5)
        try:
            await asyncio.sleep(self.chance.uniform(1, 6))
        finally:
            self.link.delay = 0.0


class HalfClosed(OfLink):
    """One direction of every connection is ended; the other one stays open."""

    async def strike(self) -> None:
        self.link.half_close(self.chance)


class Muted(OfLink):
    """What goes one way on a connection is lost, and nobody is told."""

    async def strike(self) -> None:
        self.link.mute(self.chance)


class OfProvider(Fault):
    """Set by the provider's own /faults."""

    faults: Mapping[str, int] = {}
    longest = 5.0

    async def strike(self) -> None:
        await self._set(self.faults)
        try:
            await asyncio.sleep(self.chance.uniform(1, self.longest))
        finally:
            await self._set(dict.fromkeys(self.faults, 0))

    async def _set(self, faults: Mapping[str, int]) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError, TimeoutError):
                async with (
                    aiohttp.ClientSession(self.world.payments, timeout=aiohttp.ClientTimeout(total=2.0)) as provider,
                    provider.post("/faults", json=faults) as answer,
                ):
                    answer.raise_for_status()
                    return
            await asyncio.sleep(0.2)


class FailsAfterCharging(OfProvider):
    """It charges and answers 500, and keeps that answer under the key: only a person can tell."""

    faults: Mapping[str, int] = {"fail_after_charge": 3}


class LosesAnswers(OfProvider):
    """It charges, and cuts the connection."""

    faults: Mapping[str, int] = {"lose_answer_after_charge": 5}


class TooManyRequests(OfProvider):
    """A storm of 429."""

    faults: Mapping[str, int] = {"too_many_requests": 1_000_000}


class Shuffled(Fault):
    """New orders come doubled and shuffled, and what was said before is said again."""

    async def strike(self) -> None:
        self.stream.burst(NEW_IN_BURST)
        self.stream.repeat(50)


def _of(kind: type[Fault], **fields: object) -> type[Fault]:
    return type(kind.__name__, (kind,), fields)


KINDS: Mapping[str, type[Fault]] = {
    "worker-killed": _of(Killed, roles=("worker",)),
    "kafka-killed": _of(KilledServer, server="kafka"),
    "provider-500-after-charging": FailsAfterCharging,
    "orchestrator-stopped": _of(Stopped, roles=("orchestrator",)),
    "connections-cut": Cut,
    "postgres-killed": _of(KilledServer, server="postgres"),
    "embedded-disk-full": DiskFull,
    "clock-jumped": ClockJumped,
    "rebalances": Rebalances,
    "orchestrator-killed": _of(Killed, roles=("orchestrator",)),
    "provider-429": TooManyRequests,
    "connections-half-closed": HalfClosed,
    "kafka-wiped": Wiped,
    "input-shuffled": Shuffled,
    "redis-killed": _of(KilledServer, server="redis"),
    "embedded-killed": _of(Killed, roles=("embedded",)),
    "worker-stopped": _of(Stopped, roles=("worker",)),
    "connections-delayed": Delayed,
    "redis-flushed": Flushed,
    "both-killed": _of(Killed, roles=("both",)),
    "connections-muted": Muted,
    "postgres-restarted": _of(Restarted, server="postgres"),
    "provider-loses-answers": LosesAnswers,
    "provider-killed": _of(Killed, roles=("provider",)),
    "kafka-restarted": _of(Restarted, server="kafka"),
    "both-stopped": _of(Stopped, roles=("both",)),
    "embedded-stopped": _of(Stopped, roles=("embedded",)),
    "provider-stopped": _of(StoppedProvider, roles=("provider",)),
    "redis-restarted": _of(Restarted, server="redis"),
}
"""The first ones first: a short storm has as many kinds as faults."""


def skipped(world: World) -> dict[str, str]:
    """Name the kinds that cannot be had here, each with its reason."""
    if world.shimmed:
        return {}
    reason = "no C compiler (cc) for the shim that is preloaded, or no 64-bit Linux"
    disk = {} if world.disk.mounted else {"embedded-disk-full": f"no disk of its own may be mounted here, and {reason}"}
    return {"clock-jumped": reason, **disk}


async def _ignore(_: object) -> None:
    """Take no notice."""
