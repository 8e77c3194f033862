"""Effects under guard `transaction`: the effect's writes and its row in the same database, committed together.

Laws of this file:
- The row in the target database is the authority; the ledger follows it.
- What only an operator can mend parks the effect; it does not use up its attempts.
- A commit that was not answered leaves the effect in doubt; the next attempt finds the row, or no row.
"""

import asyncio
from contextlib import AsyncExitStack

import msgspec

from holdfast.app.effects.attempt import Call, describe
from holdfast.app.effects.functions import Functions
from holdfast.app.effects.ledger_session import LedgerSession
from holdfast.core.asks import Ask, Doubt, Park, Prove, Refuse, Release
from holdfast.core.effects import Effect
from holdfast.core.payload import Payload
from holdfast.ports.databases import CommitUnclear, Databases, RequestDiffers, Transaction, UnknownDatabase
from holdfast.ports.ledger import Answer
from holdfast.sdk.failures import failure_of
from holdfast.sdk.sending import Refused

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Payload).decode


class Transactions:
    """Runs transaction effects that this process has claimed."""

    def __init__(self, databases: Databases, session: LedgerSession, functions: Functions) -> None:
        self._databases = databases
        self._ledger = session
        self._functions = functions

    async def run(self, call: Call, claimed: Answer) -> Answer:
        """Run the effect's function in one transaction with its row."""
        effect = claimed.effect
        assert effect is not None  # noqa: S101 - it was claimed
        self._ledger.hold(effect.effect_id, effect.fence)
        try:
            result = await self._committed(call, effect)
        except Exception as error:  # noqa: BLE001 - whatever an author's effect raises has rolled it back
            call.fails(error)
            return await self._ledger.insist(effect.effect_id, self._failed(call, effect, error))
        finally:
            self._ledger.let_go(effect.effect_id)
        evidence = f"its row in database {call.definition.database}"
        return await self._ledger.insist(
            effect.effect_id, Prove(who=self._ledger.process, result=result, evidence=evidence)
        )

    async def _committed(self, call: Call, effect: Effect) -> Payload:
        async with AsyncExitStack() as stack:
            transaction = await self._begun(call, effect, stack)
            if transaction.recorded is not None:
                return _unpack(transaction.recorded)
            result = await self._functions.run(call, connection=transaction.connection)
            await transaction.commit(_pack(result))
            return result

    async def _begun(self, call: Call, effect: Effect, stack: AsyncExitStack) -> Transaction:
        """Wait for the effect's row, and whoever has it, as long as an attempt may take."""
        name, limit = call.definition.database or "", asyncio.timeout(call.task.timeout)
        begun = self._databases.transaction(name, effect.effect_id, effect.request_hash)
        try:
            async with limit:
                return await stack.enter_async_context(begun)
        except TimeoutError as late:
            if limit.expired():
                text = f"attempt {call.task.attempt} waited longer than {call.task.timeout:g} s for database {name}"
                raise TimeoutError(text) from late
            raise

    def _failed(self, call: Call, effect: Effect, error: Exception) -> Ask:
        process, fence, text = self._ledger.process, effect.fence, describe(error)
        match error:
            case CommitUnclear():
                return Doubt(who=process, fence=fence, reason=text)
            case UnknownDatabase() | RequestDiffers():
                return Park(who=process, fence=fence, reason=text)  # no further attempt mends it
            case Refused():
                failure = failure_of(error, call.task.step_id, retryable=False)
                return Refuse(who=process, fence=fence, error=failure)
            case _:
                return Release(who=process, fence=fence, reason=text)
