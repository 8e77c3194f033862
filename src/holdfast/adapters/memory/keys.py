"""Keys in this process's memory.

Law: what has expired is as if it had never been, and memory is bounded: beyond the limit the oldest are forgotten,
which the port allows at any time.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from holdfast.ports.clock import Clock
from holdfast.ports.keys import Claimed, Held, Known

LIMIT = 100_000


class _Entry(msgspec.Struct, frozen=True):
    value: Held | Known
    expires: float


class MemoryKeys:
    """Fulfils `ports.keys.Keys`; without a `clock`, time is the process's monotonic one."""

    def __init__(self, clock: Clock | None = None, *, limit: int = LIMIT) -> None:
        self._now = time.monotonic if clock is None else clock.monotonic
        self._limit = limit
        self._entries: dict[str, _Entry] = {}

    async def open(self, installation: str) -> None:
        """Nothing to connect to, and nobody to share with."""

    async def close(self) -> None:
        self._entries.clear()

    async def claim(self, keys: Sequence[str], owner: str, ttl: float) -> Sequence[Claimed | Held | Known]:
        now = self._now()
        ours = _Entry(Held(owner), now + ttl)
        answers: list[Claimed | Held | Known] = []
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or entry.expires <= now or entry.value == ours.value:
                self._keep(key, ours)
                answers.append(Claimed())
            else:
                answers.append(entry.value)
        return answers

    async def remember(self, results: Mapping[str, bytes], ttl: float) -> None:
        expires = self._now() + ttl
        for key, result in results.items():
            self._keep(key, _Entry(Known(result), expires))

    async def release(self, keys: Sequence[str], owner: str) -> None:
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and entry.value == Held(owner):
                del self._entries[key]

    async def ping(self) -> bool:
        return True

    def _keep(self, key: str, entry: _Entry) -> None:
        self._entries.pop(key, None)  # so that the order is by age
        self._entries[key] = entry
        if len(self._entries) > self._limit:
            self._forget()

    def _forget(self) -> None:
        now = self._now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.expires > now}
        for key in list(islice(self._entries, max(0, len(self._entries) - self._limit // 2))):
            del self._entries[key]
