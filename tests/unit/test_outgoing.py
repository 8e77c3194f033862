"""A request in the ledger's bytes: canonical, self-describing, and without credentials."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.http.crossing import Crossing
from holdfast.http.outgoing import CREDENTIALS, Outgoing, decode, headers_to_send, outgoing
from holdfast.sdk.verdicts import NotSent

KEY = ("Idempotency-Key", "k1")
NAMES = st.text(st.sampled_from("abcXYZ-"), min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
URL = "https://api.example.com/v1/charges?expand[]=a%20b"


def made(headers: list[tuple[str, str]], body: bytes = b"{}") -> Outgoing:
    return outgoing("post", URL, headers, body, key=KEY, credentials=frozenset())


@given(HEADERS, st.binary(max_size=200))
def test_what_is_stored_gives_the_request_again_byte_for_byte(headers: list[tuple[str, str]], body: bytes) -> None:
    request = made(headers, body)
    stored = request.encode()

    assert stored[:1] == b"\x01"
    assert decode(stored) == request
    assert decode(stored).encode() == stored


@given(HEADERS, st.randoms())
def test_the_order_and_the_case_of_header_names_do_not_count(
    headers: list[tuple[str, str]], chance: random.Random
) -> None:
    once = list({name.lower(): (name, value) for name, value in headers}.values())
    other = [(name.swapcase(), value) for name, value in once]
    chance.shuffle(other)

    assert made(once).encode() == made(other).encode()


@given(HEADERS, st.binary(max_size=20), st.binary(max_size=20))
def test_other_bytes_are_another_request(headers: list[tuple[str, str]], one: bytes, other: bytes) -> None:
    assert (made(headers, one).encode() == made(headers, other).encode()) == (one == other)


@given(HEADERS)
def test_our_key_takes_the_place_of_any_other(headers: list[tuple[str, str]]) -> None:
    request = made([*headers, ("idempotency-KEY", "made up"), ("Idempotency-Key", "once more")])
    assert [value for name, value in request.headers if name == "idempotency-key"] == ["k1"]


@pytest.mark.parametrize("name", [*CREDENTIALS, "Authorization", "X-Own-Secret"])
def test_a_credential_is_never_stored_and_the_current_one_is_sent(name: str) -> None:
    own = frozenset({"x-own-secret"})
    first = outgoing("POST", URL, [(name, "sk_old"), ("Accept", "*/*")], b"", key=KEY, credentials=own)
    sent = headers_to_send(decode(first.encode()), [(name, "sk_new"), ("Accept", "text/html")], own)

    assert b"sk_old" not in first.encode()
    assert (name, "sk_new") in sent
    assert ("accept", "*/*") in sent, "what is no credential is sent as it was first"
    assert ("Accept", "text/html") not in sent


def test_the_length_is_that_of_the_stored_body_whatever_the_client_says() -> None:
    sent = headers_to_send(made([], b"12345"), [("Content-Length", "7"), ("Transfer-Encoding", "chunked")], frozenset())
    assert [header for header in sent if header[0].lower() in {"content-length", "transfer-encoding"}] == [
        ("content-length", "5")
    ]


@pytest.mark.parametrize("stored", [b"", b"\x02{}\n", b"\x01", b"\x01{}\nbody", b"\x01[1]\n", b"{}", b"\x01\xff\n"])
def test_bytes_of_another_form_are_not_sent(stored: bytes) -> None:
    with pytest.raises(NotSent):
        decode(stored)


def test_http2_is_refused_before_its_first_byte() -> None:
    crossing = object.__new__(Crossing)
    with pytest.raises(RuntimeError, match="HTTP/2"):
        crossing.traced("http2.send_request_headers.started", {"request": type("Sent", (), {"method": b"POST"})})
