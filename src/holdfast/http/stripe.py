"""The HTTP client for Stripe's own SDK: `stripe.default_http_client = HTTPClient()`, and effects may use the SDK.

Laws of this file:
- The SDK's parameters, errors and retries stay its own: its retries are the same request under the same key.
- What failed before the first byte, for a reason of ours, is told to the author as it is; the network's failures are
  told in the SDK's words.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from holdfast.extras import needed_by

with needed_by("holdfast.http.stripe", "stripe"):
    import httpx2
    import stripe

    from holdfast.http.httpx2 import async_client, client

Told = tuple[bytes, int, Mapping[str, str]]


class HTTPClient(stripe.HTTPClient):
    """An HTTP client for the SDK, awaited and blocking, over the transports of `holdfast.http`."""

    name = "holdfast"

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._client = client(**settings)
        self._async_client = async_client(**settings)

    def request(  # type: ignore[override]  # the SDK takes bytes too, and its own httpx client gives them
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_ignored: Any
    ) -> Told:
        try:
            response = self._client.request(method, url, headers=headers, content=post_data)
        except httpx2.RequestError as error:
            raise in_its_words(error) from error
        return response.content, response.status_code, response.headers

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None, **_ignored: Any
    ) -> Told:
        try:
            response = await self._async_client.request(method, url, headers=headers, content=post_data)
        except httpx2.RequestError as error:
            raise in_its_words(error) from error
        return response.content, response.status_code, response.headers

    def close(self) -> None:
        self._client.close()

    async def close_async(self) -> None:
        await self._async_client.aclose()

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)


def in_its_words(error: httpx2.RequestError) -> stripe.APIConnectionError:
    words = f"{type(error).__name__}: {error}"
    return stripe.APIConnectionError(words, should_retry=True)  # type: ignore[no-untyped-call]  # the SDK's gap
