"""An effect as people and scripts look at it: made of its row and its moves, with nothing else.

Laws of this file:
- Pure: rows go in, plain values come out, ready for JSON. Times are ISO 8601, UTC; hashes are hexadecimal.
- The story begins with the plan, and has every move, in order.
- What was sent is named by a hash: of the exact bytes (SHA-256) where they are known, else of the effect's arguments.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from holdfast.app.records import rfc3339
from holdfast.core.asks import Move
from holdfast.core.effects import Effect
from holdfast.ports.ledger import Story
from holdfast.views import failure, value_of

THE_RUN = "the run"
PLAN = "plan"


def described(story: Story) -> dict[str, Any]:
    """Tell all about an effect."""
    effect = story.effect
    return {
        "effect_id": effect.effect_id,
        "run_id": effect.run_id,
        "step_id": effect.step_id,
        "name": effect.name,
        "guard": effect.terms.guard,
        "state": effect.state,
        "version": effect.version,
        "attempt": effect.attempt,
        "key": effect.key,
        "request_hash": effect.request_hash.hex(),
        "first_sent_at": _at(effect.first_sent_at),
        "window_until": _at(effect.window_until),
        "since": rfc3339(since(story)),
        "owner": effect.owner or None,
        "sender": effect.sender or None,
        "reason": effect.reason or None,
        "resolved_by": effect.resolved_by or None,
        "result": None if effect.result is None else value_of(effect.result),
        "error": None if effect.error is None else failure(effect.error),
        "moves": moves_of(story),
    }


def moves_of(story: Story) -> list[dict[str, Any]]:
    """Tell an effect's story, line by line."""
    return [_planned(story.effect), *(_told(move, story) for move in story.moves)]


def since(story: Story) -> int:
    """Give the instant of the last move; of the plan, if there was none yet."""
    return story.moves[-1].at if story.moves else story.effect.planned_at


def conflicts(story: Story) -> int:
    """Count the proofs that came after the effect was closed otherwise."""
    return sum(move.what == "conflict" for move in story.moves)


def gone(story: Story, ends: Mapping[str, str]) -> dict[str, str]:
    """Tell of each process that may have sent the effect how it is known that it can no more; empty if it is not."""
    effect = story.effect
    known = {effect.sender: effect.sender_gone} | {process: end for process, end in ends.items() if end}
    return {move.who: known.get(move.who, "") for move in story.moves if move.sent}


def _planned(effect: Effect) -> dict[str, Any]:
    return {
        "at": rfc3339(effect.planned_at),
        "what": PLAN,
        "who": THE_RUN,
        "from": None,
        "to": "PLANNED",
        "fence": 0,
        "reason": None,
        "evidence": None,
        "request_hash": effect.request_hash.hex(),
    }


def _told(move: Move, story: Story) -> dict[str, Any]:
    return {
        "at": rfc3339(move.at),
        "what": move.what,
        "who": move.who,
        "from": move.was,
        "to": move.to,
        "fence": move.fence,
        "reason": move.reason or None,
        "evidence": move.evidence or move.sender_gone or None,
        "request_hash": _sent(move, story) if move.sent else None,
    }


def _sent(move: Move, story: Story) -> str:
    """Name what a move was about to send: the bytes of this or of an earlier sending, which are the same."""
    known = [one.request for one in story.moves if one.request is not None and one.version <= move.version]
    return sha256(known[-1]).hexdigest() if known else story.effect.request_hash.hex()


def _at(instant: int | None) -> str | None:
    return None if instant is None else rfc3339(instant)
