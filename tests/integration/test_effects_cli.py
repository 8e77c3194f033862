"""What people touch of the effect ledger: real processes on the embedded profile."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client
from holdfast.client import ResolutionRefused
from holdfast.core.asks import Prove
from holdfast.core.effects import Effect
from holdfast.core.payload import Payload
from holdfast.effect_views import described
from holdfast.settings import Settings, load
from tests.integration.commandline import PATIENCE, complaint, done, holdfast, line_of, started

APP = """
import asyncio
import time
from pathlib import Path

from holdfast import GIVEN, Retry, StepError, effect, seconds, workflow


@effect(guard="at_most_once")
async def letter(to: str) -> str:
    if Path("broken").exists():
        raise ConnectionResetError("no answer")
    return f"a letter to {to}"


@effect(guard="at_most_once", timeout=0.2)
def slow(to: str) -> str:
    while not Path(f"go-{to}").exists():
        time.sleep(0.01)
    return f"late, to {to}"


@effect(guard="lookup", lifetime=seconds(0.05), timeout=0.2, retry=Retry(attempts=20, initial=0.05, backoff=1))
def parcel(to: str, *, key: str = GIVEN) -> str:
    Path(f"sending-{to}").touch()
    while not Path(f"go-{to}").exists():
        time.sleep(0.01)
    return f"a parcel to {to}"


@parcel.lookup
async def find_parcel(to: str, *, key: str = GIVEN) -> str | None:
    return None


@workflow
async def write(to: str) -> str:
    try:
        return await letter(to)
    except StepError as error:
        return f"{error.failure.type}: {error.failure.message}"


@workflow
async def write_slowly(to: str) -> str:
    return await slow(to)


@workflow
async def ship(to: str) -> str:
    return await parcel(to)


@workflow
async def ship_patiently(to: str) -> str:
    return await parcel.options(timeout=60)(to)
"""
SIGNED = ("--by", "ada", "--reason", "asked the post")
FILE = Path(".holdfast") / "holdfast.db"


@contextmanager
def dev(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "app.py").write_text(APP)
    with started(folder, "dev", "app.py") as process:
        assert "serving workflows" in line_of(process)
        yield process


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where `holdfast dev` runs, and every letter ends unclear."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "broken").touch()
    with dev(folder):
        yield folder


def settings_of(folder: Path) -> Settings:
    return load({"store": f"sqlite:///{folder / FILE}"}, {})


def parked(folder: Path, run: str, workflow: str = "write") -> str:
    """Start a run whose effect is parked, and nothing else moves."""

    async def start() -> None:
        async with Client(settings_of(folder)) as client:
            handle = await client.start(workflow, run, id=run)
            async with asyncio.timeout(PATIENCE):
                await handle.outcome(stop_when_parked=True)

    asyncio.run(start())
    return run


def result_of(folder: Path, run: str) -> object:
    """Wait for the end of a run, which is to be a success."""

    async def wait() -> object:
        async with Client(settings_of(folder)) as client, asyncio.timeout(PATIENCE):
            return await client.run(run).result()

    return asyncio.run(wait())


def effect_of(folder: Path, run: str) -> dict[str, Any]:
    """Look at a run's only effect."""

    async def look() -> dict[str, Any]:
        async with Client(settings_of(folder)) as client:
            (story,) = await client.effects(run)
            return described(story)

    return asyncio.run(look())


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- looking


def test_a_run_that_waits_for_a_verdict_says_so_everywhere_and_what_to_do(shop: Path) -> None:
    run = parked(shop, "stands")
    command = f"holdfast resolve {run}/letter#1"

    view = json.loads(done(shop, "show", run, "--json"))
    listed = json.loads(next(line for line in done(shop, "list", "--json").splitlines() if f'"{run}"' in line))
    waited = complaint(holdfast(shop, "start", "write", "--id", run, "--input", f'"{run}"', "--wait"), 1)

    assert view["status"] == "PARKED"
    assert view["parked"].startswith("effect_parked: letter#1: whether it happened is unclear (ConnectionResetError")
    assert (view["steps"][0]["id"], view["steps"][0]["state"]) == ("letter#1", "PARKED")
    assert command in done(shop, "show", run)
    assert (listed["status"], listed["parked"]) == ("PARKED", "effect_parked: letter#1")
    assert f"effect_parked: letter#1; holdfast effects {run}" in done(shop, "list", "--status", "PARKED")
    assert "letter#1" in waited
    assert command in waited


