"""A DBOS application: three steps, called directly, as its documentation shows for a workflow started in process.

Run as `python -m bench.apps.dbos_app PORT DATABASE_URL POOL EXECUTOR`.
"""

import sys

import uvloop
from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.apps.wire import serve


@DBOS.step()
async def add_one(value: int) -> int:
    """Do nothing that takes time."""
    return value + 1


@DBOS.workflow()
async def three_steps(value: int) -> int:
    """Run three steps in sequence, each recorded before the next."""
    value = await add_one(value)
    value = await add_one(value)
    return await add_one(value)


async def run(n: int) -> int:
    """Start workflow `n` under its own id, and give its result."""
    with SetWorkflowID(f"bench-{n}"):
        handle = await DBOS.start_workflow_async(three_steps, n)
    return await handle.get_result()


def launch(database: str, pool: int, executor: str) -> None:
    """Launch DBOS in the running loop."""
    config: DBOSConfig = {
        "name": "bench-dbos",
        "system_database_url": database,
        "sys_db_pool_size": pool,
        "max_executor_threads": pool,
        "executor_id": executor,
        "application_version": "bench",
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()


def shut_down() -> None:
    """End DBOS."""
    DBOS.destroy()


async def main(port: int, database: str, pool: int, executor: str) -> None:
    """Launch DBOS, and answer."""
    launch(database, pool, executor)
    await serve(run, port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
