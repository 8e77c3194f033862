"""The signals of a run in memory: those that nobody has taken yet, and who waits for which.

Laws of this file:
- Signals of a name go to the waits for it, each in its order.
- The wait says of which type a signal is. One that does not fit is refused, with its reason; the wait goes on.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from holdfast.core.commands import RefuseSignal, Request, SignalRun
from holdfast.core.events import SignalReceived
from holdfast.core.payload import Payload
from holdfast.sdk.callables import shown
from holdfast.sdk.carriers import Carrier
from holdfast.sdk.failures import fit
from holdfast.sdk.loop import WorkflowLoop
from holdfast.sdk.values import UnfitValue, decode, decoder

_UNFIT: Final = object()
"""What comes of a signal that does not fit."""


class Signals:
    """What came and was not asked for, and what was asked for and did not come; `asked` collects a turn's requests."""

    __slots__ = ("_kept", "_read", "_waits")

    def __init__(self, read: Callable[[Payload], bytes]) -> None:
        self._read = read
        self._kept: dict[str, deque[tuple[SignalReceived, bytes]]] = {}
        self._waits: dict[str, deque[tuple[asyncio.Future[Any], Carrier]]] = {}

    def hear(self, signal: SignalReceived, asked: list[Request]) -> None:
        """Give a signal to whoever waits for it; else keep it."""
        waits = self._waits.get(signal.name)
        data = self._read(signal.input)  # now: when it is taken, in a later turn, a large one may not be at hand
        while waits:
            future, carrier = waits[0]
            if not future.done():
                value = _fitted(signal, data, carrier, asked)
                if value is not _UNFIT:
                    future.set_result(value)
                    waits.popleft()
                return
            waits.popleft()
        self._kept.setdefault(signal.name, deque()).append((signal, data))

    async def wait(self, name: object, kind: Any, loop: WorkflowLoop, asked: list[Request]) -> Any:
        """Take the next signal of a name, or wait for it.

        Raises:
            TypeError: the name is none, or no value is of this type.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"signal({shown(name)}): a name is a text")
        try:
            carrier = decoder(kind)
        except Exception as error:
            raise TypeError(f"signal({name!r}, …): {shown(kind)} is no type of values: {error}") from error
        kept = self._kept.get(name)
        while kept:
            value = _fitted(*kept.popleft(), carrier, asked)
            if value is not _UNFIT:
                return value
        waiting = (loop.durable_future(), carrier)
        self._waits.setdefault(name, deque()).append(waiting)
        try:
            return await waiting[0]
        except asyncio.CancelledError:
            waits = self._waits.get(name, ())
            if waiting in waits:
                self._waits[name].remove(waiting)
            raise

    def unread(self, blobs: dict[str, bytes]) -> tuple[SignalRun, ...]:
        """Give the signals that nobody has taken, as they came; the large ones of them put into `blobs`."""
        kept = [one for signals in self._kept.values() for one in signals]
        for signal, data in kept:
            if signal.input.blob is not None:
                blobs[signal.input.blob] = data
        return tuple(
            SignalRun(name=one.name, message_id=one.message_id, input=one.input, carried=True) for one, _ in kept
        )

    @property
    def waits(self) -> int:
        """How many wait."""
        return sum(map(len, self._waits.values()))


def _fitted(signal: SignalReceived, data: bytes, carrier: Carrier, asked: list[Request]) -> Any:
    try:
        return decode(carrier, data, f"signal {signal.name!r}")
    except UnfitValue as error:
        detail = fit(f"{error}; the run goes on waiting. Send what its code wants, under another message id")
        asked.append(RefuseSignal(message_id=signal.message_id, name=signal.name, input=signal.input, detail=detail))
        return _UNFIT
