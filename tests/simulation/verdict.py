"""What must be true of a world: while it lives, and when it has come to rest.

Laws of this file:
- Each run has its one right end, in the store and on the topics, with one id; what it bought was charged once.
- Nothing is left open: no attempt, no timer, no message.
- What a process has in memory of a run is the fold of its history, and a replay of the code agrees with all of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.app.orchestrator.programs import find_workflow
from holdfast.app.orchestrator.run_cache import recorded, reprogram
from holdfast.core import events as e
from holdfast.core.effects import SUCCEEDED, Effect
from holdfast.core.identity import event_id
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck
from holdfast.core.run import COMPLETED, CONTINUED, TERMINATED
from holdfast.ports.journal import StoredRun
from holdfast.sdk.program import LiveProgram
from tests.simulation import hostile
from tests.simulation.audit import CODEC
from tests.simulation.processes import EMBEDDED, Process
from tests.simulation.workflows import REFUNDABLE, refund_of

if TYPE_CHECKING:
    from tests.simulation.world import World

Broken = tuple[str, str]


def of(world: "World") -> Iterator[Broken]:
    """Judge a world that has come to rest."""
    for run_id in awaited(world):
        yield from _end(world, run_id)
        yield from _replay(world, run_id)
    yield from _purchases(world)
    yield from _refunds(world)
    for slot in world.slots:
        if slot.process is not None:
            yield from live_differs(slot.process)
            yield from _unheard(slot.process)
    for run_id, message_id in sorted(world.auditor.refused - world.auditor.put_aside):
        yield "lost", f"signal {message_id} of {run_id} was refused, and is no dead letter"
    for failure in world.loop.failures:
        yield "unhandled", failure


def untold(world: "World") -> list[str]:
    """Name the runs of which something was not published yet."""
    if any(slot.kind == EMBEDDED for slot in world.slots):
        return []
    auditor = world.auditor
    return [
        run_id
        for run_id, run in auditor.runs.items()
        if auditor.published.get((run_id, run.incarnation), 0) < run.seq
        or any(
            auditor.published.get(place, 0) < len(history)
            for place, history in world.truth.histories.items()
            if place[0] == run_id
        )
        or (run.ended and run_id not in auditor.outcomes)
    ]


def awaited(world: "World") -> list[str]:
    """Name the runs that are to come to an end: not a child whose parent was terminated before it had called it."""
    return [run_id for run_id in world.workload.expected if not is_uncalled(world, run_id)]


def is_uncalled(world: "World", run_id: str) -> bool:
    """Tell whether it is a child that nobody will call: a turn that is cut may not have come to it."""
    parent = world.workload.families.get(run_id)
    stored = None if parent is None else _history(world, parent)
    if stored is None or stored.row.status != TERMINATED:
        return False
    events = (CODEC.decode_event(one.type, one.data) for one in stored.history)
    return not any(isinstance(event, e.ChildScheduled) and event.run_id == run_id for event in events)


def what_is_open(world: "World") -> str:
    """Say what has not come to rest."""
    auditor = world.auditor
    runs = [
        f"{run_id}: {run.status} at seq {run.seq}, steps {list(run.open_steps)}, timers {list(run.timers)}, "
        f"parked {run.parked.reason + ': ' + run.parked.detail if run.parked else 'no'}"
        for run_id, run in auditor.runs.items()
        if not run.ended
    ]
    effects = [f"{row.run_id} {row.step_id} is {row.state}: {row.reason}" for row in unsettled(world)]
    deeds = [f"{type(deed.command).__name__} for {deed.run}" for deed in world.workload.deeds if not deed.done]
    return f"runs: {runs}; not done: {deeds}; not told: {untold(world)}; effects: {effects}; open: {left_open(world)}"


def unsettled(world: "World") -> list[Effect]:
    """Give the effects that the ledger has not settled, and what is still to be asked after."""
    return [row for row in world.truth.ledger.rows.values() if not row.settled]


def left_open(world: "World") -> list[str]:
    """Name the attempts, timers and messages that wait for something."""
    truth = world.truth
    tables: dict[str, Iterable[Any]] = {"attempt": truth.open, "timer": truth.timers, "inbox": truth.inbox_rows}
    return [f"{name} {key}" for name, rows in tables.items() for key in rows]


def live_differs(process: Process) -> Iterator[Broken]:
    """Compare the runs in a process's memory with their histories, where nobody else owns them."""
    world = process.world
    orchestrator = None if process.engine is None else process.engine.orchestrator
    for live in () if orchestrator is None else orchestrator.live:
        folded = world.auditor.runs.get(live.run.run_id)
        # Who wrote last, in the present epoch, knows all there is.
        mine = world.auditor.wrote_last(live.shard) == process.life.name
        if mine and live.uncommitted == 0 and live.run.exists and folded != live.run:
            yield "live differs", f"{process.life.name} has {live.run}, the history tells {folded}"


