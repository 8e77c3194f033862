"""The commands that serve until they are told to stop: dev, run, orchestrator, worker.

Laws of this file:
- The first SIGINT or SIGTERM drains: what runs is finished, committed and published. The second ends at once.
- Both are heard between any two steps of Python, whatever blocks the event loop; a drain that is blocked has an end.
- On start, one line tells what is served and where.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import click

from holdfast.adapters.recorder import told_to_stop
from holdfast.cli.apps import load_app
from holdfast.cli.failures import INTERRUPTED, USAGE, CommandFailed, told
from holdfast.cli.frame import Subcommand, reaching, settings_of

if TYPE_CHECKING:
    from holdfast.cli.event_loop import Deadline
    from holdfast.ports.isolation import Isolation
    from holdfast.settings import Settings

LAST = 3.0
"""Seconds for the last words of a service, beside those for draining."""
_SHOWN = ("health", "instance", "turn-limit")
_concurrency = click.option(
    "--concurrency", type=click.IntRange(1), default=256, show_default=True, help="Steps executed at once."
)


@click.command(cls=Subcommand, shows=_SHOWN)
@click.argument("app")
@_concurrency
@click.pass_context
def dev(context: click.Context, app: str, concurrency: int) -> None:
    """Serve APP in one process on one file; nothing to install.

        holdfast dev examples/first.py
        holdfast start tea --id tea-1 --input '"Ada"' --wait      # in another terminal

    APP is a module (shop.workflows) or a file. The file is .holdfast/holdfast.db unless --store names another.
    """
    settings = settings_of(context)
    if settings.profile != "embedded":
        raise CommandFailed(
            USAGE,
            f"dev serves one SQLite file, and HOLDFAST_LOG ({settings.origin('log')}) is {settings.log}: "
            f"use holdfast run {app}, or leave HOLDFAST_STORE and HOLDFAST_LOG out",
        )
    serve_app(context, settings, app, orchestrator=True, worker=True, concurrency=concurrency)


@click.command(cls=Subcommand, shows=_SHOWN)
@click.argument("app")
@_concurrency
@click.pass_context
def run(context: click.Context, app: str, concurrency: int) -> None:
    """Serve APP as orchestrator and worker in one process.

        HOLDFAST_STORE=postgresql://… HOLDFAST_LOG=kafka://… holdfast run shop.workflows

    Steps are handed over in memory after each commit. Start any number of such processes; they share the work.
    """
    serve_app(context, settings_of(context), app, orchestrator=True, worker=True, concurrency=concurrency)


@click.command(cls=Subcommand, shows=_SHOWN)
@click.argument("app")
@click.pass_context
def orchestrator(context: click.Context, app: str) -> None:
    """Serve the workflows of APP; its steps go to workers.

    holdfast orchestrator shop.workflows --health 127.0.0.1:8080
    """
    settings = settings_of(context)
    _apart(settings, app)
    serve_app(context, settings, app, orchestrator=True, worker=False)


@click.command(cls=Subcommand, shows=_SHOWN)
@click.argument("app")
@click.option("--queue", "queues", multiple=True, metavar="Q", help="A queue to serve (again for more) [default].")
@_concurrency
@click.pass_context
def worker(context: click.Context, app: str, queues: tuple[str, ...], concurrency: int) -> None:
    """Execute the steps of APP.

    holdfast worker shop.workflows --queue default --queue cnc --concurrency 64
    """
    settings = settings_of(context)
    _named(queues)
    _apart(settings, app)
    serve_app(context, settings, app, orchestrator=False, worker=True, queues=queues, concurrency=concurrency)


def _named(queues: Sequence[str]) -> None:
    from holdfast.sdk.options import queue

    try:
        for name in queues:
            queue("--queue", name)
    except ValueError as error:
        raise CommandFailed(USAGE, str(error)) from error


def _apart(settings: "Settings", app: str) -> None:
    if settings.profile == "embedded":
        raise CommandFailed(
            USAGE,
            f"on one SQLite file, orchestrator and worker are one process: use holdfast dev {app}, or name a cluster "
            "with HOLDFAST_STORE=postgresql://… and HOLDFAST_LOG=kafka://…",
        )


def serve_app(
    context: click.Context,
    settings: "Settings",
    app: str,
    *,
    orchestrator: bool,
    worker: bool,
    queues: Sequence[str] = (),
    concurrency: int = 256,
) -> None:
    """Load the application, serve it, and end with the code of what ended it."""
    from holdfast.cli.event_loop import leave_with, run_to_end
    from holdfast.sdk.watched import install

    _ = settings.profile  # raises before the author's code runs, when store and log do not go together
    _tell_warnings()
    install()  # before the author's modules keep a clock of their own
    isolation = _children(app)
    load_app(app)
    _require(app, workflows=orchestrator, steps=worker and not orchestrator)
    service = _Service(context.info_name or "", settings, isolation)
    work = service.serve(orchestrator=orchestrator, worker=worker, queues=queues, concurrency=concurrency)
    try:
        code = run_to_end(work)
    except Exception as error:
        leave_with(told(error).code)
        raise
    leave_with(code)
    context.exit(code)


def _children(app: str) -> "Isolation":
    """Start processes with the same application in the same folder, for what must not be executed in this one."""
    from holdfast.adapters.child import ChildProcesses

    return ChildProcesses((sys.executable, "-m", "holdfast.cli.child", app), Path.cwd())


def _tell_warnings() -> None:
    """Let our own warnings go to stderr with the time; unless --debug lets everything go there already."""
    import logging

    stream = _stderr_of_our_own()
    logging.lastResort = logging.StreamHandler(stream)
    logging.lastResort.setLevel(logging.WARNING)
    ours = logging.getLogger("holdfast")
    if not ours.hasHandlers():
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        ours.addHandler(handler)
        ours.propagate = False


def _stderr_of_our_own() -> TextIO:
    """Give a stream that stays: an author's step may close sys.stderr, and each warning would raise, asyncio's too."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    except OSError:  # it is no file
        return sys.stderr


