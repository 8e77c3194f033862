"""The embedded profile: everything in one SQLite file, in one process, plus clients on the same file."""

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.memory.keys import MemoryKeys
from holdfast.adapters.sqlite.deaths import SqliteDeaths
from holdfast.adapters.sqlite.deferred import SqliteDeferredInputs
from holdfast.adapters.sqlite.ledger import SqliteLedger
from holdfast.adapters.sqlite.log import EmbeddedLog
from holdfast.adapters.sqlite.schemas import SqliteSchemas
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.profiles.profile import Profile
from holdfast.settings import Settings


def assemble(settings: Settings) -> Profile:
    store = SqliteStore(settings.store.removeprefix("sqlite:///"))
    return Profile(
        settings=settings,
        store=store,
        ledger=SqliteLedger(store),
        deaths=SqliteDeaths(store),
        deferred=SqliteDeferredInputs(store),
        schemas=SqliteSchemas(store),
        log=EmbeddedLog(store),
        keys=MemoryKeys(),
        codec=AvroCodec(),
        embedded=True,
    )
