"""How every provider of the examples is started, says where it listens, and ends.

Laws of this file:
- The first line on stdout is `listening on http://127.0.0.1:PORT`, written once connections are accepted.
- Only 127.0.0.1 is bound: these servers have no real authentication.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from aiohttp import web

HOST = "127.0.0.1"


def options(name: str, purpose: str) -> argparse.ArgumentParser:
    """Give the command line that all providers share."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=purpose)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every request takes at least")
    return parser


def serve(build: Callable[[], web.Application], port: int) -> None:
    """Serve until SIGTERM or SIGINT; a port or file that cannot be had ends the process with one line."""
    try:
        asyncio.run(_serve(build, port))
    except OSError as error:
        sys.exit(f"cannot serve on {HOST}:{port}: {error}")


async def _serve(build: Callable[[], web.Application], port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(build(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        bound = runner.addresses[0][1]
        sys.stdout.write(f"listening on http://{HOST}:{bound}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()
