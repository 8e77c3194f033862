"""The services, put together: orchestrator, worker, or both in one process with tasks handed over in memory."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from holdfast.app.deaths import ATTEMPTS, UNWATCHED, DeathWatch
from holdfast.app.effects.execute import EffectExecution, carrier
from holdfast.app.executor.invocation import Invoker
from holdfast.app.executor.quarantine import Quarantine
from holdfast.app.meter import Meter
from holdfast.app.orchestrator.attempt_scan import PAGE
from holdfast.app.orchestrator.pipeline import CACHE_BYTES, Orchestrator
from holdfast.app.orchestrator.programs import latest_version, programs
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.local_dispatch import LocalWorker
from holdfast.app.worker.worker import Worker
from holdfast.core.behind import PART
from holdfast.core.commands import StepResult
from holdfast.ports.isolation import Isolation
from holdfast.ports.unavailable import Unavailable
from holdfast.profiles.metrics import Metric
from holdfast.profiles.profile import Profile, process_name
from holdfast.sdk.turn_limit import TURN_STEPS

DRAIN = 30.0
SAYING = 5.0
"""Seconds for committing and publishing, beside those for what runs."""


def orchestrator_of(  # noqa: PLR0913 - what a process may have otherwise than the next one
    profile: Profile,
    process: str,
    *,
    serves: Callable[[str], bool] | None = None,
    local: LocalWorker | None = None,
    cache_bytes: int = CACHE_BYTES,
    scan_page: int = PAGE,
    turn_steps: int = TURN_STEPS,
    turn_part: int = PART,
    deaths: DeathWatch = UNWATCHED,
    meter: Meter | None = None,
) -> Orchestrator:
    """Put an orchestrator together; with `local`, tasks of queues that it `serves` are handed over in memory."""
    return Orchestrator(
        store=profile.store,
        ledger=profile.ledger,
        log_=profile.log,
        clock=profile.clock,
        codec=profile.codec,
        deferred=profile.deferred,
        new_program=programs(profile.namespace, turn_steps, turn_part),
        default_version=latest_version,
        namespace=profile.namespace,
        shards=profile.shards,
        process=process,
        instance=profile.settings.instance,
        serves=serves or (lambda _: False),
        dispatch=local.submit if local is not None else (lambda _: None),
        local_backlog=(lambda: local.backlog) if local is not None else (lambda: 0),
        publishes=not profile.embedded,
        cache_bytes=cache_bytes,
        scan_page=scan_page,
        deaths=deaths,
        schemas=profile.schemas,
        meter=meter,
    )


def effects_of(profile: Profile, process: str, invoker: Invoker, quarantine: Quarantine) -> EffectExecution:
    return carrier(
        ledger_=profile.ledger,
        store=profile.store,
        clock=profile.clock,
        host=profile.host,
        databases=profile.databases,
        process=process,
        invoker=invoker,
        quarantine=quarantine,
    )


class Engine:
    """Orchestrator and worker of one process; `process` is its name for ever, else it gets one of its own.

    `queues` empty: all that this process is asked for.
    """

    def __init__(  # noqa: PLR0913 - keyword-only: the parts of a process, and its bounds
        self,
        profile: Profile,
        *,
        orchestrator: bool = True,
        worker: bool = True,
        local: bool = True,
        queues: Sequence[str] = (),
        concurrency: int = 256,
        process: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        scan_page: int = PAGE,
        isolation: Isolation | None = None,
        suspect_after: int = ATTEMPTS,
        turn_steps: int = TURN_STEPS,
        turn_part: int = PART,
    ) -> None:
        self.process = process or process_name()
        self.orchestrator: Orchestrator | None = None
        self.worker: Worker | None = None
        self._profile = profile
        self._local: LocalWorker | None = None
        self._serving: list[asyncio.Task[None]] = []
        self._takes = True
        self.invoker = Invoker(concurrency)
        self._meter = Meter()
        self._deaths = DeathWatch(
            profile.deaths,
            profile.records,
            profile.clock,
            process=self.process,
            shards=profile.shards,
            suspect_after=suspect_after,
        )
        self._effects = effects_of(profile, self.process, self.invoker, Quarantine(isolation, self._deaths))
        execution = Execution(profile.store, self._effects, self._deaths, self._meter)
        if orchestrator and worker and local:
            self._local = LocalWorker(execution, self._put_result, concurrency=concurrency, room=self._room_for_results)
        if orchestrator:
            wanted = frozenset(queues)
            self.orchestrator = orchestrator_of(
                profile,
                self.process,
                serves=None if self._local is None else (lambda queue: self._takes and (not wanted or queue in wanted)),
                local=self._local,
                cache_bytes=cache_bytes,
                scan_page=scan_page,
                turn_steps=turn_steps,
                turn_part=turn_part,
                deaths=self._deaths,
                meter=self._meter,
            )
        if worker and not profile.embedded:
            self.worker = Worker(
                store=profile.store,
                log_=profile.log,
                keys=profile.keys,
                clock=profile.clock,
                codec=profile.codec,
                namespace=profile.namespace,
                shards=profile.shards,
                queues=queues or ("default",),
                process=self.process,
                instance=profile.settings.instance,
                concurrency=concurrency,
                execution=execution,
                schemas=profile.schemas,
            )

    @property
    def ready(self) -> bool:
        return all(part is None or part.ready.is_set() for part in (self.orchestrator, self.worker))

    def metrics(self) -> list[Metric]:
        """Read the numbers of this process, as they are now."""
        meter = self._meter
        metrics = [Metric("ready", "gauge", "1 once shards and queues have been assigned, else 0.", float(self.ready))]
        if self.orchestrator is not None:
            metrics += [
                Metric("shards", "gauge", "Shards that this process owns.", len(self.orchestrator.shards)),
                Metric("runs_in_memory", "gauge", "Runs in the cache of this process.", len(self.orchestrator.live)),
                Metric("intake_backlog", "gauge", "Inputs that wait in memory.", self.orchestrator.backlog),
                Metric("inputs_total", "counter", "Inputs of runs whose commit succeeded.", meter.inputs),
                Metric("commits_total", "counter", "Commits that succeeded.", meter.commits),
                Metric(
                    "commit_failures_total", "counter", "Commits that were fenced or refused.", meter.commit_failures
                ),
                Metric("events_total", "counter", "Events written to history.", meter.events),
                Metric("tasks_total", "counter", "Attempts sent to workers.", meter.tasks),
                Metric("runs_ended_total", "counter", "Runs that ended, by status.", meter.runs_ended, "status"),
            ]
        workers = [part for part in (self.worker, self._local) if part is not None]
        if workers:
            ended = {"completed": float(meter.steps_completed), "failed": float(meter.steps_failed)}
            duplicates = self._effects.duplicates
            answered = {"keys": float(duplicates.by_keys), "ledger": float(duplicates.by_ledger)}
            metrics += [
                Metric("steps_running", "gauge", "Steps under way.", sum(part.running for part in workers)),
                Metric("attempts_total", "counter", "Attempts executed here, by outcome.", ended, "outcome"),
                Metric("effect_duplicates_total", "counter", "Duplicates, by who answered.", answered, "answered_by"),
            ]
        if self._local is not None:
            metrics.append(Metric("steps_backlog", "gauge", "Tasks that wait for a place.", self._local.backlog))
        return metrics

    def _put_result(self, result: StepResult) -> None:
        if self.orchestrator is not None:
            self.orchestrator.put_result(result)

    async def _room_for_results(self) -> None:
        if self.orchestrator is not None:
            await self.orchestrator.room_for_results()

    async def start(self) -> None:
        """Begin to serve, and wait until shards and queues are here."""
        await self._profile.ledger.register(self._profile.host.me(self.process))
        await self._deaths.begin()
        parts = [part for part in (self.orchestrator, self.worker) if part is not None]
        self._serving = [asyncio.get_running_loop().create_task(part.serve()) for part in (*parts, self._deaths)]
        waiting = asyncio.get_running_loop().create_task(ready(parts))
        done, _ = await asyncio.wait([waiting, *self._serving], return_when=asyncio.FIRST_COMPLETED)
        if waiting not in done:
            waiting.cancel()
            await self.stop(drain=0)
            for task in done:
                task.result()

    def accuse(self, why: str) -> None:
        """Record why this process ends itself: whoever takes over parks the run whose turn it is."""
        self._deaths.recorder.accuse("turn_too_long", why)

    def leave_no_record(self) -> None:
        """Say that whatever ends this process is no accident."""
        self._deaths.close()

    async def failed(self) -> None:
        """Wait until a part ends, which it never does by itself, and raise its error."""
        done, _ = await asyncio.wait(self._serving, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _drain(self, deadline: float) -> None:
        """Let both workers finish in the same time; what is scheduled meanwhile is for other processes."""
        self._takes = self._profile.embedded  # there are no others
        self.invoker.drain()
        workers = [part.drain(deadline) for part in (self.worker, self._local) if part is not None]
        await asyncio.gather(*workers)
        if self.orchestrator is not None:
            await self.orchestrator.drain()

    async def stop(self, *, drain: float = DRAIN) -> None:
        """Stop taking, finish what runs up to `drain` seconds, commit and publish it, leave the groups."""
        self._deaths.stopping()
        try:
            if drain > 0:
                # A log that is away takes nothing: what is not said is said by the next owner of the shards.
                with suppress(TimeoutError):
                    async with asyncio.timeout(drain + SAYING):
                        await self._drain(drain)
        finally:
            self.invoker.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._say_goodbye()
        self._deaths.close()

    async def _say_goodbye(self) -> None:
        """Whoever has finished what it ran sends nothing any more, and says so; else its silence says nothing."""
        idle = self._local is None or self._local.idle
        idle = idle and (self.worker is None or self.worker.idle)
        if idle and self._effects.idle:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(SAYING):
                    await self._profile.ledger.deregister(self.process, "it said goodbye")


async def ready(parts: Sequence[Orchestrator | Worker]) -> None:
    for part in parts:
        await part.ready.wait()
