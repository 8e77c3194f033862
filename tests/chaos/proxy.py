"""A link between a service and a server, through which everything passes, and what may happen to it.

Laws of this file:
- On a quiet link bytes come out as they went in, and an end of either direction is passed on.
- A connection that a fault has touched may end; one made after the fault is whole.
- What was delayed is delivered, also when its sender has died meanwhile.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from typing import Self

HOST = "127.0.0.1"
PIECE = 65_536
NOTHING_LINGERS = struct.pack("ii", 1, 0)


class Way:
    """One direction of a connection."""

    def __init__(self, link: "Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.swallows = False
        self._link = link
        self._reader = reader
        self._writer = writer

    async def carry(self) -> None:
        """Pass on what comes, to its end."""
        while data := await self._reader.read(PIECE):
            if delay := self._link.delay:
                await asyncio.sleep(delay)
            if not self.swallows:
                self._writer.write(data)
                await self._writer.drain()
        self.end()

    def end(self) -> None:
        """Tell the receiver that nothing more comes this way; the other way stays open."""
        self.swallows = True
        with contextlib.suppress(OSError):
            if not self._writer.is_closing():
                self._writer.write_eof()

    def close(self) -> None:
        """End it, once what was written is on its way."""
        self._writer.close()

    def abort(self) -> None:
        """Reset the connection: what was under way is gone."""
        with contextlib.suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOTHING_LINGERS)
        self._writer.transport.abort()


class Link:
    """Listens on `port` and connects everyone to the server on `target`."""

    def __init__(self, name: str, target: int, port: int) -> None:
        self.name = name
        self.port = port
        self.delay = 0.0
        self._target = target
        self._ways: set[tuple[Way, Way]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        return len(self._ways)

    def cut(self) -> None:
        """End every connection at once, both ways."""
        for pair in self._ways:
            self._abort(pair)

    def half_close(self, chance: random.Random) -> None:
        """End one direction of every connection, drawn by lot; the other one goes on."""
        for pair in self._ways:
            chance.choice(pair).end()

    def mute(self, chance: random.Random) -> None:
        """Lose from now on all that goes one way on the connections there are; nobody is told."""
        for pair in self._ways:
            chance.choice(pair).swallows = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0)  # a transport that was aborted closes its socket in the loop's next round

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        except (OSError, asyncio.CancelledError):  # the server is away: so is the one who stands for it
            writer.transport.abort()
            return
        pair = Way(self, reader, far_writer), Way(self, far_reader, writer)
        self._ways.add(pair)
        try:
            await asyncio.gather(*(way.carry() for way in pair))
            for way in pair:
                way.close()
        except OSError:
            self._abort(pair)
        except asyncio.CancelledError:
            self._abort(pair)
            raise
        finally:
            self._ways.discard(pair)

    def _abort(self, pair: tuple[Way, Way]) -> None:
        for way in pair:
            way.abort()


@contextlib.asynccontextmanager
async def links(named: dict[str, tuple[int, int]]) -> AsyncIterator[dict[str, Link]]:
    """Open links by name, each with the port of the server and its own."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(Link(name, target, port)) for name, (target, port) in named.items()
        }
