"""The given/when/then of effects: given these asks, when this one, then the effect stands so."""

from typing import Any

from holdfast.core.asks import AT_MOST_ONCE, LOOKUP, PROVIDER_KEY, TRANSACTION, Ask, Begin, Claim, Move, Terms, Unmoved
from holdfast.core.effects import Effect, decide, evolve
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure

SECOND = 1_000_000
NOON = 1_700_000_000 * SECOND
LEASE = 15.0
WINDOW = 3600.0
LIFETIME = 60.0
ONCE = Terms(guard=AT_MOST_ONCE)
ASKED = Terms(guard=LOOKUP, lifetime=LIFETIME, lookup=True)
KEYED = Terms(guard=PROVIDER_KEY, window=WINDOW)
COMMITTED = Terms(guard=TRANSACTION)
RECEIPT = Payload(data=b'"ch_1"')
DECLINED = Failure("Refused", "card declined")


class Story:
    """An effect to which things happen, one after the other, at the seconds after noon that are told."""

    def __init__(self, terms: Terms) -> None:
        self.effect = Effect(
            effect_id="e-1", run_id="order-1042", incarnation=0, step_id="charge#1", shard=7, name="charge", key="k-1",
            request_hash=b"h", terms=terms, planned_at=NOON,
        )  # fmt: skip
        self.moves: list[Move] = []

    def given(self, *asks: Ask, at: float = 0) -> "Story":
        for ask in asks:
            self.when(ask, at=at)
        return self

    def when(self, ask: Ask, *, at: float = 0) -> "Story":
        """The ask is granted."""
        move = decide(self.effect, ask, NOON + int(at * SECOND))
        assert isinstance(move, Move), f"{ask} moved nothing: {move.reason}"
        self.effect = evolve(self.effect, move)
        self.moves.append(move)
        return self

    def then(self, state: str, **fields: Any) -> "Story":
        """The effect is in this state, with these fields."""
        assert self.effect.state == state
        assert {name: getattr(self.effect, name) for name in fields} == fields
        return self

    def refuses(self, ask: Ask, reason: str, *, at: float = 0) -> "Story":
        """The ask is not granted, for this reason, and nothing changes."""
        assert decide(self.effect, ask, NOON + int(at * SECOND)) == Unmoved(reason)
        return self

    @property
    def fence(self) -> int:
        return self.effect.fence

    def begin(self, who: str = "one", terms: Terms | None = None, request: bytes = b"POST") -> Begin:
        return Begin(who=who, terms=terms or self.effect.terms, attempt=1, lease=LEASE, request=request)

    def claim(self, who: str = "one", terms: Terms | None = None) -> Claim:
        return Claim(who=who, terms=terms or self.effect.terms, attempt=1, lease=LEASE)


def planned(terms: Terms = KEYED) -> Story:
    return Story(terms)


def sent(terms: Terms = KEYED) -> Story:
    """It was sent at noon, by worker one, under fence 1."""
    story = Story(terms)
    return story.when(story.begin())


def claimed(terms: Terms = KEYED) -> Story:
    """It was claimed at noon, by worker one, under fence 1."""
    story = Story(terms)
    return story.when(story.claim())
