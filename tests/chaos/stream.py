"""The steady stream of orders, in every way in which they may come, and what is seen of their ends.

Laws of this file:
- What comes of an order is a function of the order: whoever places it again changes nothing.
- An order counts as placed from the moment that somebody wants it placed; whoever cannot reach a server tries again.
- Only when Kafka has lost its data does anybody say again what Kafka had acknowledged: that is what we promise.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from holdfast import Client
from holdfast.core.commands import Addressed, Command, SignalRun, StartRun
from holdfast.core.identity import shard_of
from holdfast.core.payload import Payload
from holdfast.core.run import ENDED
from holdfast.ports.log import Outgoing, TopicMissing, Unreachable
from holdfast.ports.unavailable import Unavailable
from tests.chaos.order import PAYS, Order, Parcel
from tests.chaos.world import Place

Answer = TypeVar("Answer")

AWAY = (Unavailable, Unreachable, TopicMissing, TimeoutError)
PAUSE = 0.3
LOOK_EVERY = 0.3
AT_ONCE = 100
WORKFLOW = "storm_order"


class Placed(msgspec.Struct):
    """An order on its way; `ended_at` by the store's clock, in seconds since the epoch."""

    order: Order
    place: Place
    raw: bool
    accepted: bool = False
    status: str = ""
    ended_at: float = 0.0
    answer: object = None


