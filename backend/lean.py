"""Imports without what they would drag in: `structlog` and `httpx` load all of `rich` wherever it is installed,
for pretty traces and a command line that we never use. Owns only that trick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Imports inside see package `name` as not installed, unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's own mark for "not there"
    try:
        yield
    finally:
        del sys.modules[name]
