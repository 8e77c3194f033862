"""Who gets which shard."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.kafka.assignor import Claim, ShardAssignor, decode, encode, share_out

SHARDS = st.sampled_from([1, 3, 16, 64])
CHANGES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=12)


class Cluster:
    """What an assignor asks of the cluster's metadata."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._partitions[topic])) if topic in self._partitions else None


def told(shared: Mapping[str, list[int]], number: int) -> dict[str, Claim]:
    return {member: Claim(number, frozenset(shards)) for member, shards in shared.items()}


@given(SHARDS, CHANGES)
def test_members_who_come_and_go_move_as_few_shards_as_balance_allows(shards: int, changes: list[str]) -> None:
    claims: dict[str, Claim] = {}
    for number, member in enumerate(changes, 1):
        if member in claims:
            del claims[member]
        else:
            claims[member] = Claim()
        if not claims:
            continue
        held = {name: claim.shards for name, claim in claims.items()}
        shared = share_out(shards, claims)

        assert sorted(shard for mine in shared.values() for shard in mine) == list(range(shards))
        sizes = [len(mine) for mine in shared.values()]
        assert max(sizes) - min(sizes) <= 1
        moved = sum(len(set(mine) - held[name]) for name, mine in shared.items())
        assert moved == fewest_moves(shards, held)
        claims = told(shared, number)


def fewest_moves(shards: int, held: Mapping[str, frozenset[int]]) -> int:
    """Reckon it another way: try every choice of who has the odd ones, by the number that each gains."""
    fewest, more = divmod(shards, len(held))
    gains = sorted((min(len(mine), fewest + 1) - min(len(mine), fewest) for mine in held.values()), reverse=True)
    return shards - sum(min(len(mine), fewest) for mine in held.values()) - sum(gains[:more])


@given(SHARDS, st.dictionaries(st.text("abc", min_size=1), st.sets(st.integers(0, 80)), min_size=1, max_size=5))
def test_whatever_is_claimed_every_shard_has_one_owner_and_all_compute_the_same(
    shards: int, wild: dict[str, set[int]]
) -> None:
    claims = {name: Claim(1, frozenset(mine)) for name, mine in wild.items()}
    shared = share_out(shards, claims)
    assert sorted(shard for mine in shared.values() for shard in mine) == list(range(shards))
    assert shared == share_out(shards, dict(reversed(claims.items())))


def test_of_two_claims_on_a_shard_the_later_round_wins() -> None:
    zombie, owner = Claim(3, frozenset({0, 1})), Claim(4, frozenset({0, 1}))
    assert share_out(2, {"a": zombie, "b": owner}) == {"a": [1], "b": [0]}
    assert share_out(4, {"a": zombie, "b": owner})["b"] == [0, 1]


@given(st.integers(0, 2**32 - 1), st.frozensets(st.integers(0, 1000)))
def test_a_claim_comes_out_as_it_went_in(number: int, shards: frozenset[int]) -> None:
    assert decode(encode(Claim(number, shards))) == Claim(number, shards)


def test_what_another_assignor_wrote_is_no_claim() -> None:
    for data in (None, b"", b"\x01", b"\x09something else"):
        assert decode(data) == Claim()


@given(st.integers(1, 5), st.integers(1, 5))
def test_all_topics_of_a_shard_go_to_one_member_in_round_after_round(before: int, afterwards: int) -> None:
    topics = {"shop.commands.v1": 16, "shop.results.v1": 16}
    members = {f"m{number}": ShardAssignor() for number in range(max(before, afterwards))}
    for count in (before, afterwards):
        given_out = one_round(topics, {name: members[name] for name in list(members)[:count]})
        for mine in given_out.values():
            by_topic = [sorted(mine.get(topic, [])) for topic in topics]
            assert by_topic[0] == by_topic[1]
        assert sorted(shard for mine in given_out.values() for shard in mine.get("shop.commands.v1", [])) == list(
            range(16)
        )


def test_while_a_topic_is_being_made_anew_nobody_gets_anything() -> None:
    given_out = one_round(
        {"shop.commands.v1": 16}, {"a": ShardAssignor()}, asked=["shop.commands.v1", "shop.results.v1"]
    )
    assert given_out == {"a": {}}


def one_round(
    topics: Mapping[str, int], members: Mapping[str, ShardAssignor], asked: list[str] | None = None
) -> dict[str, dict[str, list[int]]]:
    """Let members join, their leader assign, and each hear of it, through the bytes that Kafka carries."""
    joined: dict[str, Any] = {}
    for name, member in members.items():
        metadata = member.metadata(asked or list(topics))
        joined[name] = type(metadata).decode(metadata.encode())
    leader = next(iter(members.values()))
    given_out: dict[str, dict[str, list[int]]] = {}
    for name, assignment in leader.assign(Cluster(topics), joined).items():
        heard = type(assignment).decode(assignment.encode())
        members[name].on_assignment(heard)
        given_out[name] = {topic: list(partitions) for topic, partitions in heard.assignment}
    return given_out