def test_resume_says_that_it_is_an_effect_that_waits(shop: Path) -> None:
    run = parked(shop, "no-resume")

    said = complaint(holdfast(shop, "resume", run), 1)

    assert "waits for a verdict on letter#1" in said
    assert f"holdfast resolve {run}/letter#1" in said


def test_watching_a_run_tells_how_to_decide_on_its_parked_effect(shop: Path) -> None:
    run = parked(shop, "watched")
    with started(shop, "watch", run) as watching:
        told = line_of(watching)
        while "then:" not in told:
            told = line_of(watching)
    assert f"then: holdfast resolve {run}/letter#1" in told


def test_the_story_of_an_effect_has_every_move_who_when_and_what(shop: Path) -> None:
    run = parked(shop, "story")
    done(shop, "resolve", f"{run}/letter#1", "--succeeded", '"seen at the post office"', *SIGNED)

    (view,) = [json.loads(line) for line in done(shop, "effects", run, "--json").splitlines()]
    moves = view["moves"]

    assert set(view) == {
        *("effect_id", "run_id", "step_id", "name", "guard", "state", "version", "attempt", "key", "request_hash"),
        *("first_sent_at", "window_until", "since", "owner", "sender", "reason", "resolved_by", "result", "error"),
        "moves",
    }
    assert (view["run_id"], view["step_id"], view["state"]) == (run, "letter#1", "SUCCEEDED")
    assert (view["resolved_by"], view["result"]) == ("ada", "seen at the post office")
    assert [move["what"] for move in moves] == ["plan", "begin", "doubt", "park", "resolve"]
    assert [move["to"] for move in moves] == ["PLANNED", "INFLIGHT", "IN_DOUBT", "PARKED", "SUCCEEDED"]
    fields = {"at", "what", "who", "from", "to", "fence", "reason", "evidence", "request_hash"}
    assert all(set(move) == fields for move in moves)
    assert (moves[-1]["who"], moves[-1]["reason"]) == ("ada", "asked the post")
    assert moves[1]["request_hash"] == view["request_hash"]  # the bytes themselves are the author's own here
    assert moves[2]["evidence"] == "its function has returned"
    assert [move["at"] for move in moves] == sorted(move["at"] for move in moves)

    said = done(shop, "effects", run)
    for word in (f"{run}/letter#1", view["effect_id"], "ConnectionResetError: no answer", "by ada", view["sender"]):
        assert word in said
    assert done(shop, "effects", f"{run}/letter#1") == said
    assert done(shop, "effects", view["effect_id"][:12]) == said


def test_effects_are_listed_by_state_and_name(shop: Path) -> None:
    run = parked(shop, "listed")

    def listed(*options: str) -> set[str]:
        return {json.loads(line)["run_id"] for line in done(shop, "effects", "--json", *options).splitlines()}

    assert run in listed()
    assert run in listed("--state", "parked", "--name", "letter")
    assert run not in listed("--state", "SUCCEEDED")
    assert run not in listed("--name", "parcel")
    assert len(listed("--limit", "1")) == 1
    (line,) = [line for line in done(shop, "effects", "--state", "PARKED").splitlines() if f" {run} " in line]
    assert line.startswith(effect_of(shop, run)["effect_id"][:12])
    assert "no such effects" in done(shop, "effects", run, "--state", "FAILED")


# -- deciding


