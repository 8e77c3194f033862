"""An OpenAI-compatible chat server without a model: it reads prescription notes by rules, the same way every time.

    python -m examples.providers.chat --port 0

Laws of this file:
- The last user message is the note; `<note>…</note>` in it sets the note apart from words around it.
- Whoever asks for JSON, by `response_format` or in a system prompt, gets one JSON object; others get a sentence.
- The content depends on the request alone; only ids and times differ from call to call.
"""

import asyncio
import json
import re
import time
import uuid
from typing import Any

import msgspec
from aiohttp import web

from examples.providers import serving
from examples.providers.prescription import Eye, Reading, read_note

MODEL = "prescription-reader-1"
CHUNK = 24
CHARACTERS_PER_TOKEN = 4
LARGEST_REQUEST = 4 * 1024 * 1024

_MARKED = re.compile(r"<note>(.*?)</note>", re.DOTALL | re.IGNORECASE)


class Part(msgspec.Struct, frozen=True):
    """A piece of a message's content; only text is read."""

    type: str
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(msgspec.Struct, frozen=True):
    """What a streaming caller may ask for besides the words."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """What POST /v1/chat/completions takes; other fields of the API change nothing here."""

    model: str
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = None


def answer(request: ChatRequest) -> str:
    """Give what the model would say."""
    asked = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    marked = _MARKED.search(asked)
    reading = read_note(marked[1] if marked else asked)
    if _wants_json(request):
        return json.dumps(reading_view(reading, extras=_extras(request)), ensure_ascii=False)
    return _sentence(reading)


def reading_view(reading: Reading, *, extras: frozenset[str] = frozenset()) -> dict[str, object]:
    """Give a reading as JSON; `extras` are the fields beyond the plain ones that the caller's schema can take."""
    view: dict[str, object] = {
        "right": _eye_view(reading.right, extras),
        "left": _eye_view(reading.left, extras),
        "add": reading.add,
        "pd": reading.pd,
        "readable": reading.readable,
        "question": reading.question,
    }
    halves = {"pd_right": reading.pd_right, "pd_left": reading.pd_left}
    return view | {name: value for name, value in halves.items() if name in extras}


def usage(request: ChatRequest, content: str) -> dict[str, int]:
    """Count tokens, roughly but always the same."""
    prompt = sum(_tokens(message.text) + CHARACTERS_PER_TOKEN for message in request.messages)
    completion = _tokens(content)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def application(*, latency: float = 0.0) -> web.Application:
    """Give the chat server as a web application."""

    async def complete(request: web.Request) -> web.StreamResponse:
        try:
            wanted = msgspec.json.decode(await request.read(), type=ChatRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _error(400, f"the request cannot be read: {error}", None)
        if not wanted.messages:
            return _error(400, "messages must not be empty", None)
        await asyncio.sleep(latency)
        content = answer(wanted)
        if wanted.stream:
            return await _stream(request, wanted, content)
        return web.json_response(_completion(wanted, content))

    async def models(_request: web.Request) -> web.StreamResponse:
        model = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "examples"}
        return web.json_response({"object": "list", "data": [model]})

    app = web.Application(middlewares=[_authorized], client_max_size=LARGEST_REQUEST)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/v1/models", models)
    return app


@web.middleware
async def _authorized(request: web.Request, handler: Any) -> web.StreamResponse:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return _error(401, "an API key is missing: send `Authorization: Bearer KEY`", "invalid_api_key")
    response: web.StreamResponse = await handler(request)
    return response


def _error(status: int, message: str, code: str | None) -> web.Response:
    problem = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": problem}, status=status)


def _completion(request: ChatRequest, content: str) -> dict[str, object]:
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": _completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(request, content),
    }


async def _stream(http: web.Request, request: ChatRequest, content: str) -> web.StreamResponse:
    """Send the answer as server-sent events; a caller that hangs up ends it quietly."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    head = {
        "id": _completion_id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
    }
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": content[start : start + CHUNK]} for start in range(0, len(content), CHUNK)]
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if request.stream_options is not None and request.stream_options.include_usage:
        chunks.append(head | {"choices": [], "usage": usage(request, content)})
    try:
        await response.prepare(http)
        for chunk in chunks:
            await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
    except ConnectionError:
        pass
    return response


def _wants_json(request: ChatRequest) -> bool:
    if request.response_format is not None and request.response_format.get("type") in ("json_object", "json_schema"):
        return True
    return any(
        message.role in ("system", "developer") and "json" in message.text.lower() for message in request.messages
    )


def _extras(request: ChatRequest) -> frozenset[str]:
    """Name the additional fields that fit: those that the schema names, or all of them without a schema."""
    schema = (request.response_format or {}).get("json_schema")
    named = json.dumps(schema)
    return frozenset(name for name in ("prism", "pd_right", "pd_left") if schema is None or f'"{name}"' in named)


def _eye_view(eye: Eye | None, extras: frozenset[str]) -> dict[str, object] | None:
    if eye is None:
        return None
    view: dict[str, object] = {"sphere": eye.sphere, "cylinder": eye.cylinder, "axis": eye.axis}
    if "prism" in extras:
        view["prism"] = msgspec.to_builtins(eye.prism)
    return view


def _sentence(reading: Reading) -> str:
    if reading.right is None or reading.left is None:
        return f"I cannot read this prescription. {reading.question}"
    words = f"Right {_lens(reading.right)}, left {_lens(reading.left)}"
    words += f", addition {reading.add:+.2f}" if reading.add is not None else ""
    return words + (f", PD {reading.pd:g} mm." if reading.pd is not None else ".")


def _lens(eye: Eye) -> str:
    return f"{eye.sphere:+.2f}" + (f" {eye.cylinder:+.2f} x {eye.axis}" if eye.cylinder else "")


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _completion_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def main() -> None:
    """Read the command line and serve."""
    parser = serving.options("examples.providers.chat", "An OpenAI-compatible server that reads prescriptions.")
    given = parser.parse_args()
    serving.serve(lambda: application(latency=given.latency), given.port)


if __name__ == "__main__":
    main()
