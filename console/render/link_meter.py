"""The traffic of the screen as words: bytes a second in coarse steps, and what a slow link cost. Measures nothing."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from console.render.spans import EMPTY, Line

WIDTH: Final = 8
"""Always as wide, so that another rate moves nothing."""
_COUNTS: Final = tuple(unit * 10**power for power in range(6) for unit in (1, 2, 5))


def meter(step: int, merged: int, *, low_bandwidth: bool) -> list[Line]:
    """From the fullest to none at all. `step` is in bytes a second, `merged` frames that went into later ones."""
    rate: Line = ((bytes_per_second(step).rjust(WIDTH), "faint"),)
    if merged:
        words = f"link slow, {_coarse(merged)} merged"
        return [((words, "warn"), ("  ", "text"), *rate), ((words, "warn"),), (("link slow", "warn"),), EMPTY]
    variants = [rate, EMPTY]
    return [(("low-bandwidth  ", "faint"), *rate), *variants] if low_bandwidth else variants


def bytes_per_second(step: int) -> str:
    """`0 B/s`, `500 B/s`, `20 KB/s`, `1 MB/s`."""
    for unit, size in (("MB", 1_000_000), ("KB", 1000)):
        if step >= size:
            return f"{step // size} {unit}/s"
    return f"{step} B/s"


def _coarse(count: int) -> str:
    """The step below, so that it does not change with every frame."""
    step = _COUNTS[max(0, bisect_right(_COUNTS, count) - 1)]
    return f"{step}{'+' if count > step else ''} frame{'' if count == 1 else 's'}"
