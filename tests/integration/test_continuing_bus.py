"""Going on as new on the cluster: over Kafka, with the truth in PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from holdfast import continue_as_new, signal, step, workflow
from tests.integration.bus import Running, running, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@step
async def bus_book(amount: int) -> int:
    return amount


@workflow(continue_after=6)
async def bus_account(balance: int) -> int:
    while not workflow.info().should_continue:
        amount = await signal("deposit", int)
        if amount == 0:
            return balance
        balance += await bus_book(amount)
    return continue_as_new(balance)


@pytest.fixture(params=[True, False], ids=["local", "separate"])
async def here(servers: Servers, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace), local=request.param) as one:
        yield one


async def test_an_account_goes_on_as_new_over_the_bus_and_loses_no_deposit(here: Running) -> None:
    await here.client.start(bus_account, 0, id="account-1")
    for amount in (*range(1, 21), 0):
        await here.client.signal("account-1", "deposit", amount, message_id=f"m{amount}")
    assert await here.result("account-1") == 210
    stored = await here.stored("account-1", "COMPLETED")
    assert stored.row.incarnation >= 5
    earlier = await here.client.profile.store.incarnation("account-1", 0)
    assert [earlier[0].type, earlier[-1].type] == ["RunStarted", "RunContinued"]
