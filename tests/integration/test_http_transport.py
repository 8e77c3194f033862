"""An effect's request over real sockets that break at every stage, through httpx2 and httpx, awaited and blocking.

The row is moved by the ledger's own rules (recorded.py), the other side does what each test says (scripted.py).
"""

import asyncio
import gzip
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import httpx2
import openai
import pytest

import holdfast.http
import holdfast.http.httpx
from holdfast.core.asks import AT_MOST_ONCE, LOOKUP
from holdfast.core.effects import FAILED, IN_DOUBT, INFLIGHT, PLANNED, SUCCEEDED
from holdfast.http import SecondRequest
from holdfast.http.library import OF_THE_TRANSPORT
from holdfast.http.outgoing import decode
from holdfast.sdk.providers import IETF_DRAFT, PAYPAL, Profile
from holdfast.sdk.verdicts import NotSent, Unclear
from tests.integration.recorded import Attempt, Row
from tests.integration.scripted import (
    OK,
    Connection,
    Script,
    answers,
    answers_a_web_page,
    closes_after_the_request,
    hangs_up_after_the_request,
    hangs_up_at_once,
    hangs_up_in_the_body,
    hangs_up_in_the_head,
    never_answers,
    nobody,
    saying,
    says_it_is_gzip,
    serving,
    talks_nonsense,
)

Call = Callable[..., Awaitable[Any]]
BODY = b"amount=18950&currency=eur"
PATIENCE = 20.0


