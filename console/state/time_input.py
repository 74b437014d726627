"""An instant as people type it: a time of day, a date with one, or a distance. Pure; owns no clock."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from backend.contract.errors import UsageError

ACCEPTED: Final = "14:05, 14:05:30, 2026-11-21 14:05, -5m, +30s or now"
_CLOCK: Final = re.compile(r"(?:(\d{4})-(\d\d?)-(\d\d?)(?:[ T]+|$))?(?:(\d\d?):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?$")
_STEP: Final = re.compile(r"([+-])\s*((?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+)$")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_instant(text: str, *, now: float, origin: float | None = None) -> float:
    """Wall seconds. A distance counts from `origin` (the cursor), a time of day is the last one that has been
    by `now`, in local time. Raises UsageError that says what is accepted."""
    words = " ".join(text.split())
    if words.casefold() == "now":
        return now
    step = _STEP.match(words)
    if step is not None:
        distance = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(step[2]))
        return (now if origin is None else origin) + (distance if step[1] == "+" else -distance)
    clock = _CLOCK.match(words)
    if clock is None or not words:
        raise UsageError(f"{words!r} is no time." if words else "No time is given.", f"Type {ACCEPTED}.")
    return _instant(clock, words, now)


def _instant(clock: re.Match[str], words: str, now: float) -> float:
    year, month, day, hour, minute, second, fraction = clock.groups()
    today = datetime.fromtimestamp(now)
    try:
        moment = datetime(
            int(year or today.year),
            int(month or today.month),
            int(day or today.day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0").ljust(6, "0")),
        )
        if year is None and moment.timestamp() > now:
            moment -= timedelta(days=1)
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"There is no {words!r}: {error}.", f"Type {ACCEPTED}.") from error
