"""The cheapest honest way to ask an application in another process: one TCP connection, one line each way.

Used where an engine is a library and has no server of its own (DBOS, the raw limits). A round trip costs some tens of
microseconds, against the milliseconds of the workflows it carries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

Handler = Callable[[int], Awaitable[int]]


async def serve(handlers: Handler | Mapping[str, Handler], port: int) -> None:
    """Answer `n` with `handler(n)`, as many at a time as are asked, until the process is ended.

    With several handlers, each has the name that the caller asks for.
    """
    named = handlers if isinstance(handlers, Mapping) else {"": handlers}
    running: set[asyncio.Task[None]] = set()

    async def answer(n: int, name: str, writer: asyncio.StreamWriter) -> None:
        try:
            said = str(await named[name](n))
        except Exception as error:  # noqa: BLE001 - whatever the engine raises goes to the load generator, which stops
            said = f"!{type(error).__name__}: {error}".replace("\n", " ")
        writer.write(f"{n} {said}\n".encode())

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            n, _, name = line.decode().strip().partition(" ")
            task = asyncio.create_task(answer(int(n), name, writer))
            running.add(task)
            task.add_done_callback(running.discard)

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await server.serve_forever()


class Caller:
    """The asking side: many questions may be under way at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, port: int) -> "Caller":
        """Connect to an application that listens already."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def busy(self) -> int:
        """How many answers are still awaited."""
        return len(self._waiting)

    async def ask(self, n: int, name: str = "") -> int:
        """Run workflow `n` over there, by the handler of that name, and give its result."""
        if self._listening.done():
            raise ConnectionError("the application under load has closed its connection")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[n] = answer
        self._writer.write(f"{n} {name}\n".encode())
        return await answer

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            n, _, said = line.decode().strip().partition(" ")
            answer = self._waiting.pop(int(n))
            if answer.done():
                continue
            if said.startswith("!"):
                answer.set_exception(RuntimeError(said[1:]))
            else:
                answer.set_result(int(said))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the application under load has closed its connection"))

    async def close(self) -> None:
        """Hang up."""
        self._listening.cancel()
        self._writer.close()
