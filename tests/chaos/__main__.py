"""A storm, then the stories: `python -m tests.chaos --runs 2000 --faults 100`; writes build/report/chaos.json."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from examples.demo.servers import Servers
from examples.demo.view import write_report
from tests.chaos import stories
from tests.chaos.stories import Stage, Told
from tests.chaos.storm import FEWEST, PER_FAULT, Plan, Report, storm, table

Story = tuple[str, bool, Callable[[Stage], Awaitable[Told]]]
STORM, STORIES = "storm", "stories"


def main() -> int:
    """Tell all that was asked for; 1 unless everything holds."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's own user has to come through
    weather: list[Report] = []
    told: list[Told] = []
    good = False
    try:
        asyncio.run(_tell(given, folder, weather, told))
        good = all(one.holds for one in weather) and all(one.holds for one in told)
    except KeyboardInterrupt:
        print("stopped; everything that was started is down", file=sys.stderr)
        return 130
    finally:
        print(f"report: {write_report('chaos', _report(good, given.seed, weather, told))}")
        if given.keep or not good:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


def _report(good: bool, seed: int, weather: list[Report], told: list[Told]) -> dict[str, Any]:
    of_storm: dict[str, Any] = msgspec.to_builtins(weather[0]) if weather else {}
    of_stories = [msgspec.to_builtins(one) | {"holds": one.holds} for one in told]
    return {"good": good, "seed": seed, **of_storm, "stories": of_stories}


def _stories(kills: int) -> list[Story]:
    """Name every story, and whether it needs servers."""
    return [
        ("embedded-kills", False, lambda stage: stories.embedded_kills(stage, kills)),
        ("cluster-kills", True, lambda stage: stories.cluster_kills(stage, kills)),
        ("workers-killed", True, stories.workers_killed),
        ("zombie", True, stories.zombie),
        ("redis-flushed", True, stories.redis_flushed),
        ("kafka-wiped", True, stories.kafka_wiped),
    ]


async def _tell(given: argparse.Namespace, folder: Path, weather: list[Report], told: list[Told]) -> None:
    if given.only in (None, STORM):
        (folder / STORM).mkdir(mode=0o755)
        seconds = given.faults * PER_FAULT
        plan = Plan(runs=given.runs, faults=given.faults, seed=given.seed, seconds=seconds)
        weather.append(await storm(folder / STORM, plan))
        print(table(weather[0]), flush=True)
    if given.only != STORM:
        await _tell_stories(given, folder, told)


async def _tell_stories(given: argparse.Namespace, folder: Path, told: list[Told]) -> None:
    wanted = [story for story in _stories(given.kills) if given.only in (None, STORIES, story[0])]
    servers = Servers(folder / "servers")
    try:
        if any(needs_servers for _, needs_servers, _ in wanted):
            await servers.start()
        for name, needs_servers, tell in wanted:
            stage = Stage(
                folder / name, runs=given.story_runs, seed=given.seed, servers=servers if needs_servers else None
            )
            print(f"{name}: {given.story_runs} runs, seed {given.seed} …", flush=True)
            told.append(await tell(stage))
            print(_line(told[-1]), flush=True)
    finally:
        await servers.wipe()


def _line(told: Told) -> str:
    found = told.found
    words = (
        f"{told.story}: {found.completed} of {found.runs} runs completed, {found.charges} charges, "
        f"{found.charged_twice} twice, {found.events} events, {told.kills} kills, {told.seconds} s"
    )
    return "\n  ".join([words, *found.wrong[:20]])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--runs", type=int, default=2000, help="orders in the storm (default 2000)")
    parser.add_argument(
        "--faults", type=int, default=100, help=f"faults in the storm (default 100), one each {PER_FAULT:g} s"
    )
    parser.add_argument("--story-runs", type=int, default=60, help="orders in each story (default 60)")
    parser.add_argument("--kills", type=int, default=8, help="kill -9 in each killing story (default 8)")
    parser.add_argument("--only", choices=[STORM, STORIES, *(name for name, _, _ in _stories(0))], help="just this")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what chance is drawn from")
    parser.add_argument("--keep", action="store_true", help="keep the folder with files, books and logs")
    given = parser.parse_args()
    if given.runs < FEWEST * given.faults:
        parser.error(f"{given.faults} faults need at least {FEWEST * given.faults} --runs")
    return given


if __name__ == "__main__":
    sys.exit(main())
