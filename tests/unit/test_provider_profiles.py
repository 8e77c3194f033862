"""What a provider's answer means, as its documentation says; and that no answer, however odd, is more than unclear."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sdk.providers import ADYEN, IETF_DRAFT, PAYPAL, PROFILES, STRIPE, Answer, Profile, profile_of
from holdfast.sdk.verdicts import NotSent, Refused, Unclear, Verdict

ACME = Profile(name="acme", header="Acme-Key", retention=86_400.0, stored_errors=frozenset({500}))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["error", "type", "details"]), inner),
    max_leaves=8,
)


def judged(profile: Profile, status: int, body: Any = None, **headers: str) -> Verdict:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return profile.classify(status, named, json.dumps({} if body is None else body).encode())


def stripe_error(kind: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": "as the provider puts it"}}


def test_a_success_of_every_profile_is_a_success() -> None:
    for profile in (*PROFILES.values(), ACME):
        assert judged(profile, 200, {"id": "x"}) is None
        assert judged(profile, 201, {"id": "x"}) is None
        assert profile.classify(204, {}, b"") is None


@pytest.mark.parametrize("profile", [STRIPE, ADYEN, PAYPAL])
@pytest.mark.parametrize(
    "body", [b"", b"<html>back soon</html>", b"[]", b'"ok"', b'{"id": "pi_', b"\xff\xfe", b"\x1f\x8b"]
)
def test_a_success_that_is_garbage_proves_nothing(profile: Profile, body: bytes) -> None:
    verdict = profile.classify(200, {}, body)

    assert isinstance(verdict, Unclear)
    assert not verdict.repeats


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "stored"),
    [
        (402, stripe_error("card_error", "card_declined"), {}, Refused, True),
        (400, stripe_error("invalid_request_error"), {}, Refused, False),
        (400, stripe_error("invalid_request_error"), {"idempotent_replayed": "true"}, Refused, True),
        (404, stripe_error("invalid_request_error"), {}, Refused, False),
    ],
)
def test_stripe_keeps_a_decline_under_the_key_and_a_failed_validation_not(
    status: int, body: Any, headers: dict[str, str], kind: type[Refused], stored: bool
) -> None:
    verdict = judged(STRIPE, status, body, **headers)

    assert isinstance(verdict, kind)
    assert verdict.stored == stored
    assert "as the provider puts it" in str(verdict)


@pytest.mark.parametrize(
    ("headers", "repeats"),
    [({}, False), ({"stripe_should_retry": "true"}, False), ({"stripe_should_retry": "false"}, True),
     ({"idempotent_replayed": "true"}, True)],
)  # fmt: skip
def test_a_500_of_stripe_is_unclear_and_final_once_stripe_says_so(headers: dict[str, str], repeats: bool) -> None:
    verdict = judged(STRIPE, 500, stripe_error("api_error"), **headers)

    assert isinstance(verdict, Unclear)
    assert verdict.repeats == repeats


@pytest.mark.parametrize("status", [502, 503, 504, 424, 408, 302, 307, 499, 599])
def test_what_is_not_documented_is_unclear_and_may_be_asked_again(status: int) -> None:
    for profile in (STRIPE, PAYPAL, IETF_DRAFT, ACME):
        verdict = judged(profile, status)
        assert isinstance(verdict, Unclear), profile.name
        assert not verdict.repeats, profile.name


def test_stripes_rate_limiter_and_its_check_of_the_key_come_before_anything_is_done() -> None:
    limited = judged(STRIPE, 429, stripe_error("invalid_request_error", "rate_limit"), retry_after="7")
    locked = judged(STRIPE, 429, stripe_error("invalid_request_error", "lock_timeout"), retry_after="7")
    stranger = judged(STRIPE, 401)

    assert isinstance(limited, NotSent)
    assert limited.not_before == 7.0
    assert isinstance(locked, Unclear)
    assert isinstance(stranger, NotSent)


def test_a_rate_limit_that_nobody_documents_is_unclear() -> None:
    for profile in (ADYEN, IETF_DRAFT, ACME):
        assert isinstance(judged(profile, 429), Unclear), profile.name


def test_a_request_in_flight_is_asked_about_again_when_the_provider_says() -> None:
    soon = judged(STRIPE, 409, stripe_error("idempotency_error", "idempotency_key_in_use"))
    later = judged(STRIPE, 409, stripe_error("idempotency_error", "idempotency_key_in_use"), retry_after="30")
    busy = judged(PAYPAL, 422, {"name": "X", "details": [{"issue": "PREVIOUS_REQUEST_IN_PROGRESS"}]})

    for verdict, wait in ((soon, 1.0), (later, 30.0), (busy, 1.0), (judged(IETF_DRAFT, 409), 1.0)):
        assert isinstance(verdict, Unclear)
        assert (verdict.not_before, verdict.repeats) == (wait, False)


@pytest.mark.parametrize(
    ("profile", "status", "body"),
    [
        (STRIPE, 400, stripe_error("idempotency_error")),
        (PAYPAL, 422, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "PAYPAL_REQUEST_ID_PREVIOUSLY_USED"}]}),
        (PAYPAL, 400, {"name": "DUPLICATE_REQUEST_ID"}),
        (IETF_DRAFT, 422, {"title": "Idempotency-Key is already used"}),
    ],
)
def test_a_key_that_the_provider_knows_with_other_bytes_is_for_a_person(
    profile: Profile, status: int, body: Any
) -> None:
    verdict = judged(profile, status, body)

    assert isinstance(verdict, Unclear)
    assert verdict.repeats
    assert "knows this key with another request" in str(verdict)


def test_a_422_of_the_draft_that_is_not_about_the_key_is_a_refusal() -> None:
    assert isinstance(judged(IETF_DRAFT, 422, {"title": "amount must be positive"}), Refused)


def test_adyen_says_by_a_header_whether_the_same_key_may_be_sent_again() -> None:
    in_progress = {"errorCode": "704", "message": "request already processed or in progress"}
    again = judged(ADYEN, 422, in_progress, transient_error="true")
    final = judged(ADYEN, 422, in_progress)
    busy = judged(ADYEN, 503, {}, transient_error="true")
    broken = judged(ADYEN, 500, {})

    assert [verdict.repeats for verdict in (again, final, busy, broken) if isinstance(verdict, Unclear)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert isinstance(again, Unclear)
    assert again.not_before == 1.0


def test_a_bank_that_refuses_is_a_200_of_adyen() -> None:
    verdict = judged(ADYEN, 200, {"resultCode": "Refused", "refusalReason": "Not enough balance"})

    assert isinstance(verdict, Refused)
    assert verdict.stored
    assert "Not enough balance" in str(verdict)
    assert judged(ADYEN, 200, {"resultCode": "Authorised", "pspReference": "8"}) is None


def test_an_authors_own_profile_says_what_is_stored() -> None:
    verdict = judged(ACME, 500)

    assert isinstance(verdict, Unclear)
    assert verdict.repeats
    assert ACME.classify(200, {}, b"ok") is None, "only a profile that says json=True wants JSON"


@pytest.mark.parametrize(
    ("said", "date", "wait"),
    [
        ("12", "", 12.0),
        ("0.5", "", 0.5),
        ("-3", "", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "", None),
        ("soon", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("inf", "", None),
        ("nan", "", None),
        ("1e999", "", None),
        ("", "", None),
    ],
)
def test_how_long_to_wait_is_read_without_a_clock(said: str, date: str, wait: float | None) -> None:
    headers = {"Retry-After": said} | ({"Date": date} if date else {})
    assert Answer(503, headers, b"").retry_after == wait


@given(
    st.sampled_from([*PROFILES.values(), ACME]),
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["Retry-After", "Date", "Transient-Error", "Idempotent-Replayed", "Stripe-Should-Retry"]),
        st.text(max_size=20),
    ),
    st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_answer_is_too_odd_to_be_judged(profile: Profile, status: int, headers: dict[str, str], body: bytes) -> None:
    verdict = profile.classify(status, headers, body)

    assert verdict is None or isinstance(verdict, Refused | NotSent | Unclear)
    if verdict is None:
        assert 200 <= status < 300
    elif not 200 <= status < 300:
        assert str(status) in str(verdict)
    assert str(status) in Answer(status, headers, body).evidence


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=300))
def test_a_key_fits_its_provider_and_is_always_the_same(key: str) -> None:
    for profile in PROFILES.values():
        value = profile.header_value(key)
        assert value == profile.header_value(key)
        assert len(profile.key_of(key)) <= profile.longest_key
        if len(key) <= profile.longest_key and not profile.quoted:
            assert value == key


def test_the_draft_wants_its_key_as_a_quoted_string() -> None:
    assert IETF_DRAFT.header_value('a"b\\c') == '"a\\"b\\\\c"'


@pytest.mark.parametrize("key", ["line\nbreak", "schlüssel", "\x7f"])
def test_a_key_that_cannot_be_a_header_is_an_error_before_anything_is_sent(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a header"):
        STRIPE.header_value(key)


def test_a_profile_goes_by_its_name_and_an_unknown_name_lists_the_known_ones() -> None:
    assert profile_of("stripe") is STRIPE
    assert profile_of(ACME) is ACME
    with pytest.raises(TypeError, match="stripe, adyen, paypal, ietf_draft"):
        profile_of("strip")
