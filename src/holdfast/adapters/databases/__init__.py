"""The databases of `transaction` effects: PostgreSQL through psycopg 3, SQLite through a thread."""

from holdfast.adapters.databases.named import NamedDatabases

__all__ = ["NamedDatabases"]
