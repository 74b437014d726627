"""What a replica is told, read from its environment: numbers with a range, and the sentence for a wrong one."""

from __future__ import annotations

from collections.abc import Mapping

from backend.contract.errors import UsageError


def whole(environ: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """A whole number in that range; null where it is unset or empty. Raises UsageError."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text!r}, it must be a whole number from {least} to {most}.", f"Correct {name}.")
    return int(text)


def seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Seconds up to a day; `default` where it is unset or empty. Raises UsageError."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 86_400.0:
        raise UsageError(f"{name} is {text!r}, it must be seconds from 0 to 86400.", f"Correct {name}.")
    return value
