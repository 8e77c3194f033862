"""From the names in a history to the author's functions."""

from collections.abc import Callable
from typing import Any

from holdfast.app.blobs import BlobShelf
from holdfast.app.orchestrator.run_cache import NewProgram
from holdfast.core.behind import PART
from holdfast.core.replay import ProgramStuck
from holdfast.sdk.definitions import Workflow, versions
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.turn_limit import TURN_STEPS


def programs(namespace: str, turn_steps: int = TURN_STEPS, turn_part: int = PART) -> Callable[[BlobShelf], NewProgram]:
    """Make programs of the workflows that are defined in this process."""

    def with_blobs(blobs: BlobShelf) -> NewProgram:
        return lambda run_id, incarnation: LiveProgram(
            find_workflow, blobs.read, namespace, run_id, incarnation, turn_steps=turn_steps, part=turn_part
        )

    return with_blobs


def find_workflow(name: str, version: str) -> Workflow[..., Any]:
    """Find a workflow by the name and version that a history tells.

    Raises:
        ProgramStuck: it is not defined here; says what is.
    """
    known = versions.get(name)
    if known is None:
        names = ", ".join(sorted(versions)) or "none"
        raise ProgramStuck("unknown_workflow", f"there is no workflow {name!r} in this application (it has: {names})")
    # A run that was started before its workflow was known here takes what there is when it is resumed.
    definition = known.by_version.get(version or known.latest)
    if definition is None:
        raise ProgramStuck(
            "unknown_version",
            f"workflow {name!r} has no version {version!r} here (it has: {', '.join(known.by_version)})",
        )
    return definition


def latest_version(name: str) -> str:
    """Tell the version that new runs of a workflow begin with."""
    known = versions.get(name)
    return "" if known is None else known.latest
