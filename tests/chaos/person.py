"""The person who decides on parked effects, and tells the truth: what the provider's own book says.

Law: "it has not happened" is said only of what can no longer happen: LIFETIME after it was last sent, if whoever sent
it is known to be gone; else PAUSE later, for nobody is stopped for so long.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from examples.providers.book import Charge, read_book
from holdfast import Client
from holdfast.core.asks import RETRY, SUCCEED
from holdfast.core.commands import ResolveEffect
from holdfast.core.effects import PARKED, Effect
from holdfast.core.payload import Payload
from holdfast.core.retry import MICROS
from tests.chaos.order import LIFETIME, PAYMENTS, Receipt
from tests.chaos.stream import AWAY
from tests.chaos.world import Place

EVERY = 1.0
PAUSE = 30.0
NAME = "the storm's operator"


class Person:
    """Looks after the effects of all installations."""

    def __init__(self, clients: Mapping[Place, Client], book: Path) -> None:
        self.verdicts = {SUCCEED: 0, RETRY: 0}
        self._clients = clients
        self._book = book
        self._decided: set[tuple[str, int]] = set()

    async def work(self) -> None:
        """Decide, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            for client in self._clients.values():
                with contextlib.suppress(*AWAY):
                    await self._look_after(client)

    async def _look_after(self, client: Client) -> None:
        parked = await client.profile.ledger.effects(states=[PARKED], limit=200)
        if not parked:
            return
        charges = {charge.order: charge for charge in read_book(self._book)}
        senders = await client.profile.ledger.processes({effect.sender for effect in parked})
        for effect in (one for one in parked if one.name in PAYMENTS.values()):
            sender = senders.get(effect.sender)
            gone = effect.sender_gone or (sender is not None and sender.gone)
            over = (effect.last_sent_at or 0) + (LIFETIME if gone else LIFETIME + PAUSE) * MICROS
            may_be_again = not effect.repeats and client.profile.clock.now() > over
            verdict = self._verdict(effect, charges.get(effect.run_id), may_be_again=may_be_again)
            if verdict is not None:
                await client.run_client.send(effect.run_id, verdict)
                if (effect.effect_id, effect.fence) not in self._decided:
                    self._decided.add((effect.effect_id, effect.fence))
                    self.verdicts[verdict.verdict] += 1

    def _verdict(self, effect: Effect, charge: Charge | None, *, may_be_again: bool) -> ResolveEffect | None:
        if charge is not None:
            receipt = Payload(data=msgspec.json.encode(Receipt(charge.id, charge.amount)))
            reason = f"the book has {charge.id}"
            return ResolveEffect(
                step_id=effect.step_id, verdict=SUCCEED, by=NAME, reason=reason, result=receipt, version=effect.version
            )
        if not may_be_again:
            return None
        reason = "the book has nothing"
        return ResolveEffect(step_id=effect.step_id, verdict=RETRY, by=NAME, reason=reason, version=effect.version)
