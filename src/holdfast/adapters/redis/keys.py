"""Keys in Redis, which is never needed for correctness.

Laws of this file:
- No call raises because Redis is away, slow, full or set up wrongly: claims are granted, nothing is known.
- An absent Redis costs nothing: after a failure it is left alone for a while, then one call tries for all.
- One round trip a call, however many keys.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from holdfast.ports.keys import Claimed, Held, Known

Answer = TypeVar("Answer")

TIMEOUT = 0.25
PAUSE = 1.0

GONE: Any = (Disconnected, RuntimeError)
"""uvloop raises a RuntimeError where something is written to a connection that has just ended."""

_CLAIM = b"c"
_RESULT = b"r"

log = logging.getLogger(__name__)


class RedisKeys:
    """Fulfils `ports.keys.Keys`.

    `timeout` is how long a connection or an answer may take, `pause` how long an absent Redis is left alone; seconds.
    """

    def __init__(
        self, url: str, namespace: str = "holdfast", *, timeout: float = TIMEOUT, pause: float = PAUSE
    ) -> None:
        self._namespace = namespace
        self._prefix = f"{namespace}:"
        self._timeout = timeout
        self._pause = pause
        self._away = False
        self._again_at = 0.0
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=timeout,
            socket_timeout=None,  # its own limit costs a task for each write; ours is around the whole call
            # A connection that died while idle is made anew, once, within the call.
            retry=Retry(NoBackoff(), 1, supported_errors=GONE),
        )
        self._claim = self._redis.register_script(_script("claim"))
        self._remember = self._redis.register_script(_script("remember"))
        self._release = self._redis.register_script(_script("release"))

    async def open(self, installation: str) -> None:
        self._prefix = f"{self._namespace}:{installation}:"
        await self.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def claim(self, keys: Sequence[str], owner: str, ttl: float) -> Sequence[Claimed | Held | Known]:
        async def ask() -> list[bytes | None]:
            answers: list[bytes | None] = await self._claim(
                keys=self._named(keys), args=[_CLAIM + owner.encode(), _milliseconds(ttl)]
            )
            return answers

        if not keys:
            return ()
        nothing: list[bytes | None] = [None] * len(keys)
        return [_answer(there) for there in await self._try(ask, nothing)]

    async def remember(self, results: Mapping[str, bytes], ttl: float) -> None:
        async def ask() -> None:
            values = [_RESULT + result for result in results.values()]
            await self._remember(keys=self._named(results), args=[_milliseconds(ttl), *values])

        if results:
            await self._try(ask, None)

    async def release(self, keys: Sequence[str], owner: str) -> None:
        async def ask() -> None:
            await self._release(keys=self._named(keys), args=[_CLAIM + owner.encode()])

        if keys:
            await self._try(ask, None)

    async def ping(self) -> bool:
        async def ask() -> bool:
            return await self._redis.ping()

        self._again_at = 0.0  # whoever asks whether it answers wants it tried
        return await self._try(ask, otherwise=False)

    async def _try(self, ask: Callable[[], Awaitable[Answer]], otherwise: Answer) -> Answer:
        if self._away:
            if time.monotonic() < self._again_at:
                return otherwise
            self._again_at = time.monotonic() + self._pause  # this call tries, the others go on without
        try:
            async with asyncio.timeout(self._timeout):
                answer = await ask()
        except (RedisError, OSError, RuntimeError) as gone:
            if not self._away:
                log.warning("cannot reach Redis: %s; continuing without it, only slower", gone)
            self._away = True
            self._again_at = time.monotonic() + self._pause
            return otherwise
        if self._away:
            log.info("Redis is reachable again")
            self._away = False
        return answer

    def _named(self, keys: Iterable[str]) -> list[str]:
        return [self._prefix + key for key in keys]


def _answer(there: bytes | None) -> Claimed | Held | Known:
    """Read a value; one of another kind is a newer release's, and nothing is known then."""
    if there is None or there[:1] not in {_CLAIM, _RESULT}:
        return Claimed()
    value = there[1:]
    return Known(value) if there[:1] == _RESULT else Held(value.decode(errors="replace"))


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _script(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text("utf-8")
