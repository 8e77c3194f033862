"""Who gets which shard: Kafka's group protocol with an assignor over shards.

Laws of this file:
- Co-located: partition p of every topic goes to one member, so that a shard has all its topics in one place.
- Balanced: the members' numbers of shards differ by one at most.
- Sticky: no assignment that is balanced moves fewer shards.
- Deterministic: the same members with the same claims get the same shards, whoever computes it.
- A claim counts by the round in which it was given; of two claims on a shard the later round wins.
"""

import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

_VERSION = 1
_HEAD = struct.Struct(">BI")


class Claim(msgspec.Struct, frozen=True):
    """What a member was given in a round; round 0 is before the first."""

    round: int = 0
    shards: frozenset[int] = frozenset()


def share_out(shards: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Give the shards 0 to `shards` - 1 to the members who claim them, as far as balance allows."""
    if not claims:
        return {}
    held = _undisputed(shards, claims)
    fewest, more = divmod(shards, len(claims))
    # Those who hold most keep the odd one: what moves is what is over a quota, so that the fewest move.
    by_load = sorted(held, key=lambda member: (-len(held[member]), member))
    quota = {member: fewest + (place < more) for place, member in enumerate(by_load)}
    shared = {member: held[member][: quota[member]] for member in sorted(held)}
    kept = {shard for mine in shared.values() for shard in mine}
    homeless = [shard for shard in range(shards) if shard not in kept]
    for member, mine in shared.items():
        wanted = quota[member] - len(mine)
        mine.extend(homeless[:wanted])
        del homeless[:wanted]
        mine.sort()
    return shared


def _undisputed(shards: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Settle who holds what: the later round, then the smaller name."""
    held: dict[str, list[int]] = {member: [] for member in claims}
    taken: set[int] = set()
    for member in sorted(claims, key=lambda name: (-claims[name].round, name)):
        mine = [shard for shard in sorted(claims[member].shards) if shard < shards and shard not in taken]
        held[member] = mine
        taken.update(mine)
    return held


def encode(claim: Claim) -> bytes:
    """Write a claim as user data: version, round, one bit a shard."""
    bits = sum(1 << shard for shard in claim.shards)
    return _HEAD.pack(_VERSION, claim.round) + bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def decode(data: bytes | None) -> Claim:
    """Read a claim; what another version wrote is no claim."""
    if not data or len(data) < _HEAD.size or data[0] != _VERSION:
        return Claim()
    _version, number = _HEAD.unpack_from(data)
    bits = int.from_bytes(data[_HEAD.size :], "little")
    return Claim(number, frozenset(shard for shard in range(bits.bit_length()) if bits >> shard & 1))


class ShardAssignor:
    """What aiokafka asks of an assignor (name, metadata, assign, on_assignment), with the memory of one member."""

    name = "holdfast-shards"

    def __init__(self) -> None:
        self._claim = Claim()

    def metadata(self, topics: Iterable[str]) -> Any:
        """Say what this member reads and what it holds, on joining."""
        return ConsumerProtocolMemberMetadata(0, sorted(topics), encode(self._claim))

    def on_assignment(self, assignment: Any) -> None:
        """Remember what was given."""
        given = decode(assignment.user_data)
        self._claim = Claim(given.round, frozenset(tp.partition for tp in assignment.partitions()))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the assignment, as the group's leader."""
        claims = {member: decode(metadata.user_data) for member, metadata in members.items()}
        topics = {topic for metadata in members.values() for topic in metadata.subscription}
        shared = share_out(_shards(cluster, topics), claims)
        # The user data of an assignment carries the round alone: who got what stands in the assignment itself.
        said = encode(Claim(max((claim.round for claim in claims.values()), default=0) + 1))
        return {
            member: ConsumerProtocolMemberAssignment(
                0, [(topic, shared[member]) for topic in sorted(metadata.subscription) if shared[member]], said
            )
            for member, metadata in members.items()
        }


def _shards(cluster: Any, topics: Collection[str]) -> int:
    """Count the shards that have all their topics; a topic that is being made anew gives nobody anything."""
    return min((len(cluster.partitions_for_topic(topic) or ()) for topic in topics), default=0)
