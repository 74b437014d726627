"""What a sample can prove: exact (Clopper-Pearson) bounds on a success ratio. Pure."""

from __future__ import annotations

import math


def success_at_least(successes: int, count: int, confidence: float = 0.95) -> float:
    """The ratio that `successes` of `count` prove at one-sided `confidence`; 0 for no sample."""
    if not 0 <= successes <= count or not 0.0 < confidence < 1.0:
        raise ValueError(f"no bound for {successes} of {count} at {confidence}")
    if successes == 0:
        return 0.0
    if successes == count:
        return float((1.0 - confidence) ** (1.0 / count))
    return _solve(successes, count - successes + 1, 1.0 - confidence)


def success_at_most(successes: int, count: int, confidence: float = 0.95) -> float:
    """The ratio that `successes` of `count` do not exceed at one-sided `confidence`; 1 for no sample."""
    return 1.0 - success_at_least(count - successes, count, confidence) if count else 1.0


def samples_for(ratio: float, confidence: float = 0.95) -> int:
    """How many requests without any failure prove at least `ratio` (0..1, exclusive)."""
    return math.ceil(math.log(1.0 - confidence) / math.log(ratio))


def _solve(a: int, b: int, tail: float) -> float:
    """The p with I_p(a, b) = tail, by bisection: I is monotonic in p."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if _incomplete_beta(a, b, middle) < tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny, c = 1e-300, 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 + numerator * d
            c = 1.0 + numerator / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return result
