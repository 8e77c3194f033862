"""A Holdfast application: three steps in sequence, one step, one effect, in any of the engine's processes.

Run as `python -m bench.apps.holdfast_app ROLE PORT`, with ROLE one of orchestrator, worker, run, and the HOLDFAST_*
settings in the environment; it reports readiness on PORT.
"""

import asyncio
import signal
import sys

import msgspec
import uvloop

from holdfast import GIVEN, effect, hours, step, workflow
from holdfast.profiles.services import serve
from holdfast.settings import load


@step
async def add_one(value: int) -> int:
    """Do nothing that takes time."""
    return value + 1


@workflow
async def three_steps(value: int) -> int:
    """Run three steps in sequence, each recorded before the next."""
    value = await add_one(value)
    value = await add_one(value)
    return await add_one(value)


@workflow
async def one_step(value: int) -> int:
    """Run one step: what one effect is measured against."""
    return await add_one(value)


@effect(guard="provider_key", window=hours(24))
async def add_one_outside(value: int, *, key: str = GIVEN) -> int:
    """Do nothing that takes time: the ledger's own cost."""
    return value + 1 if key else value


@workflow
async def one_effect(value: int) -> int:
    """Run one effect: intent and proof are committed around its function."""
    return await add_one_outside(value)


async def main(role: str, port: int) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = msgspec.structs.replace(load(), health=f"127.0.0.1:{port}")
    await serve(settings, orchestrator=role != "worker", worker=role != "orchestrator", stop=stop)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
