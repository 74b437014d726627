"""When requests are meant to be sent: a pure, seeded schedule. Never looks at a clock or an answer."""

from __future__ import annotations

import random
from collections.abc import Iterator

from backend.contract.errors import UsageError
from backend.load.spec import LoadSpec


def arrivals(spec: LoadSpec) -> Iterator[float]:
    """Seconds from the start, ascending, without end where the spec has neither count nor duration.

    Constant arrivals stand at k / rate. Poisson arrivals have exponential gaps with mean 1 / rate.
    """
    # Randomness of its own, so that the same seed gives the same times whatever else the run draws.
    source = random.Random(f"arrivals-{spec.seed}")  # noqa: S311 - a reproducible schedule, no secret
    at = 0.0
    index = 0
    while spec.count is None or index < spec.count:
        at = index / spec.rate if spec.arrival == "constant" else at + source.expovariate(spec.rate)
        if spec.duration_s is not None and at >= spec.duration_s:
            return
        yield at
        index += 1


def schedule(spec: LoadSpec) -> list[float]:
    """All arrivals of a bounded spec, seconds from the start. Raises UsageError for one without an end."""
    if spec.count is None and spec.duration_s is None:
        raise UsageError("A load without count and duration has no whole schedule.", "Give a count or a duration.")
    return list(arrivals(spec))
