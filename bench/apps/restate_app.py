"""A Restate service: three steps through `ctx.run_typed`, as its documentation shows.

Run as `python -m bench.apps.restate_app PORT WORKERS`.
"""

import sys

import restate
from hypercorn.config import Config
from hypercorn.run import run

bench = restate.Service("Bench")


def add_one(value: int) -> int:
    """Do nothing that takes time."""
    return value + 1


@bench.handler()
async def three_steps(ctx: restate.Context, value: int) -> int:
    """Run three steps in sequence, each acknowledged by the server's log before the next."""
    value = await ctx.run_typed("one", add_one, value=value)
    value = await ctx.run_typed("two", add_one, value=value)
    return await ctx.run_typed("three", add_one, value=value)


app = restate.app([bench])


def main(port: int, workers: int) -> None:
    """Serve over HTTP/2, which makes Restate stream the journal both ways."""
    config = Config()
    config.application_path = "bench.apps.restate_app:app"
    config.bind = [f"127.0.0.1:{port}"]
    config.workers = workers
    config.worker_class = "uvloop"
    config.h2_max_concurrent_streams = 2147483647
    config.keep_alive_max_requests = 2147483647
    config.keep_alive_timeout = 3600
    config.accesslog = None
    config.loglevel = "WARNING"
    run(config)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
