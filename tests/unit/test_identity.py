"""Who a message is about: ids, hashes and shards, the same in every language and every process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.identity import InvalidRunId, digest, effect_id, event_id, murmur2, run_id, shard_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_kafkas_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0x7FFFFFFF


@given(st.text(), st.integers(1, 1000))
def test_a_shard_is_one_of_the_shards_and_always_the_same(text: str, shards: int) -> None:
    assert 0 <= shard_of(text, shards) < shards
    assert shard_of(text, shards) == murmur2(text.encode()) % shards


@pytest.mark.parametrize("text", ["x", "order-1042", "A b~!#%", "x" * 255])
def test_a_run_id_is_printable_ascii(text: str) -> None:
    assert run_id(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 to 255"),
        ("x" * 256, "256"),
        ("a/b", "'/'"),
        ("Brücke", "ASCII"),
        ("a\nb", "printable"),
        ("a\0b", "printable"),
        (None, "NoneType"),
        (7, "int"),
        (b"x", "bytes"),
    ],
)
def test_anything_else_is_refused_at_the_door(text: object, said: str) -> None:
    with pytest.raises(InvalidRunId, match=said):
        run_id(text)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_no_two_lists_of_fields_share_a_digest(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_an_effect_is_named_by_its_place_in_its_run() -> None:
    places = [
        ("a", "r", 0, "s#1"),
        ("b", "r", 0, "s#1"),
        ("a", "q", 0, "s#1"),
        ("a", "r", 1, "s#1"),
        ("a", "r", 0, "s#2"),
    ]
    names = [effect_id(*place) for place in places]
    assert len(set(names)) == len(names)
    assert all(len(name) == 32 for name in names)
    assert effect_id("a", "r", 0, "s#1") == "88fd95a79339184674cd5ca9e73b3725"


def test_an_event_is_named_for_ever() -> None:
    assert event_id("order-1", 0, 7) == "order-1/0/7"
