"""A request as the ledger keeps it: what goes out, in bytes that say what they are.

Laws of this file:
- The same request gives the same bytes, whatever the order and case of its headers; the bytes give the request again.
- Credentials are never among them: whoever sends uses the credentials of that moment.
- Nor is what belongs to the moment: the connection, the client library's version and its counters.
"""

import json
from collections.abc import Iterable
from typing import Final

import msgspec

from holdfast.sdk.verdicts import NotSent

VERSION: Final = b"\x01"
CREDENTIALS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "x-amz-security-token"}
)
OF_THE_CONNECTION: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
)
OF_THE_MOMENT: Final = frozenset(
    {"user-agent", "accept-encoding", "traceparent", "tracestate", "baggage", "x-request-id"}
    | {"x-stripe-client-user-agent", "x-stripe-client-telemetry"}
)
PREFIXES_OF_THE_MOMENT: Final = ("x-stainless-",)

Header = tuple[str, str]


class Outgoing(msgspec.Struct, frozen=True):
    """What is sent. Header names in lower case, sorted; values of one name in their order; Latin-1, as on the wire."""

    method: str
    url: str
    headers: tuple[Header, ...]
    body: bytes

    def encode(self) -> bytes:
        """Give the version byte, one line of JSON, and the body as it is."""
        head = {"method": self.method, "url": self.url, "headers": self.headers}
        return VERSION + json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.body


class Head(msgspec.Struct, frozen=True):
    method: str
    url: str
    headers: tuple[Header, ...]


def decode(stored: bytes) -> Outgoing:
    """Read what `encode` wrote; what cannot be read is not sent."""
    if not stored.startswith(VERSION):
        raise NotSent(
            f"the ledger holds a request in a form (version byte {stored[:1].hex() or 'missing'}) that this version"
            " does not know: it was written by a newer one; deploy that again"
        )
    head, _, body = stored[1:].partition(b"\n")
    try:
        read = msgspec.json.decode(head, type=Head)
    except msgspec.MsgspecError as error:
        raise NotSent(f"the request in the ledger cannot be read: {error}") from error
    return Outgoing(read.method, read.url, read.headers, body)


def is_kept(name: str, credentials: frozenset[str]) -> bool:
    """Tell whether a header is part of what the ledger keeps."""
    lowered = name.lower()
    left_out = CREDENTIALS | OF_THE_CONNECTION | OF_THE_MOMENT
    return lowered not in left_out and lowered not in credentials and not lowered.startswith(PREFIXES_OF_THE_MOMENT)


def outgoing(
    method: str, url: str, headers: Iterable[Header], body: bytes, *, key: Header, credentials: frozenset[str]
) -> Outgoing:
    """Take a request as a client library made it, with our key in the place of any other."""
    name, value = key[0].lower(), key[1]
    lowered = [(found.lower(), said) for found, said in headers if is_kept(found, credentials)]
    kept = [header for header in lowered if header[0] != name]
    return Outgoing(method.upper(), url, tuple(sorted([*kept, (name, value)], key=lambda header: header[0])), body)


def headers_to_send(request: Outgoing, current: Iterable[Header], credentials: frozenset[str]) -> list[Header]:
    """Give all the headers that go out: those that are kept, and of this moment's what is never kept."""
    moment = [
        (name, value)
        for name, value in current
        if not is_kept(name, credentials) and name.lower() not in OF_THE_CONNECTION
    ]
    return [*request.headers, *moment, ("content-length", str(len(request.body)))]
