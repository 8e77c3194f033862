"""The simulated database of the authors, for `transaction` effects: purchases and Holdfast's rows in one commit.

Laws of this file:
- A row is inserted before anything else, and locked until its transaction ends; who finds it locked waits.
- The transaction of a process that died is rolled back when the server notices, a moment later.
- A commit that is asked for may be done and not answered, or be done later, or never: `CommitUnclear`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from holdfast.ports.databases import CommitUnclear, RequestDiffers, TransactionEnded, UnknownDatabase
from holdfast.ports.unavailable import Unavailable
from tests.simulation.wire import Wire

SHOP = "shop"
NOTICED_AFTER = 1.5

Purchase = tuple[str, str]


class Database:
    """Rows that are committed, and who has locked one; `bought` is told of each purchase."""

    def __init__(self, bought: Callable[[Purchase], object]) -> None:
        self.bought = bought
        self.away = False
        self.failovers = 0
        self.rows: dict[str, tuple[bytes, bytes]] = {}
        self._locks: dict[str, SimulatedTransaction] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def lock(self, transaction: "SimulatedTransaction") -> bool:
        """Insert the row of an effect, if nobody else has it."""
        if transaction.over:
            raise Unavailable("its connection is broken")
        return self._locks.setdefault(transaction.effect_id, transaction) is transaction

    async def unlocked(self, effect_id: str) -> None:
        """Wait until nobody has a row; it may be so before the word that somebody has it arrives."""
        if effect_id not in self._locks:
            return
        woken = asyncio.get_running_loop().create_future()
        self._waiting.append(woken)
        await woken

    def end(self, transaction: "SimulatedTransaction") -> None:
        """Roll back what is not committed, and let others go on."""
        transaction.over = True
        if self._locks.get(transaction.effect_id) is transaction:
            del self._locks[transaction.effect_id]
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)

    def commit(self, transaction: "SimulatedTransaction", result: bytes) -> None:
        if self._locks.get(transaction.effect_id) is not transaction:
            raise Unavailable("the transaction is not there any more")
        if transaction.effect_id in self.rows:
            raise TransactionEnded("it is recorded already")
        for purchase in transaction.bought:
            self.bought(purchase)
        self.rows[transaction.effect_id] = (transaction.request_hash, result)
        self.end(transaction)


class SimulatedTransaction:
    """One attempt's transaction, which is its author's connection as well."""

    def __init__(self, database: Database, wire: Wire, effect_id: str, request_hash: bytes) -> None:
        self.effect_id = effect_id
        self.request_hash = request_hash
        self.recorded: bytes | None = None
        self.bought: list[Purchase] = []
        self.asked = False
        self.over = False
        self._database = database
        self._wire = wire

    def __repr__(self) -> str:
        return f"transaction of {self.effect_id}"

    @property
    def connection(self) -> "SimulatedTransaction":
        return self

    async def buy(self, run: str, what: str) -> None:
        """An author's statement."""
        await self._wire.ask(self._database, Unavailable, self.bought.append, (run, what))

    async def execute(self, statement: str) -> None:
        """The one statement that the port's suite makes."""
        (name,) = re.findall(r"INSERT INTO orders \(id\) VALUES \('(.+)'\)", statement)
        await self.buy("orders", name)

    async def commit(self, result: bytes) -> None:
        self.asked = True
        await self._wire.ask(self._database, CommitUnclear, self._database.commit, self, result)


class SimulatedDatabases:
    """Fulfils `ports.databases.Databases`: one process's front."""

    def __init__(self, database: Database, wire: Wire) -> None:
        self._database = database
        self._wire = wire

    @asynccontextmanager
    async def transaction(self, name: str, effect_id: str, request_hash: bytes) -> AsyncIterator[SimulatedTransaction]:
        if name != SHOP:
            raise UnknownDatabase(f"there is no database {name!r}")
        database, wire = self._database, self._wire
        transaction = SimulatedTransaction(database, wire, effect_id, request_hash)

        def broken() -> None:
            wire.later(NOTICED_AFTER, database.end, transaction)

        wire.life.on_death.append(broken)
        try:
            while not await wire.ask(database, Unavailable, database.lock, transaction):
                await database.unlocked(effect_id)
            known = database.rows.get(effect_id)
            if known is not None and known[0] != request_hash:
                raise RequestDiffers(f"effect {effect_id} was committed for another request")
            transaction.recorded = None if known is None else known[1]
            yield transaction
        finally:
            if wire.life.alive:
                wire.life.on_death.remove(broken)
                if transaction.asked:
                    broken()  # a commit that is on its way may still come first
                else:
                    database.end(transaction)

    async def pending(self, name: str) -> list[str]:
        return []

    async def install(self, name: str) -> list[str]:
        return []

    async def close(self) -> None:
        """Nothing to let go of."""
