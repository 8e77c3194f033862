"""What the ledger's suite writes and asks: effects of small runs, said briefly."""

import random
from collections.abc import Sequence

import msgspec

from holdfast.core.asks import (
    AT_MOST_ONCE,
    FAIL,
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
    Park,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Renew,
    Resolve,
    Send,
    Terms,
    Unasked,
    Unsend,
)
from holdfast.core.effects import Effect
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure
from holdfast.ports.ledger import Answer, Ledger, Story
from holdfast.testing.conformance.rows import SECOND, Writer

LEASE = 60.0
OVER = 0.0
"""A lease that is over with the instant at which it was given."""

ONCE = Terms(guard=AT_MOST_ONCE)
KEYED = Terms(guard=PROVIDER_KEY, window=3600.0)
RECEIPT = Payload(data=b'{"receipt": "\xc3\xbc"}')
NO = Failure("Refused", "card \x00 declined", kinds=("Refused", "Exception"))


def effect(effect_id: str, run_id: str = "r", shard: int = 0, *, terms: Terms = KEYED, name: str = "charge") -> Effect:
    """Give a planned effect."""
    return Effect(
        effect_id=effect_id, run_id=run_id, incarnation=0, step_id=f"{name}#{effect_id}", shard=shard, name=name,
        key=f"key-{effect_id}", request_hash=b"\x00hash\xff", terms=terms, planned_at=SECOND,
    )  # fmt: skip


def begin(lease: float = LEASE, *, who: str = "worker", terms: Terms = KEYED) -> Begin:
    """Ask to send."""
    return Begin(who=who, terms=terms, attempt=1, lease=lease, request=b"\x00bytes\xff")


async def plan(writer: Writer, *rows: Effect) -> None:
    """Commit plans, each with its shard."""
    batch = {shard: writer.batch(shard) for shard in sorted({row.shard for row in rows})}
    for row in rows:
        batch[row.shard].planned.append(row)
    await writer.commit(batch)


class Told(msgspec.Struct, frozen=True):
    """An answer about an effect that there is."""

    effect: Effect
    now: int
    unmoved: str


async def one(ledger: Ledger, effect_id: str, ask: Ask) -> Told:
    """Ask about one effect."""
    (answer,) = await ledger.ask([(effect_id, ask)])
    assert isinstance(answer, Answer)
    assert answer.effect is not None
    return Told(answer.effect, answer.now, answer.unmoved)


async def told_of(ledger: Ledger, effect_id: str) -> Story:
    """Give the story of an effect that there is."""
    story = await ledger.story(effect_id)
    assert story is not None
    return story


def ids(rows: Sequence[Effect]) -> list[str]:
    """Name them."""
    return [row.effect_id for row in rows]


def without_renewals(row: Effect) -> Effect:
    """Leave out what a renewal changes, since the story does not tell it."""
    return msgspec.structs.replace(row, lease_until=0, owner="")


def any_ask(chance: random.Random, row: Effect) -> Ask:
    """Ask anything, mostly as the present holder."""
    who, lease = chance.choice(["one", "two"]), chance.choice([OVER, LEASE])
    fence = row.fence + chance.choice([0, 0, 0, -1])
    sender_gone = chance.choice(["", "it said so"])
    terms = msgspec.structs.replace(row.terms, window=chance.choice([None, 0.0, 3600.0]))
    verdict = chance.choice([SUCCEED, FAIL, RETRY])
    asks: list[Ask] = [
        Claim(who=who, terms=terms, attempt=row.attempt + 1, lease=lease),
        Begin(who=who, terms=terms, attempt=row.attempt + 1, lease=lease, request=chance.choice([None, b"\x00"])),
        Send(who=who, fence=fence, lease=lease, request=b"\x00"),
        Renew(who=who, fence=fence, lease=lease),
        Release(who=who, fence=fence, reason="not now"),
        Unsend(who=who, fence=fence),
        Doubt(who=who, fence=fence, reason="a 500", sender_gone=sender_gone, repeats=lease == OVER),
        Doubt(who=who, fence=fence, reason="no answer"),
        Expire(who=who, sender_gone=sender_gone, version=row.version),
        Reconcile(who=who, attempt=row.attempt + 1, lease=lease, sender_gone=sender_gone, version=row.version),
        Absent(who=who, fence=fence),
        Unasked(who=who, fence=fence),
        Park(who=who, reason="a person is to look", fence=chance.choice([None, fence])),
        Resolve(who="ann", version=row.version, verdict=verdict, reason="the bank says so", result=RECEIPT, error=NO),
    ]
    settling: list[Ask] = [
        Prove(who=who, result=RECEIPT, evidence="ch_1"),
        Refuse(who=who, fence=fence, error=NO, stored=fence == 1),
        Cancel(who=who),
        Close(who=who, reason="no more attempts"),
    ]
    return chance.choice([*asks, chance.choice(settling)])
