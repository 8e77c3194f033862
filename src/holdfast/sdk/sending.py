"""The moment of sending: what an effect's function, or the transport it sends with, says to the worker that runs it.

Laws of this file:
- The intent is in the ledger before the first byte leaves; who cannot commit it does not send.
- The same effect sends the same bytes in every attempt, whatever the function makes anew.
"""

from contextvars import ContextVar
from typing import Protocol


class Refused(Exception):
    """The provider's definite no: the effect has not happened and will not. It settles the effect as failed."""


class NotSent(Exception):
    """Definitely not sent: no connection, no handshake, no first byte. The effect may be tried again."""


class Unclear(Exception):
    """Whether it happened is not known.

    Any exception but `Refused` and `NotSent` says the same; this one can say more. `repeats`: the provider stores
    this very answer under the key, so that sending again tells nothing. `not_before`: seconds until it makes sense.
    """

    def __init__(self, text: str, *, repeats: bool = False, not_before: float | None = None) -> None:
        super().__init__(text)
        self.repeats = repeats
        self.not_before = not_before


class Sending(Protocol):
    """One attempt of an effect, while its function runs."""

    key: str
    guard: str

    async def intend(self, request: bytes) -> bytes:
        """Commit the intent to send `request`; gives the bytes to send: those of the effect's first sending.

        To be called once an attempt, right before the first byte; the second call for the same request is allowed
        under `provider_key` (a client library's own retry) and refused under other guards.

        Raises:
            NotSent: the ledger could not be asked, or refuses (somebody else sends, the window is over): send nothing.
        """

    def heard(self, verdict: Refused | NotSent | Unclear | None, evidence: str = "") -> None:
        """Tell what the answer means, whatever the client library makes of it; None: a success, as `evidence` shows.

        It takes precedence over the exception that the function raises in the end.
        """


SENDING: ContextVar[Sending | None] = ContextVar("sending", default=None)
"""Set by the worker while an effect's function runs that was declared with `http=`."""
