"""The embedded profile: store and log in one SQLite file, WAL, `synchronous=FULL`."""

from holdfast.adapters.sqlite.deaths import SqliteDeaths
from holdfast.adapters.sqlite.deferred import SqliteDeferredInputs
from holdfast.adapters.sqlite.ledger import SqliteLedger
from holdfast.adapters.sqlite.lock import AlreadyRunning, EngineLock
from holdfast.adapters.sqlite.log import EmbeddedLog
from holdfast.adapters.sqlite.schemas import SqliteSchemas
from holdfast.adapters.sqlite.store import SqliteStore

__all__ = [
    "AlreadyRunning",
    "EmbeddedLog",
    "EngineLock",
    "SqliteDeaths",
    "SqliteDeferredInputs",
    "SqliteLedger",
    "SqliteSchemas",
    "SqliteStore",
]
