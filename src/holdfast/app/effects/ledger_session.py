"""The way from a process to the ledger: questions of one moment go together, and what is held is renewed.

Laws of this file:
- An answer that was lost is not guessed: whoever asked hears `Unavailable`, and must not send.
- A lease is renewed for as long as the holder runs; a process that is paused or dead loses it by doing nothing.
"""

import asyncio
import logging

from holdfast.app.backoff import backoff
from holdfast.core.asks import Ask, Renew
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Answer, Ledger
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

LEASE = 15.0
"""Seconds; also how long an effect waits after its sender has died without a trace."""
RENEW_EVERY = 4.0
TURNS = 4
"""Turns of the event loop for which a question waits for others, some microseconds each: what a commit has set off asks
within that many. A transaction costs as much as dozens of questions; measured at 64 clients, 17 went together without
the wait and 45 with it, and a run of one effect took 1.5 times the CPU of one of a step instead of 1.75 times."""

Waiting = tuple[str, Ask, asyncio.Future[Answer]]


class LedgerSession:
    """One process's questions to the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock, process: str) -> None:
        self.ledger = ledger
        self.process = process
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._asking: asyncio.Task[None] | None = None
        self._held: dict[str, int] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def ask(self, effect_id: str, ask: Ask) -> Answer:
        """Ask once.

        Raises:
            Unavailable: the store is away, or its answer was lost: the move may have been made.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((effect_id, ask, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())
        return await answer

    async def insist(self, effect_id: str, ask: Ask) -> Answer:
        """Ask until there is an answer: for what must not be lost, and may be said twice."""
        try:
            return await self.ask(effect_id, ask)
        except Unavailable as away:
            log.info("cannot reach the ledger: %s; retrying", away)
        return await self._insist(effect_id, ask)

    async def _insist(self, effect_id: str, ask: Ask) -> Answer:
        async for number in backoff():
            try:
                return await self.ask(effect_id, ask)
            except Unavailable as away:
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot reach the ledger: %s; retrying", away)
        raise AssertionError("backoff() has no end")

    async def look(self, effect_id: str) -> Answer:
        """Read an effect as it stands, however long the store is away."""
        async for _ in backoff():
            try:
                found = await self.ledger.look([effect_id])
            except Unavailable as away:
                log.info("looking into cannot reach the ledger: %s; retrying", away)
            else:
                return found.get(effect_id, Answer(None, self._clock.now(), "unknown"))
        raise AssertionError("backoff() has no end")

    async def _ask_all(self) -> None:
        while self._waiting:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            asked, self._waiting = self._waiting, []
            await self._ask_at_once(asked)
        self._asking = None

    async def _ask_at_once(self, asked: list[Waiting]) -> None:
        """Ask together; what the store refuses is asked one by one, so that whoever said it is refused alone."""
        try:
            answers = await self.ledger.ask([(effect_id, ask) for effect_id, ask, _ in asked])
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            if len(asked) > 1 and not isinstance(error, Unavailable):
                for one in asked:
                    await self._ask_at_once([one])
                return
            for _, _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, _, answer), said in zip(asked, answers, strict=True):
            if not answer.done():
                answer.set_result(said)

    def hold(self, effect_id: str, fence: int) -> None:
        """Keep the lease of an effect that this process holds, until it is let go."""
        self._held[effect_id] = fence
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    def let_go(self, effect_id: str) -> None:
        self._held.pop(effect_id, None)

    def holds(self, effect_id: str) -> bool:
        return effect_id in self._held

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(RENEW_EVERY)
            if not self._held:
                break
            asks = [
                (effect_id, Renew(who=self.process, fence=fence, lease=LEASE))
                for effect_id, fence in self._held.items()
            ]
            try:
                await self.ledger.ask(asks)
            except Unavailable as away:
                log.warning("cannot renew leases: %s; retrying", away)
            except Exception:
                log.exception("cannot renew leases; retrying")
        self._renewing = None
