"""What a replica counts, and its Prometheus text. Each number has one writer: the loop or the inference thread."""

from __future__ import annotations

import math
import time
from typing import Final

PREFIX: Final = "trinity_embedding_"
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32)
STEP_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SMOOTHING: Final = 0.2
_FIRST_GUESS_S: Final = 0.01
"""Seconds a text, before one was computed."""


class Histogram:
    """Counts by upper bound; `le` as Prometheus means it."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        at = next((i for i, bound in enumerate(self._bounds) if value <= bound), len(self._bounds))
        self._counts[at] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        total, lines = 0, [f"# TYPE {name} histogram"]
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            label = "+Inf" if bound == math.inf else f"{bound:g}"
            lines.append(f'{name}_bucket{{le="{label}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.9g}", f"{name}_count {total}"]


class Counters:
    """Everything a replica counts since its start."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        """Answers by route and status."""
        self.in_progress = 0
        """Requests taken and not yet answered."""
        self.texts = self.tokens = self.tokens_cached = 0
        """Of good answers; cached ones are those nobody had to compute."""
        self.hits = self.misses = 0
        self.failed_texts = 0
        self.steps = 0
        """Batches computed: the heartbeat."""
        self.computing = 0
        """Texts of the batch under way."""
        self.batch_size = Histogram(BATCH_BUCKETS)
        self.step_s = Histogram(STEP_BUCKETS_S)
        self.tokens_computed = 0
        self._text_s = _FIRST_GUESS_S

    def answered(self, route: str, status: int) -> None:
        self.requests[route, status] = self.requests.get((route, status), 0) + 1

    def begin(self, texts: int) -> float:
        """A batch begins; the instant."""
        self.computing = texts
        return time.monotonic()

    def end(self, began: float, *, texts: int, tokens: int) -> None:
        """That batch ended; `tokens` of it without padding, 0 where it failed."""
        took = time.monotonic() - began
        self.computing = 0
        self.steps += 1
        self.tokens_computed += tokens
        self.batch_size.add(texts)
        self.step_s.add(took)
        self._text_s += _SMOOTHING * (took / texts - self._text_s)

    def seconds_for(self, texts: int) -> int:
        """Whole seconds, at least 1, that so many texts take at the present pace."""
        return max(1, math.ceil(texts * self._text_s))

    def exposition(self, *, waiting: int) -> bytes:
        """The Prometheus text; `waiting` is the number of texts that have no vector yet."""
        lines = [f"# TYPE {PREFIX}requests_total counter"]
        lines += [
            f'{PREFIX}requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        for name, kind, value in (
            ("requests_processing", "gauge", self.in_progress),
            ("queue_depth", "gauge", max(0, waiting - self.computing)),
            ("texts_pending", "gauge", waiting),
            ("texts_total", "counter", self.texts),
            ("tokens_total", "counter", self.tokens),
            ("tokens_computed_total", "counter", self.tokens_computed),
            ("tokens_cached_total", "counter", self.tokens_cached),
            ("cache_hits_total", "counter", self.hits),
            ("cache_misses_total", "counter", self.misses),
            ("failed_texts_total", "counter", self.failed_texts),
            ("steps_total", "counter", self.steps),
        ):
            lines += [f"# TYPE {PREFIX}{name} {kind}", f"{PREFIX}{name} {value}"]
        lines += self.batch_size.lines(f"{PREFIX}batch_size")
        lines += self.step_s.lines(f"{PREFIX}step_seconds")
        return ("\n".join(lines) + "\n").encode()