def _require(app: str, *, workflows: bool, steps: bool) -> None:
    from holdfast.sdk import definitions

    if workflows and not definitions.versions:
        raise CommandFailed(
            USAGE, f"{app} defines no workflow: write @workflow before an async function", "your application"
        )
    if steps and not definitions.steps.names():
        raise CommandFailed(USAGE, f"{app} defines no step: write @step before a function", "your application")


class _Service:
    """One serving process and the signals that end it."""

    def __init__(self, command: str, settings: "Settings", isolation: "Isolation") -> None:
        self._command = command
        self._isolation = isolation
        self._settings = settings
        self._stop = asyncio.Event()
        self._is_ready = False
        self._signalled: signal.Signals | None = None
        self._serving: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadline: Deadline | None = None

    async def serve(self, **options: Any) -> int:
        from holdfast.cli.event_loop import Deadline
        from holdfast.profiles.engine import DRAIN, SAYING
        from holdfast.profiles.services import serve

        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(DRAIN + SAYING + LAST)
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not add_signal_handler: a loop that is blocked does not call it.
            signal.signal(number, self._hear)
        with reaching(self._settings):
            self._serving = asyncio.ensure_future(
                serve(
                    self._settings,
                    stop=self._stop,
                    on_ready=lambda _: self._ready(**options),
                    isolation=self._isolation,
                    **options,
                )
            )
            try:
                await self._serving
            except asyncio.CancelledError:
                if self._signalled is None:
                    raise
        return INTERRUPTED if self._signalled is signal.SIGINT else 0

    def _hear(self, number: int, _: FrameType | None) -> None:
        """Runs on the main thread, in the middle of whatever it executes."""
        if self._signalled is not None:
            os._exit(128 + number)
        self._signalled = signal.Signals(number)
        told_to_stop()
        if self._deadline is not None and self._loop is not None:
            self._deadline.begin(128 + number)
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._stop.set()
        if not self._is_ready and self._serving is not None:
            self._serving.cancel()
        with suppress(ValueError):  # an author's step has closed the stream
            click.echo(f"holdfast {self._command}: finishing what runs; once more to stop at once", err=True)

    def _ready(self, *, orchestrator: bool, worker: bool, queues: Sequence[str], concurrency: int) -> None:
        from holdfast.sdk.definitions import steps, versions
        from holdfast.settings import masked

        self._is_ready = True
        parts = [f"workflows {', '.join(sorted(versions))}"] if orchestrator else []
        if worker:
            on = f" of queue {', '.join(queues or ('default',))}" if not orchestrator else ""
            parts.append(f"{len(steps.names())} steps{on}, {concurrency} at once")
        where = masked("store", self._settings.store).removeprefix("sqlite:///")
        if self._settings.profile == "cluster":
            where += f", {masked('log', self._settings.log)}"
        click.echo(f"holdfast {self._command}: serving {'; '.join(parts)}; on {where}; pid {os.getpid()}")
        if self._command == "dev":
            name = min(versions)
            definition = versions[name].by_version[versions[name].latest]
            given = f" --input JSON  # {', '.join(definition.shape.names)}" if definition.shape.names else ""
            click.echo(f"start a run: holdfast start {name} --wait{given}")
