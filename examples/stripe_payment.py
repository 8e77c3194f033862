"""A card charged with Stripe's own SDK, once, wherever you kill it.

    holdfast dev examples/stripe_payment.py
    holdfast start stripe_payment --id order-1 --wait --input '{"order": "order-1", "amount": 8900, "currency": "eur"}'

The SDK sends through `holdfast.http`: the intent is in the ledger at the first byte, every attempt sends the same bytes
under the same key, and what Stripe answers is judged by what Stripe documents. An answer that Stripe has stored as a
500 tells nothing when it is asked for again, so the charge is looked up by the order's number; what nobody can tell
waits for a person (`holdfast effects`, `holdfast resolve`).

STRIPE_API_KEY is the secret key; STRIPE_API_BASE names another server than Stripe's (`examples/providers/payment.py`).
"""

import os
import time

import msgspec
import stripe

from holdfast import Retry, days, effect, workflow
from holdfast.http.stripe import HTTPClient

stripe.api_key = os.environ.get("STRIPE_API_KEY")
stripe.api_base = os.environ.get("STRIPE_API_BASE", stripe.DEFAULT_API_BASE)
stripe.default_http_client = HTTPClient(timeout=float(os.environ.get("STRIPE_TIMEOUT", "80")))


class Payment(msgspec.Struct, frozen=True):
    order: str
    amount: int
    currency: str


class Receipt(msgspec.Struct, frozen=True):
    intent: str
    amount: int


@effect(guard="provider_key", http="stripe", retry=Retry(attempts=0, maximum=10.0))
async def charge(payment: Payment) -> Receipt:
    intent = await stripe.PaymentIntent.create_async(
        amount=payment.amount,
        currency=payment.currency,
        confirm=True,
        payment_method="pm_card_visa",
        metadata={"order": payment.order},
    )
    return Receipt(intent.id, intent.amount)


@charge.lookup
async def charged(payment: Payment) -> Receipt | None:
    """Look through the intents themselves: Stripe's search may be an hour behind."""
    intents = await stripe.PaymentIntent.list_async(created={"gte": int(time.time() - days(2))}, limit=100)
    async for intent in intents.auto_paging_iter():
        if intent.metadata.to_dict().get("order") == payment.order and intent.status == "succeeded":
            return Receipt(intent.id, intent.amount)
    return None


@workflow
async def stripe_payment(payment: Payment) -> Receipt:
    return await charge(payment)
