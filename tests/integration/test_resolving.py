"""Naming an effect, and what a verdict on it says, over a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast import effect
from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.app.effects.resolve import EffectUnknown, Resolutions, Verdict, asked
from holdfast.core.asks import FAIL, RETRY, SUCCEED
from holdfast.core.commands import Command
from holdfast.core.payload import INLINE_LIMIT
from holdfast.core.retry import Failure
from holdfast.sdk.values import UnfitValue
from holdfast.testing.conformance.effects import effect as row
from holdfast.testing.conformance.effects import plan
from holdfast.testing.conformance.rows import SHARDS, owner

ONE, TWO, OTHER = "abcdef01" + "1" * 24, "abcdef01" + "2" * 24, "b" * 32


@effect(guard="at_most_once")
async def resolving_count(name: str) -> int:
    return len(name)


async def send(run_id: str, command: Command, blobs: object, incarnation: int) -> None:
    raise AssertionError("nothing is decided here")


@pytest.fixture
async def resolutions(tmp_path: Path) -> AsyncIterator[Resolutions]:
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.install(SHARDS)
    await store.open()
    await plan(await owner(store), row(ONE), row(TWO), row(OTHER, run_id="order-1"))
    yield Resolutions(SqliteLedger(store), send)
    await store.close()


@pytest.mark.parametrize("name", [OTHER, "bbbbbbbb", f"order-1/charge#{OTHER}"])
async def test_an_effect_is_named_by_its_id_its_first_digits_or_its_place(resolutions: Resolutions, name: str) -> None:
    assert (await resolutions.find(name)).effect.effect_id == OTHER


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("abcdef01", "begins the ids of several effects"),
        ("bbbbbbb", "there is no effect bbbbbbb"),  # too short to be sure of
        ("c" * 32, "there is no effect ccc"),
        ("order-1/other#1", "run order-1 has no effect other#1"),
        ("order-2/charge#1", "run order-2 has no effect charge#1"),
    ],
)
async def test_a_name_of_nothing_or_of_several_is_refused(resolutions: Resolutions, name: str, said: str) -> None:
    with pytest.raises(EffectUnknown, match=said):
        await resolutions.find(name)


def test_a_verdict_says_what_the_workflow_will_hear() -> None:
    seen = row(OTHER, run_id="order-1")

    failed, _ = asked(seen, verdict(FAIL, error="stolen card"))
    again, _ = asked(seen, verdict(RETRY))

    assert failed.error == Failure("Resolved", "stolen card", step=seen.step_id, retryable=False)
    assert (again.verdict, again.version, again.result, again.error) == (RETRY, seen.version, None, None)


def test_a_large_result_is_kept_aside() -> None:
    data = b'"' + b"x" * INLINE_LIMIT + b'"'

    command, blobs = asked(row(OTHER, name="resolving_nobody_has_it"), verdict(SUCCEED, data=data))

    assert command.result is not None
    assert blobs == {command.result.blob: data}


def test_a_result_that_the_effects_own_code_could_not_return_is_refused() -> None:
    seen = row(OTHER, name="resolving_count")

    assert asked(seen, verdict(SUCCEED, data=b"3"))[0].result is not None
    with pytest.raises(UnfitValue, match=r"the result of resolving_count\(\) does not fit"):
        asked(seen, verdict(SUCCEED, data=b'"three"'))


def verdict(word: str, **more: object) -> Verdict:
    return Verdict(decision=word, by="ada", reason="asked the bank", **more)  # type: ignore[arg-type]  # told by each test
