"""A server of raw sockets that does what a test says with each connection, and keeps what it read."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"id": "x1"}'


class Connection:
    """One connection, in the words of a script."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def read(self) -> bytes:
        """Read a whole request; at its first byte the server's `at_first_byte` is called."""
        head = await self.reader.readexactly(1)
        if self.server.at_first_byte is not None:
            self.server.at_first_byte()
        head += await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.partition(b":")[2]) for line in head.splitlines() if line.lower().startswith(b"content-length:")),
            0,
        )
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        """Cut the connection as a dying machine does."""
        self.writer.transport.abort()


Script = Callable[[Connection], Coroutine[Any, Any, None]]


class Server:
    """Plays one script for each connection; the last one again and again."""

    def __init__(self, scripts: list[Script]) -> None:
        self.scripts = scripts
        self.requests: list[bytes] = []
        self.connections = 0
        self.accepted = asyncio.Event()
        self.at_first_byte: Callable[[], None] | None = None
        self.url = ""
        self.playing: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.accepted.set()
        playing = asyncio.create_task(script(Connection(self, reader, writer)))
        self.playing.add(playing)
        try:
            await asyncio.wait([playing])
        finally:
            writer.close()

    @property
    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]

    def header(self, number: int, name: str) -> list[str]:
        """The values of a header of the request with that number."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        named = [line.partition(": ") for line in lines]
        return [value for found, _, value in named if found.lower() == name.lower()]


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[Server]:
    server = Server(list(scripts))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for playing in server.playing:
            playing.cancel()
        # The client hung up, which some tests are about, or the test is over.
        for end in await asyncio.gather(*server.playing, return_exceptions=True):
            assert end is None or isinstance(end, asyncio.CancelledError | EOFError | ConnectionError), end


def nobody() -> str:
    """Give the address of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


async def answers(connection: Connection) -> None:
    """A provider that works; keeps the connection for further requests."""
    while True:
        await connection.read()
        await connection.send(OK)


async def hangs_up_at_once(connection: Connection) -> None:
    connection.abort()


async def hangs_up_after_the_request(connection: Connection) -> None:
    await connection.read()
    connection.abort()


async def closes_after_the_request(connection: Connection) -> None:
    await connection.read()


async def hangs_up_in_the_head(connection: Connection) -> None:
    await connection.read()
    await connection.send(OK[:30])


async def hangs_up_in_the_body(connection: Connection) -> None:
    await connection.read()
    await connection.send(OK[:-5])


async def talks_nonsense(connection: Connection) -> None:
    await connection.read()
    await connection.send(b"\x00\xff\x13 220 smtp.example.com ESMTP\r\n\r\n")


async def answers_a_web_page(connection: Connection) -> None:
    await connection.read()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")


async def says_it_is_gzip(connection: Connection) -> None:
    await connection.read()
    await connection.send(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))


async def never_answers(connection: Connection) -> None:
    await connection.read()
    await connection.reader.read()  # until the client gives up


def saying(status: str, body: bytes = b"{}", *headers: str) -> Script:
    """Answer one request so, on each connection."""

    async def says(connection: Connection) -> None:
        await connection.read()
        told = (f"Content-Length: {len(body)}", "Content-Type: application/json", "Connection: close", *headers)
        await connection.send("\r\n".join([f"HTTP/1.1 {status}", *told]).encode() + b"\r\n\r\n" + body)

    return says
