"""What must hold when the dust has settled.

Laws of this file:
- Every order's run completed, and its card was charged once: the provider's own book says so.
- A history is gapless, ends once, and applies no step's result twice.
- The topics tell each run's events as a gapless prefix once replays are dropped, and one outcome by its `ce_id`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from examples.demo.orders import Customers
from examples.providers.book import charged_twice, read_book
from holdfast import Client
from holdfast.core.events import OUTCOMES, StepCompleted, StepScheduled
from holdfast.ports.journal import StoredRun

ENDINGS = frozenset(kind.__name__ for kind in OUTCOMES)
STEPS = frozenset({"read_prescription#1", "reserve#1", "grind#1", "charge#1"})


class Found(msgspec.Struct, frozen=True):
    """What the checks found: `wrong` is empty, or says in words what does not hold."""

    runs: int
    completed: int
    charges: int
    charged_twice: int
    events: int
    wrong: tuple[str, ...]


async def examined(client: Client, customers: Customers) -> Found:
    """Check the store and the book."""
    stored = [await client.profile.store.history(order["order"]) for order in customers.orders]
    charges = read_book(customers.book)
    charged = Counter(charge.order for charge in charges)
    wrong: list[str] = []
    for order, run in zip(customers.orders, stored, strict=True):
        wrong.extend(f"{order['order']}: {what}" for what in faults_of(run, client))
        if charged[order["order"]] != 1:
            wrong.append(f"{order['order']}: charged {charged[order['order']]} times")
        if customers.outcomes.get(order["order"], {}).get("status") != "confirmed":
            wrong.append(f"{order['order']}: its customer got {customers.outcomes.get(order['order'])}")
    return Found(
        runs=len(stored),
        completed=sum(run is not None and run.row.status == "COMPLETED" for run in stored),
        charges=len(charges),
        charged_twice=len(charged_twice(charges)),
        events=sum(len(run.history) for run in stored if run),
        wrong=tuple(wrong),
    )


def faults_of(run: StoredRun | None, client: Client, steps: frozenset[str] = STEPS) -> Iterable[str]:
    """Say what is wrong with one run's history."""
    if run is None:
        yield "not in the store"
        return
    if run.row.status != "COMPLETED":
        yield f"{run.row.status} {run.row.parked or ''}"
    if [event.seq for event in run.history] != list(range(1, len(run.history) + 1)):
        yield f"its history has a gap: {[event.seq for event in run.history]}"
    if sum(event.type in ENDINGS for event in run.history) != 1 or run.history[-1].type not in ENDINGS:
        yield f"its history does not end once: {[event.type for event in run.history]}"
    events = [client.profile.codec.decode_event(event.type, event.data) for event in run.history]
    for kind in (StepScheduled, StepCompleted):
        times = Counter(event.step_id for event in events if isinstance(event, kind))
        if times != dict.fromkeys(steps, 1):
            yield f"{kind.__name__}: {dict(times)}"


async def published(
    client: Client, names: Iterable[str], broker: str, *, in_order: bool = True, patience: float = 60.0
) -> tuple[str, ...]:
    """Say what is wrong with what the topics tell; what is still on its way there is waited for.

    `in_order` is what a consumer may count on; on topics made anew, `republish` tells what came before afterwards.
    """
    wrong: list[str] = []
    told_events: dict[str, list[str]] = {}
    told_outcomes: dict[str, list[str]] = {}
    for name in names:
        run = await client.profile.store.history(name)
        if run is not None:
            ids = [f"{event.run_id}/{event.incarnation}/{event.seq}" for event in run.history]
            told_events[run.row.run_id], told_outcomes[run.row.run_id] = ids, ids[-1:]
    for topic, wanted in (
        (client.run_client.topics.events, told_events),
        (client.run_client.topics.outcomes, told_outcomes),
    ):
        heard = Heard(in_order=in_order)
        await heard.listen(broker, topic, client.profile.shards, wanted, patience)
        wrong.extend(
            f"{topic}: {run} is {heard.of(run)}, not {ids}" for run, ids in wanted.items() if heard.of(run) != ids
        )
    return tuple(wrong)


class Heard:
    """What a topic told of each run: its `ce_id`s, without those that a replay told again."""

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order
        self._by_run: defaultdict[str, dict[int, str]] = defaultdict(dict)

    def hear(self, run: str, sequence: int, ce_id: str) -> None:
        known = self._by_run[run]
        if self._in_order and sequence <= max(known, default=0):
            return
        known[sequence] = ce_id if known.get(sequence, ce_id) == ce_id else f"{ce_id} beside {known[sequence]}"

    def of(self, run: str) -> list[str]:
        return [ce_id for _, ce_id in sorted(self._by_run[run].items())]

    async def listen(
        self, broker: str, topic: str, partitions: int, wanted: Mapping[str, list[str]], patience: float
    ) -> None:
        """Read from the beginning, until all that is wanted was heard or patience ends."""
        consumer = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
            deadline = time.monotonic() + patience
            while any(self.of(run) != ids for run, ids in wanted.items()) and time.monotonic() < deadline:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        headers = dict(record.headers)
                        self.hear(record.key.decode(), int(headers["ce_sequence"]), headers["ce_id"].decode())
        finally:
            await consumer.stop()
