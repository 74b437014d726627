"""The drills that ship with Trinity, and how a drill is found by name or path. Reads files, changes nothing."""

from __future__ import annotations

import difflib
from pathlib import Path

from backend.config.strict_yaml import place_of
from backend.contract.errors import FileError, UsageError
from backend.drills.check import Compiled, load_scenario

LIBRARY_DIR = Path(__file__).parent / "library"


def library() -> dict[str, Path]:
    """Name -> file of every shipped drill, in order of name."""
    return {path.stem: path for path in sorted(LIBRARY_DIR.glob("*.yaml"))}


def find(name_or_path: str) -> Path:
    """The file of a shipped drill's name, or a path. Raises UsageError that says what there is."""
    shipped = library()
    if name_or_path in shipped:
        return shipped[name_or_path]
    looks_like_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path).expanduser()
    if looks_like_path:
        if path.is_file():
            return path
        raise UsageError(f"There is no drill file {name_or_path}.", "Check the path, or see `trinity drill list`.")
    close = difflib.get_close_matches(name_or_path, shipped, n=1)
    hint = f"Did you mean `{close[0]}`? " if close else ""
    raise UsageError(
        f"There is no drill named `{name_or_path}`.",
        f"{hint}Known: {', '.join(shipped)}; or give a path to a .yaml file.",
    )


def load(name_or_path: str) -> Compiled:
    """Find, read and check a drill. Raises UsageError or FileError."""
    path = find(name_or_path)
    source = f"library/{path.name}" if path.parent == LIBRARY_DIR else str(path)
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Check that it is a file you may read."
        ) from error
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        place = place_of(before, len(before))
        raise FileError(source, "not UTF-8 text.", "Save it as UTF-8.", *place) from None
    return load_scenario(text, source)
