"""Which of the waiting texts are computed together. Pure.

A batch costs as much as its longest text times its number of texts, so texts of like length go together, and a batch
is bounded in tokens: each is one step, and steps are what the progress watchdog sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MAX_BATCH_TOKENS: Final = 1_024
"""About 0.3 s on one slow core: 32 texts of 32 tokens, or 4 of 256."""
MAX_PADDING: Final = 0.25
"""Of a batch's work at most this share is padding."""


def split(lengths: Sequence[int], max_batch: int, max_tokens: int = MAX_BATCH_TOKENS) -> list[list[int]]:
    """Indices of texts with these lengths (tokens) as batches: each at most `max_batch` texts and, unless it is one
    text alone, at most `max_tokens` with padding. Short texts come first. Each index is in exactly one batch."""
    batches: list[list[int]] = []
    current: list[int] = []
    total = 0
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        length = lengths[index]
        count = len(current) + 1
        padded = count * length
        if current and (count > max_batch or padded > max_tokens or padded - total - length > MAX_PADDING * padded):
            batches.append(current)
            current, total = [], 0
        current.append(index)
        total += length
    if current:
        batches.append(current)
    return batches
