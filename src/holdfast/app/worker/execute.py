"""One attempt of a step or an effect: from its task to its result.

Law of this file: whatever a step raises is the step's failure, told to the orchestrator, who alone decides on further
attempts.
"""

import asyncio
from collections.abc import Callable

import msgspec

from holdfast.app.blobs import BlobShelf
from holdfast.app.deaths import UNWATCHED, DeathWatch
from holdfast.app.deduplication import Duplicates
from holdfast.app.effects.attempt import Tell
from holdfast.app.effects.execute import EffectExecution
from holdfast.app.executor.invocation import Invocation, Withdrawn, contained, origin
from holdfast.app.executor.quarantine import ChildDied, Reported, parked
from holdfast.app.meter import Meter
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.payload import claim_check
from holdfast.core.replay import ProgramStuck
from holdfast.core.retry import Failure
from holdfast.ports.blobs import Blobs
from holdfast.sdk.attempts import failed_attempt
from holdfast.sdk.definitions import steps
from holdfast.sdk.effects import Effect
from holdfast.sdk.failures import failure_of
from holdfast.sdk.values import UnfitValue


class Execution:
    """Executes one attempt of a step or an effect; what processes have died of goes into quarantine."""

    def __init__(
        self, store: Blobs, effects: EffectExecution, deaths: DeathWatch = UNWATCHED, meter: Meter | None = None
    ) -> None:
        self.meter = meter or Meter()
        self._blobs = BlobShelf(store)
        self._effects = effects
        self._invoker = effects.invoker
        self._deaths = deaths
        self._quarantine = effects.quarantine

    @property
    def duplicates(self) -> Duplicates:
        return self._effects.duplicates

    async def run(self, task: ExecuteStep, late: Tell, waits: Callable[[], None] = lambda: None) -> StepResult | None:
        """Run the author's function and tell what came of it; never raises for the author's errors.

        `waits` is called when the function waits for the first time, if it ever does. `late` hears of an effect's proof
        that comes after its time.
        None: an effect that somebody else has, who will tell.

        Raises:
            Withdrawn: this process stops, and the attempt is left as it was for whoever comes next.
        """
        definition = steps.get(task.name)
        if definition is None or (task.guard is not None) != isinstance(definition, Effect):
            names = ", ".join(steps.names()) or "none"
            text = f"no {task.kind} {task.name!r} on this worker (it has: {names})"
            return failed(task, Failure("UnknownStep", text))
        deaths = self._quarantine.deaths_of(task, definition) if self._deaths.somebody_died else 0
        recorder = self._deaths.recorder
        slot = 0 if deaths else recorder.begin(task.run_id, task.incarnation, task.step_id, task.attempt)
        ran = False
        try:
            if isinstance(definition, Effect):
                waits()
                return await self._effects.run(task, definition, late)
            if task.input.blob is not None:
                waits()
                await self._blobs.fetch_input(task)
            if deaths:
                waits()
                data = await self._quarantine.step(task, self._blobs.read(task.input), deaths)
            else:
                given, shape = self._blobs.read(task.input), definition.shape
                # To read a plain argument, or to write a plain result, runs nothing of the author's.
                args, kwargs = (
                    shape.decode_arguments(given)
                    if shape.has_plain_arguments
                    else contained(shape.decode_arguments, given)
                )
                invocation = Invocation(task, definition.function, args, kwargs, definition.is_async)
                value = await self._invoker.run(invocation, waits)
                ran = True
                data = (
                    shape.encode_result(value)
                    if type(value) is shape.plain_result
                    else contained(shape.encode_result, value)
                )
            blobs: dict[str, bytes] = {}
            result = claim_check(data, blobs)
            if blobs:
                waits()
                await self._blobs.store_result(blobs)
        except ChildDied as died:
            return parked(task, died)
        except Reported as error:
            return failed(task, error.failure)
        except (UnfitValue, ProgramStuck) as error:
            # Arguments that do not fit will not fit again; what a function returns may be another thing next time.
            return failed(task, failure_of(error, task.step_id, retryable=ran))
        except Withdrawn:
            raise
        except asyncio.CancelledError as stray:
            self._invoker.take_back(stray)
            return failed(task, failure_of(stray, task.step_id))
        except Exception as error:  # noqa: BLE001 - whatever an author's step raises is its failure
            return failed(task, failed_attempt(origin(error), task.step_id))
        finally:
            recorder.end(slot)
        return StepResult(
            run_id=task.run_id, incarnation=task.incarnation, step_id=task.step_id, attempt=task.attempt, result=result
        )


def failed(task: ExecuteStep, failure: Failure) -> StepResult:
    return StepResult(
        run_id=task.run_id,
        incarnation=task.incarnation,
        step_id=task.step_id,
        attempt=task.attempt,
        error=msgspec.structs.replace(failure, step=task.step_id),
    )
