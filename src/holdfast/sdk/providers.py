"""What a provider's answer means for an effect: one profile for each provider, as its documentation promises it.

Laws of this file:
- A definite no and "not processed" are only what the provider documents as such; everything else is unclear.
- Unclear is harmless under an idempotency key: the same bytes are sent again. A wrong "no" is not.
- Nothing here does I/O or reads a clock: a `Retry-After` that is a date counts from the answer's own `Date`.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from holdfast.sdk.verdicts import NotSent, Refused, Unclear, Verdict

ASK_AGAIN: Final = 1.0
"""Seconds before asking again about a request that is still being worked on, unless the answer says otherwise."""
SHOWN: Final = 300
"""Characters of an answer that cannot be read which are quoted in a verdict."""
DAY: Final = 86_400.0
SUCCESSES: Final = range(200, 300)
SERVER_ERRORS: Final = range(500, 600)
NO_CONTENT: Final = 204
REFUSALS: Final = frozenset({400, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422})
CONFLICT: Final = 409
UNPROCESSABLE: Final = 422
REQUEST_IDS = ("request-id", "x-request-id", "pspreference", "paypal-debug-id")


class Answer:
    """A provider's whole answer; `data` is the body if it is a JSON object, else None."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.data: dict[str, Any] | None = None
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            data = None
        if isinstance(data, dict):
            self.data = data

    @property
    def text(self) -> str:
        """The status with the provider's own words: what a person reads in the ledger."""
        problem = (self.data or {}).get("error")
        told: dict[str, Any] = problem if isinstance(problem, dict) else self.data or {}
        words = [told.get(name) for name in ("type", "code", "errorCode", "name", "title", "message", "detail")]
        said = " ".join(str(word) for word in words if isinstance(word, str | int) and word != "")
        return f"{self.status} {said or self.body[:SHOWN].decode(errors='replace')}".strip()

    @property
    def evidence(self) -> str:
        """What proves a success: the status, the provider's own ids of the request and of what it made."""
        ids = [f"{name}={self.headers[name]}" for name in REQUEST_IDS if name in self.headers]
        ids += [f"{name}={self.data[name]}" for name in ("id", "pspReference") if self.data and name in self.data]
        return " ".join([str(self.status), *ids])

    @property
    def retry_after(self) -> float | None:
        """Seconds from the answer on, as its `Retry-After` says; None where it says nothing that can be read."""
        said = self.headers.get("retry-after", "").strip()
        try:
            wait = float(said)
        except ValueError:
            try:
                date = parsedate_to_datetime(self.headers.get("date", ""))
                wait = (parsedate_to_datetime(said) - date).total_seconds()
            except (ValueError, TypeError):
                return None
        return max(wait, 0.0) if math.isfinite(wait) else None

    def field(self, *path: str) -> Any:
        """Look up a field of the JSON body, None where there is none."""
        found: Any = self.data
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


class Unjudged:
    """What a special case says that does not apply: the tables of statuses decide."""


