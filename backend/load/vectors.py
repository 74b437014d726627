"""Whether an embeddings answer is right: one vector, of the run's dimension, finite, and the one that was said before.

Owns the memory of first answers, which holds the fixed corpus at most. Never sends anything.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Final

import msgspec

from backend.load.spec import LoadSpec

BAD_VECTOR: Final = "bad_vector"
OTHER_VECTOR: Final = "other_vector"
MAX_REMEMBERED: Final = 100_000


class _Item(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Problem(msgspec.Struct, frozen=True):
    """Name (a row's termination) and sentence of what is wrong with an answer."""

    name: str
    sentence: str


class VectorCheck:
    """One run's check. Answers are to be judged in the order they came."""

    def __init__(self, spec: LoadSpec) -> None:
        self._golden, self._least = spec.golden, spec.cosine_min
        self._dimensions = spec.dimensions
        self._first: dict[str, tuple[list[float], float]] = {}

    def problem(self, text: str, body: bytes) -> Problem | None:
        """What is wrong with the whole good answer for `text`; null when nothing is."""
        try:
            data = _DECODER.decode(body).data
        except msgspec.DecodeError as error:
            return Problem(BAD_VECTOR, f"the answer holds no vectors: {error}")
        if len(data) != 1:
            return Problem(BAD_VECTOR, f"one text was sent, {len(data)} vectors came")
        vector = data[0].embedding
        if self._dimensions is None and vector:
            self._dimensions = len(vector)
        if len(vector) != self._dimensions:
            return Problem(BAD_VECTOR, f"the vector has {len(vector)} dimensions, {self._dimensions} are wanted")
        # A sum is finite only if every term is: components of a sane vector do not overflow it.
        length = math.sqrt(sum(map(mul, vector, vector)))
        if not 0.0 < length < math.inf:
            return Problem(BAD_VECTOR, "the vector is zero or not finite")
        return self._compare(text, vector, length) if self._golden else None

    def _compare(self, text: str, vector: list[float], length: float) -> Problem | None:
        first, first_length = self._first.get(text, (vector, length))
        if first is vector and len(self._first) < MAX_REMEMBERED:
            self._first[text] = (vector, length)
        # Most answers are the same to the last digit; the others need the product.
        if first is vector or first == vector:
            return None
        cosine = sum(map(mul, first, vector)) / (first_length * length)
        if cosine >= self._least:
            return None
        return Problem(OTHER_VECTOR, f"cosine {cosine:.6f} to the first answer for this text, {self._least:g} wanted")
