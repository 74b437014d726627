"""The embedding replica as a program: vectors equal a direct computation, health, limits, a graceful end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from tokenizers import Tokenizer

from backend.serving import fault_switch
from backend.serving.embedding.model import DIMENSIONS, bundled_files
from tests.integration.serving_replicas import RunningReplica, replica

Vectors = npt.NDArray[np.float32]
LONG = "a river of words " * 200
TEXTS = (
    "The capital of France is Paris.",
    "Paris is France's capital city.",
    "How do I reset a replica that has crashed?",
    "x",
    "Straße, naïve café, 東京タワー, Ελλάδα, 🚀🚀",
    " leading and trailing blanks ",
    "line\none\r\nand\ttabs",
    "the " * 30,
    "stone garden music paper " * 20,
    LONG,
)


class Reference:
    """The model with onnxruntime's own defaults, one text at a time: no batch, no padding, nothing of ours."""

    def __init__(self) -> None:
        files = bundled_files()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(files.model), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(files.tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.vstack([self._one(text) for text in texts])

    def _one(self, text: str) -> Vectors:
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self._session.run(None, feed)[0][0].mean(axis=0)
        unit: Vectors = mean / np.linalg.norm(mean)
        return unit


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.fixture
async def running() -> AsyncIterator[RunningReplica]:
    async with replica(program="backend.serving.embedding", STOP_GRACE="110") as one:
        yield one


def worst_cosine(one: Vectors, other: Vectors) -> float:
    assert np.allclose(np.linalg.norm(one, axis=1), 1.0, atol=1e-5)
    return float((one * other).sum(axis=1).min())


async def test_vectors_equal_the_reference_whatever_is_computed_beside_them(
    running: RunningReplica, reference: Reference
) -> None:
    rng = random.Random(5)
    words = " ".join(TEXTS[:9]).split()
    crowd = [" ".join(rng.choices(words, k=rng.randint(1, 24))) for _ in range(40)]
    wanted, wanted_crowd = reference.embed(TEXTS), reference.embed(crowd)
    async with httpx.AsyncClient(base_url=running.url, timeout=100.0) as http:
        together = http.post("/v1/embeddings", json={"input": crowd})
        alone = [http.post("/embed", json={"texts": [text]}) for text in TEXTS]
        crowded, *answers = await asyncio.gather(together, *alone)
        again = await http.post("/embed", json={"texts": list(TEXTS)})
        metrics = (await http.get("/metrics")).text
    got_crowd = np.array([one["embedding"] for one in crowded.json()["data"]], np.float32)
    got = np.array([answer.json()["embeddings"][0] for answer in answers], np.float32)
    assert got.shape == (len(TEXTS), DIMENSIONS)
    assert worst_cosine(got_crowd, wanted_crowd) >= 0.9999
    assert worst_cosine(got, wanted) >= 0.9999
    assert again.json()["embeddings"] == [answer.json()["embeddings"][0] for answer in answers]
    assert again.json()["truncated"] == 1
    assert "trinity_embedding_batch_size_sum 50" in metrics
    assert 'trinity_embedding_batch_size_bucket{le="1"} 50' not in metrics, "texts were computed together"


@pytest.mark.timeout(300)
async def test_health_ids_and_a_graceful_end(running: RunningReplica) -> None:
    for check in ("live", "ready", "startup"):
        assert (await running.health(check))[0] == 200
    async with httpx.AsyncClient(base_url=running.url, timeout=100.0) as http:
        headers = {"X-Request-ID": "id-1"}
        answer = await http.post("/v1/embeddings", json={"input": "one"}, headers=headers)
        assert answer.headers["x-request-id"] == "id-1"
        assert answer.json()["usage"]["prompt_tokens"] == 3
        slow = asyncio.create_task(http.post("/embed", json={"texts": [f"{n} {LONG}" for n in range(40)]}))
        async with asyncio.timeout(60):
            while "requests_processing 1" not in (await http.get("/metrics")).text:
                assert not slow.done()
        running.stop()
        await running.until_health("ready", lambda status: status == 503)
        assert (await running.health("live"))[0] == 200
        assert len((await slow).json()["embeddings"]) == 40
    assert await running.ended() == 0
    assert b"Stopped, no request was running." in running.stderr


async def test_the_fault_switch_ends_it_with_the_code_it_is_told(tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    async with replica(program="backend.serving.embedding", TRINITY_FAULT_SWITCH=str(switch)) as one:
        assert fault_switch.is_armed(switch, one.process.pid)
        fault_switch.order_exit(switch, 7)
        one.process.send_signal(fault_switch.SIGNAL)
        assert await one.ended() == 7


async def test_a_wrong_setting_and_a_port_that_is_taken_are_one_sentence(running: RunningReplica) -> None:
    for env, code, words in (
        ({"MAX_BATCH": "many"}, 64, "MAX_BATCH is 'many'"),
        ({"PORT": str(running.port)}, 1, f"{running.port}"),
    ):
        async with replica(program="backend.serving.embedding", wait=False, **env) as other:
            assert await other.ended() == code
            lines = other.stderr.decode().strip().splitlines()
            assert len(lines) == 1, lines
            assert words in lines[0]
