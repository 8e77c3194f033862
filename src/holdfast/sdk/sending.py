"""The moment of sending: what an effect's function, or the transport it sends with, says to the worker that runs it.

Laws of this file:
- The intent is in the ledger before the first byte leaves; who cannot commit it does not send.
- The same effect sends the same bytes in every attempt, whatever the function makes anew.
- The last verdict that was heard counts, whatever the function makes of it: a client library may swallow an error.
"""

import asyncio
from contextvars import ContextVar
from typing import Protocol

from holdfast.sdk.providers import Profile
from holdfast.sdk.verdicts import NotSent, Refused, Unclear, Verdict

__all__ = ["SENDING", "NotSent", "Refused", "Sending", "Unclear", "Verdict", "intend", "intend_from_thread"]


class Sending(Protocol):
    """One attempt of an effect, while its function runs. An object of its own for each attempt; compared by identity.

    `profile` is what `http=` of the effect named; `loop` is the one that `intend` has to run on.
    """

    key: str
    guard: str
    profile: Profile
    loop: asyncio.AbstractEventLoop

    async def intend(self, request: bytes) -> bytes:
        """Commit the intent to send `request`; gives the bytes to send: those of the effect's first sending.

        To be called once an attempt, right before the first byte. A client library's own retry under `provider_key`
        calls it again, with the bytes that it gave before; under other guards there is no second call.

        Raises:
            NotSent: the ledger could not be asked, or refuses (somebody else sends, the window is over): send nothing.
        """

    def heard(self, verdict: Verdict, evidence: str = "") -> None:
        """Tell what the answer means, whatever the client library makes of it; None: a success, as `evidence` shows.

        May be called several times, from any thread; the last word counts. It takes precedence over what the function
        returns or raises in the end.
        """


SENDING: ContextVar[Sending | None] = ContextVar("sending", default=None)
"""Set by the worker while an effect's function runs that was declared with `http=`."""


async def intend(sending: Sending, request: bytes) -> bytes:
    """Call `sending.intend` on its own loop, from whichever loop this is."""
    if asyncio.get_running_loop() is sending.loop:
        return await sending.intend(request)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(sending.intend(request), sending.loop))


def intend_from_thread(sending: Sending, request: bytes) -> bytes:
    """Call `sending.intend` from a thread, as an effect that is a plain `def` runs in one."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is sending.loop:
        raise NotSent(
            "a blocking HTTP client inside `async def` would wait for itself: use the async client and await it, or"
            " write the effect as a plain `def`"
        )
    return asyncio.run_coroutine_threadsafe(sending.intend(request), sending.loop).result()
