"""Readiness and liveness over HTTP, for whoever supervises the process: `/readyz`, `/livez`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web


class AddressInUse(Exception):
    """Somebody else listens there: the operator's to choose another address."""


@asynccontextmanager
async def health(address: str | None, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer at `host:port` for as long as the block runs: 200, or 503 while not ready."""
    if address is None:
        yield
        return

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/livez", livez)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host or "127.0.0.1", int(port)).start()
    except OSError as error:
        await runner.cleanup()
        raise AddressInUse(
            f"{address} cannot be listened on ({error.strerror}): set HOLDFAST_HEALTH to another"
        ) from error
    try:
        yield
    finally:
        await runner.cleanup()
