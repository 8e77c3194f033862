"""Who a message is about, from birth.

Laws of this file:
- An identity is a function of the run and its history: no wall clock and no random number in it.
- The shard of a run is computed from its id, never taken from the partition a record happened to arrive on.
"""

from functools import lru_cache
from hashlib import blake2b
from struct import iter_unpack
from typing import NewType

RunId = NewType("RunId", str)
StepId = NewType("StepId", str)
Shard = NewType("Shard", int)

RUN_ID_LIMIT = 255

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_WORD = 4


class InvalidRunId(ValueError):
    """A run id that is refused at the door: the caller's fault, said in one sentence."""


def run_id(text: object) -> RunId:
    """Check `text` at the door.

    A run id is 1 to 255 printable ASCII characters without `/`, since `/` joins the parts of an event's id.

    Raises:
        InvalidRunId: it is something else.
    """
    if not isinstance(text, str):
        msg = f"a run id is a text, not {type(text).__name__}"
        raise InvalidRunId(msg)
    if not 1 <= len(text) <= RUN_ID_LIMIT:
        msg = f"a run id has 1 to {RUN_ID_LIMIT} characters, this one has {len(text)}"
        raise InvalidRunId(msg)
    if not (text.isascii() and text.isprintable()) or "/" in text:
        msg = f"a run id is printable ASCII without '/': {text!r}"
        raise InvalidRunId(msg)
    return RunId(text)


def murmur2(key: bytes) -> int:
    """Hash `key` as Kafka's Java client does (`org.apache.kafka.common.utils.Utils.murmur2`), made positive."""
    length = len(key)
    h = (_SEED ^ length) & _MASK
    end = length - length % _WORD
    for (word,) in iter_unpack("<I", key[:end]):
        k = word * _MULTIPLIER & _MASK
        k ^= k >> 24
        h = h * _MULTIPLIER & _MASK ^ k * _MULTIPLIER & _MASK
    if end < length:
        h ^= int.from_bytes(key[end:], "little")
        h = h * _MULTIPLIER & _MASK
    h ^= h >> 13
    h = h * _MULTIPLIER & _MASK
    h ^= h >> 15
    return h & 0x7FFFFFFF


@lru_cache(maxsize=131_072)
def shard_of(run: str, shards: int) -> Shard:
    """Tell the shard of a run: murmur2 of the UTF-8 run id, modulo the number of shards."""
    return Shard(murmur2(run.encode()) % shards)


def event_id(run: str, incarnation: int, seq: int) -> str:
    """Name an event for ever: the `ce_id` of its record."""
    return f"{run}/{incarnation}/{seq}"


def digest(*fields: bytes) -> bytes:
    """Hash length-prefixed fields (16 bytes), so that no two lists of fields share their bytes."""
    prefixed = b"".join([len(field).to_bytes(8, "big") + field for field in fields])
    return blake2b(prefixed, digest_size=16).digest()


def effect_id(namespace: str, run: str, incarnation: int, step: str) -> str:
    """Name an effect by its place in its run, never by its attempt: 32 hexadecimal digits."""
    return digest(namespace.encode(), run.encode(), incarnation.to_bytes(4, "big"), step.encode()).hex()
