"""A place in a trinity.yaml, for errors that name file, line and column, and for paths that begin at the file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.config.strict_yaml import position
from backend.contract.errors import FileError


class Place(msgspec.Struct, frozen=True):
    """A trinity.yaml as it was written: its name, and its text (empty for the built-in default)."""

    source: str
    text: str = ""

    def fail(self, message: str, next_step: str, *path: str) -> FileError:
        """The error for the key at `path`."""
        line, column = position(self.text, *path)
        return FileError(self.source, message, next_step, line, column)

    def anchored(self, path: str) -> str:
        """A path written in the file: relative ones begin at the file's own directory."""
        wanted, home = Path(path).expanduser(), Path(self.source).parent
        return str(home / wanted) if home.is_absolute() and not wanted.is_absolute() else str(wanted)
