"""Many effects at once, while store, ledger and process fail by chance: nothing is lost, and nothing stands still."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import SqliteLedger
from holdfast.core.asks import Ask
from holdfast.core.commands import CancelRun, TerminateRun
from holdfast.core.effects import PARKED, SUCCEEDED, Effect
from holdfast.core.run import ENDED
from holdfast.ports.journal import Committed, Fenced
from holdfast.ports.ledger import Answer
from holdfast.ports.unavailable import Unavailable
from holdfast.sdk.definitions import Retry, StepError, seconds, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.sending import NotSent, Refused
from holdfast.sdk.values import GIVEN
from tests.integration.faults import (
    Batch,
    Fault,
    FaultyStore,
    answer_lost,
    committed_then_stolen,
    cut_off,
    one_shard_stolen,
)
from tests.integration.running import SHARDS, Process, assert_whole, events_of, process

RUNS = 24
PATIENCE = 60.0
OFTEN = Retry(attempts=6, initial=0.02, backoff=1.5)

chance = random.Random(0)
sent: Counter[str] = Counter()
book: Counter[str] = Counter()


async def provider(name: str, key: str) -> str:
    """Whatever may happen on the way to a provider that knows keys."""
    await asyncio.sleep(chance.choice((0, 0, 0.01, 0.05)))
    lot = chance.random()
    if lot < 0.1:
        raise NotSent("no connection")
    sent[key] += 1
    if lot < 0.2:
        raise TimeoutError("it never arrived")
    if lot < 0.25 and not book[key]:
        raise Refused("declined")
    book[key] = 1
    if lot < 0.4:
        raise ConnectionResetError("it arrived, and the answer did not")
    return f"receipt of {name}"


@effect(guard="provider_key", window=seconds(120), margin=seconds(1), retry=OFTEN)
async def storm_charge(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@effect(guard="lookup", lifetime=seconds(0.05), retry=OFTEN)
async def storm_ship(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@storm_ship.lookup
async def storm_find(name: str, *, key: str = GIVEN) -> str | None:
    return f"found {name}" if book[key] else None


@effect(guard="at_most_once", retry=OFTEN)
async def storm_letter(name: str, *, key: str = GIVEN) -> str:
    return await provider(name, key)


@workflow
async def storm_run(name: str) -> list[str]:
    seen: list[str] = []
    try:
        async with asyncio.timeout(0.3):
            seen.append(await storm_charge(name))
    except (TimeoutError, StepError) as error:
        seen.append(type(error).__name__)
    both = await asyncio.gather(storm_ship(name), storm_letter(name), return_exceptions=True)
    return [*seen, *(repr(one) for one in both)]


class FaultyLedger(SqliteLedger):
    """A real ledger, out of reach by chance: before it heard, or before it could answer."""

    async def ask(self, asks: Sequence[tuple[str, Ask]]) -> Sequence[Answer]:
        lot = chance.random()
        if lot < 0.05:
            raise Unavailable("cut off before the question")
        answers = await super().ask(asks)
        if lot > 0.95:
            raise Unavailable("cut off before the answer")
        return answers


class FaultyCommits(FaultyStore):
    """A real store whose commits fail by chance, all the time."""

    async def commit(self, batch: Batch) -> Committed | Fenced:
        lot = chance.random()
        faults: list[Fault] = [cut_off, answer_lost, one_shard_stolen, committed_then_stolen]
        if lot < 0.08:
            self.faults.append(chance.choice(faults))
        return await super().commit(batch)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_fails_every_effect_comes_to_a_verdict_that_its_run_hears(tmp_path: Path, seed: int) -> None:
    chance.seed(seed)
    sent.clear()
    book.clear()
    path = tmp_path / "holdfast.db"
    names = [f"r{number}" for number in range(RUNS)]
    for life in range(4):
        async with process(path, f"p{life}", decorate=FaultyCommits, ledger_of=FaultyLedger) as engine:
            if life == 0:
                for name in names:
                    await engine.start("storm_run", name, name)
            await disturb(engine, names)
    async with process(path, "last") as engine:
        await until_quiet(engine, names)
        await assert_whole(engine.store, *names)
        for name in names:
            for story in await engine.ledger.stories(name):
                check(story.effect)


async def disturb(engine: Process, names: list[str]) -> None:
    """Let it run for a while, and ask some runs to end."""
    for _ in range(8):
        await asyncio.sleep(0.1)
        name = chance.choice(names)
        if chance.random() < 0.3:
            await engine.send(name, CancelRun(reason="enough"))
        elif chance.random() < 0.1:
            await engine.send(name, TerminateRun(reason="enough"))


async def until_quiet(engine: Process, names: list[str]) -> None:
    """Wait until each run has ended, or stands with nothing but parked effects; and the ledger says the same."""
    until = time.monotonic() + PATIENCE
    for name in names:
        while not await is_quiet(engine, name):
            engine.check()
            if time.monotonic() > until:
                pytest.fail(await how_it_stands(engine, name))
            await asyncio.sleep(0.05)


async def how_it_stands(engine: Process, name: str) -> str:
    """Tell what a run that does not come to rest is waiting for."""
    found = await engine.store.history(name)
    assert found is not None
    attempts = (await engine.store.open_attempts(list(range(SHARDS)), 2**62, 1000)).rows
    lines = [f"run {name} does not come to rest at {time.time_ns() // 1000}: {found.row}"]
    lines += [f"  {one.seq} {one.at} {event}" for one, event in zip(found.history, events_of(found), strict=True)]
    for story in await engine.ledger.stories(name):
        lines += [f"  {story.effect.step_id} is {story.effect.state}", *(f"    {move}" for move in story.moves)]
    return "\n".join([*lines, *(f"  {row}" for row in attempts if row.run_id == name)])


async def is_quiet(engine: Process, name: str) -> bool:
    found = await engine.store.history(name)
    effects = [story.effect for story in await engine.ledger.stories(name)]
    at_rest = all(effect_.settled or effect_.state == PARKED for effect_ in effects)
    return found is not None and at_rest and (found.row.status in ENDED or found.row.parked == "effect_parked")


def check(effect_: Effect) -> None:
    """What the ledger says is what the provider's book says, as far as its guard promises it."""
    if effect_.state == SUCCEEDED:
        assert book[effect_.key] == 1, effect_
    if effect_.name == "storm_letter":
        assert sent[effect_.key] <= 1, effect_
    if effect_.settled and effect_.state != SUCCEEDED:
        assert not book[effect_.key], effect_
