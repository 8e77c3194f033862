"""URLs of PostgreSQL, as settings give them.

Law of this file: what is told of a server, and of a URL that cannot be read, holds no password; libpq's own complaints
may.
"""

from typing import Any, NamedTuple

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Server(NamedTuple):
    """Where a server is, for people, and how to connect to it, for libpq."""

    name: str
    conninfo: str


def read_url(url: str, application: str) -> Server:
    """Take a URL apart; what it says goes before our defaults, the `application` name among them.

    Raises:
        ValueError: it cannot be read; says how to write one.
    """
    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except ProgrammingError:
        given = {}
    if not given or "@" in str(given.get("host", "")):  # after a @ of the password itself, the host begins too soon
        raise ValueError(
            "it cannot be read: write postgresql://user:password@host:port/database, with the special characters of "
            "user and password as %40 (for @) and so on"
        )
    defaults = {"application_name": application, **_DEFAULTS}
    host, port = given.get("host", "local socket"), given.get("port", 5432)
    return Server(
        name=f"PostgreSQL at {host}:{port}/{given.get('dbname', '')}",
        conninfo=make_conninfo(url, **{name: value for name, value in defaults.items() if name not in given}),
    )
