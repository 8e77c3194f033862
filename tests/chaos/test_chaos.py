"""The short form; the long one, with more of each and with Kafka's log deleted, is `make chaos`."""

import random
from pathlib import Path

import pytest

from examples.demo.servers import Servers
from tests import servers as fixtures
from tests.chaos import stories
from tests.chaos.stories import Stage, Told

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
RUNS = 25
KILLS = 4


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(1_000_000)


@pytest.fixture
def own(own_servers: fixtures.Servers) -> Servers:
    return Servers(own_servers.folder)


def told(one: Told) -> None:
    print(one)
    assert one.found.wrong == (), f"seed {one.seed}"
    assert (one.found.completed, one.found.charges, one.found.charged_twice) == (RUNS, RUNS, 0)


async def test_a_killed_process_on_one_file_costs_nothing_but_time(tmp_path: Path, seed: int) -> None:
    told(await stories.embedded_kills(Stage(tmp_path, runs=RUNS, seed=seed), KILLS))


async def test_killed_orchestrators_and_workers_cost_nothing_but_time(tmp_path: Path, seed: int, own: Servers) -> None:
    told(await stories.cluster_kills(Stage(tmp_path, runs=RUNS, seed=seed, servers=own), KILLS))


async def test_steps_of_dead_workers_are_done_by_others_within_seconds(tmp_path: Path, seed: int, own: Servers) -> None:
    told(await stories.workers_killed(Stage(tmp_path, runs=RUNS, seed=seed, servers=own)))


async def test_an_orchestrator_that_wakes_up_without_its_shards_doubles_nothing(
    tmp_path: Path, seed: int, own: Servers
) -> None:
    told(await stories.zombie(Stage(tmp_path, runs=RUNS, seed=seed, servers=own)))


async def test_redis_may_forget_everything(tmp_path: Path, seed: int, own: Servers) -> None:
    told(await stories.redis_flushed(Stage(tmp_path, runs=RUNS, seed=seed, servers=own)))


@pytest.mark.slow
async def test_kafka_may_lose_its_log(tmp_path: Path, seed: int, own: Servers) -> None:
    told(await stories.kafka_wiped(Stage(tmp_path, runs=RUNS, seed=seed, servers=own)))
