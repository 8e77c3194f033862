"""A timer that counts the processor time of the thread that makes it, and raises a signal when it runs out.

Python's own interval timers count the time of all threads together: a step that computes in another thread would let
them run out. See timer_create(2), clock_gettime(2). Where there is no such timer (not Linux), it never runs out.
"""

import ctypes
import signal
import sys
import threading
import time
from typing import Final

_SIGEV_SIGNAL: Final = 0


class _SignalEvent(ctypes.Structure):
    """`struct sigevent`, which is 64 bytes long."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _Span(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Spans(ctypes.Structure):
    _fields_ = (("interval", _Span), ("value", _Span))


class ThreadTimer:
    """Made by the thread whose time it counts; set by any."""

    def __init__(self, signal_: signal.Signals) -> None:
        self._id: ctypes.c_void_p | None = None
        self._library: ctypes.CDLL | None = None
        if sys.platform != "linux":
            return
        library = ctypes.CDLL(None, use_errno=True)
        identity = ctypes.c_void_p()
        event = _SignalEvent(signal=signal_, notify=_SIGEV_SIGNAL)
        clock = time.pthread_getcpuclockid(threading.get_ident())
        if library.timer_create(ctypes.c_int(clock), ctypes.byref(event), ctypes.byref(identity)) == 0:
            self._id, self._library = identity, library

    def set(self, seconds: float) -> None:
        """Begin anew: the signal comes when the thread has used so much processor time from now on; 0 is never."""
        if self._library is None:
            return
        whole = int(seconds)
        value = _Span(seconds=whole, nanoseconds=int((seconds - whole) * 1e9))
        spans = _Spans(interval=_Span(0, 0), value=value)
        self._library.timer_settime(self._id, 0, ctypes.byref(spans), None)

    def close(self) -> None:
        if self._library is not None:
            self._library.timer_delete(self._id)
            self._library = None
