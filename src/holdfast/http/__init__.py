"""The transport for effects: the intent is committed at the first byte, the same bytes go out in every attempt.

    client = holdfast.http.async_client()          # httpx2, the client that `openai` uses

    @effect(guard="provider_key", http="stripe")
    async def charge(order: Order, *, key: str = GIVEN) -> str: ...    # send with `client`

`holdfast.http.httpx` has the same for httpx, `holdfast.http.stripe` the client for Stripe's own SDK.

Laws of this package:
- Whatever fails before the first byte is an ordinary failure; from it on the effect is unclear until an answer says
  otherwise, and what the answer says is for the provider's profile to tell, not for the client library.
- Outside an effect that was declared with `http=`, and for requests that change nothing, it is the library's client.
- Each client library is loaded by whoever asks for it; none is needed for the others, or for the providers' profiles.
"""

from typing import TYPE_CHECKING, Any

from holdfast.http.crossing import SecondRequest
from holdfast.sdk.providers import ADYEN, IETF_DRAFT, PAYPAL, STRIPE, Answer, Profile
from holdfast.sdk.verdicts import NotSent, Refused, Unclear

if TYPE_CHECKING:
    from holdfast.http.httpx2 import AsyncTransport, Transport, async_client, client
else:

    def __getattr__(name: str) -> Any:
        if name not in {"AsyncTransport", "Transport", "async_client", "client"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from holdfast.http import httpx2

        return getattr(httpx2, name)


__all__ = [
    "ADYEN",
    "IETF_DRAFT",
    "PAYPAL",
    "STRIPE",
    "Answer",
    "AsyncTransport",
    "NotSent",
    "Profile",
    "Refused",
    "SecondRequest",
    "Transport",
    "Unclear",
    "async_client",
    "client",
]
