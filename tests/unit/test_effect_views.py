"""What the story of an effect tells, from its row and its moves alone."""

from hashlib import sha256

from holdfast.core.asks import AT_MOST_ONCE, PROVIDER_KEY, Ask, Begin, Cancel, Doubt, Move, Prove, Terms
from holdfast.core.effects import Effect, decide, evolve
from holdfast.core.payload import Payload
from holdfast.effect_views import conflicts, described, gone, moves_of, since
from holdfast.ports.ledger import Story

AT = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
KEYED = Terms(guard=PROVIDER_KEY, window=3600.0)
SECOND = 1_000_000


def story(*asks: Ask) -> Story:
    effect = Effect(
        effect_id="ab" * 16,
        run_id="order-1",
        incarnation=0,
        step_id="charge#1",
        shard=7,
        name="charge",
        key="ab" * 16,
        request_hash=b"\x01\x02",
        terms=Terms(guard=AT_MOST_ONCE),
        planned_at=AT,
    )
    moves: list[Move] = []
    for second, ask in enumerate(asks, 1):
        move = decide(effect, ask, AT + second * SECOND)
        assert isinstance(move, Move), move
        effect = evolve(effect, move)
        moves.append(move)
    return Story(effect, tuple(moves))


def begin(request: bytes | None) -> Begin:
    return Begin(who="p1", terms=KEYED, attempt=1, lease=15.0, request=request)


def doubt(fence: int, gone: str = "") -> Doubt:
    return Doubt(who="p1", fence=fence, reason="no answer", sender_gone=gone)


def test_a_planned_effect_has_a_story_of_one_line() -> None:
    planned = story()

    (line,) = moves_of(planned)
    assert (line["at"], line["what"], line["who"]) == ("2026-11-23T12:00:00+00:00", "plan", "the run")
    assert (line["from"], line["to"], line["request_hash"]) == (None, "PLANNED", "0102")
    assert since(planned) == AT
    assert described(planned)["window_until"] is None


def test_bytes_that_are_sent_are_named_by_their_hash_each_time_they_are_sent() -> None:
    told = moves_of(story(begin(b"POST"), doubt(1), begin(None), doubt(3)))

    assert [one["request_hash"] for one in told[1:]] == [digest(b"POST"), None, digest(b"POST"), None]


def test_where_the_bytes_are_not_known_the_arguments_are_named() -> None:
    assert moves_of(story(begin(None)))[1]["request_hash"] == "0102"


def test_what_is_known_of_a_senders_end_is_evidence() -> None:
    told = story(begin(None), doubt(1, "its function has returned"))

    assert moves_of(told)[-1]["evidence"] == "its function has returned"
    assert gone(story(begin(None)), {}) == {"p1": ""}
    assert gone(told, {"p1": ""}) == {"p1": "its function has returned"}
    assert gone(told, {"p1": "it said goodbye", "p2": "too"}) == {"p1": "it said goodbye"}


def test_a_view_has_the_window_and_the_result() -> None:
    view = described(story(begin(None), Prove(who="p1", result=Payload(data=b'{"receipt":1}'), evidence="200")))

    assert (view["state"], view["result"], view["owner"]) == ("SUCCEEDED", {"receipt": 1}, "p1")
    assert view["window_until"] == "2026-11-23T13:00:01+00:00"
    assert view["since"] == "2026-11-23T12:00:02+00:00"


def test_a_proof_against_a_closed_effect_is_counted() -> None:
    told = story(Cancel(who="p1"), Prove(who="p1", result=Payload()))

    assert (conflicts(told), conflicts(story())) == (1, 0)
    assert [(one["from"], one["to"]) for one in moves_of(told)[1:]] == [
        ("PLANNED", "CANCELLED"),
        ("CANCELLED", "CANCELLED"),
    ]


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()
