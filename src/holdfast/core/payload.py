"""A value of the author on its way: the one place where encryption and claim check act.

Law: two inputs are the same when they mean the same, whatever white space or order of keys a producer chose.
"""

from hashlib import sha256

import msgspec

from holdfast.core.identity import digest

JSON = "application/json"
INLINE_LIMIT = 256 * 1024
"""Bytes; a larger payload is kept in the store under its hash, and referred to."""


class Payload(msgspec.Struct, frozen=True):
    """Bytes of the author's value with what is needed to read them; `blob` names bytes that are kept aside."""

    content_type: str = JSON
    encoding: str = ""
    data: bytes = b"null"
    blob: str | None = None
    meta: dict[str, str] = {}


NOTHING = Payload()


def same(one: Payload, other: Payload) -> bool:
    """Tell whether two payloads mean the same value."""
    if one.content_type != other.content_type or one.encoding != other.encoding or one.blob != other.blob:
        return False
    if one.data == other.data:
        return True
    return one.content_type == JSON and not one.encoding and _canonical(one.data) == _canonical(other.data)


def meaning(payload: Payload) -> bytes:
    """Give 16 bytes that two payloads share if they mean the same value."""
    is_json = payload.content_type == JSON and not payload.encoding
    data = _canonical(payload.data) if is_json else payload.data
    return digest(payload.content_type.encode(), payload.encoding.encode(), (payload.blob or "").encode(), data)


def _canonical(data: bytes) -> bytes:
    try:
        return msgspec.json.encode(msgspec.json.decode(data), order="sorted")
    except msgspec.DecodeError:
        return data


def name_of(data: bytes) -> str:
    """Name a blob by its content."""
    return sha256(data).hexdigest()


def claim_check(data: bytes, blobs: dict[str, bytes]) -> Payload:
    """Make a payload of `data`; a large one is put into `blobs` and referred to."""
    if len(data) <= INLINE_LIMIT:
        return Payload(data=data)
    name = name_of(data)
    blobs[name] = data
    return Payload(data=b"", blob=name)