def test_an_effect_that_a_person_says_succeeded_gives_the_workflow_its_result(shop: Path) -> None:
    run = parked(shop, "succeeds")
    (shop / "receipt.json").write_text('"from a file"\n')

    said = done(shop, "resolve", effect_of(shop, run)["effect_id"], "--succeeded", "@receipt.json", *SIGNED)

    assert said == f"resolved: {run}/letter#1 succeeded, by ada (SUCCEEDED)\n"
    assert result_of(shop, run) == "from a file"


def test_an_effect_that_a_person_says_failed_raises_in_the_workflow(shop: Path) -> None:
    run = parked(shop, "fails")

    done(shop, "resolve", f"{run}/letter#1", "--failed", "the paper ran out", *SIGNED)

    assert result_of(shop, run) == "Resolved: the paper ran out"


def test_an_effect_that_a_person_tries_again_is_sent_again(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with dev(tmp_path):
        run = parked(tmp_path, "again")
        (tmp_path / "broken").unlink()

        done(tmp_path, "resolve", f"{run}/letter#1", "--retry", *SIGNED)

        assert result_of(tmp_path, run) == "a letter to again"
        moves = [move["what"] for move in effect_of(tmp_path, run)["moves"]]
        assert moves == ["plan", "begin", "doubt", "park", "resolve", "begin", "prove"]


def test_many_are_decided_by_a_filter_after_a_dry_run(shop: Path) -> None:
    runs = [parked(shop, f"bulk-{number}") for number in range(3)]
    lost = parked(shop, "bulk-slow", "write_slowly")
    mine = "name=letter,guard=at_most_once,state=PARKED,older=0s"

    would = done(shop, "resolve", "--filter", mine, "--dry-run", "--failed", "lost", *SIGNED)
    young = done(shop, "resolve", "--filter", f"{mine.removesuffix('0s')}1h", "--failed", "lost", *SIGNED)
    before = {effect_of(shop, run)["state"] for run in runs}
    did = done(shop, "resolve", "--filter", mine, "--failed", "lost", *SIGNED)

    assert all(f" {run} " in would for run in runs)
    assert would.splitlines()[-1].endswith("; nothing was done")
    assert lost not in would
    assert young == "resolved 0 effects, 0 refused\n"
    assert before == {"PARKED"}
    assert all(f"resolved: {run}/letter#1 failed, by ada (FAILED)\n" in did for run in runs)
    assert did.splitlines()[-1] == f"resolved {len(did.splitlines()) - 1} effects, 0 refused"
    assert {result_of(shop, run) for run in runs} == {"Resolved: lost"}
    assert effect_of(shop, lost)["state"] == "PARKED"
    (shop / f"go-{lost}").touch()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody/letter#1", "--retry"), 3, "run nobody has no effect letter#1"),
        (("0" * 32, "--retry"), 3, "there is no effect 00000000"),
        (("letter", "--retry"), 3, "named by its id or RUN/STEP"),
        (("nobody/letter#1",), 2, "one of --succeeded JSON, --failed REASON and --retry"),
        (("nobody/letter#1", "--retry", "--failed", "x"), 2, "one of --succeeded JSON"),
        (("--retry",), 2, "needs an EFFECT, or --filter"),
        (("nobody/letter#1", "--filter", "name=letter", "--retry"), 2, "needs an EFFECT, or --filter"),
        (("nobody/letter#1", "--succeeded", "yes"), 2, "--succeeded is not JSON"),
        (("--filter", "colour=red", "--retry"), 2, "--filter 'colour=red'"),
        (("--filter", "older=soon", "--retry"), 2, "older=soon: write 30s"),
        (("--filter", "state=FAILED", "--retry"), 2, "only parked effects"),
    ],
)
def test_a_verdict_on_nothing_or_without_sense_is_refused(
    shop: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in complaint(holdfast(shop, "resolve", *arguments, *SIGNED), code)


def test_who_and_why_must_be_said(shop: Path) -> None:
    assert "'--by'" in complaint(holdfast(shop, "resolve", "a/b#1", "--retry", "--reason", "so"), 2)
    assert "'--reason'" in complaint(holdfast(shop, "resolve", "a/b#1", "--retry", "--by", "ada"), 2)
    assert "write them out" in complaint(holdfast(shop, "resolve", "a/b#1", "--retry", "--by", " ", "--reason", "x"), 2)


def test_a_settled_effect_is_not_decided_on_again(shop: Path) -> None:
    run = parked(shop, "settled")
    done(shop, "resolve", f"{run}/letter#1", "--failed", "lost", *SIGNED)

    said = complaint(holdfast(shop, "resolve", f"{run}/letter#1", "--retry", *SIGNED), 1)

    assert said.startswith("holdfast: refused: ")
    assert "ada decided FAILED at 20" in said
    assert "it is FAILED" in said


# -- races


def test_a_proof_that_came_late_wins_over_a_verdict_and_the_run_hears_of_it(shop: Path) -> None:
    """A `def` that outlives its timeout goes on sending, and what it brings is proof."""
    run = parked(shop, "late", "write_slowly")
    (shop / f"go-{run}").touch()
    until(lambda: effect_of(shop, run)["state"] == "SUCCEEDED")

    said = complaint(holdfast(shop, "resolve", f"{run}/slow#1", "--failed", "lost", *SIGNED), 1)

    assert "recorded its proof at 20" in said
    assert "(returned after its timeout)" in said
    assert result_of(shop, run) == "late, to late"


def test_a_verdict_that_loses_the_race_with_a_proof_is_refused_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with dev(tmp_path) as engine:
        run = parked(tmp_path, "race")
        engine.send_signal(signal.SIGSTOP)
        with started(tmp_path, "resolve", f"{run}/letter#1", "--retry", *SIGNED) as deciding:
            asyncio.run(asked(tmp_path, "ResolveEffect"))
            asyncio.run(proved(tmp_path, run))
            engine.send_signal(signal.SIGCONT)
            _, complained = deciding.communicate(timeout=PATIENCE)

        assert deciding.returncode == 1
        assert f"effect {run}/letter#1" in complained
        assert "the post recorded its proof at 20" in complained
        assert "(signed for); it is SUCCEEDED" in complained
        assert result_of(tmp_path, run) == "it arrived"
        assert [move["what"] for move in effect_of(tmp_path, run)["moves"]][-2:] == ["park", "prove"]


async def asked(folder: Path, command: str) -> None:
    """Wait until a command is on its way to an engine that does not take it."""
    async with Client(settings_of(folder)) as client, asyncio.timeout(PATIENCE):
        tail = await client.profile.log.tail(client.run_client.topics.commands, earliest=True)
        await tail.watch(range(client.profile.shards))
        while not any(command.encode() in dict(one.headers)["ce_type"] for one in await tail.poll(1.0, 10)):
            pass
        await tail.close()


async def proved(folder: Path, run: str) -> None:
    """Record a proof of a run's effect, as somebody who has had it all along."""
    async with Client(settings_of(folder)) as client:
        (story,) = await client.effects(run)
        proof = Prove(who="the post", result=Payload(data=b'"it arrived"'), evidence="signed for")
        await client.profile.ledger.ask([(story.effect.effect_id, proof)])


def test_of_two_people_one_decides_and_the_other_hears_who(shop: Path) -> None:
    run = parked(shop, "two-people")

    async def decide() -> None:
        async with Client(settings_of(shop)) as client:
            seen = (await client.effects(run))[0].effect
            verdicts = await asyncio.gather(
                client.resolve((run, "letter#1"), succeeded="by bob", by="bob", reason="saw it"),
                client.resolve(seen.effect_id, failed="lost", by="ada", reason="did not see it"),
                return_exceptions=True,
            )
            (refused,) = [one for one in verdicts if isinstance(one, ResolutionRefused)]
            (decided,) = [one for one in verdicts if isinstance(one, Effect)]
            assert f"{decided.resolved_by} decided {decided.state} at 20" in str(refused)
            assert refused.effect == decided
            with pytest.raises(ValueError, match="one of succeeded"):
                await client.resolve(seen.effect_id, by="ada", reason="undecided")

    asyncio.run(decide())
    assert result_of(shop, run) in {"by bob", "Resolved: lost"}


def test_a_verdict_that_nobody_takes_is_kept(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with dev(tmp_path):
        run = parked(tmp_path, "kept")
    with started(tmp_path, "resolve", f"{run}/letter#1", "--succeeded", '"later"', *SIGNED) as deciding:
        asyncio.run(asked(tmp_path, "ResolveEffect"))
        with dev(tmp_path):
            said, complained = deciding.communicate(timeout=PATIENCE)
            assert (deciding.returncode, complained) == (0, "")
            assert said.startswith(f"resolved: {run}/letter#1")
            assert result_of(tmp_path, run) == "later"


# -- an operator's word


def taken_apart(folder: Path, process: str) -> None:
    """Let the machine of a process be another one, of which this one knows nothing."""
    with sqlite3.connect(folder / FILE) as link:
        link.execute("UPDATE processes SET host = 'elsewhere' WHERE process = ?", (process,))
    link.close()


def test_after_an_operators_word_that_its_sender_is_gone_an_effect_goes_on_by_itself(tmp_path: Path) -> None:
    with dev(tmp_path) as first:
        done(tmp_path, "start", "ship_patiently", "--id", "far", "--input", '"far"')
        until((tmp_path / "sending-far").exists)
        sender = effect_of(tmp_path, "far")["sender"]
        assert "runs on this very machine" in complaint(holdfast(tmp_path, "gone", sender, *SIGNED), 1)
        first.kill()
    taken_apart(tmp_path, sender)
    assert f"sender    {sender}: nobody knows whether it can still send" in done(tmp_path, "effects", "far")

    assert done(tmp_path, "gone", sender, *SIGNED) == f"noted: {sender} is gone\n"

    assert "is known to be gone: ada's word: asked the post" in done(tmp_path, "gone", sender, *SIGNED)
    (tmp_path / "go-far").touch()
    with dev(tmp_path):
        assert result_of(tmp_path, "far") == "a parcel to far"
    story = effect_of(tmp_path, "far")
    assert "ada's word: asked the post" in [move["evidence"] for move in story["moves"]]
    assert f"sender    {sender}: ada's word: asked the post" in done(tmp_path, "effects", "far")
    assert "no process nobody" in complaint(holdfast(tmp_path, "gone", "nobody", *SIGNED), 3)


def test_effects_parked_by_a_machine_that_is_no_more_are_tried_again_by_a_filter(tmp_path: Path) -> None:
    with dev(tmp_path) as first:
        parked(tmp_path, "lost", "ship")
        story = effect_of(tmp_path, "lost")
        assert f"nobody can tell whether the sender ({story['sender']}) is gone" in story["reason"]
        first.kill()
    taken_apart(tmp_path, story["sender"])

    assert "1 of the effects that it sent are parked" in done(tmp_path, "gone", story["sender"], *SIGNED)

    (tmp_path / "go-lost").touch()
    with dev(tmp_path):
        done(tmp_path, "resolve", "--filter", f"sender={story['sender']}", "--retry", *SIGNED)
        assert result_of(tmp_path, "lost") == "a parcel to lost"


# -- the doctor


def test_the_doctor_counts_parked_effects_and_conflicts(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with dev(tmp_path):
        assert "ok    effects  none is parked" in done(tmp_path, "doctor")
        run = parked(tmp_path, "ill")
        assert "warn  effects  1 parked" in done(tmp_path, "doctor")
        done(tmp_path, "resolve", f"{run}/letter#1", "--failed", "lost", *SIGNED)
        asyncio.run(proved(tmp_path, run))

        said = done(tmp_path, "doctor")

        assert "warn  effects  1 happened after they were closed" in said
        assert "parked, each waits" not in said
        (conflict,) = [json.loads(line) for line in done(tmp_path, "effects", "--conflicts", "--json").splitlines()]
        assert (conflict["run_id"], conflict["state"]) == (run, "FAILED")
        assert (conflict["moves"][-1]["what"], conflict["moves"][-1]["evidence"]) == ("conflict", "signed for")
