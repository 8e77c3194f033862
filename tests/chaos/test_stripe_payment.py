"""The Stripe example as a real process, killed at every stage of its charge: one charge in the provider's own book.

A gate of raw sockets stands between the SDK and the provider, so that each stage is a place and not a moment.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from examples.providers.book import charged_twice, read_book
from examples.providers.payment import application
from tests.integration.scripted import Connection, Script, Server, serving

ROOT = Path(__file__).resolve().parents[2]
HOLDFAST = (sys.executable, "-m", "holdfast.cli")
PATIENCE = 40.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


class World:
    """The provider with its book, the gate before it, and the engine that is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book = folder / "book.jsonl"
        self.provider = ""
        self.gate = ""
        self.reached = asyncio.Event()
        self.late: list[bytes] = []

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "STRIPE_"))}
        return kept | {
            "HOLDFAST_STORE": f"sqlite:///{self.folder}/holdfast.db",
            "STRIPE_API_KEY": "sk_test_1",
            "STRIPE_API_BASE": self.gate,
        }

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self.folder / "engine.log").open("ab") as log:
            command = [*HOLDFAST, "dev", "examples/stripe_payment.py"]
            engine = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield engine
        finally:
            if engine.returncode is None:
                engine.kill()
            await engine.wait()

    async def holdfast(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end: how it ended, and what it printed."""
        pipe = asyncio.subprocess.PIPE
        command = await asyncio.create_subprocess_exec(
            *HOLDFAST, *arguments, cwd=ROOT, env=self.environment, stdout=pipe, stderr=pipe
        )
        try:
            told, complained = await asyncio.wait_for(command.communicate(), PATIENCE)
        except TimeoutError:
            command.kill()
            await command.wait()
            pytest.fail(f"{arguments} took too long; the engine said: {(self.folder / 'engine.log').read_text()}")
        return command.returncode or 0, (told or complained).decode()

    async def start(self, *options: str, amount: int = 8900, code: int = 0) -> str:
        given = json.dumps({"order": "order-1", "amount": amount, "currency": "eur"})
        ended, told = await self.holdfast("start", "stripe_payment", "--id", "order-1", "--input", given, *options)
        assert ended == code, told
        return told

    async def faults(self, **set_to: float) -> None:
        async with httpx2.AsyncClient() as client:
            (await client.post(f"{self.provider}/faults", json=set_to)).raise_for_status()

    async def pass_on(self, request: bytes) -> bytes:
        """Bring a request to the provider; the answer's bytes."""
        host, _, port = self.provider.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().splitlines()
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        answer = head + await reader.readexactly(length)
        writer.close()
        return answer

    async def works(self, connection: Connection) -> None:
        while True:
            await connection.send(await self.pass_on(await connection.read()))

    def row(self) -> tuple[str, bytes]:
        with sqlite3.connect(f"file:{self.folder}/holdfast.db?mode=ro", uri=True) as file:
            ((state, request),) = file.execute("SELECT state, request FROM effects").fetchall()
        return state, request


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    runner = web.AppRunner(application(world.book), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    world.provider = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield world
    await runner.cleanup()


async def until_the_engine_is_dead(connection: Connection) -> None:
    await connection.reader.read()


def connected(world: World) -> Script:
    async def script(connection: Connection) -> None:
        world.reached.set()
        await until_the_engine_is_dead(connection)

    return script


def sent(world: World) -> Script:
    async def script(connection: Connection) -> None:
        world.late.append(await connection.read())
        world.reached.set()
        await until_the_engine_is_dead(connection)

    return script


def charged(world: World) -> Script:
    async def script(connection: Connection) -> None:
        await world.pass_on(await connection.read())
        world.reached.set()
        await until_the_engine_is_dead(connection)

    return script


def half_answered(world: World) -> Script:
    async def script(connection: Connection) -> None:
        answer = await world.pass_on(await connection.read())
        await connection.send(answer[: len(answer) - 40])
        world.reached.set()
        await until_the_engine_is_dead(connection)

    return script


def answered(world: World) -> Script:
    async def script(connection: Connection) -> None:
        await connection.send(await world.pass_on(await connection.read()))
        world.reached.set()
        await until_the_engine_is_dead(connection)

    return script


async def killed_at(world: World, stage: Callable[[World], Script], meanwhile: Callable[[], Awaitable[None]]) -> Server:
    """Kill the engine at a stage, start it again, wait for the run's end; the gate with all that went through it."""
    async with serving(stage(world), world.works) as gate:
        world.gate = gate.url
        async with world.engine() as engine:
            await world.start()
            await asyncio.wait_for(world.reached.wait(), PATIENCE)
            engine.send_signal(signal.SIGKILL)
            await engine.wait()
        async with world.engine():
            receipt = json.loads(await world.start("--wait"))
            await meanwhile()
    (charge,) = read_book(world.book)
    assert receipt == {"intent": charge.id.replace("ch_", "pi_"), "amount": 8900}
    state, request = world.row()
    assert state == "SUCCEEDED"
    assert b"metadata[order]=order-1" in request
    assert b"sk_test_1" not in request
    return gate


async def nothing() -> None:
    pass


@pytest.mark.parametrize("stage", [connected, sent, charged, half_answered, answered])
async def test_killed_at_any_stage_the_card_is_charged_once(world: World, stage: Callable[[World], Script]) -> None:
    gate = await killed_at(world, stage, nothing)

    posts = [body for request, body in zip(gate.requests, gate.bodies, strict=True) if request.startswith(b"POST")]
    assert len(set(posts)) == 1, "every attempt sent the same bytes"


async def test_a_request_that_arrives_after_its_sender_died_charges_nothing_more(world: World) -> None:
    async def deliver() -> None:
        answer = await world.pass_on(world.late[0])
        assert b"Idempotent-Replayed: true" in answer

    await killed_at(world, sent, deliver)

    assert charged_twice(read_book(world.book)) == {}


@pytest.mark.parametrize(
    "faults",
    [{"too_many_requests": 1, "retry_after": 0.2}, {"garble_answer_after_charge": 1}, {"fail_after_charge": 1}],
    ids=["rate limit", "garbage", "stored 500"],
)
async def test_what_the_provider_does_wrong_costs_no_second_charge(world: World, faults: dict[str, float]) -> None:
    world.gate = world.provider
    await world.faults(**faults)
    async with world.engine():
        receipt = json.loads(await world.start("--wait"))

    (charge,) = read_book(world.book)
    assert receipt == {"intent": charge.id.replace("ch_", "pi_"), "amount": 8900}
    assert world.row()[0] == "SUCCEEDED"


async def test_a_declined_card_fails_the_run_in_stripes_words(world: World) -> None:
    world.gate = world.provider
    async with world.engine():
        told = await world.start("--wait", amount=4213, code=1)

    assert "the card was declined" in told
    assert world.row()[0] == "FAILED"
    assert read_book(world.book) == []


async def test_a_stored_500_of_a_charge_that_nobody_can_find_waits_for_a_person(world: World) -> None:
    world.gate = world.provider
    await world.faults(fail_instead_of_charge=1)
    async with world.engine():
        await world.start("--wait", code=1)

    assert world.row()[0] == "PARKED"
    assert read_book(world.book) == []
