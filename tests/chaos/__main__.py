"""The long form of the chaos tests: `python -m tests.chaos --runs 200 --kills 20`; writes build/report/chaos.json."""

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

Story = tuple[str, bool, Callable[[Stage], Awaitable[Told]]]


def main() -> int:
    """Tell all stories of the chosen profile."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's own user has to come through
    told: list[Told] = []
    good = False
    try:
        asyncio.run(_tell(given, folder, told))
        good = all(one.holds for one in told)
    except KeyboardInterrupt:
        print("stopped; everything that was started is down", file=sys.stderr)
        return 130
    finally:
        report: list[Any] = [msgspec.to_builtins(one) | {"holds": one.holds} for one in told]
        print(f"report: {write_report('chaos', {'good': good, 'seed': given.seed, 'stories': report})}")
        if given.keep or not good:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


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


async def _tell(given: argparse.Namespace, folder: Path, told: list[Told]) -> None:
    wanted = [
        story
        for story in _stories(given.kills)
        if (given.profile == "both" or story[1] == (given.profile == "cluster")) and given.only in (None, story[0])
    ]
    servers = Servers(folder / "servers")
    try:
        if any(needs_servers for _, needs_servers, _ in wanted):
            await servers.start()
        for name, needs_servers, tell in wanted:
            stage = Stage(folder / name, runs=given.runs, seed=given.seed, servers=servers if needs_servers else None)
            print(f"{name}: {given.runs} runs, seed {given.seed} …", flush=True)
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
    parser.add_argument("--runs", type=int, default=200, help="orders in each story (default 200)")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 in each killing story (default 20)")
    parser.add_argument("--profile", choices=("embedded", "cluster", "both"), default="both")
    parser.add_argument("--only", choices=[name for name, _, _ in _stories(0)], help="just this story")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what chance is drawn from")
    parser.add_argument("--keep", action="store_true", help="keep the folder with files, books and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
