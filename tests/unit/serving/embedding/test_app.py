"""The HTTP surface without sockets: shapes, limits, statuses, metrics."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from backend.fleet.supervision.engine_work import gauge_sum
from backend.openai_wire import EmbeddingResponse
from backend.serving.embedding.app import EmbeddingApp
from backend.serving.embedding.counters import Counters
from backend.serving.embedding.engine import EmbeddingEngine
from backend.serving.embedding.model import ALIAS, DIMENSIONS
from backend.serving.health import ServingState, health_answer
from backend.telemetry.engine_names import EngineMetric, read_values
from backend.telemetry.exposition import parse
from tests.unit.serving.embedding.encoders import CountingEncoder


@asynccontextmanager
async def client(
    encoder: CountingEncoder | None = None, *, max_waiting: int = 100, max_texts: int = 4
) -> AsyncIterator[httpx.AsyncClient]:
    encoder = encoder or CountingEncoder()
    engine = EmbeddingEngine(encoder, Counters(), max_batch=32, max_waiting=max_waiting, cache_texts=100)
    engine.start()

    def health(path: str) -> tuple[int, bytes]:
        return health_answer(path, ServingState.SERVING, model=ALIAS, uptime_s=1.0)

    app = EmbeddingApp(engine, health, max_body_bytes=2_000, max_texts=max_texts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://replica") as http:
        yield http
    encoder.may_compute.set()
    engine.close()


async def test_openai_shape_with_usage_and_order() -> None:
    async with client() as http:
        answer = await http.post("/v1/embeddings", json={"input": ["bb", "a"], "model": ALIAS})
    body = answer.json()
    read = msgspec.json.decode(answer.content, type=EmbeddingResponse)
    assert read.usage is not None
    assert read.usage.prompt_tokens == 3
    assert (answer.status_code, body["object"], body["model"]) == (200, "list", ALIAS)
    assert [(one["object"], one["index"], one["embedding"][:2]) for one in body["data"]] == [
        ("embedding", 0, [2.0, 98.0]),
        ("embedding", 1, [1.0, 97.0]),
    ]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_base64_holds_the_same_floats() -> None:
    async with client() as http:
        answer = await http.post("/v1/embeddings", json={"input": "abc", "encoding_format": "base64"})
    floats = np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), "<f4")
    assert floats.shape == (DIMENSIONS,)
    assert list(floats[:2]) == [3.0, 97.0]


async def test_embed_counts_what_was_cut() -> None:
    async with client() as http:
        body = (await http.post("/embed", json={"texts": ["a", "b" * 101]})).json()
    assert (body["model"], body["dimensions"], body["tokens"], body["truncated"]) == (ALIAS, DIMENSIONS, 102, 1)
    assert [one[:2] for one in body["embeddings"]] == [[1.0, 97.0], [101.0, 98.0]]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/embeddings", {"input": [1, 2]}, 400, "token ids"),
        ("/v1/embeddings", {"input": [[1, 2], [3]]}, 400, "token ids"),
        ("/v1/embeddings", {"input": 3}, 400, "input must be a string or a list of strings"),
        ("/v1/embeddings", {"input": []}, 400, "input is empty"),
        ("/v1/embeddings", {"input": ["a", ""]}, 400, "input[1] is an empty string"),
        ("/v1/embeddings", {"input": ["a", None]}, 400, "input[1] is not a string"),
        ("/v1/embeddings", {}, 400, "missing required field `input`"),
        ("/v1/embeddings", {"input": "a", "dimensions": 128}, 400, "384 dimensions and cannot be shortened; 128 asked"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 400, "'float' or 'base64'"),
        ("/v1/embeddings", {"input": "a", "model": "text-embedding-3-small"}, 404, "only 'all-minilm-l6-v2' is"),
        ("/v1/embeddings", {"input": ["a"] * 5}, 413, "at most 4"),
        ("/v1/embeddings", {"input": "a" * 3_000}, 413, "larger than 2000 bytes"),
        ("/embed", {"texts": "a"}, 400, "texts must be a list of strings"),
        ("/embed", {"input": "a"}, 400, "missing required field `texts`"),
        ("/embed", ["a"], 400, "shape is wrong"),
        ("/nothing", {}, 404, "There is no /nothing here"),
        ("/metrics", {}, 405, "Only GET"),
    ],
)
async def test_refusals_say_what_is_wrong(path: str, body: Any, status: int, words: str) -> None:
    async with client() as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"{", b'{"input": "\xff"}', b"[" * 1_900, b'{"input": "\\ud800"}', b"null"])
async def test_bytes_that_are_no_request(body: bytes) -> None:
    async with client() as http:
        for path in ("/v1/embeddings", "/embed"):
            assert (await http.post(path, content=body)).status_code == 400


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with client() as http:
        assert (await http.post("/embed", content=endless())).status_code == 413


async def test_a_full_queue_is_a_429_with_retry_after() -> None:
    encoder = CountingEncoder()
    encoder.may_compute.clear()
    async with client(encoder, max_waiting=1) as http, asyncio.TaskGroup() as group:
        first = group.create_task(http.post("/embed", json={"texts": ["a"]}))
        async with asyncio.timeout(60):
            while not encoder.batches:  # noqa: ASYNC110 - another thread's state has no event
                await asyncio.sleep(0.002)
        second = await http.post("/embed", json={"texts": ["b"]})
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert second.json()["error"]["code"] == "queue_full"
        encoder.may_compute.set()
        assert (await first).status_code == 200


async def test_a_failing_model_is_a_visible_error() -> None:
    encoder = CountingEncoder()
    encoder.error = RuntimeError("no memory")
    async with client(encoder) as http:
        answer = await http.post("/embed", json={"texts": ["a"]})
    assert answer.status_code == 500
    assert "no memory" in answer.json()["error"]["message"]


async def test_the_request_id_is_given_back_or_made() -> None:
    async with client() as http:
        answer = await http.post("/embed", json={"texts": ["a"]}, headers={"X-Request-ID": "mine-7"})
        assert answer.headers["x-request-id"] == "mine-7"
        ids = {(await http.post("/embed", json={})).headers["x-request-id"] for _ in range(2)}
        assert len(ids) == 2
        long = await http.post("/embed", json={}, headers={"X-Request-ID": "x" * 500})
        assert len(long.headers["x-request-id"]) < 50


async def test_health_models_and_metrics() -> None:
    async with client() as http:
        assert (await http.get("/health")).json()["status"] == "ok"
        assert (await http.get("/health/live")).status_code == 200
        assert (await http.get("/v1/models")).json()["data"][0]["id"] == ALIAS
        for texts in (["aa", "b"], ["aa"], ["aa", "aa"]):
            await http.post("/embed", json={"texts": texts})
        await http.post("/embed", json={})
        text = (await http.get("/metrics")).text
    values = read_values("embedding", parse(text))
    assert values == {
        EngineMetric.RUNNING: 0.0,
        EngineMetric.WAITING: 0.0,
        EngineMetric.TOKENS_IN: 3.0,
        EngineMetric.TOKENS_CACHED: 6.0,
        EngineMetric.PROGRESS: 1.0,
        EngineMetric.PENDING: 0.0,
    }
    assert gauge_sum(text, ("trinity_embedding_requests_processing",)) == 0.0
    for line in (
        'trinity_embedding_requests_total{route="/embed",status="200"} 3',
        'trinity_embedding_requests_total{route="/embed",status="400"} 1',
        "trinity_embedding_texts_total 5",
        "trinity_embedding_cache_hits_total 3",
        "trinity_embedding_cache_misses_total 2",
        'trinity_embedding_batch_size_bucket{le="1"} 0',
        'trinity_embedding_batch_size_bucket{le="2"} 1',
        "trinity_embedding_batch_size_sum 2",
    ):
        assert line in text.splitlines(), line
