"""One rule of the ledger broken at a time, and the law that this breaks: proof that the model check can see.

Law of this file: a mutant changes what is decided, or one way of a worker or provider, and nothing else.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from holdfast.core.asks import (
    AT_MOST_ONCE,
    LOOKUP,
    PROVIDER_KEY,
    TRANSACTION,
    Absent,
    Ask,
    Begin,
    Claim,
    Expire,
    Move,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Resolve,
    Send,
    Terms,
    Unmoved,
    Unsend,
)
from holdfast.core.effects import IN_DOUBT, PLANNED, Effect, decide, evolve
from tests.simulation.ledger_rules import NOW, Decide, Evolve
from tests.simulation.ledger_world import (
    FORGETS_OWN_RETRY,
    HASTY_PERSON,
    KEY_PER_ATTEMPT,
    REFUSAL_NOT_IN_TARGET,
    SENDS_FIRST,
    SENDS_UNANSWERED,
    Setting,
)

DOUBLE: Final = "a double effect"
FAILED_WITH: Final = "a failure with an effect"
CANCELLED_WITH: Final = "a cancellation with an effect"


def both(terms: Terms) -> tuple[Terms, Terms]:
    return terms, terms


ONCE: Final = Setting(both(Terms(guard=AT_MOST_ONCE)), reach=1, lingering_verdicts=True)
ASKED: Final = Setting(both(Terms(guard=LOOKUP, lifetime=1)), reach=1)
KEYED: Final = Setting(both(Terms(guard=PROVIDER_KEY, window=1)), reach=2, retention=2)
STORING: Final = Setting(
    both(Terms(guard=PROVIDER_KEY, window=1)), reach=2, retention=2, stores_refusals=True, stores_errors=True
)
COMMITTED: Final = Setting(both(Terms(guard=TRANSACTION)), lingering_verdicts=True)
REDEPLOYED: Final = Setting((Terms(guard=TRANSACTION), Terms(guard=AT_MOST_ONCE)), reach=1)

MODELS: Final = {
    "at_most_once": ONCE,
    "lookup": ASKED,
    "lookup, a request lives two ticks": Setting(both(Terms(guard=LOOKUP, lifetime=2)), reach=2),
    "transaction": COMMITTED,
    "transaction, refusals in the target database": COMMITTED._replace(stores_refusals=True),
    "transaction, or at_most_once by newer code": REDEPLOYED,
    "at_most_once, or transaction by newer code": REDEPLOYED._replace(terms=(REDEPLOYED.terms[1], REDEPLOYED.terms[0])),
    "provider_key": KEYED._replace(lingering_verdicts=True),
    "provider_key, a window of two ticks": KEYED._replace(terms=both(Terms(guard=PROVIDER_KEY, window=2)), retention=3),
    "provider_key, refusals and 500s stored": STORING,
    "provider_key, refusals stored for ever": STORING._replace(terms=both(Terms(guard=PROVIDER_KEY)), retention=0),
    "provider_key with a lookup": KEYED._replace(terms=both(Terms(guard=PROVIDER_KEY, window=1, lookup=True))),
    "provider_key with a lookup, refusals and 500s stored": STORING._replace(
        terms=both(Terms(guard=PROVIDER_KEY, window=1, lookup=True))
    ),
}


class Mutant(NamedTuple):
    """A broken rule, where it is tried, and the law that it breaks; "": none."""

    setting: Setting
    law: str
    decide: Decide = decide
    evolve: Evolve = evolve


def ignores_the_window(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Begin):
        effect = replace(effect, terms=replace(effect.terms, window=None))
    return decide(effect, ask, now)


def ignores_the_horizon(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    return decide(replace(effect, asked_at=NOW * 2) if isinstance(ask, (Absent, Send)) else effect, ask, now)


def takes_the_sender_for_dead(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    return decide(replace(effect, sender_gone="surely") if isinstance(ask, (Absent, Send)) else effect, ask, now)


def sends_again_without_a_key(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Begin) and effect.state == IN_DOUBT:
        return replace(decide_as(Terms(guard=PROVIDER_KEY), effect, ask, now), terms=None)
    return decide(effect, ask, now)


def decide_as(terms: Terms, effect: Effect, ask: Begin, now: int) -> Move:
    move = decide(replace(effect, terms=terms), replace(ask, terms=terms), now)
    assert isinstance(move, Move)
    return move


def hears_an_old_refusal(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Refuse) and not effect.settled:
        effect, ask = replace(effect, state="INFLIGHT", unclear=False), replace(ask, fence=effect.fence)
    return decide(effect, ask, now)


def forgets_at(*kinds: type[Ask]) -> Decide:
    """Decide such an ask as if no earlier attempt were unclear."""

    def forgets(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
        if not isinstance(ask, kinds):
            return decide(effect, ask, now)
        return decide(replace(effect, unclear=False), ask, now)

    return forgets


def forgets_the_overtaken(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    move = decide(effect, ask, now)
    if isinstance(ask, Claim) and isinstance(move, Move) and effect.state != IN_DOUBT:
        return replace(move, unclear=None)
    return move


def lets_the_guard_change(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Claim) and effect.state == IN_DOUBT and effect.terms.guard == TRANSACTION:
        effect = replace(effect, state=PLANNED)
    return decide(effect, ask, now)


def believes_old_evidence(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, (Expire, Reconcile)):
        ask = replace(ask, version=effect.version)
    return decide(effect, ask, now)


def hears_a_verdict_again(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Resolve):
        ask = replace(ask, version=effect.version)
    return decide(effect, ask, now)


def counts_from_the_intent(effect: Effect, move: Move) -> Effect:
    after = evolve(effect, move)
    if move.sent or move.forgets_sending:
        return after
    return replace(after, last_sent_at=effect.last_sent_at)


def keeps_the_fence(effect: Effect, move: Move) -> Effect:
    return replace(evolve(effect, move), fence=effect.fence)


def trusts_refusals_after_a_retry(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    return decide(replace(effect, resolved_by="") if isinstance(ask, Refuse) else effect, ask, now)


def wants_the_fence_of_a_proof(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    if isinstance(ask, Prove) and ask.evidence != f"told under fence {effect.fence}":
        return Unmoved("fence")
    return decide(effect, ask, now)


def with_way(setting: Setting, way: str) -> Setting:
    return setting._replace(ways=frozenset({way}))


MUTANTS: Final = {
    # Those of the architecture.
    "a key per attempt": Mutant(with_way(KEYED, KEY_PER_ATTEMPT), DOUBLE),
    "an ignored window": Mutant(KEYED, DOUBLE, ignores_the_window),
    "a provider that prunes early": Mutant(KEYED._replace(retention=1), DOUBLE),
    "lookup without a horizon": Mutant(ASKED, DOUBLE, ignores_the_horizon),
    "lookup without knowing the sender dead": Mutant(ASKED, DOUBLE, takes_the_sender_for_dead),
    "retrying at_most_once": Mutant(ONCE, DOUBLE, sends_again_without_a_key),
    "sending before the intent commits": Mutant(with_way(ONCE, SENDS_FIRST), DOUBLE),
    "a stale refusal under lookup": Mutant(ASKED, FAILED_WITH, hears_an_old_refusal),
    "a NotSent that forgets an earlier attempt": Mutant(KEYED, CANCELLED_WITH, forgets_at(Unsend)),
    "a refusal that forgets an earlier attempt": Mutant(KEYED, FAILED_WITH, forgets_at(Refuse)),
    # Those that the check itself has found in earlier rules.
    "sending though the commit was not answered": Mutant(with_way(ONCE, SENDS_UNANSWERED), DOUBLE),
    "a client library's own retry, forgotten": Mutant(with_way(KEYED, FORGETS_OWN_RETRY), FAILED_WITH),
    "a change of hands that keeps the fence": Mutant(ASKED, FAILED_WITH, evolve=keeps_the_fence),
    "a horizon counted from the intent": Mutant(ASKED, DOUBLE, evolve=counts_from_the_intent),
    "evidence about an earlier sender": Mutant(ASKED, DOUBLE, believes_old_evidence),
    "a verdict that arrives twice": Mutant(ONCE, DOUBLE, hears_a_verdict_again),
    "a repeated refusal trusted after a person's retry": Mutant(STORING, FAILED_WITH, trusts_refusals_after_a_retry),
    "an overtaken transaction, forgotten": Mutant(COMMITTED, CANCELLED_WITH, forgets_the_overtaken),
    "a claim given back that forgets an earlier one": Mutant(COMMITTED, CANCELLED_WITH, forgets_at(Release)),
    "a transaction's refusal that forgets an earlier attempt": Mutant(COMMITTED, FAILED_WITH, forgets_at(Refuse)),
    "a refusal that is not in the target database": Mutant(
        with_way(MODELS["transaction, refusals in the target database"], REFUSAL_NOT_IN_TARGET), FAILED_WITH
    ),
    "a transaction in doubt claimed under another guard": Mutant(REDEPLOYED, DOUBLE, lets_the_guard_change),
    # Those that break an assumption instead of a rule.
    "a sender paused past the provider's retention": Mutant(KEYED._replace(reach=3), DOUBLE),
    "a person who decides while a request is on its way": Mutant(with_way(ONCE, HASTY_PERSON), FAILED_WITH),
}

PROOF_UNDER_THE_FENCE: Final = Mutant(ONCE, "", wants_the_fence_of_a_proof)
"""It breaks no law, and leaves a person to find out what a worker knew."""