@pytest.fixture(params=["httpx2", "httpx2 blocking", "httpx", "httpx blocking"])
async def call(request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    """Send one request: `await call("POST", url, content=…)`."""
    library = holdfast.http if request.param.startswith("httpx2") else holdfast.http.httpx
    if request.param.endswith("blocking"):
        with library.client(timeout=PATIENCE) as blocking:

            async def call(method: str, url: str, **rest: Any) -> Any:
                return await asyncio.to_thread(blocking.request, method, url, **rest)

            yield call
    else:
        async with library.async_client(timeout=PATIENCE) as client:
            yield client.request


def posting(call: Call, url: str, content: bytes = BODY, **rest: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: call("POST", f"{url}/v1/charges", content=content, **rest)


# ---------------------------------------------------------------------------------------------- before the first byte


async def test_the_intent_is_committed_after_the_connection_and_before_the_first_byte(call: Call) -> None:
    row = Row()
    states: list[str] = []
    async with serving(answers) as server:

        async def connected_already() -> None:
            await asyncio.wait_for(server.accepted.wait(), PATIENCE)
            assert server.requests == []
            states.append(row.effect.state)

        server.at_first_byte = lambda: states.append(row.effect.state)
        response = await Attempt(row, before=connected_already).run(posting(call, server.url))

    assert response.json() == {"id": "x1"}
    assert states == [PLANNED, INFLIGHT]
    assert row.story == [INFLIGHT, SUCCEEDED]
    assert row.moves[-1].evidence == "200 id=x1"


async def test_on_a_connection_that_is_still_open_the_intent_comes_first_too(call: Call) -> None:
    states: list[str] = []
    async with serving(answers) as server:
        for _ in range(3):
            row = Row()
            server.at_first_byte = lambda row=row: states.append(row.effect.state)
            await Attempt(row).run(posting(call, server.url))

    assert server.connections == 1
    assert states == [INFLIGHT] * 3


async def test_without_a_connection_nothing_is_intended(call: Call) -> None:
    row = Row()
    attempt = Attempt(row)

    error = await attempt.run(posting(call, nobody()))

    assert isinstance(error, httpx.ConnectError | httpx2.ConnectError)
    assert isinstance(attempt.verdict, NotSent)
    assert (attempt.intents, row.story) == ([], [])


async def test_a_handshake_that_fails_is_not_sent(call: Call) -> None:
    row = Row()
    attempt = Attempt(row)

    async def no_tls(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(no_tls) as server:
        error = await attempt.run(posting(call, server.url.replace("http:", "https:")))

    assert isinstance(error, httpx.ConnectError | httpx2.ConnectError)
    assert isinstance(attempt.verdict, NotSent)
    assert row.story == []


async def test_what_is_said_to_a_proxy_is_not_yet_the_request() -> None:
    row = Row()
    attempt = Attempt(row)

    async def proxy(connection: Connection) -> None:
        await connection.read()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await connection.reader.read(1)
        await connection.send(b"no TLS here")

    async with serving(proxy) as server, holdfast.http.async_client(proxy=server.url) as client:
        error = await attempt.run(posting(client.request, "https://127.0.0.1:1"))

    assert server.requests[0].startswith(b"CONNECT 127.0.0.1:1 ")
    assert isinstance(error, httpx2.ConnectError)
    assert isinstance(attempt.verdict, NotSent)
    assert row.story == []


async def test_what_cannot_be_written_as_http_has_not_left(call: Call) -> None:
    row = Row()
    attempt = Attempt(row)
    async with serving(answers) as server:
        error = await attempt.run(posting(call, server.url, headers={"X-Note": "two\r\nlines"}))

    assert isinstance(error, httpx.LocalProtocolError | httpx2.LocalProtocolError)
    assert isinstance(attempt.verdict, NotSent)
    assert row.story == [INFLIGHT, PLANNED]
    assert server.requests == []


async def test_who_cannot_commit_the_intent_sends_nothing(call: Call) -> None:
    row = Row()
    first = Attempt(row)
    await first.intend(b"somebody else's")  # and is still at it
    attempt = Attempt(row)
    async with serving(answers) as server:
        error = await attempt.run(posting(call, server.url))

    assert isinstance(error, NotSent)
    assert attempt.verdict is error
    assert server.requests == []


async def test_an_attempt_cancelled_while_it_commits_has_sent_nothing() -> None:
    row = Row()
    waiting = asyncio.Event()

    async def never() -> None:
        waiting.set()
        await asyncio.Event().wait()

    attempt = Attempt(row, before=never)
    async with serving(answers) as server, holdfast.http.async_client() as client:
        running = asyncio.create_task(attempt.run(posting(client.request, server.url)))
        await asyncio.wait_for(waiting.wait(), PATIENCE)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert isinstance(attempt.verdict, NotSent)
    assert server.requests == []


# ----------------------------------------------------------------------------------------------- after the first byte


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(hangs_up_at_once, id="at once"),
        pytest.param(hangs_up_after_the_request, id="reset"),
        pytest.param(closes_after_the_request, id="closed"),
        pytest.param(hangs_up_in_the_head, id="in the head"),
        pytest.param(hangs_up_in_the_body, id="in the body"),
        pytest.param(talks_nonsense, id="nonsense"),
        pytest.param(answers_a_web_page, id="web page"),
        pytest.param(says_it_is_gzip, id="no gzip"),
        pytest.param(saying("500 Oops"), id="500"),
        pytest.param(saying("409 Conflict", b"{}", "Retry-After: 2"), id="in flight"),
        pytest.param(saying("302 Found", b"", "Location: /elsewhere"), id="redirect"),
    ],
)
async def test_whatever_breaks_after_the_first_byte_is_in_doubt_and_sent_again_with_the_same_bytes(
    call: Call, cut: Script
) -> None:
    row = Row()

    def charge(url: str, secret: str) -> Callable[[], Awaitable[Any]]:
        return posting(
            call,
            url,
            uuid.uuid4().bytes,
            headers={"Authorization": f"Bearer {secret}", "Stripe-Version": str(uuid.uuid4())},
        )

    async with serving(cut, answers) as server:
        first = Attempt(row)
        await first.run(charge(server.url, "sk_old"))
        assert row.effect.state == IN_DOUBT, first.verdict
        second = Attempt(row, who="worker-2")
        response = await second.run(charge(server.url, "sk_new"))

        assert response.json() == {"id": "x1"}
        assert row.story == [INFLIGHT, IN_DOUBT, INFLIGHT, SUCCEEDED]
        if cut is not hangs_up_at_once:
            assert server.bodies[0] == server.bodies[1]
            assert server.header(0, "Stripe-Version") == server.header(1, "Stripe-Version")
            assert server.header(0, "Idempotency-Key") == server.header(1, "Idempotency-Key") == ["key-of-the-effect"]
            assert (server.header(0, "Authorization"), server.header(1, "Authorization")) == (
                ["Bearer sk_old"],
                ["Bearer sk_new"],
            )
    assert row.effect.request is not None
    assert b"sk_" not in row.effect.request
    assert decode(row.effect.request).body == server.bodies[-1]


async def test_an_answer_that_is_not_waited_for_is_in_doubt(call: Call) -> None:
    row = Row()
    attempt = Attempt(row)
    async with serving(never_answers) as server:
        error = await attempt.run(posting(call, server.url, timeout=0.3))

    assert isinstance(error, httpx.ReadTimeout | httpx2.ReadTimeout)
    assert isinstance(attempt.verdict, Unclear)
    assert row.story == [INFLIGHT, IN_DOUBT]


async def test_an_attempt_cancelled_while_it_waits_is_in_doubt() -> None:
    row = Row()
    attempt = Attempt(row)
    sent = asyncio.Event()
    async with serving(never_answers) as server, holdfast.http.async_client() as client:
        server.at_first_byte = sent.set
        running = asyncio.create_task(attempt.run(posting(client.request, server.url)))
        await asyncio.wait_for(sent.wait(), PATIENCE)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert isinstance(attempt.verdict, Unclear)


async def test_a_decline_settles_the_effect_though_the_function_swallows_it(call: Call) -> None:
    row = Row()
    declined = b'{"error": {"type": "card_error", "code": "card_declined", "message": "no money"}}'
    async with serving(saying("402 Payment Required", declined)) as server:
        attempt = Attempt(row)
        response = await attempt.run(posting(call, server.url))

    assert response.status_code == 402
    assert response.json()["error"]["code"] == "card_declined"
    assert row.story == [INFLIGHT, FAILED]
    assert row.effect.error is not None
    assert "no money" in row.effect.error.message


async def test_a_rate_limit_is_tried_again_when_the_provider_says(call: Call) -> None:
    row = Row()
    async with serving(saying("429 Too Many Requests", b"{}", "Retry-After: 7")) as server:
        attempt = Attempt(row)
        await attempt.run(posting(call, server.url))

    assert isinstance(attempt.verdict, NotSent)
    assert attempt.verdict.not_before == 7.0
    assert row.story == [INFLIGHT, PLANNED]


async def test_a_refusal_that_the_provider_does_not_keep_says_nothing_about_an_earlier_request(call: Call) -> None:
    row = Row()
    async with serving(hangs_up_after_the_request, saying("400 Bad Request")) as server:
        await Attempt(row).run(posting(call, server.url))
        await Attempt(row).run(posting(call, server.url))

    assert row.story == [INFLIGHT, IN_DOUBT, INFLIGHT, IN_DOUBT]


async def test_the_answer_goes_back_as_it_came(call: Call) -> None:
    packed = gzip.compress(b'{"id": "x1", "words": "' + b"again and " * 100 + b'"}')
    async with serving(saying("201 Created", packed, "Content-Encoding: gzip", "X-Odd: a", "X-Odd: b")) as server:
        row = Row()
        through = await Attempt(row).run(posting(call, server.url))
        plain = await call("POST", f"{server.url}/v1/charges", content=BODY)

    assert (through.status_code, through.reason_phrase) == (201, "Created")
    assert through.headers.raw == plain.headers.raw
    assert through.content == plain.content
    assert through.json()["id"] == "x1"
    assert str(through.request.url).endswith("/v1/charges")
    assert row.effect.state == SUCCEEDED


# --------------------------------------------------------------------------------------------- what an effect may send


async def test_outside_an_effect_and_for_what_changes_nothing_it_is_the_librarys_own_client(call: Call) -> None:
    async with serving(answers) as server:
        own = {"Idempotency-Key": "mine", "Authorization": "Bearer x"}
        await call("POST", server.url, content=BODY, headers=own)
        row = Row()
        attempt = Attempt(row)
        await attempt.run(lambda: call("GET", server.url, headers=own))
        plain = httpx.AsyncClient() if b"httpx/" in server.requests[0] else httpx2.AsyncClient()
        async with plain:
            await plain.post(server.url, content=BODY, headers=own)
            await plain.get(server.url, headers=own)

    assert server.requests[:2] == server.requests[2:]
    assert (attempt.verdicts, row.story) == ([], [])


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a b/%2F%41?x=%20&y=1+2&z[]=ä#part", "/%zz?q=%", "//twice?", "/ü?a=b&a=c", "/?url=http://a/b?c%3Fd"],
)
async def test_an_address_goes_out_as_the_library_writes_it(call: Call, path: str) -> None:
    async with serving(answers) as server:
        await call("POST", f"http://user:pass@{server.url[7:]}{path}", content=BODY)
        row = Row()
        await Attempt(row).run(lambda: call("POST", f"http://user:pass@{server.url[7:]}{path}", content=BODY))

    plain, through = (request.partition(b"\r\n")[0] for request in server.requests)
    assert plain == through
    assert server.header(0, "Authorization") == server.header(1, "Authorization") != []
    assert row.effect.request is not None
    assert b"pass" not in row.effect.request


