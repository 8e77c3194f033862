"""Keys in a real Redis keep the laws of the port, also while it is away, frozen, flushed or set up wrongly."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from holdfast.adapters.redis import RedisKeys
from holdfast.ports.keys import Claimed, Held, Known
from holdfast.testing.conformance.keys import Advance, Flush, KeysConformance
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

TIMEOUT = 0.25


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis of this module alone, to flush, freeze and kill."""
    own = Servers(tmp_path_factory.mktemp("redis"))
    own.start("redis")
    yield own
    own.wipe("redis")


@pytest.fixture
async def redis(server: Servers) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.redis)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def keys(server: Servers, redis: Redis) -> AsyncIterator[RedisKeys]:
    keys = RedisKeys(server.redis, "shop", timeout=TIMEOUT, pause=0.05)
    await keys.open("one")
    yield keys
    await keys.close()


class TestRedisKeys(KeysConformance):
    @pytest.fixture
    async def keys(self, server: Servers, redis: Redis) -> AsyncIterator[RedisKeys]:
        keys = RedisKeys(server.redis, "shop", timeout=5)
        await keys.open("one")
        yield keys
        await keys.close()

    @pytest.fixture
    def flush(self, redis: Redis) -> Flush:
        async def flush() -> None:
            await redis.flushall()
            await redis.script_flush()

        return flush

    @pytest.fixture
    def advance(self, redis: Redis) -> Advance:
        async def advance(seconds: float) -> None:
            # Time is Redis's own: every key's end is brought nearer instead.
            for key in await redis.keys():
                await redis.pexpire(key, await redis.pttl(key) - int(seconds * 1000))

        return advance


async def until_it_answers(keys: RedisKeys) -> None:
    async with asyncio.timeout(20):
        while not await keys.ping():
            await asyncio.sleep(0.02)


async def without_redis(keys: RedisKeys) -> None:
    """All that is promised of an absent server: nothing raises, claims are granted, nothing is known."""
    assert list(await keys.claim(["held", "known"], "bob", 10)) == [Claimed(), Claimed()]
    await keys.remember({"lost": b"receipt"}, 10)
    await keys.release(["held"], "ada")
    assert not await keys.ping()


async def test_everything_in_redis_expires(keys: RedisKeys, redis: Redis) -> None:
    await keys.claim(["held"], "ada", 10)
    await keys.remember({"known": b"receipt"}, 20)
    assert {key: 0 < await redis.pttl(key) <= 20_000 for key in await redis.keys()} == {
        b"shop:one:held": True,
        b"shop:one:known": True,
    }


async def test_namespaces_share_a_redis_without_meeting(keys: RedisKeys, server: Servers) -> None:
    await keys.claim(["charge#1"], "ada", 10)
    others = RedisKeys(server.redis, "clinic", timeout=TIMEOUT)
    assert list(await others.claim(["charge#1"], "bob", 10)) == [Claimed()]
    await others.close()


async def test_a_claim_of_many_keys_is_one_call(keys: RedisKeys, redis: Redis) -> None:
    await keys.claim(["warm"], "ada", 10)
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await keys.claim([f"step#{number}" for number in range(200)], "ada", 10)
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


async def test_of_many_who_claim_at_once_one_wins(server: Servers, redis: Redis) -> None:
    clients = [RedisKeys(server.redis, "shop", timeout=5) for _ in range(8)]
    answers = await asyncio.gather(*(keys.claim(["charge#1"], f"w{n}", 10) for n, keys in enumerate(clients)))
    winners = [n for n, answer in enumerate(answers) if list(answer) == [Claimed()]]
    assert len(winners) == 1
    assert all(list(answers[n]) == [Held(f"w{winners[0]}")] for n in range(8) if n != winners[0])
    for keys in clients:
        await keys.close()


async def test_a_killed_redis_is_done_without_and_taken_up_again_by_itself(keys: RedisKeys, server: Servers) -> None:
    await keys.claim(["held"], "ada", 10)
    await keys.remember({"known": b"receipt"}, 10)
    server.kill("redis")
    try:
        await without_redis(keys)
    finally:
        server.start("redis")
    await until_it_answers(keys)
    await keys.remember({"known again": b"receipt"}, 10)
    assert list(await keys.claim(["known again"], "bob", 10)) == [Known(b"receipt")]


