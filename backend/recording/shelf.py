"""The recordings of others that this state directory holds: put there by `trinity record import`, found by name.

Owns their names. Never looks into a file; see backend.recording.archive.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
from pathlib import Path

from backend.contract.errors import FileError, UsageError
from backend.recording.archive import SUFFIX


class Shelf:
    """`<state>/recordings/<name>.trinity`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Sorted; none where nothing was ever imported."""
        if not self.directory.is_dir():
            return []
        return sorted(path.stem for path in self.directory.iterdir() if path.suffix == SUFFIX and path.is_file())

    def path(self, name: str) -> Path:
        return self.directory / f"{name}{SUFFIX}"

    def find(self, given: str) -> Path:
        """The file of that path, else the recording of that name. Raises UsageError for neither."""
        if Path(given).is_file():
            return Path(given)
        if given in self.names():
            return self.path(given)
        if Path(given).is_dir():
            raise FileError(given, "it is a directory.", "Name a file that `trinity record export` wrote.")
        close = difflib.get_close_matches(given, self.names(), n=1)
        hint = f"Did you mean `{close[0]}`?" if close else "See `trinity record list`."
        raise UsageError(f"There is no file and no recording `{given}`.", hint)

    def take(self, source: Path, *, force: bool) -> str:
        """Copy a file in and return its name. Raises UsageError where that name is taken, OSError."""
        name = re.sub(r"[^\w.-]+", "-", source.name.removesuffix(SUFFIX)).strip("-.") or "recording"
        target = self.path(name)
        if target.exists() and not force:
            raise UsageError(f"There is a recording `{name}` already.", "Rename the file, or replace it with --force.")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as copy, open(source, "rb") as original:
                shutil.copyfileobj(original, copy, 1 << 20)
            aside.replace(target)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
        return name
