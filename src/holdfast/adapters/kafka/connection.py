"""Connections to the cluster, and the plain questions that are asked over them.

Laws of this file:
- A client that cannot reach the cluster is thrown away whole; the next use connects anew from the bootstrap servers.
- Asking never creates a topic.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from holdfast.adapters.kafka.metadata import NO_LEADER, Described, MetadataRequest, described

# Its every retry is an error to it. Who wants to read that configures logging; the command line's stderr stays clean.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())

LATEST = -1
EARLIEST = -2

_SECURITY = (
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "sasl_kerberos_service_name",
    "sasl_kerberos_domain_name",
    "sasl_oauth_token_provider",
)
_SSL = {"ssl_cafile": "cafile", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile", "ssl_password": "password"}


def connection_options(options: Mapping[str, object]) -> dict[str, Any]:
    """Read the options of every connection; `ssl_cafile` and its like become one context.

    Raises:
        ValueError: an option is unknown.
    """
    unknown = sorted(set(options) - {*_SECURITY, *_SSL, "request_timeout_ms"})
    if unknown:
        known = ", ".join(sorted({*_SECURITY, *_SSL, "request_timeout_ms"}))
        raise ValueError(f"unknown option for Kafka: {', '.join(unknown)}; there are {known}")
    chosen: dict[str, Any] = {name: options[name] for name in _SECURITY if name in options}
    if "request_timeout_ms" in options:
        chosen["request_timeout_ms"] = int(str(options["request_timeout_ms"]))
    if str(chosen.get("security_protocol", "")).endswith("SSL") and "ssl_context" not in chosen:
        chosen["ssl_context"] = create_ssl_context(**{_SSL[name]: options[name] for name in _SSL if name in options})
    return chosen


class Client(AIOKafkaClient):  # type: ignore[misc]  # aiokafka ships no types
    """A client that counts its broken connections: what a producer's sequence numbers mean ends with each."""

    breaks = 0

    async def _get_conn(
        self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """Give no connection that has ended already: to write to one is, to uvloop, a RuntimeError of the writer's."""
        there = self._conns.get((node_id, group))
        if there is not None and there._writer is not None and there._writer.transport.is_closing():  # noqa: SLF001 - aiokafka looks at what was read only
            there.close(reason=CloseReason.CONNECTION_BROKEN)
        return await super()._get_conn(node_id, group=group, no_hint=no_hint)

    def _on_connection_closed(self, conn: Any, reason: Any) -> None:
        self.breaks += 1
        super()._on_connection_closed(conn, reason)

    async def describe(self, topics: Collection[str]) -> tuple[str, dict[str, Described]]:
        """Ask for the cluster's id and those of `topics` that exist."""
        return described(await self.ask(MetadataRequest(list(topics))))

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """Send a question to `node`, or to any; it does not queue behind records that are being published."""
        chosen = self.get_random_node() if node is None else node
        return await self.send(chosen, request, group=ConnectionGroup.COORDINATION)

    async def offsets(self, topic: str, partitions: Sequence[int], time: int) -> dict[int, int]:
        """Ask the leaders for the earliest or latest offsets of some partitions."""
        _cluster, topics = await self.describe([topic])
        if topic not in topics:
            raise errors.UnknownTopicOrPartitionError(topic)
        by_leader: dict[int, list[tuple[int, int]]] = {}
        for partition in partitions:
            leader = topics[topic].leaders[partition]
            if leader == NO_LEADER:
                raise errors.LeaderNotAvailableError(topic, partition)
            by_leader.setdefault(leader, []).append((partition, time))
        found = {}
        for leader, asked in by_leader.items():
            response = await self.ask(OffsetRequest(-1, 0, [(topic, asked)]), leader)
            for partition, code, _timestamp, offset in response.topics[0][1]:
                error = errors.for_code(code)
                if error is not errors.NoError:
                    raise error(topic, partition)
                found[partition] = offset
        return found

    async def committed(
        self, group: str, partitions: Mapping[str, list[int]]
    ) -> dict[tuple[str, int], tuple[int, str]]:
        """Ask for what `group` has committed: offset and metadata of each (topic, partition) that has any."""
        coordinator = await self.coordinator_lookup(CoordinationType.GROUP, group)
        response = await self.ask(OffsetFetchRequest(group, list(partitions.items())), coordinator)
        found = {}
        for topic, answers in response.topics:
            for partition, offset, metadata, code in answers:
                error = errors.for_code(code)
                if error not in {errors.NoError, errors.UnknownTopicOrPartitionError}:
                    raise error(topic, partition)
                if offset >= 0:
                    found[topic, partition] = (offset, metadata or "")
        return found


async def connect(bootstrap: str, client_id: str, options: Mapping[str, Any]) -> Client:
    """Make a client that has found the cluster."""
    client = Client(bootstrap_servers=bootstrap, client_id=client_id, **options)
    try:
        await client.bootstrap()
    except BaseException:
        await client.close()
        raise
    return client
