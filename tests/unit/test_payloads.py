"""Payloads: what two of them mean, and where a large one is kept."""

import pytest

from holdfast.core.payload import INLINE_LIMIT, Payload, claim_check, name_of, same


@pytest.mark.parametrize(
    ("one_", "other", "alike"),
    [
        (b'{"a":1,"b":2}', b'{ "b": 2, "a": 1 }', True),
        (b"[1, 2]", b"[2, 1]", False),
        (b"1", b"1.0", False),
        (b"no json", b"no json", True),
        (b"no json", b"1", False),
    ],
)
def test_payloads_are_the_same_when_they_mean_the_same(one_: bytes, other: bytes, alike: bool) -> None:
    assert same(Payload(data=one_), Payload(data=other)) is alike


def test_bytes_of_other_types_are_compared_as_they_are() -> None:
    one_, other = (Payload(content_type="text/plain", data=data) for data in (b"[1,2]", b"[1, 2]"))
    assert not same(one_, other)
    assert not same(Payload(data=b"1"), Payload(data=b"1", encoding="gzip"))
    assert not same(Payload(data=b"", blob="a"), Payload(data=b"", blob="b"))


def test_a_large_value_is_kept_aside_under_its_hash() -> None:
    blobs: dict[str, bytes] = {}
    assert claim_check(b"x" * INLINE_LIMIT, blobs) == Payload(data=b"x" * INLINE_LIMIT)
    assert blobs == {}
    large = b"x" * (INLINE_LIMIT + 1)
    assert claim_check(large, blobs) == Payload(data=b"", blob=name_of(large))
    assert blobs == {name_of(large): large}
