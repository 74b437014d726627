"""Work in counts of Python calls: the same on every machine, however slow or busy it is.

Owns the counting. How much is too much says who counts; how long it takes is the benchmarks' to measure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


def counted(work: Callable[[], T]) -> tuple[T, int]:
    """What `work` gives, and how many functions were called for it, ours and the interpreter's."""
    count = 0

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    return result, count
