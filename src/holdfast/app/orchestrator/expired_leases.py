"""Effects whose holder has fallen silent: taken from it, and told to their runs.

Law of this file: the ledger and the sweeper report, the run decides on a further attempt; nothing is sent here.
"""

from collections.abc import Collection

from holdfast.app.orchestrator.draft import Input
from holdfast.core.asks import Ask, Expire
from holdfast.core.commands import FailStep
from holdfast.core.effects import Effect
from holdfast.core.retry import Failure
from holdfast.ports.ledger import Ledger

LIMIT = 1_000


class ExpiredLeases:
    """Takes effects from holders whose lease is over."""

    def __init__(self, ledger: Ledger, process: str) -> None:
        self._ledger = ledger
        self._process = process

    async def of(self, shards: Collection[int], now: int) -> list[Input]:
        """Take them for these shards; gives what their runs have to hear."""
        silent = await self._ledger.lapsed(shards, LIMIT)
        if not silent:
            return []
        asks: list[tuple[str, Ask]] = [(effect.effect_id, Expire(who=self._process)) for effect in silent]
        answers = await self._ledger.ask(asks)
        return [
            report(was, answer.effect.state, now)
            for was, answer in zip(silent, answers, strict=True)
            if answer.effect is not None and not answer.unmoved
        ]


def report(effect: Effect, state: str, now: int) -> Input:
    """Say that the attempt which held an effect has not come to an end."""
    error = Failure(
        "LeaseOver",
        f"process {effect.owner} fell silent while it had the effect, which is {state} now",
        step=effect.step_id,
    )
    command = FailStep(step_id=effect.step_id, attempt=effect.attempt, error=error, at=now, ledger=state)
    return Input(effect.shard, effect.run_id, command, effect.incarnation)