@pytest.mark.parametrize(
    ("profile", "header", "value"),
    [
        (Profile(name="acme", header="Acme-Key"), "Acme-Key", "k-1"),
        (IETF_DRAFT, "Idempotency-Key", '"k-1"'),
        (PAYPAL, "PayPal-Request-Id", "k-1"),
    ],
)
async def test_the_key_is_the_effects_own_under_the_providers_header(
    call: Call, profile: Profile, header: str, value: str
) -> None:
    row = Row(profile=profile, key="k-1")
    async with serving(answers) as server:
        await Attempt(row).run(posting(call, server.url, headers={header.upper(): "made up by the library"}))

    assert server.header(0, header) == [value]


async def test_a_second_request_is_refused_and_says_to_make_a_second_effect(call: Call) -> None:
    row = Row()
    async with serving(answers) as server:

        async def charge_and_mail() -> None:
            await call("POST", f"{server.url}/charge", content=BODY)
            await call("GET", f"{server.url}/charge")
            await call("POST", f"{server.url}/mail", content=BODY)

        attempt = Attempt(row)
        error = await attempt.run(charge_and_mail)

    assert isinstance(error, SecondRequest)
    assert "one effect sends one request" in str(error)
    assert "Make a second effect" in str(error)
    assert [request.split(b" ", 2)[1] for request in server.requests] == [b"/charge", b"/charge"]
    assert attempt.verdict is None


