"""Numbers for people: durations, coarse ages, bytes, rates, times of day. Null is a dash, never 0."""

from __future__ import annotations

import time

NOTHING = "–"  # noqa: RUF001 - an en dash is what nothing looks like


def latency(seconds: float | None) -> str:
    """`8.2 ms`, `412 ms`, `1.24 s`, `75 s`."""
    if seconds is None:
        return NOTHING
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def age(seconds: float | None) -> str:
    """Coarse on purpose: a step is a repaint. `<10s`, `10s`, `50s`, `1m`, `59m`, `1h`, `47h`, `2d`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return "<10s"
    if seconds < 60:
        return f"{int(seconds // 10) * 10}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)}h"
    return f"{int(seconds // 86400)}d"


def duration(seconds: float | None) -> str:
    """How long something took: `0.4 s`, `12 s`, `3m 05s`, `2h 10m`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m {int(seconds % 60):02d}s"
    return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60):02d}m"


def size(count: float | None) -> str:
    """Bytes in binary units: `0 B`, `512 KiB`, `1.4 GiB`."""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rate(value: float | None) -> str:
    """A number a second without its unit: `0`, `0.4`, `12`, `1.2k`."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if value < 9.95:
        return f"{value:.1f}"
    if value < 999.5:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k"


def percent(value: float | None) -> str:
    """`0%`, `3%`, `187%` (of one core)."""
    return NOTHING if value is None else f"{value:.0f}%"


def count(value: int | None) -> str:
    """`0`, `999`, `12.3k`."""
    if value is None:
        return NOTHING
    if abs(value) < 10_000:
        return str(value)
    return f"{value / 1000:.1f}k" if abs(value) < 1_000_000 else f"{value / 1_000_000:.1f}M"


def plural(number: int, noun: str) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_of_day(ts: float | None) -> str:
    """Local `HH:MM:SS`."""
    return NOTHING if ts is None else time.strftime("%H:%M:%S", time.localtime(ts))


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that holds `value`; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power < value:
        power *= 10
    while power / 10 >= value:
        power /= 10
    return next((power * step for step in (0.2, 0.5) if power * step >= value), power)
