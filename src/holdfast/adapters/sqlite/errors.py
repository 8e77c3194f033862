"""SQLite's errors, sorted by whose fault they are."""

import sqlite3

from holdfast.ports.journal import BadData
from holdfast.ports.unavailable import ServerFault, Unavailable

_FULL = 13  # SQLITE_FULL
_FAULT = frozenset({7, 10, 11, _FULL})  # SQLITE_NOMEM, SQLITE_IOERR, SQLITE_CORRUPT
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
        told = (ServerFault if _code(error) in _FAULT else Unavailable)(_telling(where, error))
    else:
        return error
    told.__cause__ = error
    return told


def _code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


def _telling(where: str, error: sqlite3.Error) -> str:
    if _code(error) == _FULL:
        return f"{where}: the disk is full, nothing was written; free some space and it goes on"
    if not isinstance(error, sqlite3.OperationalError):
        return f"{where} is damaged or is no SQLite file: {error}"
    return f"{where}: {error}"
