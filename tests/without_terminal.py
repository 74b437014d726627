"""A pytest plugin for `make coverage`: without a terminal, so that what is measured is what runs without one.

Leaves out whatever asks for the screen library, for a picture of a terminal or for a pty: a module that imports it as a
whole, else the test that does. Owns no list of tests: what a test asks for decides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Final, NoReturn

import pytest

SCREENS: Final = ("textual", "pyte")


class NoScreens(MetaPathFinder):
    """Finds no module, and ends the import of one that needs a terminal."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in SCREENS:
            pytest.skip(f"needs a terminal: {fullname}", allow_module_level=True)


def no_pty() -> NoReturn:
    """In the place of `os.openpty`."""
    pytest.skip("needs a pty")


def pytest_configure() -> None:
    """Before any test is imported."""
    sys.meta_path.insert(0, NoScreens())
    os.openpty = no_pty
