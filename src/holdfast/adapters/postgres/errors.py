"""PostgreSQL's errors, sorted by whose fault they are."""

import struct

import psycopg

from holdfast.ports.store import BadData, NotInstalled, Unavailable

_DATA = frozenset({"21", "22", "23", "54"})
_AWAY = frozenset({"08", "25", "3D", "28", "40", "53", "55", "57", "58", "XX"})
_MISSING = frozenset({"42P01", "3F000", "42703"})  # table, schema, column
_UNFIT = (UnicodeEncodeError, struct.error, OverflowError)  # half a character, a number over 64 bits


def in_words_of_the_port(where: str, error: BaseException) -> BaseException:
    """Translate an error of PostgreSQL or of its client; anything else is returned as it is."""
    told = _told(where, error)
    if told is not error:
        told.__cause__ = error
    return told


def _told(where: str, error: BaseException) -> BaseException:
    if isinstance(error, _UNFIT):
        return BadData(f"{where} cannot store a value: {error}")
    if isinstance(error, TimeoutError | OSError):
        return Unavailable(f"{where} does not answer: {str(error) or 'the time is over'}")
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate or ""
    text = " ".join(str(error).split())
    if state in _MISSING:
        return NotInstalled(f"{where} holds no installation of this version ({text}): run holdfast install")
    if state[:2] in _DATA or (not state and isinstance(error, psycopg.DataError)):
        return BadData(f"{where} refuses a value: {text}")
    if not state or state[:2] in _AWAY:
        return Unavailable(f"{where}: {text}")
    return error
