"""Is everything there that was acknowledged, and is what is there whole?

Laws of this file:
- A commit is in the file with every event of it, byte for byte, or with none.
- The commits in the file are the first ones: none is there without all before it.
- A published command is still in the log, or has become a run, or a signal of one.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.adapters.sqlite import SqliteStore
from holdfast.core.events import OUTCOMES
from holdfast.core.payload import name_of
from holdfast.core.run import ENDED
from holdfast.ports.installation import NotInstalled
from holdfast.ports.journal import StoredEvent
from holdfast.ports.log import Headers
from holdfast.ports.unavailable import Unavailable
from tests.power.facts import AnyFact, Committed, Ended, EventKey, Fact, Kept, Ready, Signalled, Started, key_of
from tests.power.workload import fact_of

_OUTCOMES = {kind.__name__ for kind in OUTCOMES}
_headers = msgspec.msgpack.Decoder(Headers).decode


class Found(msgspec.Struct, frozen=True):
    """What is in a file after a power loss. `wrong` tells what can be told from the file alone."""

    wrong: tuple[str, ...] = ()
    installed: bool = False
    events: frozenset[EventKey] = frozenset()
    numbers: dict[int, int] = {}
    blobs: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    commands: frozenset[Fact] = frozenset()

    def lost(self, facts: Sequence[AnyFact]) -> list[AnyFact]:
        """Give the facts that are not so."""
        return [fact for fact in facts if not self._holds(fact)]

    def _holds(self, fact: AnyFact) -> bool:
        match fact:
            case Ready():
                return self.installed
            case Committed(numbers=numbers, events=events):
                return self.events.issuperset(events) and all(
                    self.numbers.get(shard, 0) >= number for shard, number in numbers.items()
                )
            case Kept(blobs=blobs):
                return self.blobs.issuperset(blobs)
            case Started() | Signalled():
                return fact in self.commands
            case Ended(run_id=run_id):
                return run_id in self.ended

    def torn(self, commits: Sequence[Committed]) -> list[str]:
        """Tell which of all commits ever made are there in part, or without one before them."""
        there = [sum(event in self.events for event in commit.events) for commit in commits]
        parts = [f"commit {n} is there in part" for n, c in enumerate(commits) if 0 < there[n] < len(c.events)]
        known = [n for n, commit in enumerate(commits) if commit.events]
        first_missing = next((n for n in known if not there[n]), len(commits))
        return parts + [
            f"commit {n} is there without commit {first_missing}" for n in known if there[n] and n > first_missing
        ]


async def look(path: Path) -> Found:
    """Open the file as the next process would, and read all of it."""
    store = SqliteStore(path)
    try:
        await store.open()
    except NotInstalled:
        return Found()
    except Unavailable as broken:
        return Found(wrong=(str(broken),))
    try:
        return await store.file.read(_read)
    except Unavailable as broken:
        return Found(wrong=(str(broken),))
    finally:
        await store.close()


def _read(connection: sqlite3.Connection) -> Found:
    def ask(text: str) -> list[Any]:
        return connection.execute(text).fetchall()

    integrity = ask("PRAGMA integrity_check")
    if integrity != [("ok",)]:
        return Found(wrong=tuple(row[0] for row in integrity))
    runs = {
        place: (run_id, incarnation, status)
        for place, run_id, incarnation, status in ask("SELECT place, run_id, incarnation, status FROM runs")
    }
    histories: dict[int, list[StoredEvent]] = {place: [] for place in runs}
    wrong = []
    for place, *event in ask("SELECT run, seq, type, data, at FROM history ORDER BY run, seq"):
        if place in runs:
            histories[place].append(StoredEvent(*runs[place][:2], *event))
        else:
            wrong.append(f"an event of no run: {place}")
    for place, (run_id, _, status) in runs.items():
        wrong += [f"run {run_id}: {text}" for text in _amiss(status, histories[place])]
    blobs = ask("SELECT name, data FROM blobs")
    wrong += [f"blob {name} has other bytes" for name, data in blobs if name_of(data) != name]
    waiting = ask("SELECT headers, value FROM log_records WHERE topic LIKE '%.commands.%'")
    signals = ask("SELECT run_id, message_id FROM signals UNION SELECT run_id, message_id FROM inbox")
    return Found(
        wrong=tuple(wrong),
        installed=True,
        events=frozenset(key_of(event) for history in histories.values() for event in history),
        numbers=dict(ask("SELECT shard, last_batch FROM shards")),
        blobs=frozenset(name for name, _ in blobs),
        ended=frozenset(run_id for run_id, _, status in runs.values() if status in ENDED),
        commands=frozenset(
            [fact_of(_headers(headers), value) for headers, value in waiting]
            + [Started(run_id) for run_id, _, _ in runs.values()]
            + [Signalled(*pair) for pair in signals]
        ),
    )


def _amiss(status: str, history: list[StoredEvent]) -> list[str]:
    """Tell what is wrong with a run, given its history."""
    told = []
    if [event.seq for event in history] != list(range(1, len(history) + 1)) or not history:
        told.append("its history has a gap")
    if history and (history[-1].type in _OUTCOMES) != (status in ENDED):
        told.append(f"it is {status} and its last event is {history[-1].type}")
    return told
