"""A payment provider that keeps Stripe's promise about `Idempotency-Key`, and a book that nobody can argue with.

    python -m examples.providers.payment --port 0 --book build/book.jsonl

Laws of this file:
- The same key with the same request gets the stored answer, byte for byte, for 24 h, with `Idempotent-Replayed: true`.
- The same key with another request: 400 `idempotency_error`. While the first one is in flight: 409.
- No key: every request is a new charge. That is why callers need keys.
- What was executed is stored under its key, a decline and a 500 too; a request refused before execution is not.
- The book is on disk before the answer leaves, so kill -9 at any instant forgets no charge that was answered.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from examples.providers import serving
from examples.providers.book import Book, Charge, Entry, charged_twice, read_book, read_entries

__all__ = ["Charge", "Entry", "Faults", "Provider", "application", "charged_twice", "read_book", "read_entries"]

DAY = 24 * 60 * 60.0
LONGEST_KEY = 255
DECLINED_ENDING = 13

Wanted = TypeVar("Wanted")
Amount = Annotated[int, msgspec.Meta(ge=1, le=99_999_999)]


class ChargeRequest(msgspec.Struct, frozen=True):
    """What POST /v1/charges takes; an amount that ends in 13, or `always_decline`, is declined."""

    amount: Amount
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{3}$")]
    order: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    always_decline: bool = False


class RefundRequest(msgspec.Struct, frozen=True):
    """What POST /v1/refunds takes; without an amount all that is left of the charge goes back."""

    charge: str
    amount: Amount | None = None


class Faults(msgspec.Struct):
    """What goes wrong next, set by POST /faults; numbers count down with each charge that they hit."""

    fail_before_charge: int = 0  # 503, nothing charged, nothing stored under the key
    fail_after_charge: int = 0  # charged, 500, and that 500 is what the key answers from then on
    lose_answer_after_charge: int = 0  # charged and stored as a success, but the connection is cut
    delay: float = 0.0  # seconds between the charge and its answer


class Rejected(Exception):
    """The request was refused before anything was executed; nothing is stored."""

    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status = status
        self.answer = problem(kind, message, code)


def problem(kind: str, message: str, code: str | None = None) -> str:
    """Give an error in the shape of Stripe's."""
    return text({"error": {"type": kind, "code": code, "message": message}})


def text(value: object) -> str:
    """Give `value` as JSON."""
    return msgspec.json.encode(value).decode()


def request_hash(path: str, body: object) -> str:
    """Give what two requests share if they are the same request: order of fields and spaces do not count."""
    canonical = msgspec.json.encode([path, body], order="sorted")
    return hashlib.sha256(canonical).hexdigest()


# Executes one request and writes it into the book; the flag says that the answer gets lost on its way.
Act = Callable[[bytes, str | None, str], Awaitable[tuple[Entry, bool]]]


