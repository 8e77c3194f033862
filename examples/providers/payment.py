"""A payment provider that keeps Stripe's promise about `Idempotency-Key`, and a book that nobody can argue with.

    python -m examples.providers.payment --port 0 --book build/book.jsonl

Laws of this file:
- The same key with the same request gets the stored answer, byte for byte, for 24 h, with `Idempotent-Replayed: true`.
- The same key with another request: 400 `idempotency_error`. While the first one is in flight: 409.
- No key: every request is a new charge. That is why callers need keys.
- What was executed is stored under its key, a decline and a 500 too; a request refused before execution is not.
- Whether anything of that goes wrong is set by POST /faults alone; the book is right whatever the answer says.
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
from examples.providers.intents import DECLINED_METHOD, intent_view, read_form, read_intent

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

    too_many_requests: int = 0  # 429 with Retry-After, before the key is looked at
    fail_before_charge: int = 0  # 503, nothing charged, nothing stored under the key
    fail_instead_of_charge: int = 0  # nothing charged, 500, and that 500 is what the key answers from then on
    fail_after_charge: int = 0  # charged, 500, and that 500 is what the key answers from then on
    lose_answer_after_charge: int = 0  # charged and stored as a success, but the connection is cut
    cut_answer_after_charge: int = 0  # the same, cut in the middle of the answer
    garble_answer_after_charge: int = 0  # the same, but the answer is a web page
    talk_nonsense_after_charge: int = 0  # the same, but the answer is not even HTTP
    delay_before_charge: float = 0.0  # seconds that a request lies about before it is executed
    delay: float = 0.0  # seconds between the charge and its answer
    retry_after: float = 1.0  # what a 429 says
    retention: float = DAY  # seconds that a key is remembered


MISHAPS = (
    *("lose_answer_after_charge", "cut_answer_after_charge"),
    *("garble_answer_after_charge", "talk_nonsense_after_charge"),
)


class Rejected(Exception):
    """The request was refused before anything was executed; nothing is stored."""

    def __init__(
        self, status: int, kind: str, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status = status
        self.answer = problem(kind, message, code)
        self.headers = headers or {}


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


# What callers see of a charge.
View = Callable[[Entry], dict[str, object]]

# Executes one request and writes it into the book; the word says what happens to the answer on its way.
Act = Callable[[bytes, str | None, str], Awaitable[tuple[Entry, str]]]


class Provider:
    """The provider behind its HTTP routes."""

    def __init__(self, book: Book, *, latency: float = 0.0, retention: float = DAY) -> None:
        """Take up where `book` ends."""
        self.faults = Faults(retention=retention)
        self._book = book
        self._latency = latency
        self._by_key = {entry.key: entry for entry in book.entries if entry.key is not None}
        self._in_flight: set[str] = set()
        self._one_refund = asyncio.Lock()

    async def charge(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/charges."""
        return await self._execute(request, self._charge, lambda content: _decoded(content, object))

    async def create_intent(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/payment_intents: as Stripe's SDKs send it."""
        if not request.headers.get("Authorization", "").startswith(("Bearer sk_", "Basic ")):
            return _json(401, problem("invalid_request_error", "You did not provide an API key."))
        return await self._execute(request, self._intent, _form)

    async def retrieve_intent(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/payment_intents/ID."""
        wanted = request.match_info["id"].replace("pi_", "ch_")
        found = next((entry for entry in self._book.entries if entry.kind == "charge" and entry.id == wanted), None)
        if found is None:
            return _json(404, problem("invalid_request_error", "No such payment_intent", "resource_missing"))
        return _json(200, text(intent_view(found)))

    async def list_intents(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/payment_intents?created[gte]=SECONDS: the newest first, all of them at once."""
        since = float(request.query.get("created[gte]", "0"))
        charges = [entry for entry in reversed(self._book.entries) if entry.kind == "charge" and entry.at >= since]
        found = [intent_view(entry) for entry in charges]
        return _json(200, text({"object": "list", "data": found, "has_more": False, "url": request.path}))

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/refunds."""
        return await self._execute(request, self._refund, lambda content: _decoded(content, object))

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

    async def _execute(self, request: web.Request, act: Act, read: Callable[[bytes], object]) -> web.StreamResponse:
        """Answer from the key if it has an answer; else act, write, and only then answer."""
        content = await request.read()
        key = request.headers.get("Idempotency-Key")
        try:
            if self._hit("too_many_requests"):
                wait = {"Retry-After": f"{self.faults.retry_after:g}"}
                raise Rejected(429, "invalid_request_error", "too many requests", "rate_limit", wait)
            body_hash = request_hash(request.path, read(content))
            stored = self._stored(key, body_hash)
            if stored is not None:
                return _answer(stored, replayed=True)
            if key is not None:
                self._in_flight.add(key)
        except Rejected as rejected:
            return _json(rejected.status, rejected.answer, rejected.headers)
        # No await stands between the look at the key and the claim on it: two equal requests cannot both pass.
        try:
            await asyncio.sleep(self._latency + self.faults.delay_before_charge)
            entry, mishap = await act(content, key, body_hash)
            await asyncio.sleep(self.faults.delay)
        except Rejected as rejected:
            return _json(rejected.status, rejected.answer)
        finally:
            self._in_flight.discard(key or "")
        return await _sent(request, entry, mishap)

    def _stored(self, key: str | None, body_hash: str) -> Entry | None:
        if key is None:
            return None
        if not 0 < len(key) <= LONGEST_KEY:
            raise Rejected(400, "invalid_request_error", f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")
        if key in self._in_flight:
            message = "another request with this Idempotency-Key is in progress"
            raise Rejected(409, "invalid_request_error", message, "idempotency_key_in_use")
        entry = self._by_key.get(key)
        if entry is None or time.time() - entry.at >= self.faults.retention:
            return None
        if entry.body_hash != body_hash:
            raise Rejected(400, "idempotency_error", "this Idempotency-Key was used before with another request")
        return entry

    async def _charge(self, content: bytes, key: str | None, body_hash: str) -> tuple[Entry, str]:
        wanted = _decoded(content, ChargeRequest)
        entry = Entry(
            kind="charge",
            id=f"ch_{uuid.uuid4().hex}",
            order=wanted.order,
            amount=wanted.amount,
            currency=wanted.currency.lower(),
            at=time.time(),
            key=key,
            body_hash=body_hash,
        )
        return await self._charged(entry, charge_view, declined=wanted.always_decline)

    async def _intent(self, content: bytes, key: str | None, body_hash: str) -> tuple[Entry, str]:
        try:
            wanted = read_intent(content)
        except ValueError as error:
            raise Rejected(400, "invalid_request_error", str(error), "parameter_invalid") from error
        entry = Entry(
            kind="charge",
            id=f"ch_{uuid.uuid4().hex}",
            order=wanted.order,
            amount=wanted.amount,
            currency=wanted.currency.lower(),
            at=time.time(),
            key=key,
            body_hash=body_hash,
        )
        return await self._charged(entry, intent_view, declined=wanted.payment_method == DECLINED_METHOD)

    async def _charged(self, entry: Entry, view: View, *, declined: bool) -> tuple[Entry, str]:
        """Take the money of `entry`, decline it, or do what the faults say; `view` is what callers see of it."""
        if self._hit("fail_before_charge"):
            raise Rejected(503, "api_error", "the provider cannot take charges now; nothing was charged")
        failure = problem("api_error", "something went wrong at the provider")
        if self._hit("fail_instead_of_charge"):
            return await self._written(msgspec.structs.replace(entry, kind="failure"), 500, failure), ""
        if declined or entry.amount % 100 == DECLINED_ENDING:
            refusal = problem("card_error", "the card was declined", "card_declined")
            return await self._written(msgspec.structs.replace(entry, kind="decline"), 402, refusal), ""
        if self._hit("fail_after_charge"):
            return await self._written(entry, 500, failure), ""
        mishap = next((fault for fault in MISHAPS if self._hit(fault)), "")
        return await self._written(entry, 200, text(view(entry))), mishap

    async def _refund(self, content: bytes, key: str | None, body_hash: str) -> tuple[Entry, str]:
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
            return await self._written(entry, 200, text(refund_view(entry))), ""

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
    app.router.add_post("/v1/payment_intents", provider.create_intent)
    app.router.add_get("/v1/payment_intents", provider.list_intents)
    app.router.add_get("/v1/payment_intents/{id}", provider.retrieve_intent)
    app.router.add_get("/book", provider.whole_book)
    app.router.add_post("/faults", provider.set_faults)
    return app


def _decoded(content: bytes, kind: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(400, "invalid_request_error", f"the body cannot be read: {error}") from error


def _form(content: bytes) -> object:
    """Give what a form says, whatever the order of its fields."""
    try:
        return sorted(read_form(content))
    except ValueError as error:
        raise Rejected(400, "invalid_request_error", f"the form cannot be read: {error}") from error


def _json(status: int, answer: str, headers: dict[str, str] | None = None) -> web.Response:
    told = {"Request-Id": f"req_{uuid.uuid4().hex[:14]}"} | (headers or {})
    if status == 500:
        told["Stripe-Should-Retry"] = "false"  # it is stored: the key answers nothing else from now on
    return web.Response(status=status, text=answer, content_type="application/json", headers=told)


def _answer(entry: Entry, *, replayed: bool = False) -> web.Response:
    return _json(entry.status, entry.answer, {"Idempotent-Replayed": "true"} if replayed else {})


async def _sent(request: web.Request, entry: Entry, mishap: str) -> web.StreamResponse:
    """Answer, or do to the answer what `mishap` says."""
    answer = _answer(entry)
    if not mishap or request.transport is None:
        return answer
    if mishap == "garble_answer_after_charge":
        return web.Response(text="<html><body>We will be back soon.</body></html>", content_type="text/html")
    if mishap == "talk_nonsense_after_charge":
        request.transport.write(b"\x15\x03\x01\x00\x02\x02\x50 this is no answer\r\n\r\n")
        request.transport.close()
    if mishap == "cut_answer_after_charge":
        half = entry.answer.encode()[: len(entry.answer) // 2]
        cut = web.StreamResponse(headers={"Content-Type": "application/json"})
        cut.content_length = len(entry.answer.encode())
        await cut.prepare(request)
        await cut.write(half)
        request.transport.close()
        return cut
    if mishap == "lose_answer_after_charge":
        request.transport.abort()
    return answer


def main() -> None:
    """Read the command line and serve."""
    parser = serving.options("examples.providers.payment", "A payment provider with idempotency keys.")
    parser.add_argument("--book", type=Path, required=True, help="the file that keeps what was charged")
    parser.add_argument("--retention", type=float, default=DAY, help="seconds that a key is remembered")
    given = parser.parse_args()
    serving.serve(lambda: application(given.book, latency=given.latency, retention=given.retention), given.port)


if __name__ == "__main__":
    main()
