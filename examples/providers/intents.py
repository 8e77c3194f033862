"""Payment intents as Stripe's own SDKs ask for them: form-encoded, confirmed at once, found again by their metadata.

Laws of this file:
- What is not understood changes nothing and is not an error, as long as amount, currency and order are there.
- An intent and its charge are one entry of the book; their ids share their ending.
"""

from typing import Annotated
from urllib.parse import parse_qsl

import msgspec

from examples.providers.book import Entry

DECLINED_METHOD = "pm_card_chargeDeclined"


class IntentRequest(msgspec.Struct, frozen=True):
    """What POST /v1/payment_intents needs of its form; `metadata[order]` is the caller's own reference."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=99_999_999)]
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{3}$")]
    order: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    confirm: bool
    payment_method: str = ""


def read_form(content: bytes) -> list[tuple[str, str]]:
    """Read a form; raises ValueError for what is none."""
    return parse_qsl(content.decode(), keep_blank_values=True, strict_parsing=True, encoding="utf-8", errors="strict")


def read_intent(content: bytes) -> IntentRequest:
    """Read the form of a new intent; raises ValueError if it cannot be charged."""
    form = dict(read_form(content))
    named = {name: form[name] for name in ("amount", "currency", "confirm", "payment_method") if name in form}
    wanted = msgspec.convert(named | {"order": form.get("metadata[order]", "")}, IntentRequest, strict=False)
    if not wanted.confirm:
        message = "this provider only takes intents that are confirmed at once: send confirm=true"
        raise ValueError(message)
    return wanted


def intent_view(entry: Entry) -> dict[str, object]:
    """Give a charge as the intent that it belongs to."""
    return {
        "id": entry.id.replace("ch_", "pi_"),
        "object": "payment_intent",
        "amount": entry.amount,
        "amount_received": entry.amount,
        "currency": entry.currency,
        "created": int(entry.at),
        "latest_charge": entry.id,
        "livemode": False,
        "metadata": {"order": entry.order},
        "status": "succeeded",
    }