UNJUDGED: Final = Unjudged()
Special = Callable[[Answer], Verdict | Unjudged]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one provider treats idempotency keys and what its answers mean; an author may write one.

    `header` carries the key, `quoted` as a structured-field string; a key longer than `longest_key` is hashed.
    `retention`: seconds that keys live at least; None: not known, so the effect has to say `window=`.
    `refused`: a definite no. `unprocessed`: turned away unread, nothing is stored. `in_flight`: an earlier request
    with the key is still being worked on. `stored_refusals`, `stored_errors`: statuses that, once given, the key
    answers for ever. What stands in no table is unclear. `json`: a success is a JSON object, anything else is garbage.
    `special` may judge an answer before the tables do. `credentials`: further headers that are never stored.
    """

    name: str
    header: str = "Idempotency-Key"
    quoted: bool = False
    longest_key: int = 255
    retention: float | None = None
    # 401, RFC 9110 15.5.2: "the request has not been applied because it lacks valid authentication credentials".
    unprocessed: frozenset[int] = frozenset({401})
    refused: frozenset[int] = REFUSALS
    in_flight: frozenset[int] = frozenset({CONFLICT})
    stored_refusals: frozenset[int] = frozenset()
    stored_errors: frozenset[int] = frozenset()
    json: bool = False
    special: Special | None = None
    credentials: frozenset[str] = frozenset()

    def key_of(self, key: str) -> str:
        """Give the key as the provider gets to know it: the same for ever, and never too long for it."""
        return key if len(key) <= self.longest_key else hashlib.sha256(key.encode()).hexdigest()[: self.longest_key]

    def header_value(self, key: str) -> str:
        """Give the value of the header that carries `key`."""
        value = self.key_of(key)
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the key {value!r} cannot be a header: only printable ASCII can")
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if self.quoted else value

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
        """Tell what an answer that was read to its end means for the effect; None: it has happened."""
        return self.judge(Answer(status, headers, body))

    def judge(self, answer: Answer) -> Verdict:
        """As `classify`, of an answer at hand."""
        status = answer.status
        if self.special is not None:
            judged = self.special(answer)
            if not isinstance(judged, Unjudged):
                return judged
        if status in SUCCESSES:
            return self._success(answer)
        if status in self.unprocessed:
            return NotSent(f"turned away unread: {answer.text}", not_before=answer.retry_after)
        if status in self.in_flight:
            return in_progress(answer)
        if status in self.refused:
            return Refused(answer.text, stored=status in self.stored_refusals)
        return Unclear(answer.text, repeats=status in self.stored_errors, not_before=answer.retry_after)

    def _success(self, answer: Answer) -> Verdict:
        if self.json and answer.data is None and answer.status != NO_CONTENT:
            return Unclear(f"the answer is no JSON object, so it may not be the provider's: {answer.text}")
        return None


def in_progress(answer: Answer) -> Unclear:
    """Judge that the first request with the key is still being worked on: ask again, in a moment."""
    wait = ASK_AGAIN if answer.retry_after is None else answer.retry_after
    return Unclear(f"an earlier request with this key is in progress: {answer.text}", not_before=wait)


def key_reused(answer: Answer) -> Unclear:
    """Judge that the provider knows our key with another request: somebody else's doing; sending again is no help."""
    return Unclear(
        f"the provider knows this key with another request: {answer.text}. Each effect has a key of its own, and sends"
        " the same bytes for ever; find out who else uses it, then resolve the effect by hand",
        repeats=True,
    )


def _stripe(answer: Answer) -> Verdict | Unjudged:
    if answer.status in SUCCESSES or answer.status == CONFLICT:
        return UNJUDGED
    replayed = answer.headers.get("idempotent-replayed") == "true"
    if answer.field("error", "type") == "idempotency_error":
        return key_reused(answer)
    if (
        answer.field("error", "code") == "lock_timeout"
    ):  # 429, but not from the rate limiter: an object was locked by another request
        return Unclear(answer.text, not_before=answer.retry_after)
    if answer.status in REFUSALS and replayed:
        return Refused(answer.text, stored=True)
    if answer.status in SERVER_ERRORS:
        # A 500 is stored once execution began; the header says whether trying again is a no-op. Without it, one more
        # request under the same key does no harm and finds out.
        stays = replayed or answer.headers.get("stripe-should-retry") == "false"
        return Unclear(answer.text, repeats=stays, not_before=answer.retry_after)
    return UNJUDGED


STRIPE = Profile(
    # docs.stripe.com/api/idempotent_requests and docs.stripe.com/error-low-level, API v1: keys may be removed once they
    # are 24 h old; up to 255 characters; the first answer is saved once an endpoint has begun to execute, whatever it
    # is, 500 too; not for failed validation, nor a conflict with a concurrent request (409). Rate limiters (429) and
    # the check of the API key (401) run before the idempotency layer. 424 is a failure behind Stripe: unclear.
    name="stripe",
    retention=DAY,
    unprocessed=frozenset({401, 429}),
    stored_refusals=frozenset({402}),
    json=True,
    special=_stripe,
)


