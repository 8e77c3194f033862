"""A namespace that was dropped and installed anew hears nothing of its former life."""

import psycopg
import pytest

from holdfast import step, workflow
from tests.integration.bus import running, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

EXECUTED: list[str] = []


@step
async def reinstalled_step(word: str) -> str:
    EXECUTED.append(word)
    return word


@workflow
async def reinstalled_run(word: str) -> str:
    return await reinstalled_step(word)


async def test_the_same_run_id_executes_anew_after_its_store_was_dropped(servers: Servers, namespace: str) -> None:
    settings = settings_on(servers, namespace)
    async with running(settings, local=False) as first:
        await first.client.start(reinstalled_run, "first", id="order-1")
        assert await first.result("order-1") == "first"

    async with await psycopg.AsyncConnection.connect(servers.postgres, autocommit=True) as link:
        await link.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(namespace)))

    async with running(settings, local=False) as second:
        await second.client.start(reinstalled_run, "second", id="order-1")
        assert await second.result("order-1") == "second"
    assert EXECUTED == ["first", "second"]
