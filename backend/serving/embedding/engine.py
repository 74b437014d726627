"""The inference thread: takes the texts that wait, computes them in batches, hands the vectors back to the loop.

Owns the queue (bounded), the cache of vectors and one thread. Everything but the thread's own work happens on the
event loop, so nothing here needs a lock but the queue. A text that waits twice is computed once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from backend.serving.embedding.batches import split
from backend.serving.embedding.counters import Counters

if TYPE_CHECKING:
    from backend.serving.embedding.model import Matrix, Tokens


class Encoder(Protocol):
    """What the thread needs of a model."""

    def tokenize(self, text: str) -> Tokens: ...

    def embed(self, batch: Sequence[Sequence[int]]) -> Matrix: ...


class Vector(msgspec.Struct, frozen=True):
    """One text's answer: little-endian 32-bit floats."""

    data: bytes
    tokens: int
    cut: bool


class QueueFull(Exception):
    """The texts do not fit in the queue; `retry_after_s` is when they may."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} texts are waiting already")
        self.waiting, self.retry_after_s = waiting, retry_after_s


class EngineFailed(Exception):
    """The model raised for these texts."""


class _Waiting(msgspec.Struct, frozen=True):
    text: str
    answer: asyncio.Future[Vector]


class EmbeddingEngine:
    """Texts to vectors. Create it on the loop, `start` it, `close` it."""

    def __init__(
        self, model: Encoder, counters: Counters, *, max_batch: int, max_waiting: int, cache_texts: int
    ) -> None:
        self._model, self.counters = model, counters
        self._max_batch, self._max_waiting, self._cache_texts = max_batch, max_waiting, cache_texts
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._pending: dict[str, asyncio.Future[Vector]] = {}
        self._queue: list[_Waiting] = []
        self._wake = threading.Condition()
        self._running = True
        self._loop = asyncio.get_running_loop()
        # A daemon: a thread that hangs in the engine must not keep a stopped replica alive.
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """No further batch is begun."""
        with self._wake:
            self._running = False
            self._wake.notify()

    @property
    def waiting(self) -> int:
        """Texts that wait or are being computed."""
        return len(self._pending)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text, in order. Raises QueueFull (nothing was queued) or EngineFailed."""
        found = {text: vector for text in texts if (vector := self._cached(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        self.counters.hits += len(texts) - len(missing)
        self.counters.misses += len(missing)
        if missing:
            answers = self._enqueue(missing)
            # Not `gather`: a client that leaves must not cancel what others wait for.
            await asyncio.wait(answers)
            found |= {text: answer.result() for text, answer in zip(missing, answers, strict=True)}
        all_tokens = sum(found[text].tokens for text in texts)
        self.counters.tokens_cached += all_tokens - sum(found[text].tokens for text in missing)
        return [found[text] for text in texts]

    def _cached(self, text: str) -> Vector | None:
        vector = self._cache.get(text)
        if vector is not None:
            self._cache.move_to_end(text)
        return vector

    def _enqueue(self, texts: list[str]) -> list[asyncio.Future[Vector]]:
        fresh = [text for text in texts if text not in self._pending]
        if fresh and self._pending and len(self._pending) + len(fresh) > self._max_waiting:
            raise QueueFull(len(self._pending), self.counters.seconds_for(len(self._pending)))
        for text in fresh:
            self._pending[text] = self._loop.create_future()
        with self._wake:
            self._queue += [_Waiting(text, self._pending[text]) for text in fresh]
            self._wake.notify()
        return [self._pending[text] for text in texts]

    # -- the thread

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            self._compute(taken)

    def _take(self) -> list[_Waiting] | None:
        """What waits, up to one batch's number of texts; null at the end. No time is waited for more to come: while
        one batch is computed, the next one gathers."""
        with self._wake:
            while self._running and not self._queue:
                self._wake.wait()
            if not self._running:
                return None
            taken = self._queue[: self._max_batch]
            del self._queue[: self._max_batch]
            return taken

    def _compute(self, taken: list[_Waiting]) -> None:
        try:
            tokens = [self._model.tokenize(one.text) for one in taken]
        except Exception as error:  # whatever the tokenizer raises reaches the clients that wait
            self._tell(partial(self._fail, taken, error))
            return
        for indices in split([len(one.ids) for one in tokens], self._max_batch):
            batch = [taken[i] for i in indices]
            part = [tokens[i] for i in indices]
            began = self.counters.begin(len(batch))
            try:
                matrix = self._model.embed([one.ids for one in part])
            except Exception as error:  # whatever the runtime raises reaches the clients that wait
                self.counters.end(began, texts=len(batch), tokens=0)
                self._tell(partial(self._fail, batch, error))
                continue
            self.counters.end(began, texts=len(batch), tokens=sum(len(one.ids) for one in part))
            vectors = [Vector(row.tobytes(), len(one.ids), one.cut) for row, one in zip(matrix, part, strict=True)]
            self._tell(partial(self._done, batch, vectors))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: the replica has stopped and nobody waits for these any more.
            self.close()

    # -- back on the loop

    def _done(self, batch: list[_Waiting], vectors: list[Vector]) -> None:
        for one, vector in zip(batch, vectors, strict=True):
            self._pending.pop(one.text, None)
            one.answer.set_result(vector)
            if self._cache_texts:
                self._cache[one.text] = vector
        while len(self._cache) > self._cache_texts:
            self._cache.popitem(last=False)

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        for one in batch:
            self._pending.pop(one.text, None)
            one.answer.set_exception(EngineFailed(f"{type(error).__name__}: {error}"))
            # Clients that left read no result; the failure is counted all the same.
            one.answer.exception()
        self.counters.failed_texts += len(batch)
