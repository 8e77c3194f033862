"""Tasks of queues that nobody has served yet: their topic does not exist, and nobody else's records wait for it.

Laws of this file:
- They go out as soon as there is such a topic; a worker of the queue makes it when it starts.
- What is waiting here is open in the store as well: should this process end, the sweeper sends it again.
"""

import asyncio
import logging
from collections.abc import Collection

from holdfast.ports.log import Log, Outgoing, Topic, TopicMissing, Unreachable
from holdfast.ports.topics import is_of_tasks

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
AT_MOST = 50_000


class Unserved:
    """Records by the topic that is missing."""

    def __init__(self, log_: Log) -> None:
        self._log = log_
        self._waiting: dict[str, list[Outgoing]] = {}
        self._some = asyncio.Event()

    def without(self, records: list[Outgoing]) -> list[Outgoing]:
        """Keep the records whose topic is known to be missing; gives the others."""
        if not self._waiting:
            return records
        return self._split(records, self._waiting.keys())

    def without_these(self, records: list[Outgoing], missing: Collection[str]) -> list[Outgoing]:
        """Learn that topics are missing, and keep their tasks; gives the other records."""
        for topic in missing:
            if is_of_tasks(topic) and topic not in self._waiting:
                log.warning(
                    "tasks wait for topic %s: no worker has served this queue yet; start one: holdfast worker", topic
                )
                self._waiting[topic] = []
                self._some.set()
        return self.without(records)

    def _split(self, records: list[Outgoing], missing: Collection[str]) -> list[Outgoing]:
        for record in records:
            if record.topic in missing and len(self._waiting[record.topic]) < AT_MOST:
                self._waiting[record.topic].append(record)
        return [record for record in records if record.topic not in missing]

    async def serve(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LOOK_EVERY)
            try:
                missing = await self._log.missing([Topic(name, 1) for name in self._waiting])
                for topic in self._waiting.keys() - missing:
                    await self._send(topic)
            except (Unreachable, TopicMissing) as away:
                log.info("cannot send tasks of new queues: %s; retrying", away)
            if not self._waiting:
                self._some.clear()

    async def _send(self, topic: str) -> None:
        records = self._waiting.pop(topic)
        try:
            if records:
                await self._log.publish(records)
        except BaseException:
            self._waiting[topic] = [*records, *self._waiting.get(topic, [])]
            raise
