"""The providers of the examples, as real servers in processes of their own.

The payment provider's book is what the chaos tests trust: here it is killed itself, its book is torn, its keys tried in
every way. The chat server is asked through the official client.
"""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from examples.providers.book import DamagedBookError, Entry, charged_twice, read_book, read_entries
from examples.providers.payment import request_hash
from examples.providers.prescription import read_note

ROOT = Path(__file__).resolve().parents[2]
NOTES = [json.loads(line) for line in (ROOT / "examples/data/notes.jsonl").read_text().splitlines()]
CHARGE = {"amount": 18950, "currency": "eur", "order": "order-1"}
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "rx", "schema": {"type": "object"}}}


class Server:
    """A provider process that accepts connections."""

    def __init__(self, module: str, *options: str) -> None:
        command = [sys.executable, "-m", f"examples.providers.{module}", "--port", "0", *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        first_line = self.process.stdout.readline()
        assert first_line.startswith("listening on http://127.0.0.1:"), first_line
        self.url = first_line.removeprefix("listening on ").strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def running(module: str, *options: str) -> Iterator[Server]:
    server = Server(module, *options)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.stop()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.jsonl"


@pytest.fixture
def payment(book: Path) -> Iterator[str]:
    with running("payment", "--book", str(book)) as server:
        yield server.url


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        yield session


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    replayed: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def post(http: aiohttp.ClientSession, url: str, body: object, key: str | None = None) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    async with http.post(url, json=body, headers=headers) as response:
        return Answer(response.status, await response.read(), response.headers.get("Idempotent-Replayed") == "true")


# ------------------------------------------------------------------------------------------------ the payment provider


async def test_the_same_key_and_body_is_answered_again_and_charged_once(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    first = await post(http, f"{payment}/v1/charges", CHARGE, "k1")
    reordered = dict(reversed(CHARGE.items()))
    again = await post(http, f"{payment}/v1/charges", reordered, "k1")

    assert (first.status, first.replayed) == (200, False)
    assert (again.status, again.body, again.replayed) == (200, first.body, True)
    assert [(charge.id, charge.order, charge.key) for charge in read_book(book)] == [
        (first.json["id"], "order-1", "k1")
    ]


async def test_the_same_key_with_another_body_is_an_idempotency_error(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    await post(http, f"{payment}/v1/charges", CHARGE, "k1")
    other = await post(http, f"{payment}/v1/charges", CHARGE | {"amount": 1}, "k1")

    assert (other.status, other.json["error"]["type"]) == (400, "idempotency_error")
    assert len(read_book(book)) == 1


async def test_of_equal_requests_at_once_one_charges_and_the_others_conflict(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    await post(http, f"{payment}/faults", {"delay": 0.5})
    answers = await asyncio.gather(*(post(http, f"{payment}/v1/charges", CHARGE, "k1") for _ in range(5)))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert len(read_book(book)) == 1
    assert (await post(http, f"{payment}/v1/charges", CHARGE, "k1")).replayed


async def test_without_a_key_every_request_charges(payment: str, book: Path, http: aiohttp.ClientSession) -> None:
    for _ in range(2):
        assert (await post(http, f"{payment}/v1/charges", CHARGE)).status == 200

    assert [len(made) for made in charged_twice(read_book(book)).values()] == [2]
    async with http.get(f"{payment}/v1/charges", params={"order": "order-1"}) as response:
        assert len((await response.json())["data"]) == 2
    async with http.get(f"{payment}/v1/charges", params={"order": "order-2"}) as response:
        assert (await response.json())["data"] == []


async def test_a_provider_killed_at_any_time_keeps_its_book_and_its_answers(
    book: Path, http: aiohttp.ClientSession
) -> None:
    with running("payment", "--book", str(book)) as server:
        keys = [f"k{number}" for number in range(20)]
        bodies = {key: CHARGE | {"order": f"order-{key}"} for key in keys}
        before = {key: await post(http, f"{server.url}/v1/charges", bodies[key], key) for key in keys[:10]}
        in_flight = [asyncio.create_task(post(http, f"{server.url}/v1/charges", bodies[key], key)) for key in keys[10:]]
        await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
        server.stop(signal.SIGKILL)
        answers = await asyncio.gather(*in_flight, return_exceptions=True)
        before |= {
            key: answer for key, answer in zip(keys[10:], answers, strict=True) if not isinstance(answer, BaseException)
        }
    with book.open("ab") as file:
        file.write(b'{"kind":"charge","id":"ch_to')  # what a crash in mid-write leaves
    assert {charge.key for charge in read_book(book)} >= set(before)

    with running("payment", "--book", str(book)) as server:
        after = {key: await post(http, f"{server.url}/v1/charges", bodies[key], key) for key in keys}

    assert len(before) > 10
    assert all(after[key].replayed and after[key].body == before[key].body for key in before)
    assert len(read_book(book)) == len(keys)
    assert charged_twice(read_book(book)) == {}


@pytest.mark.parametrize("body", [CHARGE | {"amount": 4213}, CHARGE | {"always_decline": True}])
async def test_a_decline_is_stored_under_its_key(
    payment: str, book: Path, http: aiohttp.ClientSession, body: dict[str, object]
) -> None:
    first = await post(http, f"{payment}/v1/charges", body, "k1")
    again = await post(http, f"{payment}/v1/charges", body, "k1")

    assert (first.status, first.json["error"]["code"]) == (402, "card_declined")
    assert (again.status, again.body, again.replayed) == (402, first.body, True)
    assert read_book(book) == []
    assert [entry.kind for entry in read_entries(book)] == ["decline"]


@pytest.mark.parametrize(("age", "charges"), [(23 * 3600, 1), (25 * 3600, 2)])
async def test_a_key_is_kept_for_a_day(book: Path, http: aiohttp.ClientSession, age: int, charges: int) -> None:
    entry = Entry(
        kind="charge",
        id="ch_old",
        order="order-1",
        amount=18950,
        currency="eur",
        at=time.time() - age,
        key="k1",
        body_hash=request_hash("/v1/charges", CHARGE),
        answer='{"id":"ch_old"}',
    )
    book.write_bytes(msgspec.json.encode(entry) + b"\n")
    with running("payment", "--book", str(book)) as server:
        answer = await post(http, f"{server.url}/v1/charges", CHARGE, "k1")

    assert answer.replayed == (charges == 1)
    assert len(read_book(book)) == charges


async def test_a_failure_after_the_charge_is_what_the_key_answers(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    await post(http, f"{payment}/faults", {"fail_after_charge": 1})
    first = await post(http, f"{payment}/v1/charges", CHARGE, "k1")
    again = await post(http, f"{payment}/v1/charges", CHARGE, "k1")

    assert (first.status, again.status, again.replayed) == (500, 500, True)
    assert len(read_book(book)) == 1


async def test_a_lost_answer_is_given_to_the_next_request_with_the_key(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    await post(http, f"{payment}/faults", {"lose_answer_after_charge": 1})
    with pytest.raises(aiohttp.ClientError):
        await post(http, f"{payment}/v1/charges", CHARGE, "k1")
    again = await post(http, f"{payment}/v1/charges", CHARGE, "k1")

    assert (again.status, again.replayed) == (200, True)
    assert len(read_book(book)) == 1


async def test_a_failure_before_the_charge_stores_nothing(
    payment: str, book: Path, http: aiohttp.ClientSession
) -> None:
    await post(http, f"{payment}/faults", {"fail_before_charge": 1})
    first = await post(http, f"{payment}/v1/charges", CHARGE, "k1")
    again = await post(http, f"{payment}/v1/charges", CHARGE, "k1")

    assert (first.status, again.status, again.replayed) == (503, 200, False)
    assert len(read_book(book)) == 1


async def test_no_more_goes_back_than_was_charged(payment: str, book: Path, http: aiohttp.ClientSession) -> None:
    charge = (await post(http, f"{payment}/v1/charges", CHARGE, "k1")).json["id"]
    part = await post(http, f"{payment}/v1/refunds", {"charge": charge, "amount": 950}, "r1")
    again = await post(http, f"{payment}/v1/refunds", {"charge": charge, "amount": 950}, "r1")
    rest = await asyncio.gather(*(post(http, f"{payment}/v1/refunds", {"charge": charge}) for _ in range(3)))
    unknown = await post(http, f"{payment}/v1/refunds", {"charge": "ch_none"})

    assert (part.status, again.body, again.replayed, unknown.status) == (200, part.body, True, 404)
    assert sorted(answer.status for answer in rest) == [200, 400, 400]
    assert sum(entry.amount for entry in read_entries(book) if entry.kind == "refund") == CHARGE["amount"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"amount": -1, "currency": "eur", "order": "o"}'])
async def test_a_request_that_cannot_be_read_is_refused_and_leaves_its_key_free(
    payment: str, book: Path, http: aiohttp.ClientSession, body: bytes
) -> None:
    async with http.post(f"{payment}/v1/charges", data=body, headers={"Idempotency-Key": "k1"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"
    assert (await post(http, f"{payment}/v1/charges", CHARGE, "k1")).status == 200


async def test_a_second_provider_on_one_book_is_refused(payment: str, book: Path) -> None:
    command = [sys.executable, "-m", "examples.providers.payment", "--book", str(book)]
    second = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert "in use by another provider" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_damage_before_the_last_line_of_a_book_is_an_error(book: Path) -> None:
    book.write_bytes(b'{"kind":"charge"\n{"kind"')
    with pytest.raises(DamagedBookError, match="line 1"):
        read_book(book)


# ----------------------------------------------------------------------------------------------------- the chat server


@pytest.fixture(scope="module")
def chat() -> Iterator[str]:
    with running("chat") as server:
        yield server.url


@pytest.fixture
async def client(chat: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{chat}/v1", api_key="any", max_retries=0) as client:
        yield client


async def test_the_official_client_reads_a_prescription(client: openai.AsyncOpenAI) -> None:
    note = "R: sph -2,25 cyl -0,75 A 90  L: plan  Add 2,00  PD 31,5/32"
    answer = await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": note}], response_format=SCHEMA
    )

    assert json.loads(answer.choices[0].message.content or "") == {
        "right": {"sphere": -2.25, "cylinder": -0.75, "axis": 90},
        "left": {"sphere": 0.0, "cylinder": 0.0, "axis": 0},
        "add": 2.0,
        "pd": 63.5,
        "readable": True,
        "question": None,
    }
    assert answer.id.startswith("chatcmpl-")
    assert abs(answer.created - time.time()) < 60
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_stream_gives_the_same_words_in_pieces(client: openai.AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": "Read this: <note>OD -2.00 OS -1.75 -0.25 x 170</note>"},
    ]
    whole = await client.chat.completions.create(model="any", messages=messages)
    stream = await client.chat.completions.create(
        model="any", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 3
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    left = json.loads("".join(pieces))["left"]
    assert (left["sphere"], left["cylinder"], left["axis"]) == (-1.75, -0.25, 170)


async def test_a_schema_that_names_prisms_gets_them(client: openai.AsyncOpenAI) -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "rx", "schema": {"properties": {"prism": {}}}}}
    answer = await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "OD -4.00 2Δ base in OS -4.25"}], response_format=schema
    )
    read = json.loads(answer.choices[0].message.content or "")

    assert (read["right"]["prism"], read["left"]["prism"]) == ({"dioptres": 2.0, "base": "base in"}, None)


async def test_without_a_wish_for_json_the_answer_is_a_sentence(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "OD -2.00 -0.50x180 OS plano PD 62"}]
    )
    assert answer.choices[0].message.content == "Right -2.00 -0.50 x 180, left +0.00, PD 62 mm."


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["prescription-reader-1"]


async def test_without_a_bearer_token_nobody_is_served(chat: str, http: aiohttp.ClientSession) -> None:
    for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer "}):
        async with http.get(f"{chat}/v1/models", headers=headers) as response:
            assert response.status == 401


async def test_a_bad_request_is_the_callers_fault(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="messages must not be empty"):
        await client.chat.completions.create(model="any", messages=[])


async def test_every_note_of_the_data_gets_an_answer(client: openai.AsyncOpenAI) -> None:
    questions = []
    for order in NOTES:
        answer = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": order["note"]}], response_format=SCHEMA
        )
        read = json.loads(answer.choices[0].message.content or "")
        if not read["readable"]:
            assert read["right"] is read["left"] is None
            questions.append(read["question"])
            continue
        assert read["question"] is None, order
        for eye in (read["right"], read["left"]):
            assert -30 <= eye["sphere"] <= 30, order
            assert -12 <= eye["cylinder"] <= 0, order
            assert (1 if eye["cylinder"] else 0) <= eye["axis"] <= 180, order
        assert read["add"] is None or 0 < read["add"] <= 4, order
        assert 40 <= read["pd"] <= 85, order

    assert len(NOTES) >= 50
    assert len(questions) == 10
    assert all(question.endswith("?") for question in questions)


def test_the_orders_of_the_data_are_distinct_and_chargeable() -> None:
    assert len({order["order"] for order in NOTES}) == len({order["note"] for order in NOTES}) == len(NOTES)
    assert all(order["amount"] > 0 and order["amount"] % 100 != 13 for order in NOTES)
    assert not any("\0" in order["note"] for order in NOTES)


# --------------------------------------------------------------------------------------------- reading, case by case


@pytest.mark.parametrize(
    ("note", "right", "left"),
    [
        ("OD -2.00-0.50x180 OS pl -0.25x90", (-2.0, -0.5, 180), (0.0, -0.25, 90)),
        ("OD +1.00 +0.50 x 90 OS +1.00 +0.50 x 180", (1.5, -0.5, 180), (1.5, -0.5, 90)),
        ("R -200 -050x5 L -175 ds", (-2.0, -0.5, 5), (-1.75, 0.0, 0)),
        ("OD (-0,50 à 90°) -2,00 OG 80° (-0,75) -2,25", (-2.0, -0.5, 90), (-2.25, -0.75, 80)),
        ("rechtes Auge: sph -1,5 zyl -0,5 Achse 10; linkes Auge: ∞", (-1.5, -0.5, 10), (0.0, 0.0, 0)),
        ("OD sphere minus 1.25, cylinder minus 0.50, axis 90. LE plano", (-1.25, -0.5, 90), (0.0, 0.0, 0)),
        ("le 12 mars: OD -1.00 -0.50 x 0 OG idem", (-1.0, -0.5, 180), (-1.0, -0.5, 180)),
    ],
)
def test_notations_are_read(note: str, right: tuple[float, float, int], left: tuple[float, float, int]) -> None:
    reading = read_note(note)
    assert reading.question is None
    assert reading.right is not None
    assert reading.left is not None
    assert (reading.right.sphere, reading.right.cylinder, reading.right.axis) == right
    assert (reading.left.sphere, reading.left.cylinder, reading.left.axis) == left


@pytest.mark.parametrize(
    ("note", "asks"),
    [
        ("", "No values for either eye"),
        ("OD -1.00", "left eye is missing"),
        ("OD -1.00 -0.50 OS -1.00", "no axis"),
        ("OD -1.00 -0.50 x 181 OS -1.00", "ends at 180"),
        ("OD 1.00 OS -1.00", "without a sign"),
        ("OD -1.00 OS -1.00 OD -2.00", "given twice"),
        ("OD -1.00 add 2.00 OS -1.00 add 2.50", "addition is given as"),
        ("OD -1.10 OS -1.00", "steps of 0.25"),
        ("OD -31.00 OS -1.00", "implausible"),
        ("OD -1.00 OS -1.00 PD 630", "pupillary distance"),
        ("OD -1.00 cyl ?? ax 90 OS -1.00", "cylinder of the right eye cannot be read"),
        ("OD -1.00 prism 2 OS -1.00", "without its base"),
        ("OD idem OS -1.00", "not given before it"),
    ],
)
def test_what_is_open_becomes_a_question_for_a_person(note: str, asks: str) -> None:
    reading = read_note(note)
    assert not reading.readable
    assert (reading.right, reading.left) == (None, None)
    assert asks in (reading.question or "")


def test_a_request_hash_tells_requests_apart() -> None:
    one = request_hash("/v1/charges", {"a": 1, "b": 2})
    assert one == request_hash("/v1/charges", {"b": 2, "a": 1})
    assert len({one, request_hash("/v1/refunds", {"a": 1, "b": 2}), request_hash("/v1/charges", {"a": 1})}) == 3
    assert len(one) == len(hashlib.sha256().hexdigest())