async def test_the_same_request_again_passes_under_a_providers_key(call: Call) -> None:
    row = Row()
    async with serving(closes_after_the_request, answers) as server:

        async def twice() -> Any:
            with pytest.raises((httpx.TransportError, httpx2.TransportError)):
                await call("POST", server.url, content=BODY, headers={"X-Stainless-Retry-Count": "0"})
            return await call("POST", server.url, content=BODY, headers={"X-Stainless-Retry-Count": "1"})

        attempt = Attempt(row)
        await attempt.run(twice)

    assert server.bodies == [BODY, BODY]
    assert [server.header(number, "X-Stainless-Retry-Count") for number in (0, 1)] == [["0"], ["1"]]
    assert row.story[-1] == SUCCEEDED
    assert len(attempt.intents) == 2


@pytest.mark.parametrize("guard", [AT_MOST_ONCE, LOOKUP])
async def test_the_same_request_again_is_refused_without_a_providers_key(call: Call, guard: str) -> None:
    row = Row(guard=guard)
    async with serving(closes_after_the_request, answers) as server:

        async def twice() -> Any:
            with pytest.raises((httpx.TransportError, httpx2.TransportError)):
                await call("POST", server.url, content=BODY)
            return await call("POST", server.url, content=BODY)

        attempt = Attempt(row)
        error = await attempt.run(twice)

    assert isinstance(error, SecondRequest)
    assert "max_retries=0" in str(error)
    assert len(server.requests) == 1
    assert isinstance(attempt.verdict, Unclear)


