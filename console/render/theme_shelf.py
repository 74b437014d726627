"""Which themes there are: those that ship with Trinity and those of the user's own folder. Reads files, nothing else.

Shipped themes stand in the wheel beside this package (`console/themes`) and in `themes/` of a source tree; the
user's in `trinity/themes` of the XDG configuration folder. A file is named as its theme is; the user's win.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from backend.contract.errors import FileError, TrinityError, UsageError
from console.render import ability
from console.render.theme import COLORLESS_THEME, DEFAULT_THEME, ThemeSpec, parse_theme
from console.state.places import themes_folder

_Stamp = tuple[int, int]


def shipped_folder() -> Path:
    """Package data of an installed wheel, else the source tree's folder."""
    console = Path(__file__).resolve().parent.parent
    packaged = console / "themes"
    return packaged if packaged.is_dir() else console.parent / "themes"


def first_theme(wanted: str | None, *, no_color: bool = False, environ: Mapping[str, str] = os.environ) -> str:
    """The name to begin with: without colours, as asked for, or what the terminal can show."""
    if no_color or "NO_COLOR" in environ:
        return COLORLESS_THEME
    few = ability.colors(environ) in ("16", "none")
    return wanted or (COLORLESS_THEME if few else DEFAULT_THEME)


class ThemeShelf:
    """All themes by name, in order of name. A broken file of the user's is a problem to show, never a failure."""

    def __init__(self, shipped: Path | None = None, own: Path | None = None) -> None:
        self._folders: Final = (shipped or shipped_folder(), own or themes_folder())
        self._read: dict[Path, tuple[_Stamp, ThemeSpec | TrinityError]] = {}

    def names(self) -> list[str]:
        """Of every theme that can be read. Raises UsageError where not even the shipped ones are there."""
        found = [name for name in self._files() if isinstance(self._spec(name), ThemeSpec)]
        if not found:
            raise UsageError(
                f"No themes in {self._folders[0]}.", "Install Trinity again, or run it from its source tree."
            )
        return found

    def get(self, name: str) -> ThemeSpec | None:
        """That theme as its file says it now; only this one file is read. None where there is none, or a broken one."""
        spec = self._spec(name)
        return spec if isinstance(spec, ThemeSpec) else None

    def or_default(self, name: str) -> ThemeSpec:
        """That theme, else the default one. Raises UsageError where that is missing too."""
        spec = self.get(name) or self.get(DEFAULT_THEME)
        return spec or self.all()[self.names()[0]]

    def all(self) -> dict[str, ThemeSpec]:
        """Every theme that can be read."""
        return {name: spec for name in self.names() if (spec := self.get(name)) is not None}

    def problems(self) -> list[str]:
        """What is wrong with the files that cannot be read, a sentence each."""
        return [str(spec) for name in self._files() if isinstance(spec := self._spec(name), TrinityError)]

    def file_of(self, name: str) -> Path | None:
        """Where a theme stands."""
        return self._files().get(name)

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            with contextlib.suppress(OSError):
                found |= {path.stem: path for path in folder.glob("*.toml")}
        return dict(sorted(found.items()))

    def _spec(self, name: str) -> ThemeSpec | TrinityError | None:
        """From the file, or as it was read before where the file is the same."""
        for folder in reversed(self._folders):
            path = folder / f"{name}.toml"
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = self._read[path] = (stamp, _read(path))
            return known[1]
        return None


def _read(path: Path) -> ThemeSpec | TrinityError:
    try:
        spec = parse_theme(path.read_text(encoding="utf-8"), path.name)
    except TrinityError as error:
        return error
    except (OSError, UnicodeDecodeError) as error:
        return FileError(path.name, f"cannot be read: {error}.", "Mend it or take it away.")
    if spec.name != path.stem:
        return FileError(path.name, f"its name says {spec.name!r}.", "File and theme have one name.")
    return spec