class Provider:
    """The provider behind its HTTP routes."""

    def __init__(self, book: Book, *, latency: float = 0.0, retention: float = DAY) -> None:
        """Take up where `book` ends."""
        self.faults = Faults()
        self._book = book
        self._latency = latency
        self._retention = retention
        self._by_key = {entry.key: entry for entry in book.entries if entry.key is not None}
        self._in_flight: set[str] = set()
        self._one_refund = asyncio.Lock()

    async def charge(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/charges."""
        return await self._execute(request, self._charge)

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/refunds."""
        return await self._execute(request, self._refund)

    async def list_charges(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/charges?order=ID: the look-up by the caller's own reference."""
        order = request.query.get("order")
        found = [entry for entry in self._book.entries if entry.kind == "charge" and order in (None, entry.order)]
        return _json(200, text({"object": "list", "data": [charge_view(entry) for entry in found]}))

    async def whole_book(self, _request: web.Request) -> web.StreamResponse:
        """GET /book: every entry."""
        return _json(200, text({"entries": self._book.entries}))

    async def set_faults(self, request: web.Request) -> web.StreamResponse:
        """POST /faults: replace what is named, keep the rest; the answer is what is set now."""
        try:
            named = msgspec.json.decode(await request.read(), type=dict[str, float])
            self.faults = msgspec.convert(msgspec.to_builtins(self.faults) | named, Faults, strict=False)
            unknown = named.keys() - set(Faults.__struct_fields__)
        except msgspec.MsgspecError as error:
            return _json(400, problem("invalid_request_error", str(error)))
        if unknown:
            return _json(400, problem("invalid_request_error", f"no such fault: {', '.join(sorted(unknown))}"))
        return _json(200, text(self.faults))

    async def _execute(self, request: web.Request, act: Act) -> web.StreamResponse:
        """Answer from the key if it has an answer; else act, write, and only then answer."""
        content = await request.read()
        key = request.headers.get("Idempotency-Key")
        try:
            body_hash = request_hash(request.path, _decoded(content, object))
            stored = self._stored(key, body_hash)
            if stored is not None:
                return _json(stored.status, stored.answer, replayed=True)
            if key is not None:
                self._in_flight.add(key)
        except Rejected as rejected:
            return _json(rejected.status, rejected.answer)
        # No await stands between the look at the key and the claim on it: two equal requests cannot both pass.
        try:
            await asyncio.sleep(self._latency)
            entry, lost = await act(content, key, body_hash)
            await asyncio.sleep(self.faults.delay)
        except Rejected as rejected:
            return _json(rejected.status, rejected.answer)
        finally:
            self._in_flight.discard(key or "")
        if lost and request.transport is not None:
            request.transport.abort()
        return _json(entry.status, entry.answer)

    def _stored(self, key: str | None, body_hash: str) -> Entry | None:
        if key is None:
            return None
        if not 0 < len(key) <= LONGEST_KEY:
            raise Rejected(400, "invalid_request_error", f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")
        if key in self._in_flight:
            message = "another request with this Idempotency-Key is in progress"
            raise Rejected(409, "invalid_request_error", message, "idempotency_key_in_use")
        entry = self._by_key.get(key)
        if entry is None or time.time() - entry.at >= self._retention:
            return None
        if entry.body_hash != body_hash:
            raise Rejected(400, "idempotency_error", "this Idempotency-Key was used before with another request")
        return entry

    async def _charge(self, content: bytes, key: str | None, body_hash: str) -> tuple[Entry, bool]:
        wanted = _decoded(content, ChargeRequest)
        if self._hit("fail_before_charge"):
            raise Rejected(503, "api_error", "the provider cannot take charges now; nothing was charged")
        declined = wanted.always_decline or wanted.amount % 100 == DECLINED_ENDING
        entry = Entry(
            kind="decline" if declined else "charge",
            id=f"ch_{uuid.uuid4().hex}",
            order=wanted.order,
            amount=wanted.amount,
            currency=wanted.currency.lower(),
            at=time.time(),
            key=key,
            body_hash=body_hash,
        )
        if declined:
            refusal = problem("card_error", "the card was declined", "card_declined")
            return await self._written(entry, 402, refusal), False
        if self._hit("fail_after_charge"):
            failure = problem("api_error", "something went wrong at the provider")
            return await self._written(entry, 500, failure), False
        lost = self._hit("lose_answer_after_charge")
        return await self._written(entry, 200, text(charge_view(entry))), lost

    async def _refund(self, content: bytes, key: str | None, body_hash: str) -> tuple[Entry, bool]:
        wanted = _decoded(content, RefundRequest)
        async with self._one_refund:  # what is left of a charge must not change between the look and the entry
            about = [entry for entry in self._book.entries if wanted.charge in (entry.id, entry.charge)]
            charge = next((entry for entry in about if entry.kind == "charge"), None)
            if charge is None:
                raise Rejected(404, "invalid_request_error", f"no such charge: {wanted.charge}", "resource_missing")
            left = charge.amount - sum(entry.amount for entry in about if entry.kind == "refund")
            amount = left if wanted.amount is None else wanted.amount
            if not 0 < amount <= left:
                message = f"of charge {charge.id} only {left} is left to refund"
                raise Rejected(400, "invalid_request_error", message, "charge_already_refunded")
            entry = Entry(
                kind="refund",
                id=f"re_{uuid.uuid4().hex}",
                order=charge.order,
                amount=amount,
                currency=charge.currency,
                at=time.time(),
                key=key,
                body_hash=body_hash,
                charge=charge.id,
            )
            return await self._written(entry, 200, text(refund_view(entry))), False

    async def _written(self, entry: Entry, status: int, answer: str) -> Entry:
        entry = msgspec.structs.replace(entry, status=status, answer=answer)
        await self._book.append(entry)
        if entry.key is not None:
            self._by_key[entry.key] = entry
        return entry

    def _hit(self, fault: str) -> bool:
        left: int = getattr(self.faults, fault)
        if left > 0:
            setattr(self.faults, fault, left - 1)
        return left > 0


def charge_view(entry: Entry) -> dict[str, object]:
    """Give a charge as callers see it."""
    return {
        "id": entry.id,
        "object": "charge",
        "amount": entry.amount,
        "currency": entry.currency,
        "order": entry.order,
        "status": "succeeded",
        "paid": True,
        "created": int(entry.at),
    }


def refund_view(entry: Entry) -> dict[str, object]:
    """Give a refund as callers see it."""
    return {
        "id": entry.id,
        "object": "refund",
        "charge": entry.charge,
        "amount": entry.amount,
        "currency": entry.currency,
        "status": "succeeded",
        "created": int(entry.at),
    }


def application(path: Path, *, latency: float = 0.0, retention: float = DAY) -> web.Application:
    """Give the provider as a web application over the book at `path`."""
    provider = Provider(Book(path), latency=latency, retention=retention)
    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/v1/charges", provider.charge)
    app.router.add_get("/v1/charges", provider.list_charges)
    app.router.add_post("/v1/refunds", provider.refund)
    app.router.add_get("/book", provider.whole_book)
    app.router.add_post("/faults", provider.set_faults)
    return app


def _decoded(content: bytes, kind: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(400, "invalid_request_error", f"the body cannot be read: {error}") from error


def _json(status: int, answer: str, *, replayed: bool = False) -> web.Response:
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return web.Response(status=status, text=answer, content_type="application/json", headers=headers)


def main() -> None:
    """Read the command line and serve."""
    parser = serving.options("examples.providers.payment", "A payment provider with idempotency keys.")
    parser.add_argument("--book", type=Path, required=True, help="the file that keeps what was charged")
    parser.add_argument("--retention", type=float, default=DAY, help="seconds that a key is remembered")
    given = parser.parse_args()
    serving.serve(lambda: application(given.book, latency=given.latency, retention=given.retention), given.port)


if __name__ == "__main__":
    main()
