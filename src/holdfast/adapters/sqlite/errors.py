"""SQLite's errors, sorted by whose fault they are."""

import sqlite3

from holdfast.ports.store import BadData, Unavailable

_FULL = 13  # SQLITE_FULL
_PRIMARY = 0xFF  # extended result codes carry the primary one in their lowest byte

_DATA = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,  # a value of a type that cannot be bound
    sqlite3.InterfaceError,
    OverflowError,  # a number over 64 bits, a text over 2 GB
    UnicodeEncodeError,  # half a character
)


def in_words_of_the_port(where: str, error: BaseException) -> BaseException:
    """Translate an error of SQLite; anything else is returned as it is."""
    if isinstance(error, _DATA):
        told: Exception = BadData(f"{where} refuses a value: {error}")
    elif isinstance(error, sqlite3.Error):
        told = Unavailable(_telling(where, error))
    else:
        return error
    told.__cause__ = error
    return told


def _telling(where: str, error: sqlite3.Error) -> str:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & _PRIMARY == _FULL:
        return f"{where}: the disk is full, nothing was written; free some space and it goes on"
    if not isinstance(error, sqlite3.OperationalError):
        return f"{where} is damaged or is no SQLite file: {error}"
    return f"{where}: {error}"
