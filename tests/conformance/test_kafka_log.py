"""The log on a real Kafka keeps the laws of the port."""

from collections.abc import AsyncIterator

import pytest

from holdfast.adapters.kafka.log import KafkaLog
from holdfast.ports.log import Topic
from holdfast.testing.conformance.log import PARTITIONS, LogConformance
from tests.servers import Servers

pytestmark = pytest.mark.servers


class TestKafkaLog(LogConformance):
    @pytest.fixture
    async def log(self, servers: Servers) -> AsyncIterator[KafkaLog]:
        log = KafkaLog(servers.kafka)
        await log.open()
        yield log
        await log.close()

    @pytest.fixture
    async def another_log(self, servers: Servers) -> AsyncIterator[KafkaLog]:
        log = KafkaLog(servers.kafka, client_id="another")
        await log.open()
        yield log
        await log.close()

    @pytest.fixture
    async def topics(self, log: KafkaLog, namespace: str) -> list[Topic]:
        made = [Topic(f"{namespace}.{name}.v1", PARTITIONS) for name in ("commands", "results", "tasks.default")]
        await log.install(made)
        return made
