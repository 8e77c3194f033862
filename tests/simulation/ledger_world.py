"""What can happen around one row of the ledger: two workers, a sweeper, an orchestrator, a person and a provider.

Laws of this file:
- A worker does what a real one does, as slowly as it likes: it asks the ledger, sends, hears, tells the ledger; it may
  vanish between any two of these, and any answer to it may be lost.
- A question that needs no fence may come at any time, from a stale reading; `course` says which are work.
- What is said of the world is true when it is found out (a sender's end, a person's verdict), and may be told later.
- The guard table's assumptions hold: a request takes effect within `reach` ticks (`provider_key`: of its intent, a
  pause of the sender included; `lookup`: of its last byte), or never; the provider forgets a key `retention` ticks
  after it was stored.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from holdfast.core.asks import LOOKUP, PROVIDER_KEY, TRANSACTION, Terms
from holdfast.core.effects import ASK, EXPIRE, FAILED, PARK, PARKED, SEND, SUCCEEDED
from tests.simulation.ledger_rules import Rules

# What a worker is about to do.
IDLE: Final = "idle"
HOLDING: Final = "holding"
EARLY: Final = "early"
READY: Final = "ready"
WAITING: Final = "waiting"
ASKING: Final = "asking"
ABSENT: Final = "absent"
COMMITTING: Final = "committing"
SUCCESS: Final = "success"
REFUSED: Final = "refused"
NOT_SENT: Final = "not sent"
UNCLEAR: Final = "unclear"
REPEATS: Final = "repeats"
FAILING: Final = "failing"
HEARD: Final = frozenset({SUCCESS, REFUSED, NOT_SENT, UNCLEAR, REPEATS, FAILING})
MAY_SEND: Final = frozenset({HOLDING, EARLY, READY, WAITING, COMMITTING})

# Of what kind a step is.
WORK: Final = "work"
"""What is done without any fault, as `course` says."""
FAULT: Final = "fault"
OUTSIDE: Final = "outside"
"""The orchestrator's cancelling or closing."""
PERSON: Final = "person"

# Ways of a worker or a provider that differ from the real ones: the mutants' seam.
KEY_PER_ATTEMPT: Final = "a key per attempt"
SENDS_FIRST: Final = "sends before the intent commits"
SENDS_UNANSWERED: Final = "sends though the commit was not answered"
FORGETS_OWN_RETRY: Final = "forgets its client library's own retry"
HASTY_PERSON: Final = "a person decides while a request is on its way"
REFUSAL_NOT_IN_TARGET: Final = "does not write a refusal into the target database"

NOBODY: Final = -1
ORPHAN: Final = 2
"""The target database's own commit, whose worker has gone or given up."""
CURRENT: Final = "current"
STALE: Final = "stale"


class Setting(NamedTuple):
    """What a model is about: the terms of each worker's code, what the provider does, how long things last in ticks.

    `stores_refusals`: of a `transaction`, a refusal is committed in the target database, in the place of the effect.
    """

    terms: tuple[Terms, Terms]
    reach: int = 0
    retention: int = 0
    stores_refusals: bool = False
    stores_errors: bool = False
    lingering_verdicts: bool = False
    ways: frozenset[str] = frozenset()


class Worker(NamedTuple):
    """`current`: the fence it holds is the row's; `age`: ticks since its intent; `again`: it has sent twice."""

    phase: str = IDLE
    current: bool = False
    age: int = 0
    again: bool = False


class World(NamedTuple):
    """Everything at one moment.

    `learned`: somebody knows the end of the sender (of the row as it stands, or as it stood); `verdict`: a person's,
    and whether it is still about the row as it stands; `wire`: requests on their way, with the ticks left and the
    worker that waits; `book`: how often the effect has happened; `stored`: what the provider, or the target database,
    has stored under the key, and for how many ticks more; `lock`: whose transaction has the row of the target database.
    """

    row: int
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    learned: str = ""
    verdict: tuple[str, bool] = ("", False)
    wire: tuple[tuple[int, int], ...] = ()
    book: int = 0
    stored: str = ""
    kept: int = 0
    lock: int = NOBODY


class Step(NamedTuple):
    """What happens ({} is the worker), of which kind, and the world after it. `lost`: a proof was turned away."""

    words: str
    slot: int
    kind: str
    world: World
    broken: str = ""
    lost: bool = False


