"""Imports without what they would drag in: `structlog` loads all of `rich` wherever it is installed, and `httpx` its
command line, for pretty traces and a program that we never use. Owns only that trick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(module: str) -> Iterator[None]:
    """Imports inside see `module` as not installed, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the import system's own mark for "not there"
    try:
        yield
    finally:
        del sys.modules[module]
