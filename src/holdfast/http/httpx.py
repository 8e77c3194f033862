"""The same transports for httpx, where it is installed."""

from typing import Any

from holdfast.extras import needed_by
from holdfast.http.deliver import deliver, deliver_blocking
from holdfast.http.library import Library, of_transport

with needed_by("holdfast.http.httpx", "httpx"):
    import httpx

__all__ = ["AsyncTransport", "Transport", "async_client", "client"]

LIBRARY = Library(httpx)
PATIENCE = httpx.Timeout(60.0, connect=10.0)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """The library's own transport, with the ledger before the first byte of an effect."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await deliver(LIBRARY, super().handle_async_request, request)
        return response


class Transport(httpx.HTTPTransport):
    """As `AsyncTransport`, for effects that are a plain `def`."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = deliver_blocking(LIBRARY, super().handle_request, request)
        return response


def async_client(**settings: Any) -> httpx.AsyncClient:
    """Give an `httpx.AsyncClient` that sends effects, made with its own settings.

    It waits longer than usual, for an answer that is not waited for leaves an effect in doubt. A proxy has to be named
    (`proxy=`): the environment's are not looked at.
    """
    transport = AsyncTransport(**of_transport(settings))
    return httpx.AsyncClient(**{"transport": transport, "timeout": PATIENCE, **settings})


def client(**settings: Any) -> httpx.Client:
    """As `async_client`, for effects that are a plain `def`."""
    transport = Transport(**of_transport(settings))
    return httpx.Client(**{"transport": transport, "timeout": PATIENCE, **settings})
