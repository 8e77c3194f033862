"""The real Stripe SDK through `holdfast.http`, against the payment provider of the examples and its faults.

What was really charged is told by the provider's book, never by its answers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
import stripe
from aiohttp import web

from examples.providers.book import charged_twice, read_book, read_entries
from examples.providers.payment import application
from holdfast.core.asks import AT_MOST_ONCE
from holdfast.core.effects import FAILED, IN_DOUBT, INFLIGHT, PLANNED, SUCCEEDED
from holdfast.http.stripe import HTTPClient
from holdfast.sdk.verdicts import NotSent, Unclear
from tests.integration.recorded import Attempt, Row
from tests.integration.scripted import nobody

SECRET = "sk_test_1"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.jsonl"


@pytest.fixture
async def url(book: Path) -> AsyncIterator[str]:
    """A real server on a real port, in this process."""
    runner = web.AppRunner(application(book), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[HTTPClient]:
    client = HTTPClient()
    yield client
    await client.close_async()
    client.close()


def sdk(http: HTTPClient, url: str, *, retries: int = 0, secret: str = SECRET) -> stripe.StripeClient:
    return stripe.StripeClient(secret, http_client=http, base_addresses={"api": url}, max_network_retries=retries)


def charging(client: stripe.StripeClient, amount: int = 18950, words: str = "glasses") -> Callable[[], Awaitable[str]]:
    async def charge() -> str:
        intent = await client.v1.payment_intents.create_async(
            {
                "amount": amount,
                "currency": "eur",
                "confirm": True,
                "description": words,
                "payment_method": "pm_card_visa",
                "metadata": {"order": "order-1"},
            }
        )
        return intent.id

    return charge


async def faults(url: str, **set_to: float) -> None:
    async with httpx2.AsyncClient() as client:
        (await client.post(f"{url}/faults", json=set_to)).raise_for_status()


async def test_the_sdk_charges_once_under_the_effects_key(url: str, book: Path, http: HTTPClient) -> None:
    row = Row()
    intent = await Attempt(row).run(charging(sdk(http, url)))

    (charge,) = read_book(book)
    assert intent == charge.id.replace("ch_", "pi_")
    assert (charge.key, charge.order, charge.amount) == ("key-of-the-effect", "order-1", 18950)
    assert row.story == [INFLIGHT, SUCCEEDED]
    assert f"id={intent}" in row.moves[-1].evidence
    assert "request-id=req_" in row.moves[-1].evidence
    assert row.effect.request is not None
    assert b"sk_test_1" not in row.effect.request


async def test_the_module_as_most_use_it_works_in_a_thread_too(
    url: str, book: Path, http: HTTPClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe, "api_key", "sk_test_1")
    monkeypatch.setattr(stripe, "api_base", url)
    monkeypatch.setattr(stripe, "default_http_client", http)

    def charge() -> str:
        intent = stripe.PaymentIntent.create(
            amount=18950, currency="eur", confirm=True, payment_method="pm_card_visa", metadata={"order": "order-1"}
        )
        assert stripe.PaymentIntent.retrieve(intent.id).status == "succeeded"
        (found,) = stripe.PaymentIntent.list().auto_paging_iter()
        assert found.metadata.to_dict() == {"order": "order-1"}
        return found.id

    row = Row()
    intent = await Attempt(row).run(lambda: asyncio.to_thread(charge))

    assert [charge.id.replace("ch_", "pi_") for charge in read_book(book)] == [intent]
    assert row.story == [INFLIGHT, SUCCEEDED]


@pytest.mark.parametrize(
    "fault",
    [
        "lose_answer_after_charge", "cut_answer_after_charge", "garble_answer_after_charge",
        "talk_nonsense_after_charge", "fail_before_charge",
    ],
)  # fmt: skip
async def test_whatever_the_answer_was_a_second_attempt_finds_out_and_charges_nothing_more(
    url: str, book: Path, http: HTTPClient, fault: str
) -> None:
    row = Row()
    await faults(url, **{fault: 1})
    await Attempt(row).run(charging(sdk(http, url), words="first words"))
    assert row.story == [INFLIGHT, IN_DOUBT]
    intent = await Attempt(row, who="worker-2").run(charging(sdk(http, url, secret="sk_new"), words="other words"))

    assert row.story == [INFLIGHT, IN_DOUBT, INFLIGHT, SUCCEEDED]
    assert [charge.id.replace("ch_", "pi_") for charge in read_book(book)] == [intent]


async def test_the_sdks_own_retry_is_the_same_request(url: str, book: Path, http: HTTPClient) -> None:
    row = Row()
    await faults(url, lose_answer_after_charge=1)
    intent = await Attempt(row).run(charging(sdk(http, url, retries=2)))

    assert row.story == [INFLIGHT, SUCCEEDED]
    assert [charge.id.replace("ch_", "pi_") for charge in read_book(book)] == [intent]


@pytest.mark.parametrize(("fault", "charges"), [("fail_after_charge", 1), ("fail_instead_of_charge", 0)])
async def test_a_stored_500_is_in_doubt_and_is_not_asked_again(
    url: str, book: Path, http: HTTPClient, fault: str, charges: int
) -> None:
    row = Row()
    await faults(url, **{fault: 1})
    error = await Attempt(row).run(charging(sdk(http, url)))

    assert isinstance(error, stripe.APIError)
    assert row.story == [INFLIGHT, IN_DOUBT]
    assert row.effect.repeats
    assert not row.effect.may_be_sent_again(row.now)
    assert len(read_book(book)) == charges


async def test_a_decline_fails_the_effect_and_is_the_same_under_the_key_afterwards(
    url: str, book: Path, http: HTTPClient
) -> None:
    row = Row()
    error = await Attempt(row).run(charging(sdk(http, url), amount=4213))

    assert isinstance(error, stripe.CardError)
    assert row.story == [INFLIGHT, FAILED]
    assert row.effect.error is not None
    assert "card_declined" in row.effect.error.message
    assert [entry.kind for entry in read_entries(book)] == ["decline"]


async def test_a_decline_settles_what_an_earlier_attempt_left_in_doubt(url: str, book: Path, http: HTTPClient) -> None:
    row = Row()
    await faults(url, fail_before_charge=1)
    await Attempt(row).run(charging(sdk(http, url), amount=4213))
    await Attempt(row).run(charging(sdk(http, url), amount=4213))

    assert row.story == [INFLIGHT, IN_DOUBT, INFLIGHT, FAILED]
    assert read_book(book) == []


async def test_a_rate_limit_and_missing_credentials_are_tried_again_as_if_nothing_was_sent(
    url: str, book: Path, http: HTTPClient
) -> None:
    row = Row()
    await faults(url, too_many_requests=1, retry_after=3)
    limited = Attempt(row)
    assert isinstance(await limited.run(charging(sdk(http, url))), stripe.RateLimitError)
    stranger = Attempt(row)
    assert isinstance(await stranger.run(charging(sdk(http, url, secret="revoked"))), stripe.AuthenticationError)
    await Attempt(row).run(charging(sdk(http, url)))

    assert isinstance(limited.verdict, NotSent)
    assert limited.verdict.not_before == 3.0
    assert row.story == [INFLIGHT, PLANNED, INFLIGHT, PLANNED, INFLIGHT, SUCCEEDED]
    assert len(read_book(book)) == 1


async def test_a_retry_while_the_first_request_is_worked_on_asks_again(url: str, book: Path, http: HTTPClient) -> None:
    row = Row()
    await faults(url, delay=2.0)
    impatient = HTTPClient(timeout=0.5)
    await Attempt(row).run(charging(sdk(impatient, url)))
    await impatient.close_async()
    second = Attempt(row)
    error = await second.run(charging(sdk(http, url)))

    assert isinstance(error, stripe.StripeError)
    assert isinstance(second.verdict, Unclear)
    assert (second.verdict.not_before, second.verdict.repeats) == (1.0, False)
    assert len(read_book(book)) == 1


async def test_a_key_that_somebody_used_with_other_bytes_is_for_a_person(
    url: str, book: Path, http: HTTPClient
) -> None:
    other = Row()
    await Attempt(other).run(charging(sdk(http, url), amount=100))
    row = Row()  # of the same key
    attempt = Attempt(row)
    error = await attempt.run(charging(sdk(http, url)))

    assert isinstance(error, stripe.IdempotencyError)
    assert row.story == [INFLIGHT, IN_DOUBT]
    assert row.effect.repeats
    assert "who else uses it" in str(attempt.verdict)
    assert [charge.amount for charge in read_book(book)] == [100]


async def test_without_a_provider_the_sdk_says_so_and_nothing_is_intended(http: HTTPClient) -> None:
    row = Row(guard=AT_MOST_ONCE)
    error = await Attempt(row).run(charging(sdk(http, nobody(), retries=1)))

    assert isinstance(error, stripe.APIConnectionError)
    assert "ConnectError" in str(error)
    assert row.story == []


async def test_a_key_that_the_provider_has_forgotten_charges_anew_which_is_why_there_is_a_window(
    url: str, book: Path, http: HTTPClient
) -> None:
    await faults(url, retention=0.0)
    for _ in range(2):
        await Attempt(Row()).run(charging(sdk(http, url)))

    assert list(charged_twice(read_book(book))) == ["order-1"]
