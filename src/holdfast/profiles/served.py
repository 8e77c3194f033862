"""Whether anybody serves an installation, as far as a client can tell, and what to do if nobody does."""

from pathlib import Path

from holdfast.adapters.sqlite.lock import EngineLock
from holdfast.settings import Settings, masked


def is_served_here(settings: Settings) -> bool | None:
    """Tell whether a process serves the embedded file; None for a cluster, of which one process cannot tell."""
    if settings.profile != "embedded":
        return None
    return EngineLock(_file(settings)).is_held()


def nobody_serves(run_id: str, settings: Settings) -> str:
    """Say that a run waits for somebody to serve it, and how to do that."""
    if settings.profile != "embedded":
        return (
            f"run {run_id} waits: no orchestrator has taken it yet from {masked('log', settings.log)}, namespace "
            f"{settings.namespace}. Is one running? holdfast run APP; what is the matter says: holdfast doctor"
        )
    return (
        f"run {run_id} waits: no process serves {_file(settings)}. In another terminal, and in this folder: "
        "holdfast dev APP"
    )


def _file(settings: Settings) -> Path:
    return Path(settings.store.removeprefix("sqlite:///"))
