"""What the stores share of deaths: the columns are the fields of `Death`, in an order of their own."""

from collections.abc import Sequence
from typing import Any

from holdfast.ports.deaths import Death

BEFORE_ALL = Death(run_id="", incarnation=0, step_id="", process="")
"""Where the first page begins."""


def death_of(row: Sequence[Any]) -> Death:
    """Read a row."""
    run_id, incarnation, step_id, process, shard, seq, attempt, reason, detail, at = row
    return Death(
        run_id=run_id,
        incarnation=incarnation,
        step_id=step_id,
        process=process,
        shard=shard,
        seq=seq,
        attempt=attempt,
        reason=reason,
        detail=detail,
        at=at,
    )
