"""Putting into records what a draft has to say.

It is done while the store writes the draft, when this process has nothing better to do: runs that wait for the commit
do not wait for the words, too. Nothing is sent here (store first, then send); of a draft that fails the words are
dropped.
"""

from collections.abc import Callable

from holdfast.app.orchestrator.draft import Draft
from holdfast.app.records import Wire
from holdfast.core.identity import event_id


def encode_records(draft: Draft, wire: Wire, serves: Callable[[str], bool]) -> None:
    """Make the records of `draft`; what is made already is not made again.

    Tasks of the queues that this process `serves` itself stay what they are.
    """
    for stored, at, trace in draft.happened:
        cause = event_id(stored[0].run_id, stored[0].incarnation, stored[0].seq)
        draft.events += wire.events(stored, at, trace, cause)
    draft.happened.clear()
    away = [attempt for attempt, (task, _, _) in draft.tasks.items() if not serves(task.queue)]
    draft.prompt += [wire.task(task, at, live.trace) for task, live, at in map(draft.tasks.pop, away)]
    draft.prompt += [wire.send(message, at, trace) for message, at, trace in draft.sends]
    draft.sends.clear()
    draft.prompt += [wire.outcome(told, incarnation, seq, trace) for told, incarnation, seq, trace in draft.concluded]
    draft.concluded.clear()
    draft.prompt += [wire.refused(run_id, event, at) for run_id, event, at in draft.refusals]
    draft.refusals.clear()