def _end(world: "World", run_id: str) -> Iterator[Broken]:
    wanted = world.workload.expected[run_id]
    stored = _history(world, run_id)
    if stored is None:
        yield "lost", f"run {run_id} is not there"
        return
    last = CODEC.decode_event(stored.history[-1].type, stored.history[-1].data)
    result = msgspec.json.decode(last.result.data) if isinstance(last, e.RunCompleted) else None
    if stored.row.status != wanted.status or (wanted.status == COMPLETED and result != wanted.result):
        yield "wrong end", f"run {run_id} is {stored.row.status} with {last}, not {wanted}"
    if stored.row.status != world.auditor.runs[run_id].status:
        yield "row differs", f"run {run_id}: the row says {stored.row.status}"
    told = world.workload.told.get(run_id)
    if told is not None and told.status != wanted.status:
        yield "told wrong", f"the client of {run_id} was told {told}"
    outcomes = world.auditor.outcomes.get(run_id, set())
    ce_id = event_id(run_id, stored.row.incarnation, len(stored.history))
    if any(one != ce_id for one, _ in outcomes) or len(outcomes) > 1:
        yield "outcome", f"run {run_id} has outcomes {sorted(one for one, _ in outcomes)}, not just {ce_id}"


def _history(world: "World", run_id: str) -> StoredRun | None:
    """Read a run as it is, or as it was when it was purged."""
    return world.truth.history(run_id) or world.truth.archive.get(run_id)


def _replay(world: "World", run_id: str) -> Iterator[Broken]:
    stored = _history(world, run_id)
    if stored is None:
        return
    for place in sorted(world.truth.histories):
        if place[0] == run_id and place[1] < stored.row.incarnation:
            earlier = StoredRun(world.truth.runs_by[place], tuple(world.truth.incarnation(*place)))
            yield from _replay_of(world, earlier)
    yield from _replay_of(world, stored)


def _replay_of(world: "World", stored: StoredRun) -> Iterator[Broken]:
    run_id, incarnation = stored.row.run_id, stored.row.incarnation
    blobs = world.truth.blobs_by

    def new_program(run: str, incarnation: int) -> LiveProgram:
        def read(payload: Payload) -> bytes:
            return blobs[payload.blob] if payload.blob else payload.data

        return LiveProgram(find_workflow, read, world.topics.namespace, run, incarnation, turn_steps=hostile.TURN_STEPS)

    try:
        program, rebuilt = reprogram(run_id, incarnation, recorded(CODEC, stored), new_program)
    except ProgramStuck as stuck:
        yield "replay", f"run {run_id}: {stuck}"
        return
    program.evict()
    if incarnation != world.auditor.runs[run_id].incarnation:
        if rebuilt.run.status != CONTINUED:
            yield "replay", f"run {run_id}, incarnation {incarnation}, is {rebuilt.run.status}, and another one follows"
    elif rebuilt.run != world.auditor.runs[run_id]:
        yield "replay", f"run {run_id} is replayed to {rebuilt.run}, not {world.auditor.runs[run_id]}"


def _purchases(world: "World") -> Iterator[Broken]:
    """Compare the ledger with the book: what is settled as done was done, and nothing else was."""
    book = +world.provider.book
    ledger = world.truth.ledger
    for row in (*ledger.rows.values(), *ledger.archive.values()):
        purchase = (row.run_id, world.provider.wanted[row.run_id, row.step_id])
        count = book.pop(purchase, 0)
        if count != (row.state == SUCCEEDED):
            yield "book", f"{purchase[0]} {purchase[1]} is {row.state}, and stands {count} times in the book"
    if book:
        yield "book", f"nobody asked for {dict(book)}"


def _refunds(world: "World") -> Iterator[Broken]:
    """Compare what was to be given back with what was: whoever is cancelled has the receipt at hand."""
    book = world.provider.book
    for (run_id, _), what in world.provider.wanted.items():
        if not what.startswith(REFUNDABLE):
            continue
        bought, refunded = book[run_id, what], book[run_id, refund_of(what)]
        if bought != refunded:
            yield "refund", f"{what} of {run_id} was bought {bought} times, and given back {refunded} times"


def _unheard(process: Process) -> Iterator[Broken]:
    """Find tasks of a living process that failed, and nobody asked why."""
    failed = Counter(
        repr(task.exception())
        for task in process.life.tasks
        if task.done() and not task.cancelled() and task._log_traceback and task.exception() is not None  # noqa: SLF001 - what asyncio would complain of
    )
    for error, count in failed.items():
        yield "unhandled", f"{process.life.name}: {count} tasks ended with {error}"
