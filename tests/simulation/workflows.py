"""What the authors of the simulated world wrote: real workflows, steps and effects, small and of many kinds.

Laws of this file:
- A step's result is a function of its arguments, however often it is executed: so each run has one right result.
- What a step does outside goes through its process's own ways (`HERE`): it dies with its process.
"""

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, Protocol
from zlib import crc32

from holdfast.sdk.definitions import Retry, Step, StepError, hours, seconds, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import SENDING
from holdfast.sdk.values import GIVEN
from tests.simulation.databases import SHOP, SimulatedTransaction
from tests.simulation.loop import LIFE
from tests.simulation.provider import DECLINED, receipt
from tests.simulation.wire import LATEST

PATIENT = Retry(attempts=0, initial=0.1, backoff=2.0, maximum=2.0)
SIGNAL = "tick"
MOST_REMINDERS = 3
REFUNDABLE = "refundable"
"""How the purchases begin that are given back."""
SHORT = 30.0
"""Seconds for an attempt; one that got lost is sent again after twice as long."""


class Here(Protocol):
    """The process that executes a step."""

    async def work(self, run: str, what: str) -> None:
        """Take the time that the work takes; raises what authors' steps raise."""

    async def buy(self, how: str, key: str, run: str, what: str) -> str:
        """Send a request to the provider."""

    async def find(self, key: str) -> str | None:
        """Ask the provider for an earlier request."""

    def backoff(self, run: str, what: str) -> int:
        """Count the executions, over all processes."""


HERE: dict[Any, Here] = {}


def here() -> Here:
    return HERE[LIFE.get()]


# -- steps


@step(retry=PATIENT, timeout=SHORT)
async def act(run: str, what: str) -> str:
    await here().work(run, what)
    return f"{run}:{what}"


@step(retry=Retry(attempts=2, initial=0.2), timeout=SHORT)
async def second_time_lucky(run: str, what: str) -> str:
    if here().backoff(run, what) == 1:
        raise LookupError("not the first time")
    return f"{run}:{what}"


@step(retry=Retry(attempts=2, initial=0.1), timeout=SHORT)
async def hopeless(run: str, what: str) -> str:
    here().backoff(run, what)
    raise ValueError(f"{run}:{what} never works")


@step(queue="press", retry=PATIENT, timeout=SHORT)
async def press(run: str, what: str) -> str:
    await here().work(run, what)
    return f"{run}:{what}"


class Measured:
    """A result that the code of a run understands only once it is mended."""

    mended: ClassVar[set[str]] = set()

    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def model_validate(value: object) -> "Measured":
        run, _, _ = str(value).partition(":")
        if run not in Measured.mended:
            raise ValueError("a measure was expected")
        return Measured(str(value))

    def model_dump(self, mode: str) -> str:
        return self.text


@step(retry=PATIENT, timeout=SHORT)
async def measure(run: str, what: str) -> Measured:
    await here().work(run, what)
    return Measured(f"{run}:{what}")


# -- effects, one for each guard


@effect(guard="provider_key", window=hours(24), retry=PATIENT, timeout=SHORT)
async def charge(run: str, what: str, *, key: str = GIVEN) -> str:
    return await here().buy("charge", key, run, what)


@effect(guard="provider_key", http="stripe", retry=PATIENT, timeout=SHORT)
async def pay(run: str, what: str, *, key: str = GIVEN) -> str:
    """Send by a transport that commits the intent at the first byte."""
    sending = SENDING.get()
    assert sending is not None
    await sending.intend(f"{run} {what}".encode())
    told = await here().buy("pay", key, run, what)
    sending.heard(None, evidence=told)
    return told


@effect(guard="lookup", lifetime=seconds(LATEST + 2), retry=PATIENT, timeout=SHORT)
async def transfer(run: str, what: str, *, key: str = GIVEN) -> str:
    return await here().buy("transfer", key, run, what)


@transfer.lookup
async def find_transfer(run: str, what: str, *, key: str = GIVEN) -> str | None:
    return await here().find(key)


@effect(guard="at_most_once", retry=PATIENT, timeout=SHORT)
async def give(run: str, what: str, *, key: str = GIVEN) -> str:
    return await here().buy("give", key, run, what)


@effect(guard="transaction", database=SHOP, retry=PATIENT, timeout=SHORT)
async def book(run: str, what: str, *, connection: SimulatedTransaction = GIVEN) -> str:
    await connection.buy(run, what)
    return receipt(run, what)


@effect(guard="provider_key", window=hours(24), retry=Retry(attempts=2, initial=0.1), timeout=SHORT)
async def doubtful(run: str, what: str, *, key: str = GIVEN) -> str:
    """Unclear once, or as often as it is tried: then a person decides."""
    told = await here().buy("charge", key, run, what)
    if here().backoff(run, what) <= 1 + crc32(run.encode()) % 2:
        raise ConnectionError("the answer was cut off")
    return told


EFFECTS: dict[str, Step[[str, str], str]] = {
    "charge": charge,
    "pay": pay,
    "transfer": transfer,
    "give": give,
    "book": book,
}


def bought(run: str, what: str, how: str) -> Any:
    """Buy under one of the guards."""
    return EFFECTS[how](run, what)


# -- workflows


