"""Runs that go on as new."""

from holdfast import continue_as_new, signal, workflow
from tests.golden.stories.basics import golden_add
from tests.golden.telling import golden
from tests.integration.running import Process, signal_of


@workflow(continue_after=4)
async def golden_renewed(total: int) -> int:
    while not workflow.info().should_continue:
        number = await signal("number", int)
        if number == 0:
            return total
        total = await golden_add(total, number)
    return continue_as_new(total)


@golden
async def continued(running: Process) -> None:
    """Signals that come before their time go along."""
    await running.start("golden_renewed", "renewed", 0)
    for place, number in enumerate((1, 2, 3, 0)):
        await running.submit("renewed", signal_of("number", number, f"m{place}"))
