"""What the annotations of a `transaction` effect may name: its connection to an SQLite file.

To PostgreSQL it is psycopg's own `AsyncConnection`.
"""

from holdfast.adapters.databases.sqlite import Rows, SqliteConnection

__all__ = ["Rows", "SqliteConnection"]
