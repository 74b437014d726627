"""Reading the engine's JSON: a field at a path, of the type wanted, or nothing. No input raises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_EPOCHS: Final = "0001-01-01"
"""How the engine writes an instant that never was."""


def dig(value: object, *path: str) -> object:
    """What is at a path of keys; null where there is nothing."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(value: object, *path: str) -> str:
    """A string; empty where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, str) else ""


def whole(value: object, *path: str) -> int | None:
    """A whole number; null where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def flag(value: object, *path: str) -> bool:
    """Whether it is true."""
    return dig(value, *path) is True


def items(value: object, *path: str) -> list[object]:
    """A list; empty where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, list) else []


def fields(value: object, *path: str) -> dict[str, object]:
    """An object; empty where there is none."""
    found = dig(value, *path)
    return {key: held for key, held in found.items() if isinstance(key, str)} if isinstance(found, dict) else {}


def texts(value: object, *path: str) -> dict[str, str]:
    """An object's string fields (labels)."""
    return {key: held for key, held in fields(value, *path).items() if isinstance(held, str)}


def words(value: object, *path: str) -> tuple[str, ...]:
    """A list's strings."""
    return tuple(item for item in items(value, *path) if isinstance(item, str))


def instant(value: object, *path: str) -> float | None:
    """POSIX seconds of an RFC 3339 instant; null where there is none or it is the zero one."""
    found = text(value, *path)
    if not found or found.startswith(_EPOCHS):
        return None
    ns = parse_ns(found)
    return None if ns is None else ns / 1e9


def parse_ns(stamp: str) -> int | None:
    """POSIX nanoseconds of `2026-11-21T07:27:22.123456789Z` (or with an offset); null where it is none."""
    head, divider, rest = stamp.partition(".")
    digits = 0
    while digits < len(rest) and rest[digits] in "0123456789":
        digits += 1
    fraction, zone = rest[:digits], rest[digits:]
    if divider and not fraction:
        return None
    try:
        moment = datetime.fromisoformat(head + zone if divider else head)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
