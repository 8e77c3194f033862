"""The real rules of the ledger, asked about rows of which only what matters is kept.

Laws of this file:
- A row keeps what a rule may read and no more: its fence and version are 0 and older ones −1, its instants are counted
  from now and old ones cut off where nothing tells them apart, a lease is over as soon as it is taken (so that it may
  lapse at any point and need not), and what its guard does not ask about is blank.
- Whatever is asked, the version grows by one and the fence never falls.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import replace

from holdfast.core import effects
from holdfast.core.asks import (
    CONFLICT,
    FAIL,
    LOOKUP,
    PROVIDER_KEY,
    RETRY,
    SUCCEED,
    Absent,
    Ask,
    Begin,
    Cancel,
    Claim,
    Close,
    Doubt,
    Expire,
    Move,
    Park,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Resolve,
    Send,
    Terms,
    Unasked,
    Unmoved,
    Unsend,
)  # fmt: skip
from holdfast.core.effects import RECONCILING, Effect
from holdfast.core.payload import NOTHING
from holdfast.core.retry import MICROS, Failure

TICK: Final = MICROS
NOW: Final = 1_000 * TICK
OLD: Final = -1
"""The fence, or the version, of whoever read the row before."""
NAMES: Final = ("one", "two")
NO: Final = Failure("Refused", "no")

Decide = Callable[[Effect, Ask, int], Move | Unmoved]
Evolve = Callable[[Effect, Move], Effect]


class Answer(NamedTuple):
    """What came of a question: the row's number afterwards; why it did not move; whether it changed hands."""

    row: int
    unmoved: str = ""
    raised: bool = False
    broken: str = ""


