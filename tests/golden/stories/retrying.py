"""Steps that say when they are to be tried again, and what is undone when they give up."""

from holdfast import Fatal, Retry, RetryAfter, StepError, compensations, step, workflow
from holdfast.core.commands import ResumeRun
from holdfast.core.run import PARKED
from tests.golden.telling import golden
from tests.integration.running import Process

busy: list[str] = []
closed: list[str] = []


@step
async def golden_asks_for_time(name: str) -> str:
    if busy:
        busy.pop()
        raise RetryAfter(0.2)
    return f"{name} later"


@step
async def golden_gives_up(name: str) -> str:
    raise Fatal(f"no {name}")


@step(retry=Retry(attempts=1, on_exhausted="park"))
async def golden_stalls(name: str) -> str:
    if closed:
        raise ConnectionError("closed")
    return f"{name} opened"


@workflow
async def golden_errand(name: str) -> list[str]:
    done = [await golden_asks_for_time(name)]
    try:
        await golden_gives_up(name)
    except StepError as error:
        done.append(error.failure.message)
    return [*done, await golden_stalls(name)]


@golden
async def words_of_steps(running: Process) -> None:
    busy.append("once")
    closed.append("until a person comes")
    await running.start("golden_errand", "errand", "bank")
    await running.until_status("errand", PARKED)
    closed.clear()
    await running.send("errand", ResumeRun(by="ada"))


@step
async def golden_books(what: str) -> str:
    return what


@step(retry=Retry(attempts=1))
async def golden_gives_back(what: str) -> None:
    if closed:
        raise ConnectionError("closed")


@workflow
async def golden_trip(city: str) -> None:
    async with compensations() as undo:
        for what in ("flight", "car"):
            undo.add(golden_gives_back, await golden_books(f"{what} to {city}"))
        await golden_gives_up(city)


@golden
async def sagas(running: Process) -> None:
    closed.append("until a person comes")
    await running.start("golden_trip", "trip", "Oslo")
    await running.until_status("trip", PARKED)
    closed.clear()
    await running.send("trip", ResumeRun(by="ada"))
