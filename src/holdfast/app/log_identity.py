"""Which log we know: the ids of the cluster and of the topics, as the store remembers them.

Laws of this file:
- An installation knows its log from the first day: a log that was lost before anybody looked is noticed as well.
- Installing again does not make another log the known one: the engine notices, and begins anew.
"""

import msgspec

from holdfast.ports.installation import Installation
from holdfast.ports.log import Log
from holdfast.ports.topics import Topics

IDENTITY = "log_identity"
CHANGED_AT = "log_changed_at"


async def identity_of(log: Log, topics: Topics) -> str:
    """Ask a log who it is."""
    ids = await log.identity([topics.commands, topics.results, topics.events])
    return msgspec.json.encode(dict(ids), order="sorted").decode()


async def remember(store: Installation, log: Log, topics: Topics) -> None:
    """Note which log the store is installed with, unless it knows one."""
    if IDENTITY not in await store.meta():
        await store.set_meta({IDENTITY: await identity_of(log, topics)})


async def changed_at(store: Installation, identity: str, now: int) -> int:
    """Tell when this log took the place of the one before it; notes it if nobody has. 0: it is the first."""
    meta = await store.meta()
    if meta.get(IDENTITY) == identity:
        return int(meta.get(CHANGED_AT, "0"))
    await store.set_meta({IDENTITY: identity, CHANGED_AT: str(now)})
    return now