async def test_without_a_ping_a_claim_too_finds_the_redis_that_came_back(keys: RedisKeys, server: Servers) -> None:
    server.kill("redis")
    try:
        await keys.claim(["held"], "ada", 10)
    finally:
        server.start("redis")
    async with asyncio.timeout(20):
        while list(await keys.claim(["known"], "ada", 10)) != [Known(b"receipt")]:
            await keys.remember({"known": b"receipt"}, 10)
            await asyncio.sleep(0.02)


async def test_connections_that_died_while_idle_cost_no_claim(keys: RedisKeys, server: Servers) -> None:
    await keys.claim(["before"], "ada", 10)
    server.kill("redis")
    server.start("redis")
    await keys.remember({"known": b"receipt"}, 10)
    assert list(await keys.claim(["known"], "bob", 10)) == [Known(b"receipt")]


def test_a_connection_that_ends_between_the_look_at_it_and_the_word_costs_no_claim(server: Servers) -> None:
    async def story() -> None:
        keys = RedisKeys(server.redis, "shop", timeout=5)
        await keys.remember({"known": b"receipt"}, 10)
        pool: Any = keys._redis.connection_pool  # noqa: SLF001 - the client's own, to end its connection at that moment
        (idle,) = pool._available_connections  # noqa: SLF001 - as above
        transports = [idle._writer.transport]  # noqa: SLF001 - as above

        async def right_before_the_word() -> None:
            while transports:
                transports.pop().abort()
                await asyncio.sleep(0.01)

        idle.check_health = right_before_the_word
        assert list(await keys.claim(["known"], "bob", 10)) == [Known(b"receipt")]
        await keys.close()

    uvloop.run(story())  # the loop of the services


async def test_a_frozen_redis_delays_the_first_call_by_its_patience_and_the_others_not_at_all(server: Servers) -> None:
    keys = RedisKeys(server.redis, "shop", timeout=TIMEOUT, pause=60)
    await keys.open("one")
    server.pause("redis")
    try:
        began = time.monotonic()
        await keys.claim(["first"], "ada", 10)
        assert time.monotonic() - began < 10 * TIMEOUT
        began = time.monotonic()
        for _ in range(200):
            assert list(await keys.claim(["held"], "ada", 10)) == [Claimed()]
        assert time.monotonic() - began < TIMEOUT
        await without_redis(keys)
    finally:
        server.resume("redis")
    await until_it_answers(keys)
    await keys.close()


async def test_a_server_that_is_not_there_at_all_is_no_error() -> None:
    keys = RedisKeys("redis://127.0.0.1:1/0", "shop")
    await keys.open("one")
    await without_redis(keys)
    await keys.close()


async def test_a_redis_that_refuses_what_is_asked_is_done_without(keys: RedisKeys, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    await redis.config_set("maxmemory-policy", "noeviction")
    try:
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Claimed()]
        await keys.remember({"known": b"receipt"}, 10)
    finally:
        await redis.config_set("maxmemory", "0")
    await until_it_answers(keys)
    assert list(await keys.claim(["known"], "bob", 10)) == [Claimed()]


async def test_a_value_of_a_newer_release_is_no_result_and_no_claim(keys: RedisKeys, redis: Redis) -> None:
    for value in (b"x-of-a-newer-kind", b"", b"\xff"):
        await redis.set("shop:one:k", value)
        assert await keys.claim(["k"], "me", 60) == [Claimed()]
    await redis.set("shop:one:k", b"c\xff\xfe")
    assert await keys.claim(["k"], "me", 60) == [Held("\ufffd\ufffd")]
    await keys.remember({"k": b"result"}, 60)
    assert await keys.claim(["k"], "me", 60) == [Known(b"result")]


async def test_another_installation_of_the_same_name_knows_nothing_of_this_one(
    keys: RedisKeys, server: Servers, redis: Redis
) -> None:
    await keys.remember({"charge#1": b"receipt"}, 60)
    another = RedisKeys(server.redis, "shop")
    await another.open("two")
    assert list(await another.claim(["charge#1"], "bob", 10)) == [Claimed()]
    await another.close()
    assert list(await keys.claim(["charge#1"], "ada", 10)) == [Known(b"receipt")]