async def test_the_same_request_twice_at_once_is_refused_and_hides_nothing_of_the_first(call: Call) -> None:
    row = Row(guard=AT_MOST_ONCE)
    attempt = Attempt(row)
    refused = asyncio.Event()

    async def answers_once_the_second_is_refused(connection: Connection) -> None:
        await connection.read()
        await refused.wait()
        assert isinstance(attempt.verdict, Unclear), "the first one is still on its way"
        await connection.send(OK)

    async with serving(answers_once_the_second_is_refused) as server:

        async def post() -> Any:
            try:
                return (await call("POST", server.url, content=BODY)).json()
            except SecondRequest as error:
                refused.set()
                return type(error)

        results = await attempt.run(lambda: asyncio.gather(post(), post()))

    assert {"id": "x1"} in results
    assert SecondRequest in results
    assert len(server.requests) == 1
    assert row.story == [INFLIGHT, SUCCEEDED]


async def test_another_address_may_be_tried_when_the_first_was_not_reached(call: Call) -> None:
    row = Row(guard=AT_MOST_ONCE)
    async with serving(answers) as server:

        async def failing_over() -> Any:
            with pytest.raises((httpx.ConnectError, httpx2.ConnectError)):
                await call("POST", nobody(), content=BODY)
            return await call("POST", server.url, content=BODY)

        await Attempt(row).run(failing_over)

    assert row.story == [INFLIGHT, SUCCEEDED]


async def test_what_was_unclear_earlier_in_the_attempt_stays_unclear(call: Call) -> None:
    row = Row()
    async with serving(closes_after_the_request, saying("429 Too Many Requests")) as server:

        async def twice() -> Any:
            with pytest.raises((httpx.TransportError, httpx2.TransportError)):
                await call("POST", server.url, content=BODY)
            return await call("POST", server.url, content=BODY)

        attempt = Attempt(row)
        await attempt.run(twice)

    assert isinstance(attempt.verdict, Unclear)
    assert "another request of this attempt is unclear" in str(attempt.verdict)
    assert row.story[-1] == IN_DOUBT


# ---------------------------------------------------------------------------------------------------------- in pieces


def events(*, whole: bool, taken: asyncio.Event) -> Script:
    async def script(connection: Connection) -> None:
        await connection.read()
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"9\r\ndata: 1\n\n\r\n"
        )
        await taken.wait()
        await connection.send(b"9\r\ndata: 2\n\n\r\n" + (b"0\r\n\r\n" if whole else b""))

    return script


@pytest.mark.parametrize(("whole", "story"), [(True, [INFLIGHT, SUCCEEDED]), (False, [INFLIGHT, IN_DOUBT])])
@pytest.mark.parametrize("library", [holdfast.http, holdfast.http.httpx])
async def test_a_stream_is_passed_on_piece_by_piece_and_judged_at_its_end(
    library: Any, whole: bool, story: list[str]
) -> None:
    row = Row()
    taken = asyncio.Event()
    async with serving(events(whole=whole, taken=taken)) as server, library.async_client(timeout=PATIENCE) as client:

        async def read() -> list[str]:
            lines = []
            async with client.stream("POST", server.url, content=BODY) as response:
                async for line in response.aiter_lines():
                    taken.set()  # the server sends on when this much has arrived
                    lines.append(line)
            return [line for line in lines if line]

        result = await Attempt(row).run(read)

    assert row.story == story
    if whole:
        assert result == ["data: 1", "data: 2"]


@pytest.mark.parametrize(("whole", "story"), [(True, [INFLIGHT, SUCCEEDED]), (False, [INFLIGHT, IN_DOUBT])])
@pytest.mark.parametrize("library", [holdfast.http, holdfast.http.httpx])
async def test_a_blocking_stream_is_passed_on_piece_by_piece_too(library: Any, whole: bool, story: list[str]) -> None:
    row = Row()
    taken = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with serving(events(whole=whole, taken=taken)) as server:
        with library.client(timeout=PATIENCE) as client:

            def read() -> None:
                with client.stream("POST", server.url, content=BODY) as response:
                    for _line in response.iter_lines():
                        loop.call_soon_threadsafe(taken.set)

            await Attempt(row).run(lambda: asyncio.to_thread(read))

    assert row.story == story


