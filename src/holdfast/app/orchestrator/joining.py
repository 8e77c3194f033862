"""Joining the group of the orchestrators, however long the log is away."""

import logging
from collections.abc import Awaitable, Callable, Collection

from holdfast.app.backoff import backoff
from holdfast.ports.log import Log, Membership, Unreachable
from holdfast.ports.topics import Topics

log = logging.getLogger(__name__)

Shift = Callable[[Collection[int]], Awaitable[None]]


async def joined(
    log_: Log, topics: Topics, instance: str | None, *, on_assigned: Shift, on_revoked: Shift
) -> Membership:
    """Join; shards come and go from then on."""
    async for number in backoff():
        try:
            return await log_.join(
                [topics.commands, topics.results],
                f"{topics.namespace}.orchestrator",
                on_assigned=on_assigned,
                on_revoked=on_revoked,
                instance=instance,
            )
        except Unreachable as away:
            if number in {0, 5} or number % 20 == 0:
                log.warning("cannot join the consumer group: %s; retrying", away)
    raise AssertionError("backoff() has no end")
