"""The SQL of these adapters: one statement a file, named by what it does."""

from functools import cache
from pathlib import Path

_SQL = Path(__file__).parent / "sql"


@cache
def statement(kind: str, name: str) -> str:
    """Read `sql/<kind>/<name>.sql`."""
    return (_SQL / kind / f"{name}.sql").read_text("utf-8")
