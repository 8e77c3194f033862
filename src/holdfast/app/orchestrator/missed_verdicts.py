"""What the ledger knows of effects, and their runs may not have heard: an answer was lost, or a process ended.

Laws of this file:
- It only tells: a run that has heard it already makes nothing of it.
- An effect that somebody holds is its holder's to tell of, or the sweeper's, once the holder falls silent.
"""

from collections.abc import Sequence

from holdfast.app.orchestrator.draft import Input
from holdfast.core.asks import LOOKUP
from holdfast.core.commands import FailStep, HearLedger
from holdfast.core.effects import IN_DOUBT, PARKED, PLANNED, Effect
from holdfast.core.identity import effect_id
from holdfast.core.retry import UNHEARD, Failure
from holdfast.ports.ledger import Ledger
from holdfast.ports.timers import AttemptRow

AT_ONCE = 1_000


class MissedVerdicts:
    """Looks into the ledger for open attempts."""

    def __init__(self, ledger: Ledger, namespace: str) -> None:
        self._ledger = ledger
        self._namespace = namespace

    async def of(self, attempts: Sequence[AttemptRow], now: int) -> list[Input]:
        """Give what the runs of these attempts have to hear; attempts of plain steps are in no ledger."""
        named = {effect_id(self._namespace, row.run_id, row.incarnation, row.step_id): row for row in attempts}
        names = list(named)
        words: list[Input] = []
        for first in range(0, len(names), AT_ONCE):
            found = await self._ledger.look(names[first : first + AT_ONCE])
            for name, answer in found.items():
                if answer.effect is not None and (said := word(answer.effect, named[name].attempt, now)) is not None:
                    words.append(Input(answer.effect.shard, answer.effect.run_id, said, answer.effect.incarnation))
        return words


def word(effect: Effect, attempt: int, now: int) -> FailStep | HearLedger | None:
    """Say how an effect stands to a run whose `attempt` is open; None while somebody is about to."""
    if effect.settled or effect.state in {PARKED, PLANNED}:
        return HearLedger(
            step_id=effect.step_id,
            state=effect.state,
            attempt=attempt,
            result=effect.result,
            error=effect.error,
            reason=effect.reason,
        )
    if effect.state == IN_DOUBT and effect.attempt == attempt:
        return FailStep(
            step_id=effect.step_id,
            attempt=attempt,
            error=Failure(UNHEARD, f"the attempt left it in doubt: {effect.reason}", step=effect.step_id),
            at=now,
            ledger=effect.state,
            not_before=effect.horizon if effect.terms.guard == LOOKUP else None,
        )
    return None