@workflow
async def order(run: str, size: int, how: str) -> list[str]:
    """Steps one after the other and side by side, a purchase between them, and a message to wait for."""
    done = [await act(run, "reserve")]
    done += await asyncio.gather(*(act(run, f"part-{n}") for n in range(size)))
    done.append(await bought(run, "order", how))
    done.append(await signal(SIGNAL, str))
    done.append(await act(run, "ship"))
    return done


@workflow
async def sleeper(run: str, size: int, how: str) -> list[str]:
    """Durable waits, and what is not waited for."""
    done = []
    for n in range(size):
        await asyncio.sleep(0.4 + n)
        try:
            async with asyncio.timeout(0.05):
                await (act(run, f"late-{n}") if n % 2 else bought(run, f"late-{n}", how))
        except TimeoutError:
            pass
        done.append(await act(run, f"after-{n}"))
    done.append(await bought(run, "sleep", how))
    return done


@workflow
async def stubborn(run: str, size: int, how: str) -> list[str]:
    """Steps that fail: once, or for good; and a purchase that is declined."""
    done = [await second_time_lucky(run, f"luck-{n}") for n in range(size)]
    try:
        await hopeless(run, "hope")
    except StepError as error:
        done.append(error.failure.type)
    try:
        await pay(run, f"{DECLINED} card")
    except StepError as error:
        done.append(error.failure.type)
    with suppress(StepError):  # its attempts may run out before anything was sent
        await doubtful(run, "doubtful")
    done.append(await bought(run, "consolation", how))
    return done


@workflow
async def listener(run: str, size: int, how: str) -> list[str]:
    """Messages, each once."""
    heard = [await signal(SIGNAL, str) for _ in range(size)]
    await act(run, "heard")
    return sorted(heard)


@workflow
async def patient_listener(run: str, size: int, how: str) -> list[str]:
    """Messages, with a limit to each wait."""
    heard: list[str] = []
    reminders = 0
    while len(heard) < size:
        try:
            async with asyncio.timeout(0.7 if reminders < MOST_REMINDERS else None):
                heard.append(await signal(SIGNAL, str))
        except TimeoutError:
            reminders += 1
            await bought(run, f"reminder-{reminders}", how)
    return sorted(heard)


@workflow
async def cancelled(run: str, size: int, how: str) -> None:
    """Stopped from outside, maybe in the middle of a purchase; what was begun is made good."""
    await act(run, "begin")
    try:
        await asyncio.gather(
            *(act(run, f"part-{n}") for n in range(size)), bought(run, "deposit", how), signal("never")
        )
    except asyncio.CancelledError:
        await charge(run, "compensation")
        raise


@workflow
async def terminated(run: str, size: int, how: str) -> None:
    """Ended from outside, without being asked; its purchases go on to a verdict."""
    await asyncio.gather(*(act(run, f"part-{n}") for n in range(size)), bought(run, "deposit", how))
    await signal("never")


@workflow
async def refunder(run: str, size: int, how: str) -> None:
    """Purchases that a timeout meets, mostly when they are under way: what was bought is given back."""
    for n in range(size):
        what, paid = f"{REFUNDABLE}-{n}", ""
        with suppress(TimeoutError, StepError):  # a person may say that it did not happen
            async with asyncio.timeout(0.01 * (1 + n)):
                paid = await bought(run, what, how)
                await signal("never")
        if paid:
            await charge(run, refund_of(what))


def refund_of(what: str) -> str:
    return f"refund of {what}"


@workflow
async def remitter(run: str, size: int, how: str) -> list[str]:
    """Transfers side by side: the provider is asked about those whose sender has died."""
    return await asyncio.gather(*(transfer(run, f"remittance-{n}") for n in range(size + 2)))


@workflow
async def fan(run: str, size: int, how: str) -> list[str]:
    """Tasks in a group, each with a life of its own."""

    async def one(number: int) -> str:
        await asyncio.sleep(0.1 * number)
        await act(run, f"fan-{number}")
        return await (press if number % 2 else act)(run, f"fanned-{number}")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(n)) for n in range(size + 1)]
    await bought(run, "fan", how)
    return [task.result() for task in tasks]


@workflow
async def crowd(run: str, size: int, how: str) -> list[str]:
    """Many steps at once, and many that are given up at once: turns that are cut, and go on in parts."""
    done = await asyncio.gather(*(act(run, f"crowd-{n}") for n in range(4 * size)))
    with suppress(TimeoutError):
        async with asyncio.timeout(0.02):
            await asyncio.gather(*(act(run, f"late-{n}") for n in range(4 * size)), bought(run, "late", how))
    done += await asyncio.gather(*(act(run, f"again-{n}") for n in range(3)))
    return [*done, await bought(run, "crowd", how)]


@workflow
async def mending(run: str, size: int, how: str) -> list[str]:
    """Parked until its code is mended; what comes in meanwhile waits."""
    measured, receipt_ = await asyncio.gather(measure(run, "measured"), bought(run, "mended", how))
    return [measured.text, receipt_, *sorted([await signal(SIGNAL, str) for _ in range(size)])]


@workflow
async def failing(run: str, size: int, how: str) -> None:
    """Ends with an error of its own."""
    await act(run, "try")
    raise RuntimeError(f"{run} of {size} was to fail")
