"""PostgreSQL's errors, sorted by whose fault they are."""

import struct

import psycopg

from holdfast.ports.installation import NotInstalled
from holdfast.ports.journal import BadData
from holdfast.ports.unavailable import ServerFault, Unavailable

_DATA = frozenset({"21", "22", "23", "54"})
_AWAY = frozenset({"08", "25", "3D", "28", "40", "55"})
_FAULT = frozenset({"53", "57", "58", "XX"})
_CUT_OFF = frozenset({"53300", "57P01", "57P02", "57P03", "57P05"})
"""Of those classes: no connection to be had, or the server ended it. Whoever asks again finds out."""
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
    if isinstance(error, TimeoutError):
        return ServerFault(f"{where} does not answer in time: {str(error) or 'the time is over'}")
    if isinstance(error, OSError):
        return Unavailable(f"{where} does not answer: {error}")
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate or ""
    text = " ".join(str(error).split())
    if state in _MISSING:
        return NotInstalled(f"{where} holds no installation of this version ({text}): run holdfast install")
    if state[:2] in _DATA or (not state and isinstance(error, psycopg.DataError)):
        return BadData(f"{where} refuses a value: {text}")
    if not state or state[:2] in _AWAY or state in _CUT_OFF:
        return Unavailable(f"{where}: {text}")
    if state[:2] in _FAULT:
        return ServerFault(f"{where}: {text}")
    return error
