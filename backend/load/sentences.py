"""The sentences that embedding loads ask for: one fixed corpus, like the pairs of a similarity benchmark.

Owns the corpus. It is the same for every seed, so that what one run learned of a text can be held against another; a
run's seed chooses the order. Texts come again, as they do in a search box: caches are used, and an answer can be
compared with the first one for the same text.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

CORPUS_SIZE: Final = 1_024
_WHO: Final = [
    "a man",
    "a young woman",
    "two children",
    "the engineer",
    "a group of people",
    "an old dog",
    "the operator on call",
    "a black cat",
    "the customer",
    "my neighbour",
    "a tall boy",
    "three musicians",
    "the new student",
    "a farmer",
]
_DOES: Final = [
    "is playing",
    "is looking at",
    "carries",
    "repairs",
    "has found",
    "is writing about",
    "keeps asking for",
    "sells",
    "is painting",
    "talks about",
    "wants to return",
    "is cutting",
    "restarts",
    "has lost",
]
_WHAT: Final = [
    "a guitar",
    "the broken replica",
    "an onion",
    "a bicycle",
    "the monthly report",
    "a wooden boat",
    "two large boxes",
    "the search index",
    "a bowl of rice",
    "an old letter",
    "the red ball",
    "a glass of water",
    "the invoice",
    "a map of the city",
]
_WHERE: Final = [
    "in the kitchen",
    "near the river",
    "on a crowded street",
    "at the office",
    "behind the school",
    "in the data centre",
    "on the beach",
    "under a tree",
    "before the meeting",
    "in the early morning",
    "during the storm",
    "after a long day",
    "at the market",
    "in an empty room",
]


@lru_cache(maxsize=1)
def corpus() -> tuple[str, ...]:
    """All sentences, each of them once: five to eighteen words."""
    source = random.Random("sentences")  # noqa: S311 - a fixed corpus, no secret
    found: dict[str, None] = {}
    while len(found) < CORPUS_SIZE:
        words = f"{source.choice(_WHO)} {source.choice(_DOES)} {source.choice(_WHAT)}"
        if source.random() < 0.7:
            words += f" {source.choice(_WHERE)}"
        found[f"{words[0].upper()}{words[1:]}."] = None
    return tuple(found)
