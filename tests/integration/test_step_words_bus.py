"""What a step says of its next attempt, and sagas, on the cluster: told over Kafka, stored in PostgreSQL."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from holdfast import Fatal, Retry, RetryAfter, StepError, compensations, step, workflow
from holdfast.core import events as e
from tests.integration.bus import Running, running, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

MENDED: set[str] = set()
CALLS: Counter[str] = Counter()


@step
async def bus_busy(order: str) -> str:
    CALLS[order] += 1
    if CALLS[order] == 1:
        raise RetryAfter(0.7)
    return "taken"


@step
def bus_hopeless(order: str) -> str:
    raise Fatal(f"no {order}")


@step(retry=Retry(attempts=1, on_exhausted="park"))
async def bus_closed(order: str) -> str:
    if order not in MENDED:
        raise ConnectionError("closed")
    return "opened"


@workflow
async def bus_errand(order: str) -> list[str]:
    done = [await bus_busy(order)]
    try:
        await bus_hopeless(order)
    except StepError as error:
        done.append(error.failure.message)
    return [*done, await bus_closed(order)]


@pytest.fixture(params=[True, False], ids=["local", "separate"])
async def here(servers: Servers, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace), local=request.param) as one:
        yield one


async def test_a_step_asks_for_time_gives_up_or_waits_for_a_person(
    here: Running, request: pytest.FixtureRequest
) -> None:
    order = f"errand-{request.node.callspec.id}"
    await here.client.start(bus_errand, order, id=order)
    stored = await here.stored(order, "PARKED")
    assert stored.row.parked == "attempts_exhausted"
    retried = [one for one in here.events(stored) if isinstance(one, e.StepRetried)]
    assert [one.error.retry_after for one in retried] == [0.7]
    MENDED.add(order)
    await here.client.resume(order)
    assert await here.result(order) == ["taken", f"no {order}", "opened"]


@step(retry=Retry(attempts=1))
async def bus_give_back(order: str) -> None:
    if f"{order}/undo" not in MENDED:
        raise ConnectionError("closed")


@workflow
async def bus_saga(order: str) -> None:
    async with compensations() as undo:
        undo.add(bus_give_back, order)
        await bus_hopeless(order)


async def test_what_cannot_be_undone_waits_for_a_person(here: Running, request: pytest.FixtureRequest) -> None:
    order = f"saga-{request.node.callspec.id}"
    await here.client.start(bus_saga, order, id=order)
    stored = await here.stored(order, "PARKED")
    assert stored.row.parked == "compensation_failed"
    MENDED.add(f"{order}/undo")
    await here.client.resume(order)
    stored = await here.stored(order, "FAILED")
    assert [one.step_id for one in here.events(stored) if isinstance(one, e.StepCompleted)] == [
        "compensations#1",
        "bus_give_back#2",
    ]
