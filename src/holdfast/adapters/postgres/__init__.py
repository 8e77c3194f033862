"""The truth in PostgreSQL: one schema a namespace, through psycopg 3."""

from holdfast.adapters.postgres.deaths import PostgresDeaths
from holdfast.adapters.postgres.deferred import PostgresDeferredInputs
from holdfast.adapters.postgres.ledger import PostgresLedger
from holdfast.adapters.postgres.schemas import PostgresSchemas
from holdfast.adapters.postgres.store import PostgresStore

__all__ = ["PostgresDeaths", "PostgresDeferredInputs", "PostgresLedger", "PostgresSchemas", "PostgresStore"]
