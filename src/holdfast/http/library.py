"""The two client libraries, httpx2 and httpx: the same classes under the same names, of which they share none."""

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from holdfast.http.crossing import Crossing
from holdfast.http.outgoing import Header

Request = Any
Response = Any
STREAMS = ("text/event-stream", "application/x-ndjson", "application/jsonl")
OF_THE_TRANSPORT = (
    *("verify", "cert", "trust_env", "http1", "http2", "limits", "proxy"),
    *("uds", "local_address", "retries", "socket_options"),
)


class AsyncPieces:
    """An answer that goes on to its reader piece by piece; its end, or its breaking off, is told."""

    def __init__(self, response: Response, crossing: Crossing) -> None:
        self.stream = response.stream
        self.status = response.status_code
        self.crossing = crossing
        self.length = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self.crossing.reading():
            async for piece in self.stream:
                self.length += len(piece)
                yield piece
        self.crossing.streamed(self.status, self.length)

    async def aclose(self) -> None:
        await self.stream.aclose()
        self.crossing.streamed(self.status, self.length)


class Pieces:
    """As `AsyncPieces`, blocking."""

    def __init__(self, response: Response, crossing: Crossing) -> None:
        self.stream = response.stream
        self.status = response.status_code
        self.crossing = crossing
        self.length = 0

    def __iter__(self) -> Iterator[bytes]:
        with self.crossing.reading():
            for piece in self.stream:
                self.length += len(piece)
                yield piece
        self.crossing.streamed(self.status, self.length)

    def close(self) -> None:
        self.stream.close()
        self.crossing.streamed(self.status, self.length)


class Library:
    """What is made of a library's classes."""

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module
        self.async_pieces: Any = type("AsyncPieces", (AsyncPieces, self.module.AsyncByteStream), {})
        self.pieces: Any = type("Pieces", (Pieces, self.module.SyncByteStream), {})

    def cross(self, crossing: Crossing, request: Request, trace: Any) -> Request:
        """Give the request that goes out in the place of the one that the client library made."""
        return self.module.Request(
            crossing.request.method,
            crossing.request.url,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in crossing.headers],
            stream=self.module.ByteStream(crossing.request.body),
            extensions={**request.extensions, "trace": trace},
        )

    def whole(self, response: Response, raw: bytes, crossing: Crossing) -> Response:
        """Judge an answer that was read to its end; gives it to be read by the client library, as it came."""
        try:
            # A throw-away, which undoes gzip and its like as the client library will.
            read = self.module.Response(response.status_code, headers=response.headers, content=raw).content
        except self.module.DecodingError as error:
            crossing.unreadable(response.status_code, error)
        else:
            crossing.answered(response.status_code, response.headers, read)
        return self.same(response, self.module.ByteStream(raw))

    def same(self, response: Response, stream: Any) -> Response:
        """Give the same answer, to be read from `stream`."""
        return self.module.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )


def address_of(request: Request) -> str:
    """Give the URL without credentials in front of the host."""
    url = request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}"


def headers_of(request: Request) -> list[Header]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


def is_stream(response: Response) -> bool:
    """Tell whether the answer is a success that its reader wants piece by piece."""
    return bool(response.is_success) and response.headers.get("content-type", "").startswith(STREAMS)


def of_transport(settings: dict[str, Any]) -> dict[str, Any]:
    """Take out what a client would leave unheard once it is given a transport."""
    return {name: settings.pop(name) for name in OF_THE_TRANSPORT if name in settings}
