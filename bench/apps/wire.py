"""The cheapest honest way to ask an application in another process: one TCP connection, one line each way.

Used where an engine is a library and has no server of its own, and works in processes beside the load generator's (DBOS
on PostgreSQL, the raw cluster). A round trip costs some tens of microseconds, against the milliseconds of the workflows
it carries.
"""

import asyncio
from collections.abc import Awaitable, Callable

Handler = Callable[[int], Awaitable[int]]


async def serve(handler: Handler, port: int) -> None:
    """Answer `n` with `handler(n)`, as many at a time as are asked, until the process is ended."""
    running: set[asyncio.Task[None]] = set()

    async def answer(n: int, writer: asyncio.StreamWriter) -> None:
        try:
            said = str(await handler(n))
        except Exception as error:  # noqa: BLE001 - whatever the engine raises goes to the load generator, which stops
            said = f"!{type(error).__name__}: {error}".replace("\n", " ")
        writer.write(f"{n} {said}\n".encode())

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            task = asyncio.create_task(answer(int(line), writer))
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

    async def ask(self, n: int) -> int:
        """Run workflow `n` over there, and give its result."""
        if self._listening.done():
            raise ConnectionError("the application under load has closed its connection")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[n] = answer
        self._writer.write(b"%d\n" % n)
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