class Rules:
    """Rows by number, and what follows from each question about them."""

    def __init__(
        self,
        terms: tuple[Terms, Terms],
        decide: Decide = effects.decide,
        evolve: Evolve = effects.evolve,
        *,
        stores_refusals: bool = False,
    ) -> None:
        self.rows: list[Effect] = []
        self.terms = terms
        self.stores_refusals = stores_refusals
        self.moves: set[tuple[str, str]] = set()
        self._decide = decide
        self._evolve = evolve
        self._numbers: dict[Effect, int] = {}
        self._answers: dict[tuple[int, int, str, bool], Answer] = {}
        self._swapped: dict[int, int] = {}
        self._later: dict[int, int] = {}
        self._courses: dict[int, str] = {}
        self.first = self._number(
            Effect(
                effect_id="e", run_id="r", incarnation=0, step_id="s", shard=0, name="n", key="k", request_hash=b"",
                terms=terms[0], planned_at=0,
            )
        )  # fmt: skip

    def answer(self, row: int, slot: int, words: str, *, fresh: bool = True) -> Answer:
        """Ask about a row, as `slot`; `fresh`: with the row's fence as it stands, else with an older one."""
        key = (row, slot, words, fresh)
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = self._ask(row, self._question(slot, words, 0 if fresh else OLD))
        return known

    def swapped(self, row: int) -> int:
        """Give the row in which the two workers' names have changed places."""
        known = self._swapped.get(row)
        if known is None:
            effect = self.rows[row]
            other = {NAMES[0]: NAMES[1], NAMES[1]: NAMES[0]}.get(effect.sender, effect.sender)
            known = self._swapped[row] = self._number(replace(effect, sender=other))
        return known

    def later(self, row: int) -> int:
        """Give the row as it is read one tick later."""
        known = self._later.get(row)
        if known is None:
            effect = self.rows[row]
            aged = {
                name: None if at is None else at - TICK
                for name in ("first_sent_at", "last_sent_at", "asked_at")
                if (at := getattr(effect, name)) is not None
            }
            known = self._later[row] = self._number(replace(effect, **aged))
        return known

    def course(self, row: int) -> str:
        known = self._courses.get(row)
        if known is None:
            known = self._courses[row] = effects.course(self.rows[row], NOW)
        return known

    def _ask(self, row: int, ask: Ask) -> Answer:
        before = self.rows[row]
        move = self._decide(before, ask, NOW)
        if isinstance(move, Unmoved):
            return Answer(row, move.reason)
        after = self._evolve(before, move)
        self.moves.add((before.state, after.state))
        broken = ""
        if move.what == CONFLICT:
            broken = f"a proof came after the effect was {before.state}"
        elif move.version != before.version + 1 or after.version != move.version:
            broken = "a version is missing"
        elif after.fence < before.fence:
            broken = "the fence fell"
        return Answer(self._number(after), raised=after.fence > before.fence, broken=broken)

    def _number(self, effect: Effect) -> int:
        effect = essence(effect)
        number = self._numbers.get(effect)
        if number is None:
            number = self._numbers[effect] = len(self.rows)
            self.rows.append(effect)
        return number

    def _question(self, slot: int, words: str, fence: int) -> Ask:  # noqa: C901, PLR0911, PLR0912 a table of questions
        who = NAMES[slot] if slot >= 0 else "other"
        match words:
            case "claim":
                return Claim(who=who, terms=self.terms[slot], attempt=0, lease=0)
            case "begin":
                return Begin(who=who, terms=self.terms[slot], attempt=0, lease=0)
            case "send":
                return Send(who=who, fence=fence, lease=0)
            case "release":
                return Release(who=who, fence=fence)
            case "prove":
                return Prove(who=who, result=NOTHING, evidence=f"told under fence {fence}")  # read by a mutant alone
            case "refuse":
                return Refuse(who=who, fence=fence, error=NO, stored=self.stores_refusals)
            case "refuse, again":
                return Refuse(who=who, fence=fence, error=NO, again=True, stored=self.stores_refusals)
            case "unsend, again":
                return Unsend(who=who, fence=fence, again=True)
            case "unsend":
                return Unsend(who=who, fence=fence)
            case "doubt":
                return Doubt(who=who, fence=fence)
            case "doubt, gone":
                return Doubt(who=who, fence=fence, sender_gone="its function has ended")
            case "doubt, repeats":
                return Doubt(who=who, fence=fence, repeats=True)
            case "expire":
                return Expire(who=who)
            case "expire, gone":
                return Expire(who=who, version=fence, sender_gone="its process has ended")
            case "reconcile":
                return Reconcile(who=who, attempt=0, lease=0)
            case "reconcile, gone":
                return Reconcile(who=who, version=fence, attempt=0, lease=0, sender_gone="its process has ended")
            case "absent":
                return Absent(who=who, fence=fence)
            case "unasked":
                return Unasked(who=who, fence=fence)
            case "park":
                return Park(who=who, reason="as its course says")
            case "park as holder":
                return Park(who=who, reason="it cannot be called", fence=fence)
            case "cancel":
                return Cancel(who=who)
            case "close":
                return Close(who=who)
            case "succeeded":
                return Resolve(who=who, version=fence, verdict=SUCCEED, reason="seen", result=NOTHING)
            case "failed":
                return Resolve(who=who, version=fence, verdict=FAIL, reason="seen", error=NO)
            case _:
                return Resolve(who=who, version=fence, verdict=RETRY, reason="seen")


def essence(effect: Effect) -> Effect:
    """Keep of a row what the rules may read."""
    kept = replace(
        effect, version=0, fence=0, attempt=0, owner="", lease_until=0, request=None, result=None, error=None,
        reason="", first_sent_at=None, last_sent_at=None, asked_at=None, sender="", sender_gone="",
        resolved_by="somebody" if effect.resolved_by else "",
    )  # fmt: skip
    if effect.settled:
        return replace(kept, unclear=False, repeats=False, resolved_by="")
    if effect.terms.guard == PROVIDER_KEY:
        return replace(kept, first_sent_at=recent(effect.first_sent_at, effect.terms.window))
    if effect.terms.guard != LOOKUP:
        return kept
    asked = None
    if effect.state == RECONCILING:  # each question writes it anew; nothing reads an older one
        asked = NOW if effects.asked_after_horizon(effect) else NOW - 1_000 * TICK
    return replace(
        kept,
        sender=effect.sender,
        sender_gone="gone" if effect.sender_gone else "",
        last_sent_at=recent(effect.last_sent_at, effect.terms.lifetime),
        asked_at=asked,
    )


def recent(at: int | None, span: float | None) -> int | None:
    """Cut an instant off where it is older than `span` seconds."""
    return None if at is None else max(at, NOW - int((span or 0) * MICROS))
