"""What supervises a process asks over HTTP: `/readyz`, `/livez`, and `/metrics` for Prometheus."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from holdfast.extras import needed_by
from holdfast.profiles.metrics import CONTENT_TYPE, Metric, exposition


class AddressInUse(Exception):
    """Somebody else listens there: the operator's to choose another address."""


@asynccontextmanager
async def health(
    address: str | None, ready: Callable[[], bool], metrics: Callable[[], Iterable[Metric]]
) -> AsyncIterator[None]:
    """Answer at `host:port` for as long as the block runs: 200, or 503 while not ready."""
    if address is None:
        yield
        return
    with needed_by("HOLDFAST_HEALTH", "cluster"):
        from aiohttp import web

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def scraped(_: web.Request) -> web.Response:
        return web.Response(body=exposition(metrics()).encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", scraped)
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