def _adyen(answer: Answer) -> Verdict | Unjudged:
    transient = answer.headers.get("transient-error", "").lower() == "true"
    if answer.status in SUCCESSES:
        # A refusal by the bank is a 200; the first response is what the key returns from then on.
        reason = answer.field("refusalReason") or ""
        refused = answer.field("resultCode") == "Refused"
        return Refused(f"{answer.status} Refused {reason}".strip(), stored=True) if refused else UNJUDGED
    if str(answer.field("errorCode")) == "704":  # "request already processed or in progress", as 422 or 409
        return in_progress(answer) if transient else Unclear(answer.text, repeats=True)
    if transient:
        return Unclear(answer.text, not_before=answer.retry_after)
    if answer.status in SERVER_ERRORS:
        return Unclear(answer.text, repeats=True)
    return UNJUDGED


ADYEN = Profile(
    # docs.adyen.com/development-resources/api-idempotency: keys are valid for at least 7 days, up to 64 characters, for
    # POST. `transient-error: true`: the same key may be sent again; without it an error is the key's final answer.
    name="adyen",
    header="idempotency-key",
    longest_key=64,
    retention=7 * DAY,
    in_flight=frozenset(),
    json=True,
    special=_adyen,
    credentials=frozenset({"x-api-key"}),
)


def _paypal(answer: Answer) -> Verdict | Unjudged:
    if answer.status in SUCCESSES:
        return UNJUDGED
    details = answer.field("details")
    listed = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    issues = [answer.field("name"), *(detail.get("issue") for detail in listed)]
    if "PAYPAL_REQUEST_ID_PREVIOUSLY_USED" in issues or "DUPLICATE_REQUEST_ID" in issues:
        return key_reused(answer)
    if "PREVIOUS_REQUEST_IN_PROGRESS" in issues:
        return in_progress(answer)
    return UNJUDGED


PAYPAL = Profile(
    # developer.paypal.com/api/rest/reference/idempotency: timeouts and 5xx may be tried again for as long as the server
    # stores the id, and then get the latest status of the first request. How long is said for each API: 45 days for
    # payments, 6 hours for orders, 3 hours for the vault; the shortest counts unless the effect says `window=`.
    # Ids have up to 108 characters. 429 RATE_LIMIT_REACHED is "blocked".
    name="paypal",
    header="PayPal-Request-Id",
    longest_key=108,
    retention=3 * 3600.0,
    unprocessed=frozenset({401, 429}),
    json=True,
    special=_paypal,
)


def _ietf_draft(answer: Answer) -> Verdict | Unjudged:
    # 422 is also an ordinary refusal; of the key's reuse the problem document speaks by the header's name.
    reused = answer.status == UNPROCESSABLE and b"idempotency" in answer.body.lower()
    return key_reused(answer) if reused else UNJUDGED


IETF_DRAFT = Profile(
    # draft-ietf-httpapi-idempotency-key-header-07: the key is a structured-field string, in quotes; 409 while the first
    # request is being worked on, 422 for a key that was used with another payload; how long keys live is the server's
    # to say, and so is whether errors are stored.
    name="ietf_draft",
    quoted=True,
    special=_ietf_draft,
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (STRIPE, ADYEN, PAYPAL, IETF_DRAFT)}


def profile_of(http: object) -> Profile:
    """Give the profile that `@effect(http=…)` means: one of ours by its name, or the author's own."""
    if isinstance(http, Profile):
        return http
    if not isinstance(http, str) or http not in PROFILES:
        known = ", ".join(PROFILES)
        raise TypeError(f"http={http!r}: known are {known}; for another provider give a Profile of your own")
    return PROFILES[http]
