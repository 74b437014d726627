"""Kubernetes quantities (`250m`, `128Mi`, `12345678n`) as numbers. Pure."""

from __future__ import annotations

import functools
import math
from typing import Final

_SUFFIXES: Final[dict[str, float]] = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


@functools.lru_cache(maxsize=4096)
def quantity(value: str | int | float | None) -> float | None:
    """The number that it says, in its base unit (cores, bytes); None where it says none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    text = value.strip()
    number = text.rstrip("numkKMGTPEi")
    suffix = text[len(number) :]
    if suffix == "E" and not number:
        return None
    try:
        found = float(number) * _SUFFIXES[suffix]
    except (KeyError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
