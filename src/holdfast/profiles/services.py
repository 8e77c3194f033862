"""The services, from settings to the last commit."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from holdfast.adapters.sqlite.lock import EngineLock
from holdfast.app.executor.own_tasks import showing_own_tasks
from holdfast.ports.isolation import Isolation
from holdfast.profiles import open_profile
from holdfast.profiles.engine import Engine
from holdfast.profiles.health import health
from holdfast.profiles.profile import Profile, topics_of
from holdfast.sdk.definitions import steps
from holdfast.sdk.turn_limit import watching
from holdfast.sdk.watched import install as install_guard
from holdfast.settings import Settings

COLLECT = (50_000, 20, 50)
"""Thresholds of the cyclic collector: runs break their own cycles when they end, so it finds next to nothing."""


async def serve(
    settings: Settings,
    *,
    orchestrator: bool,
    worker: bool,
    stop: asyncio.Event,
    queues: Sequence[str] = (),
    concurrency: int = 256,
    local: bool = True,
    isolation: Isolation | None = None,
    on_ready: Callable[[Engine], None] = lambda _: None,
) -> None:
    """Serve until `stop` is set, then drain.

    Raises:
        AlreadyRunning: another engine has the embedded file.
        NotInstalled, NewerSchema, Unavailable, Unreachable: while starting; later they are waited out.
    """
    async with AsyncExitStack() as stack:
        if settings.log == "embedded":
            stack.enter_context(EngineLock(settings.store.removeprefix("sqlite:///")))
        profile = await stack.enter_async_context(open_profile(settings, create=True))
        await provide_queues(profile, queues)
        engine = Engine(
            profile,
            orchestrator=orchestrator,
            worker=worker,
            local=local,
            queues=queues,
            concurrency=concurrency,
            isolation=isolation,
        )
        stack.callback(engine.leave_no_record)
        await stack.enter_async_context(health(settings.health, lambda: engine.ready, engine.metrics))
        install_guard()
        stack.enter_context(watching(settings.turn_limit, engine.accuse))
        stack.enter_context(engine.invoker.observing())
        stack.enter_context(showing_own_tasks(asyncio.get_running_loop()))
        await engine.start()
        # What lives from here on to the end is not the collector's business (docs/performance.md).
        gc.freeze()
        gc.set_threshold(*COLLECT)
        on_ready(engine)
        try:
            await until(stop, engine)
        finally:
            await engine.stop()


async def until(stop: asyncio.Event, engine: Engine) -> None:
    """Wait for the order to stop, or for an error of ours."""
    stopping = asyncio.ensure_future(stop.wait())
    failing = asyncio.ensure_future(engine.failed())
    done, _ = await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    failing.cancel()
    if failing in done:
        failing.result()


async def provide_queues(profile: Profile, queues: Sequence[str]) -> None:
    """Create the task topics of the queues that this application names; `install` knows only the default one."""
    wanted = sorted({"default", *queues, *(step.step_options.queue for step in steps.definitions())})
    if not profile.embedded:
        topics = topics_of(profile.settings, profile.shards, wanted)
        await profile.log.install([topic for topic in topics if ".tasks." in topic.name])