async def test_a_reader_who_has_heard_enough_may_stop() -> None:
    row = Row()
    taken = asyncio.Event()
    async with serving(events(whole=True, taken=taken)) as server, holdfast.http.async_client() as client:

        async def read_one() -> str:
            async with client.stream("POST", server.url, content=BODY) as response:
                return await anext(response.aiter_lines())

        assert await Attempt(row).run(read_one) == "data: 1"
        taken.set()

    assert row.story == [INFLIGHT, SUCCEEDED]


# --------------------------------------------------------------------------------------------- threads and other loops


async def test_a_blocking_client_inside_async_def_is_told_what_to_use_instead() -> None:
    row = Row()
    attempt = Attempt(row)
    with holdfast.http.client(timeout=PATIENCE) as client:
        # The server is in a process of its own kind here: another loop, since this one will be blocked.
        async with serving(answers) as server:

            async def blocking() -> Any:
                return client.post(server.url, content=BODY)

            error = await attempt.run(blocking)

    assert isinstance(error, NotSent)
    assert "use the async client" in str(error)
    assert isinstance(attempt.verdict, NotSent)
    assert row.story == []


async def test_a_thread_with_a_loop_of_its_own_commits_on_the_workers_loop() -> None:
    row = Row()
    async with serving(answers) as server:

        async def post() -> Any:
            async with holdfast.http.async_client(timeout=PATIENCE) as client:
                return (await client.post(server.url, content=BODY)).json()

        result = await Attempt(row).run(lambda: asyncio.to_thread(asyncio.run, post()))

    assert result == {"id": "x1"}
    assert row.story == [INFLIGHT, SUCCEEDED]


async def test_a_trace_that_the_author_asked_for_is_heard_too() -> None:
    heard: list[str] = []

    async def trace(event: str, info: dict[str, Any]) -> None:
        heard.append(event)

    async with serving(answers) as server, holdfast.http.async_client() as client:
        await Attempt(Row()).run(posting(client.request, server.url, extensions={"trace": trace}))

    assert "http11.send_request_headers.started" in heard
    assert "connection.connect_tcp.complete" in heard


def test_a_client_takes_the_settings_of_its_transport_with_it() -> None:
    given = set(inspect.signature(httpx2.AsyncHTTPTransport).parameters)
    assert given == set(inspect.signature(httpx2.HTTPTransport).parameters) >= {"verify", "proxy"}
    assert set(OF_THE_TRANSPORT) == given


# -------------------------------------------------------------------------------------------------------------- openai


MODEL = Profile(name="models", retention=86_400.0, json=True)
COMPLETION = (
    b'{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,'
    b' "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}'
)


def asking(client: openai.AsyncOpenAI) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        return answer.choices[0].message.content

    return ask


async def test_the_openai_client_asks_once_and_its_own_retry_is_the_same_request() -> None:
    row = Row(profile=MODEL)
    async with (
        serving(closes_after_the_request, saying("200 OK", COMPLETION)) as server,
        holdfast.http.async_client() as http,
    ):
        client = openai.AsyncOpenAI(base_url=server.url, api_key="sk-1", http_client=http, max_retries=1)
        assert await Attempt(row).run(asking(client)) == "hello"

    assert len(server.requests) == 2
    assert server.bodies[0] == server.bodies[1]
    assert server.header(0, "Idempotency-Key") == server.header(1, "Idempotency-Key") == ["key-of-the-effect"]
    assert server.header(1, "Authorization") == ["Bearer sk-1"]
    assert row.story[-1] == SUCCEEDED
    assert row.effect.request is not None
    assert b"sk-1" not in row.effect.request


async def test_the_openai_clients_own_retry_is_refused_where_it_could_ask_twice() -> None:
    row = Row(profile=MODEL, guard=AT_MOST_ONCE)
    async with (
        serving(closes_after_the_request, saying("200 OK", COMPLETION)) as server,
        holdfast.http.async_client() as http,
    ):
        client = openai.AsyncOpenAI(base_url=server.url, api_key="sk-1", http_client=http, max_retries=2)
        error = await Attempt(row).run(asking(client))

    assert isinstance(error, SecondRequest)
    assert len(server.requests) == 1
    assert row.story == [INFLIGHT, IN_DOUBT]