class Steps:
    """All that can happen next."""

    def __init__(self, setting: Setting, rules: Rules) -> None:
        self.setting = setting
        self.rules = rules
        guards = {terms.guard for terms in setting.terms}
        self.symmetric = setting.terms[0] == setting.terms[1]
        self._keyed = PROVIDER_KEY in guards
        self._timed = bool(guards & {PROVIDER_KEY, LOOKUP})
        self._evidence = LOOKUP in guards

    def of(self, world: World) -> Iterator[Step]:
        for slot in (0, 1):
            yield from self._worker(world, slot)
        for number in range(len(world.wire)):
            yield from self._provider(world, number)
        yield from self._others(world)

    # ---------------------------------------------------------------------------------------------------- a worker

    def _worker(self, world: World, slot: int) -> Iterator[Step]:
        worker = world.workers[slot]
        guard = self.setting.terms[slot].guard
        phase = worker.phase
        if phase == IDLE:
            yield from self._idle(world, slot, guard)
            return
        yield Step("{} crashes", slot, FAULT, put(without(world, slot), slot, Worker()))
        if phase == HOLDING:
            yield from self._holding(world, slot, guard)
        elif phase == EARLY:
            yield self._leaves(world, slot, worker)
        elif phase == READY:
            yield from self._ready(world, slot, worker)
        elif phase == WAITING:
            yield from self._waiting(world, slot, worker)
        elif phase == COMMITTING:
            yield from self._committing(world, slot)
        elif phase == ASKING:
            found = world.book > 0
            heard = worker._replace(phase=SUCCESS if found else ABSENT)
            words = "{} asks the provider: it happened" if found else "{} asks the provider: it has nothing"
            yield Step(words, slot, WORK, put(world, slot, heard))
            yield from self._tells(world, slot, "unasked", "{} could not ask the provider", FAULT)
        elif phase == ABSENT:
            yield from self._tells(world, slot, "absent", "{} tells the ledger that the provider has nothing")
            yield from self._sends(world, slot)
        else:
            yield from self._heard(world, slot, worker)

    def _idle(self, world: World, slot: int, guard: str) -> Iterator[Step]:
        """A command has come, for the first time or again: the worker reads the row, perhaps an old one, and asks."""
        course = self.rules.course(world.row)
        kind = WORK if course == SEND else FAULT
        yield from self._takes(world, slot, "claim", HOLDING, "{} claims the effect", kind)
        if guard != TRANSACTION:
            if SENDS_FIRST in self.setting.ways:
                if course == SEND:
                    yield Step("{} prepares to send", slot, WORK, put(world, slot, Worker(EARLY)))
            else:
                yield from self._takes(world, slot, "begin", READY, "{} commits the intent to send", kind)
        kind = WORK if course == ASK else FAULT
        yield from self._takes(world, slot, "reconcile", ASKING, "{} takes the effect to ask the provider", kind)
        if world.learned:
            words = "{} takes the effect to ask the provider, and tells the ledger that its sender has ended"
            yield from self._takes(world, slot, "reconcile, gone", ASKING, words, kind, fresh=world.learned == CURRENT)

    def _takes(
        self, world: World, slot: int, question: str, phase: str, words: str, kind: str, *, fresh: bool = True
    ) -> Iterator[Step]:
        after, unmoved, broken = self._told(world, slot, question, fresh=fresh)
        if unmoved:
            return
        yield Step(words, slot, kind, put(after, slot, Worker(phase, current=True)), broken)
        yield Step(words + "; the answer is lost, so it stops", slot, FAULT, after, broken)
        if phase == READY:
            words += "; the answer is lost, so it sends nothing, and finds out"
            yield Step(words, slot, FAULT, put(after, slot, Worker(NOT_SENT, current=True)), broken)

    def _holding(self, world: World, slot: int, guard: str) -> Iterator[Step]:
        worker = world.workers[slot]
        failed = put(world, slot, worker._replace(phase=FAILING))
        yield Step("{} fails before it sends anything", slot, FAULT, failed)
        yield from self._tells(world, slot, "park as holder", "{} cannot call the effect, and parks it", FAULT)
        if guard != TRANSACTION:
            yield from self._sends(world, slot)
            refused = put(world, slot, worker._replace(phase=REFUSED))
            yield Step("{} refuses by itself, before it sends anything", slot, FAULT, refused)
            return
        if world.lock != NOBODY:
            return  # the target's unique key lets it wait
        if world.stored:
            words = f"{{}} finds in the target database: {world.stored}"
            yield Step(words, slot, WORK, put(world, slot, worker._replace(phase=world.stored)))
        else:
            begun = put(world, slot, worker._replace(phase=COMMITTING))._replace(lock=slot)
            yield Step("{} begins its transaction in the target database", slot, WORK, begun)

    def _sends(self, world: World, slot: int) -> Iterator[Step]:
        """Commit the intent, as the holder."""
        current = world.workers[slot].current
        after, unmoved, broken = self._told(world, slot, "send", fresh=current)
        if unmoved:
            if unmoved != "horizon":
                yield Step("{} may not send, and stops", slot, WORK, put(world, slot, Worker()))
            return
        yield Step("{} commits the intent to send", slot, WORK, put(after, slot, Worker(READY, current=True)), broken)
        words = "{} commits the intent to send; the answer is lost, so it sends nothing"
        yield Step(words, slot, FAULT, put(after, slot, Worker(NOT_SENT, current=True)), broken)
        if SENDS_UNANSWERED in self.setting.ways:
            words = "{} asks to commit the intent to send, in vain; the answer is lost, and it goes on"
            yield Step(words, slot, FAULT, put(world, slot, Worker(READY, current)))

    def _ready(self, world: World, slot: int, worker: Worker) -> Iterator[Step]:
        if not self._keyed or worker.age < self.setting.reach:
            yield self._leaves(world, slot, worker)
        yield Step(
            "{} finds no connection: nothing leaves", slot, WORK, put(world, slot, Worker(NOT_SENT, worker.current))
        )

    def _leaves(self, world: World, slot: int, worker: Worker) -> Step:
        left = self.setting.reach - worker.age
        wire = world.wire if len(world.wire) > 1 else (*world.wire, (left, slot))  # a third request is lost at once
        phase = worker._replace(phase=WAITING)
        return Step("{} sends the request", slot, WORK, put(world, slot, phase)._replace(wire=tuple(sorted(wire))))

    def _waiting(self, world: World, slot: int, worker: Worker) -> Iterator[Step]:
        if SENDS_FIRST in self.setting.ways and self.rules.course(world.row) == SEND:
            after, unmoved, broken = self._told(world, slot, "begin")
            if not unmoved:
                words = "{} commits the intent to send, after it has sent"
                yield Step(words, slot, WORK, put(after, slot, worker._replace(current=True)), broken)
            return
        heard = Worker(UNCLEAR, worker.current, 0, worker.again)
        yield Step("{} waits no longer for an answer", slot, WORK, put(without(world, slot), slot, heard))
        repeats = self._keyed and KEY_PER_ATTEMPT not in self.setting.ways
        if repeats and not worker.again and worker.age < self.setting.reach and len(world.wire) <= 1:
            wire = (*without(world, slot).wire, (self.setting.reach - worker.age, slot))
            after = put(world, slot, worker._replace(again=True))._replace(wire=tuple(sorted(wire)))
            yield Step("{}'s client library sends the request again by itself", slot, WORK, after)
            failed = Worker(NOT_SENT, worker.current, 0, again=True)
            words = "{}'s client library tries again by itself and finds no connection"
            yield Step(words, slot, WORK, put(without(world, slot), slot, failed))

    def _heard(self, world: World, slot: int, worker: Worker) -> Iterator[Step]:
        """Tell the ledger what came of it."""
        phase = worker.phase
        guard = self.setting.terms[slot].guard
        again = worker.again and FORGETS_OWN_RETRY not in self.setting.ways
        if phase == SUCCESS:
            yield from self._tells(world, slot, "prove", "{} records the proof")
        elif phase == REFUSED:
            yield from self._tells(world, slot, "refuse, again" if again else "refuse", "{} records the refusal")
        elif phase == NOT_SENT:
            yield from self._tells(
                world, slot, "unsend, again" if again else "unsend", "{} records that nothing was sent"
            )
        elif phase == FAILING:
            yield from self._tells(world, slot, "release", "{} gives its claim back")
        elif phase == REPEATS:
            yield from self._tells(world, slot, "doubt, repeats", "{} records an answer that would be repeated")
        else:
            yield from self._tells(world, slot, "doubt", "{} records that the outcome is unclear")
            if guard == LOOKUP:
                words = "{} records that the outcome is unclear, and that it sends no more"
                yield from self._tells(world, slot, "doubt, gone", words)

    def _tells(self, world: World, slot: int, question: str, words: str, kind: str = WORK) -> Iterator[Step]:
        """Put a holder's question; whatever the ledger says, the worker is done, unless the answer is lost."""
        after, unmoved, broken = self._told(world, slot, question, fresh=world.workers[slot].current)
        if unmoved:
            if unmoved == "send":
                return  # absent for certain: the holder sends anew
            lost = question == "prove" and unmoved != "settled"
            yield Step(f"{words}, in vain ({unmoved})", slot, kind, put(world, slot, Worker()), "", lost)
            return
        yield Step(words, slot, kind, put(after, slot, Worker()), broken)
        if world.workers[slot].phase in HEARD:
            yield Step(words + "; the answer is lost, and it will tell it again", slot, FAULT, after, broken)

    # ------------------------------------------------------------------------------------------ the target database

    def _committing(self, world: World, slot: int) -> Iterator[Step]:
        worker = world.workers[slot]
        current = worker.current
        free = world._replace(lock=NOBODY)
        done = free._replace(book=world.book + 1, stored=SUCCESS)
        yield Step(
            "{} commits the effect in the target database", slot, WORK, put(done, slot, Worker(SUCCESS, current))
        )
        stores = self.setting.stores_refusals and REFUSAL_NOT_IN_TARGET not in self.setting.ways
        refused = free._replace(stored=REFUSED) if stores else free
        words = "{} refuses, and commits that in the target database" if stores else "{} refuses, and rolls back"
        yield Step(words, slot, WORK, put(refused, slot, Worker(REFUSED, current)))
        yield Step("{} fails, and rolls back", slot, WORK, put(free, slot, Worker(FAILING, current)))
        orphan = world._replace(lock=ORPHAN)
        yield Step("{} commits and hears no answer", slot, FAULT, put(orphan, slot, Worker(UNCLEAR, current)))

    # ------------------------------------------------------------------------------------------------- the provider

    def _provider(self, world: World, number: int) -> Iterator[Step]:
        _, slot = world.wire[number]
        wire = world.wire[:number] + world.wire[number + 1 :]
        for words, happens, stored, heard in self._answers(world):
            after = world._replace(wire=wire, book=min(2, world.book + happens))
            if stored != world.stored:
                after = after._replace(stored=stored, kept=self.setting.retention)
            if slot != NOBODY:
                waiting = world.workers[slot]
                after = put(after, slot, waiting._replace(phase=heard, age=0))
            yield Step(words if slot == NOBODY else words + " (the request of {})", slot, WORK, after)

    def _answers(self, world: World) -> Iterator[tuple[str, int, str, str]]:
        """Say what the provider may do with a request: words, effects, what it stores, what it answers."""
        keyed = self._keyed and KEY_PER_ATTEMPT not in self.setting.ways
        if keyed and world.stored:
            yield "the provider knows the key and answers as before", 0, world.stored, world.stored
            return
        stores_refusals = keyed and self.setting.stores_refusals
        stores_errors = keyed and self.setting.stores_errors
        error = REPEATS if stores_errors else UNCLEAR
        yield "the provider does it and says so", 1, SUCCESS if keyed else "", SUCCESS
        yield "the provider refuses", 0, REFUSED if stores_refusals else "", REFUSED
        yield "the provider answers 500", 0, REPEATS if stores_errors else "", error
        yield "the provider does it and answers 500", 1, (error if stores_errors else SUCCESS) if keyed else "", error

    # --------------------------------------------------------------------------------------------------- the others

    def _others(self, world: World) -> Iterator[Step]:
        course = self.rules.course(world.row)
        kind = WORK if course == EXPIRE else FAULT
        yield from self._anyone(world, "expire", "the lease is over, and the sweeper takes the effect away", kind)
        if world.learned:
            words = "the sweeper says that the sender has ended, and takes the effect away"
            yield from self._anyone(world, "expire, gone", words, kind, fresh=world.learned == CURRENT)
        kind = WORK if course == PARK else FAULT
        yield from self._anyone(world, "park", "the effect is parked", kind)
        yield from self._anyone(world, "cancel", "the orchestrator cancels", OUTSIDE)
        yield from self._anyone(world, "close", "the orchestrator gives up further attempts", OUTSIDE)
        yield from self._person(world)
        if world.lock == ORPHAN:
            free = world._replace(lock=NOBODY)
            yield Step("the target database commits", NOBODY, WORK, free._replace(book=world.book + 1, stored=SUCCESS))
            yield Step("the target database rolls back", NOBODY, WORK, free)
        if self._evidence and world.learned != CURRENT and self._sender_has_ended(world):
            yield Step("somebody learns that the sender has ended", NOBODY, WORK, world._replace(learned=CURRENT))
        if self._timed:
            yield Step("time passes", NOBODY, WORK, self._tick(world))

    def _anyone(self, world: World, question: str, words: str, kind: str, *, fresh: bool = True) -> Iterator[Step]:
        after, unmoved, broken = self._told(world, NOBODY, question, fresh=fresh)
        if not unmoved:
            yield Step(words, NOBODY, kind, after, broken)

    def _person(self, world: World) -> Iterator[Step]:
        """A person looks where nothing can be on its way any more, and says the truth, at once or later."""
        if self.setting.lingering_verdicts and world.verdict[0]:
            verdict, current = world.verdict
            words = f"the person's verdict arrives: {verdict}"
            yield from self._anyone(world, verdict, words, PERSON, fresh=current)
        if self.rules.rows[world.row].state != PARKED or (under_way(world) and HASTY_PERSON not in self.setting.ways):
            return
        for verdict in ("succeeded",) if world.book else ("failed", "retry"):
            if self.setting.lingering_verdicts:
                words = f"a person looks into the provider's book: {verdict}"
                yield Step(words, NOBODY, PERSON, world._replace(verdict=(verdict, True)))
            else:
                yield from self._anyone(world, verdict, f"a person says: {verdict}", PERSON)

    def _sender_has_ended(self, world: World) -> bool:
        sender = self.rules.rows[world.row].sender
        return bool(sender) and world.workers[0 if sender == "one" else 1].phase != READY

    def _tick(self, world: World) -> World:
        workers = world.workers
        if self._keyed:
            first, second = workers
            workers = (self._older(first), self._older(second))
        return world._replace(
            row=self.rules.later(world.row),
            workers=workers,
            wire=tuple((left - 1, slot) for left, slot in world.wire if left > 1),
            stored="" if world.kept == 1 else world.stored,
            kept=max(0, world.kept - 1),
        )

    def _older(self, worker: Worker) -> Worker:
        if worker.phase not in {READY, WAITING}:
            return worker
        return worker._replace(age=min(worker.age + 1, self.setting.reach))

    # ---------------------------------------------------------------------------------------------------- the ledger

    def _told(self, world: World, slot: int, question: str, *, fresh: bool = True) -> tuple[World, str, str]:
        """Ask the ledger: the world after it, why nothing moved, which law of a row it broke."""
        answer = self.rules.answer(world.row, slot, question, fresh=fresh)
        if answer.unmoved:
            return world, answer.unmoved, ""
        after = world._replace(
            row=answer.row, learned=STALE if world.learned else "", verdict=(world.verdict[0], False)
        )
        return outdated(after) if answer.raised else after, "", answer.broken

    def canonical(self, world: World) -> tuple[World, bool]:
        """Forget which of two like workers is which; tells whether they changed places."""
        one, two = world.workers
        if not self.symmetric or one <= two:
            return world, False
        swap = {0: 1, 1: 0}
        return (
            world._replace(
                row=self.rules.swapped(world.row),
                workers=(two, one),
                wire=tuple(sorted((left, swap.get(slot, slot)) for left, slot in world.wire)),
                lock=swap.get(world.lock, world.lock),
            ),
            True,
        )

    def law(self, world: World) -> str:
        """Tell which law of the ledger is broken, if any."""
        state = self.rules.rows[world.row].state
        if world.book > 1:
            return "a double effect"
        if state == SUCCEEDED and not world.book:
            return "a success without an effect"
        if world.book and state == FAILED:
            return "a failure with an effect"
        if world.book and state == "CANCELLED":
            return "a cancellation with an effect"
        return ""


def under_way(world: World) -> bool:
    """Tell whether something may still take effect that was begun already."""
    return bool(world.wire) or world.lock != NOBODY or any(worker.phase in MAY_SEND for worker in world.workers)


def put(world: World, slot: int, worker: Worker) -> World:
    one, two = world.workers
    return world._replace(workers=(worker, two) if slot == 0 else (one, worker))


def outdated(world: World) -> World:
    """Let nobody hold the row's fence."""
    one, two = world.workers
    return world._replace(workers=(one._replace(current=False), two._replace(current=False)))


def without(world: World, slot: int) -> World:
    """Let nobody wait for what a worker has sent; its transaction, if any, goes on without it."""
    if world.lock == slot:
        return world._replace(lock=ORPHAN)
    if all(waits != slot for _, waits in world.wire):
        return world
    wire = sorted((left, NOBODY if waits == slot else waits) for left, waits in world.wire)
    return world._replace(wire=tuple(wire))
