"""The replica's HTTP surface: an ASGI application over the engine. Owns statuses, limits and headers.

| route | what |
|---|---|
| POST /v1/embeddings | OpenAI's embeddings API |
| POST /embed | `{"texts": [...]}` |
| GET /v1/models | the one model |
| GET /health, /health/live, /health/ready, /health/startup | as on the health port |
| GET /metrics | Prometheus text |
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import msgspec

from backend.openai_wire import ModelCard, ModelList, error_body
from backend.serving.embedding.engine import EmbeddingEngine, EngineFailed, QueueFull
from backend.serving.embedding.model import ALIAS
from backend.serving.embedding.wire import (
    EMBED_ROUTE,
    OPENAI_ROUTE,
    BadRequest,
    embed_answer,
    openai_answer,
    question_of,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_S: Final = 30.0
"""Within which a request's body must have come."""
MAX_ID_CHARS: Final = 128
_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Gone(Exception):
    """The client left before its request was whole."""


class EmbeddingApp:
    """See the module. `health` is the answer of the replica's own health endpoints."""

    def __init__(
        self,
        engine: EmbeddingEngine,
        health: Callable[[str], tuple[int, bytes]],
        *,
        max_body_bytes: int,
        max_texts: int,
    ) -> None:
        self._engine, self._health = engine, health
        self._max_body, self._max_texts = max_body_bytes, max_texts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        counters, path = self._engine.counters, str(scope["path"])
        request_id = _request_id(scope["headers"])
        if path not in (OPENAI_ROUTE, EMBED_ROUTE):
            await _send(send, self._other(scope["method"], path), request_id)
            return
        counters.in_progress += 1
        try:
            answer = await self._answer(path, scope, receive)
            await _send(send, answer, request_id)
            counters.answered(path, answer.status)
        except _Gone:
            counters.answered(path, 499)
        finally:
            counters.in_progress -= 1

    async def _answer(self, route: str, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return _method_not_allowed("POST")
        try:
            body = await self._body(scope["headers"], receive)
            question = question_of(route, body, max_texts=self._max_texts)
            vectors = await self._engine.embed(question.texts)
        except BadRequest as error:
            return Answer(error.status, error_body(error.status, str(error), param=error.param, code=error.code))
        except QueueFull as error:
            after = str(error.retry_after_s)
            message = f"{error.waiting} texts wait for this replica already; try again in {after} s."
            body = error_body(429, message, code="queue_full")
            return Answer(429, body, headers=((b"retry-after", after.encode()),))
        except EngineFailed as error:
            return Answer(500, error_body(500, f"The model could not compute this: {error}.", code="engine_failed"))
        counters = self._engine.counters
        counters.texts += len(vectors)
        counters.tokens += sum(vector.tokens for vector in vectors)
        return Answer(200, embed_answer(vectors) if route == EMBED_ROUTE else openai_answer(vectors, question.form))

    async def _body(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        said = next((value for name, value in headers if name == b"content-length"), b"0")
        too_large = BadRequest(f"The body is larger than {self._max_body} bytes.", status=413, code="request_too_large")
        if said.isdigit() and int(said) > self._max_body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    body += message.get("body", b"")
                    if len(body) > self._max_body:
                        raise too_large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise BadRequest(f"The body did not come within {BODY_S:g} s.", status=408) from None

    def _other(self, method: str, path: str) -> Answer:
        known = path in ("/metrics", "/v1/models") or path.startswith("/health")
        if known and method not in ("GET", "HEAD"):
            return _method_not_allowed("GET")
        if path == "/metrics":
            return Answer(200, self._engine.counters.exposition(waiting=self._engine.waiting), _TEXT)
        if path == "/v1/models":
            return Answer(200, msgspec.json.encode(ModelList(data=[ModelCard(id=ALIAS, owned_by="trinity")])))
        if path.startswith("/health"):
            return Answer(*self._health(path), headers=((b"cache-control", b"no-store"),))
        message = f"There is no {path[:100]} here; ask {OPENAI_ROUTE} or {EMBED_ROUTE}."
        return Answer(404, error_body(404, message, code="unknown_route"))


def _method_not_allowed(allowed: str) -> Answer:
    body = error_body(405, f"Only {allowed} is answered here.", code="method_not_allowed")
    return Answer(405, body, headers=((b"allow", allowed.encode()),))


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The client's, where it can be given back, else a new one."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    whole = 0 < len(given) <= MAX_ID_CHARS and all(33 <= byte <= 126 for byte in given)
    return given if whole else str(uuid.uuid4()).encode()


async def _send(send: Send, answer: Answer, request_id: bytes) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-request-id", request_id),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
