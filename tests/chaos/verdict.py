"""What has become of the orders, by the provider's own book, the shop's own database and the store.

Laws of this file:
- double: charged more than once by the book, or entered more than once in the shop's database. lost: not in the store,
  ended otherwise than completed, completed without charge or entry, or told wrongly. stuck: not ended.
- What a customer or the topics were told is what the store holds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from examples.providers.book import Charge, read_book
from holdfast import Client
from holdfast.core.events import RunCompleted
from holdfast.ports.journal import StoredRun
from tests.chaos.checks import faults_of, published
from tests.chaos.entries import entered
from tests.chaos.order import PAYMENTS, Delivered, Receipt
from tests.chaos.stream import Placed, Stream, parcel_of
from tests.chaos.world import World

PIECE = 50


class Verdict(msgspec.Struct, frozen=True):
    """How many orders came out badly; `wrong` says in words what does not hold."""

    double: int
    lost: int
    stuck: int
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not (self.double or self.lost or self.stuck or self.wrong)


async def judge(world: World, stream: Stream, *, in_order: bool) -> Verdict:
    """Look at every order; `in_order`: Kafka has kept what it was told."""
    charges = read_book(world.book)
    by_order = {charge.order: charge for charge in charges}
    entries = {where: await entered(settings) for where, settings in world.settings.items()}
    wrong = [*_twice("charged", Counter(charge.order for charge in charges))]
    for times in entries.values():
        wrong.extend(_twice("entered", times))
    double, lost, stuck = len(wrong), 0, 0
    for where, client in world.clients.items():
        placed = [one for one in stream.placed.values() if one.place == where]
        for stored, one in await _stored(client, placed):
            if one.ended_at == 0 and (stored is not None or not one.accepted):
                stuck += 1
                wrong.append(f"{one.order.order} ({'raw' if one.raw else where}): stuck, {_told(stored)}")
                continue
            found = list(_faults(stored, one, by_order.get(one.order.order), client))
            found += [] if entries[where][one.order.order] else ["never entered in the shop's database"]
            lost += bool(found)
            wrong.extend(f"{one.order.order}: {fault}" for fault in found)
    names = [one.order.order for one in stream.placed.values() if one.place == "cluster" and one.ended_at]
    broker = f"127.0.0.1:{world.servers.port('kafka')}"
    wrong += await published(world.clients["cluster"], names, broker, in_order=in_order)
    wrong += [*stream.met, *world.crashes]
    return Verdict(double, lost, stuck, tuple(wrong))


def _twice(what: str, times: Counter[str]) -> Iterable[str]:
    return (f"{order}: {what} {number} times" for order, number in times.items() if number > 1)


async def _stored(client: Client, placed: Sequence[Placed]) -> list[tuple[StoredRun | None, Placed]]:
    found: dict[str, StoredRun] = {}
    for first in range(0, len(placed), PIECE):
        found |= await client.profile.store.load([one.order.order for one in placed[first : first + PIECE]])
    return [(found.get(one.order.order), one) for one in placed]


def _faults(stored: StoredRun | None, placed: Placed, charge: Charge | None, client: Client) -> Iterable[str]:
    order = placed.order
    yield from faults_of(stored, client, frozenset({"pick#1", "pack#1", f"{PAYMENTS[order.pay]}#1", "enter#1"}))
    if charge is None:
        yield "never charged"
    if stored is None or charge is None:
        return
    last = client.profile.codec.decode_event(stored.history[-1].type, stored.history[-1].data)
    wanted = Delivered(
        order=order.order,
        hands=[f"picked {order.order}", f"packed {order.order}"],
        receipt=Receipt(charge.id, order.amount),
        entered=order.amount,
        parcel=parcel_of(order).number,
    )
    if not isinstance(last, RunCompleted) or msgspec.json.decode(last.result.data) != msgspec.to_builtins(wanted):
        yield f"came to {last}, not {wanted}"
    if not placed.raw and msgspec.to_builtins(placed.answer) != msgspec.to_builtins(wanted):
        yield f"its customer was told {placed.answer}"


def _told(stored: StoredRun | None) -> str:
    if stored is None:
        return "for its start was never accepted"
    row = stored.row
    return f"{row.status} {row.parked or ''} after {', '.join(event.type for event in stored.history)}"
