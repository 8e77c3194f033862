"""How a request is carried out with either client library, awaited or blocking: the same steps, twice.

Laws of this file:
- A request that is safe, or not of an effect, passes as if we were not there.
- The client library gets the provider's answer and its own exceptions, untouched.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.http.crossing import SAFE, Crossing, OtherBytes
from holdfast.http.library import Library, Request, Response, address_of, headers_of, is_stream
from holdfast.sdk.sending import SENDING, intend, intend_from_thread


async def deliver(library: Library, send: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """Send `request` with the library's own transport."""
    sending = SENDING.get()
    if sending is None or request.method in SAFE:
        return await send(request)
    asked_for = request.extensions.get("trace")

    async def trace(event: str, info: dict[str, Any]) -> None:
        if asked_for is not None:
            await asked_for(event, info)
        to_intend = crossing.traced(event, info)
        if to_intend is not None:
            crossing.intended(await intend(sending, to_intend))

    body = await request.aread()
    with Crossing(sending, request.method, address_of(request), headers_of(request), body) as crossing:
        try:
            response = await send(library.cross(crossing, request, trace))
        except OtherBytes:
            response = await send(library.cross(crossing, request, trace))
        crossing.check()
        if is_stream(response):
            return library.same(response, library.async_pieces(response, crossing))
        try:
            raw = b"".join([piece async for piece in response.stream])
        finally:
            await response.stream.aclose()
        return library.whole(response, raw, crossing)


def deliver_blocking(library: Library, send: Callable[[Request], Response], request: Request) -> Response:
    """As `deliver`, in a thread."""
    sending = SENDING.get()
    if sending is None or request.method in SAFE:
        return send(request)
    asked_for = request.extensions.get("trace")

    def trace(event: str, info: dict[str, Any]) -> None:
        if asked_for is not None:
            asked_for(event, info)
        to_intend = crossing.traced(event, info)
        if to_intend is not None:
            crossing.intended(intend_from_thread(sending, to_intend))

    body = request.read()
    with Crossing(sending, request.method, address_of(request), headers_of(request), body) as crossing:
        try:
            response = send(library.cross(crossing, request, trace))
        except OtherBytes:
            response = send(library.cross(crossing, request, trace))
        crossing.check()
        if is_stream(response):
            return library.same(response, library.pieces(response, crossing))
        try:
            raw = b"".join(response.stream)
        finally:
            response.stream.close()
        return library.whole(response, raw, crossing)