class Stream:
    """All orders of a storm."""

    def __init__(self, clients: dict[Place, Client], chance: random.Random) -> None:
        self.placed: dict[str, Placed] = {}
        self._clients = clients
        self._chance = chance
        self._open: deque[str] = deque()
        self._ended = asyncio.Condition()
        self._latest: dict[Place, list[float]] = {"cluster": [], "embedded": []}
        self._errands: set[asyncio.Task[None]] = set()
        self.met: list[str] = []

    @property
    def open(self) -> int:
        return len(self._open)

    # -- placing

    async def steady(self, number: int, seconds: float) -> None:
        """Place `number` orders over `seconds`, each in a way drawn by lot."""
        began = time.monotonic()
        for count in range(number):
            await asyncio.sleep(began + seconds * count / max(number, 1) - time.monotonic())
            way = self._chance.random()
            if way < 0.3:
                self.burst(1)
            else:
                self.place("embedded" if way < 0.45 else "cluster")

    def place(self, where: Place) -> Placed:
        """Place an order by the client; its signal comes by the client too, twice, maybe before it."""
        placed = self._new(where, raw=False)
        self._errand(self._buy(placed))
        for _ in range(2):
            self._errand(self._ship(placed, self._chance.uniform(0.0, 3.0)))
        return placed

    def burst(self, number: int) -> None:
        """Place orders as raw records: all said twice or more, shuffled, some of it to a wrong partition."""
        new = [self._new("cluster", raw=True) for _ in range(number)]
        self._errand(self._tell(self._shuffled(new)))

    def repeat(self, number: int) -> None:
        """Say again, shuffled, what was said of earlier orders, whatever has become of them."""
        known = [placed for placed in self.placed.values() if placed.place == "cluster"]
        self._errand(self._tell(self._shuffled(self._chance.sample(known, min(number, len(known))))))

    def say_again(self) -> None:
        """Say again all that is on its way: Kafka has lost it."""
        lost = [self.placed[name] for name in self._open if self.placed[name].place == "cluster"]
        self._errand(self._tell(self._shuffled(lost)))

    def _new(self, where: Place, *, raw: bool) -> Placed:
        name = f"order-{len(self.placed) + 1:06}"
        chance = self._chance
        pay = chance.choices(PAYS, (6, 2, 2))[0]
        order = Order(order=name, amount=100 * chance.randint(1, 999), pay=pay, rest=round(chance.uniform(0, 1.5), 3))
        self.placed[name] = placed = Placed(order, where, raw)
        self._open.append(name)
        return placed

    async def _buy(self, placed: Placed) -> None:
        client, name = self._clients[placed.place], placed.order.order
        handle = await insist(lambda: client.start(WORKFLOW, msgspec.to_builtins(placed.order), id=name))
        placed.accepted = True
        placed.answer = await insist(handle.result)

    async def _ship(self, placed: Placed, later: float) -> None:
        await asyncio.sleep(later)
        client, name = self._clients[placed.place], placed.order.order
        await insist(lambda: client.signal(name, "shipped", parcel_of(placed.order), message_id=f"{name}-shipped"))

    async def _tell(self, records: Sequence[Outgoing]) -> None:
        log = self._clients["cluster"].profile.log
        await insist(lambda: log.publish(records))
        for record in records:
            self.placed[record.key.decode()].accepted = True

    def _shuffled(self, told: Iterable[Placed]) -> list[Outgoing]:
        records = []
        for placed in told:
            for command in (start_of(placed.order), signal_of(placed.order)):
                records += [self._record(placed, command) for _ in range(self._chance.choice((2, 2, 3)))]
        self._chance.shuffle(records)
        return records

    def _record(self, placed: Placed, command: Command) -> Outgoing:
        """Write a command as a producer without our client would: JSON or Avro, to a partition of its own choice."""
        client, chance = self._clients["cluster"], self._chance
        name, shards = placed.order.order, client.profile.shards
        kind = type(command).__name__
        value, content = written(name, command), b"application/json"
        if chance.random() < 0.5:
            value, content = client.profile.codec.encode_command(Addressed(name, command))[1], b"application/avro"
        headers = (
            ("ce_id", f"{chance.getrandbits(64):x}".encode()),
            ("ce_source", b"/storm"),
            ("ce_type", f"holdfast.{kind}.v1".encode()),
            ("content-type", content),
        )
        partition = chance.randrange(shards) if chance.random() < 0.2 else shard_of(name, shards)
        return Outgoing(client.run_client.topics.commands, name.encode(), value, headers, partition)

    def _errand(self, errand: Awaitable[None]) -> None:
        task = asyncio.ensure_future(errand)
        self._errands.add(task)
        task.add_done_callback(self._errand_done)

    def _errand_done(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.met.append(f"a customer met {error!r}")

    # -- watching

    async def watch(self) -> None:
        """See how runs end, for as long as the storm goes."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for where, client in self._clients.items():
                names = [name for name in self._open if self.placed[name].place == where][:AT_ONCE]
                with contextlib.suppress(*AWAY):
                    await self._look(client, names)
            self._open.rotate(-AT_ONCE)

    async def _look(self, client: Client, names: Sequence[str]) -> None:
        for name, stored in (await client.profile.store.load(names)).items():
            if stored.row.status not in ENDED:
                continue
            placed = self.placed[name]
            placed.status = stored.row.status
            placed.ended_at = (stored.row.ended_at or 0) / 1_000_000
            self._latest[placed.place].append(placed.ended_at)
            self._open.remove(name)
        async with self._ended:
            self._ended.notify_all()

    async def next_end(self, where: Place, since: float) -> float:
        """Wait for the first run of a place that ends after `since`; give the moment, in seconds since the epoch."""
        async with self._ended:
            while True:
                ends = [at for at in self._latest[where] if at > since]
                if ends:
                    return min(ends)
                await self._ended.wait()

    async def all_ended(self, patience: float) -> None:
        """Wait until no order is on its way, or until patience ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience), self._ended:
                await self._ended.wait_for(lambda: not self._open)

    async def leave(self) -> None:
        """Wait a moment for customers' answers, then go."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=10.0)
        for task in tuple(self._errands):
            task.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)


async def insist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until somebody answers."""
    while True:
        try:
            return await ask()
        except AWAY:
            await asyncio.sleep(PAUSE)


def parcel_of(order: Order) -> Parcel:
    return Parcel(f"parcel of {order.order}")


def start_of(order: Order) -> StartRun:
    return StartRun(workflow=WORKFLOW, input=Payload(data=msgspec.json.encode(order)))


def signal_of(order: Order) -> SignalRun:
    parcel = Payload(data=msgspec.json.encode(parcel_of(order)))
    return SignalRun(name="shipped", message_id=f"{order.order}-shipped", input=parcel)


def written(run: str, command: Command) -> bytes:
    """Write a start or a signal as JSON."""
    match command:
        case StartRun(workflow=workflow, input=given):
            return msgspec.json.encode({"run_id": run, "workflow": workflow, "input": msgspec.Raw(given.data)})
        case SignalRun(name=name, message_id=message, input=given):
            body = {"run_id": run, "name": name, "message_id": message, "input": msgspec.Raw(given.data)}
            return msgspec.json.encode(body)
    raise AssertionError(command)
