"""The inference thread: one computation a text, a bounded queue, a cache that forgets the oldest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from backend.serving.embedding.counters import Counters
from backend.serving.embedding.engine import EmbeddingEngine, EngineFailed, QueueFull, Vector
from tests.unit.serving.embedding.encoders import CountingEncoder


@asynccontextmanager
async def running(
    encoder: CountingEncoder, *, max_batch: int = 32, max_waiting: int = 100, cache_texts: int = 100
) -> AsyncIterator[EmbeddingEngine]:
    engine = EmbeddingEngine(encoder, Counters(), max_batch=max_batch, max_waiting=max_waiting, cache_texts=cache_texts)
    engine.start()
    try:
        yield engine
    finally:
        encoder.may_compute.set()
        engine.close()


def said(vectors: list[Vector]) -> list[tuple[int, str]]:
    """Length and first character of the texts these vectors are of."""
    pairs = [np.frombuffer(vector.data, "<f4")[:2] for vector in vectors]
    return [(int(length), chr(int(first))) for length, first in pairs]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another thread's state has no event
            await asyncio.sleep(0.002)


async def test_vectors_come_in_the_order_of_their_texts() -> None:
    encoder = CountingEncoder()
    async with running(encoder) as engine:
        texts = ["c" * 40, "a", "bb" * 9, "a", "d" * 41]
        assert said(await engine.embed(texts)) == [(40, "c"), (1, "a"), (18, "b"), (1, "a"), (41, "d")]
        assert engine.waiting == 0
    computed = [ids for batch in encoder.batches for ids in batch]
    assert len(computed) == len(set(computed)) == 4


async def test_a_cached_text_is_not_computed_again_and_the_least_used_is_forgotten() -> None:
    encoder = CountingEncoder()
    async with running(encoder, cache_texts=2) as engine:
        for text in ("a", "b", "a", "c", "a", "b"):
            await engine.embed([text])
        assert [batch[0] for batch in encoder.batches] == [(97,), (98,), (99,), (98,)]
        assert (engine.counters.hits, engine.counters.misses, engine.counters.tokens_cached) == (2, 4, 2)


async def test_what_waits_together_is_computed_together_and_once() -> None:
    encoder = CountingEncoder()
    async with running(encoder) as engine:
        encoder.may_compute.clear()
        first = asyncio.create_task(engine.embed(["held"]))
        await until(lambda: len(encoder.batches) == 1)
        others = [asyncio.create_task(engine.embed([text])) for text in ("one1", "two2", "one1", "held", "six6")]
        await until(lambda: engine.waiting == 4)
        encoder.may_compute.set()
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in encoder.batches] == [1, 3]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    encoder = CountingEncoder()
    async with running(encoder, max_waiting=3) as engine:
        encoder.may_compute.clear()
        first = asyncio.create_task(engine.embed(["a", "b"]))
        await until(lambda: engine.waiting == 2)
        with pytest.raises(QueueFull) as caught:
            await engine.embed(["c", "d"])
        assert (caught.value.waiting, caught.value.retry_after_s) == (2, 1)
        assert engine.waiting == 2
        third = asyncio.create_task(engine.embed(["a", "c"]))
        await until(lambda: engine.waiting == 3)
        encoder.may_compute.set()
        await asyncio.gather(first, third)


async def test_one_request_larger_than_the_queue_is_served_when_nothing_waits() -> None:
    async with running(CountingEncoder(), max_waiting=3) as engine:
        assert len(await engine.embed(["a", "b", "c", "d", "e"])) == 5


async def test_a_failure_reaches_those_who_wait_and_the_next_text_is_served() -> None:
    encoder = CountingEncoder()
    async with running(encoder) as engine:
        encoder.error = ValueError("broken")
        with pytest.raises(EngineFailed, match="ValueError: broken"):
            await engine.embed(["a"])
        encoder.error = None
        assert said(await engine.embed(["a"])) == [(1, "a")]
        assert engine.counters.failed_texts == 1


async def test_a_client_that_leaves_does_not_take_the_answer_from_others() -> None:
    encoder = CountingEncoder()
    async with running(encoder) as engine:
        encoder.may_compute.clear()
        leaving, staying = (asyncio.create_task(engine.embed(["same"])) for _ in range(2))
        await until(lambda: engine.waiting == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        encoder.may_compute.set()
        assert said(await staying) == [(4, "s")]
