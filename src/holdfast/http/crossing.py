"""One request of an effect on its way out and its answer on its way back; what it means is told at every turn.

Laws of this file:
- The first byte leaves after the intent is committed and not before; what fails earlier is an ordinary failure.
- The bytes of the effect's first sending are sent, whatever the function made anew.
- From the first byte on the effect is unclear until an answer, read to its end, says otherwise.
- One effect sends one request. The same one again is a client library's retry: fine under a provider's key only.
- What was unclear earlier in the attempt stays so: a later "not sent" says nothing about it, nor does a refusal that
  the provider does not keep under the key. A success, once heard, stays.
"""

import contextlib
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from holdfast.core.asks import PROVIDER_KEY
from holdfast.http.outgoing import Header, Outgoing, decode, headers_to_send, outgoing
from holdfast.sdk.providers import Answer
from holdfast.sdk.sending import Sending
from holdfast.sdk.verdicts import NotSent, Refused, Unclear, Verdict

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FIRST_BYTE: Final = ".send_request_headers.started"
UNSENDABLE: Final = ".send_request_headers.failed"


class SecondRequest(Exception):
    """An effect tried to send a second request."""


class OtherBytes(Exception):
    """The effect was first sent with other bytes than those about to leave: start again, with these."""


class Attempt:
    """What the requests of one attempt have in common. Guarded by a lock: an effect may be a thread, or start some.

    `made` is the request as the function made it, `given` the bytes that the ledger gave for it; `sender` is the
    crossing that sends, where only one may; `under_way` are those that have left and whose answer is not judged yet.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: Outgoing | None = None
        self.given: bytes | None = None
        self.crossings = 0
        self.sender: int | None = None
        self.under_way: set[int] = set()
        self.unclear = False
        self.succeeded = False


_attempts: weakref.WeakKeyDictionary[Sending, Attempt] = weakref.WeakKeyDictionary()
_attempts_lock = threading.Lock()


def attempt_of(sending: Sending) -> Attempt:
    with _attempts_lock:
        return _attempts.setdefault(sending, Attempt())


class Crossing:
    """A request between the client library and the provider; as a context it tells what an exception means."""

    def __init__(self, sending: Sending, method: str, url: str, headers: Iterable[Header], body: bytes) -> None:
        self.sending = sending
        self.profile = sending.profile
        self.attempt = attempt_of(sending)
        self.current = list(headers)
        self.request = outgoing(
            method,
            url,
            self.current,
            body,
            key=(self.profile.header, self.profile.header_value(sending.key)),
            credentials=self.profile.credentials,
        )
        self.left = False
        self.exchanged = False
        self.broken = False
        self.number = 0
        self._admit(self.request)

    def _admit(self, request: Outgoing) -> None:
        attempt = self.attempt
        with attempt.lock:
            attempt.crossings += 1
            self.number = attempt.crossings
            if attempt.made is None:
                attempt.made = request
            elif attempt.made != request:
                raise SecondRequest(
                    f"one effect sends one request, and this one has sent {attempt.made.method} {attempt.made.url};"
                    f" now it wants to send {request.method} {request.url}"
                    f"{' with another content' if attempt.made.url == request.url else ''}."
                    " Make a second effect of it, so that each has an outcome of its own"
                )
            else:
                self._check_sender()

    def _check_sender(self) -> None:
        """Refuse to send the same request once more, where nobody makes that harmless."""
        if self.attempt.sender not in {None, self.number} and self.sending.guard != PROVIDER_KEY:
            raise SecondRequest(
                f"{self.request.method} {self.request.url} is sent a second time, by the client library's own retry"
                f" perhaps: under guard={self.sending.guard!r} that may do it twice. Switch the library's retries off"
                " (max_retries=0), or use a provider's key (guard='provider_key')"
            )

    @property
    def headers(self) -> list[Header]:
        """All the headers that go out now."""
        return headers_to_send(self.request, self.current, self.profile.credentials)

    def traced(self, event: str, info: Mapping[str, Any]) -> bytes | None:
        """Hear what the client library is about to do. Before the first byte: gives the bytes to commit the intent for.

        A proxy may be talked to before that; what cannot be written as HTTP at all has not left.
        """
        if event.endswith(UNSENDABLE) and type(info["exception"]).__name__ == "LocalProtocolError":
            self.left = False
        if not event.endswith(FIRST_BYTE) or info["request"].method == b"CONNECT":
            return None
        if event.startswith("http2."):
            raise RuntimeError(
                "an effect is sent by HTTP/1.1: on HTTP/2's shared connection no request has a first byte of its own,"
                " to commit the intent before. Leave http2=True out"
            )
        with self.attempt.lock:
            self._check_sender()
            self.attempt.sender = self.number
            return self.attempt.given or self.request.encode()

    def intended(self, given: bytes) -> None:
        """Take the bytes that the ledger wants to be sent; the first of them leaves next.

        Raises:
            OtherBytes: those at hand are others, of which nothing has left; `request` is now the one to send.
        """
        with self.attempt.lock:
            self.attempt.given = given
        if given != self.request.encode() and not self.exchanged:
            self.request = decode(given)
            self.exchanged = True
            raise OtherBytes
        self.left = True
        with self.attempt.lock:
            self.attempt.under_way.add(self.number)
            succeeded = self.attempt.succeeded
        if not succeeded:
            self.sending.heard(Unclear(f"{self.request.method} {self.request.url} was sent and not answered"))

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Judge an answer that was read to its end."""
        answer = Answer(status, headers, body)
        self._tell(self.profile.judge(answer), answer.evidence)

    def unreadable(self, status: int, error: Exception) -> None:
        """Judge an answer whose content is not what its headers say."""
        self._tell(Unclear(f"{status}, but its content cannot be read: {error}"))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While an answer is read piece by piece: what breaks off is unclear, where the reader stops is his matter."""
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:
            self.broken = True
            self._tell(Unclear(f"the answer broke off: {told(error)}"))
            raise

    def streamed(self, status: int, length: int) -> None:
        """Judge a success that came in pieces and went on to the reader at once."""
        if not self.broken:
            self._tell(None, f"{status} streamed {length} bytes")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        if self.left:
            self._tell(Unclear(f"{self.request.method} {self.request.url} was sent, then: {told(error)}"))
            return
        with self.attempt.lock:
            if self.attempt.given is None:
                self.attempt.made = None  # nothing was said to the ledger: another request may still be the one
            if self.attempt.sender == self.number:
                self.attempt.sender = None
        self._tell(error if isinstance(error, NotSent) else NotSent(told(error)))

    def check(self) -> None:
        """Refuse an answer to a request whose first byte was not noticed."""
        if not self.left:
            self._tell(Unclear("an answer came before the intent was committed"))
            raise RuntimeError(
                "the HTTP client did not say when it sent the first byte (its `trace` extension): the intent was not"
                " committed in time. This version of the client cannot be used with holdfast.http"
            )

    def _tell(self, verdict: Verdict, evidence: str = "") -> None:
        attempt = self.attempt
        with attempt.lock:
            attempt.under_way.discard(self.number)
            if attempt.succeeded:
                return
            if verdict is None:
                attempt.succeeded = True
            elif isinstance(verdict, Unclear):
                attempt.unclear = True
            elif (attempt.unclear or attempt.under_way) and not (isinstance(verdict, Refused) and verdict.stored):
                verdict = Unclear(f"{verdict}; but another request of this attempt is unclear")
        self.sending.heard(verdict, evidence)


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
