"""The cluster profile: Kafka carries, PostgreSQL holds the truth, Redis makes things faster."""

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.kafka.log import KafkaLog
from holdfast.adapters.memory.keys import MemoryKeys
from holdfast.adapters.postgres.deaths import PostgresDeaths
from holdfast.adapters.postgres.deferred import PostgresDeferredInputs
from holdfast.adapters.postgres.ledger import PostgresLedger
from holdfast.adapters.postgres.schemas import PostgresSchemas
from holdfast.adapters.postgres.store import PostgresStore
from holdfast.ports.keys import Keys
from holdfast.profiles.profile import Profile
from holdfast.settings import Settings, SettingsError

OF_INSTALL = frozenset({"replication"})
"""Options that tell how topics are made, not how to connect."""


def assemble(settings: Settings) -> Profile:
    if settings.schema_registry is not None:
        raise SettingsError("HOLDFAST_SCHEMA_REGISTRY: a registry is not supported yet; leave it unset")
    options = {name: value for name, value in settings.kafka.items() if name not in OF_INSTALL}
    try:
        store = PostgresStore(settings.store, settings.namespace)
    except ValueError as unreadable:
        raise SettingsError(f"HOLDFAST_STORE: {unreadable}") from None
    return Profile(
        settings=settings,
        store=store,
        ledger=PostgresLedger(store),
        deaths=PostgresDeaths(store),
        deferred=PostgresDeferredInputs(store),
        schemas=PostgresSchemas(store),
        log=KafkaLog(settings.log.removeprefix("kafka://"), options=options),
        keys=_keys(settings),
        codec=AvroCodec(),
        embedded=False,
    )


def _keys(settings: Settings) -> Keys:
    if settings.keys == "memory":
        return MemoryKeys()
    from holdfast.adapters.redis.keys import RedisKeys

    try:
        return RedisKeys(settings.keys, settings.namespace)
    except ValueError:  # its text may repeat a part of the URL, with the password
        raise SettingsError(
            "HOLDFAST_KEYS: it cannot be read: write redis://user:password@host:port/0, with the special characters of "
            "user and password as %40 (for @) and so on"
        ) from None
