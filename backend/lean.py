"""Imports without what they would drag in: `structlog` loads all of `rich` wherever it is installed, and `httpx` its
command line, for pretty traces and a program that we never use; `kubernetes` a second client of the same size, which
waits for its answers. Owns only those tricks."""

from __future__ import annotations

import importlib.util
import sys
import types
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


def bare(package: str) -> None:
    """From now on `package` is there without what its `__init__` imports; its modules can be imported as always.
    Nothing where it is imported already, or is not installed."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return
    made = types.ModuleType(package)
    made.__path__ = list(spec.submodule_search_locations)
    made.__spec__ = spec
    sys.modules[package] = made
    above, _, name = package.rpartition(".")
    if above:
        setattr(sys.modules[above], name, made)
