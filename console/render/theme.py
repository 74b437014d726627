"""Themes as data: semantic colours and shapes read from TOML. Knows no widget; owns contrast.

Themes ship in the wheel beside this package (`console/themes`) and stand in `themes/` of a source tree.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import FileError, UsageError

DEFAULT_THEME: Final = "minimalist"
COLORLESS_THEME: Final = "ansi-16"
TEXT_ROLES: Final = ("text", "muted", "faint", "accent", "ok", "warn", "error")
SURFACES: Final = ("background", "panel", "cursor", "mark")


class Colors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`#rrggbb` each; in an ANSI theme a terminal colour's name, `default`, `dim`, `reverse` or `underline`."""

    background: str
    panel: str
    cursor: str
    mark: str
    text: str
    muted: str
    faint: str
    rule: str
    accent: str
    ok: str
    warn: str
    error: str
    series: tuple[str, str, str, str]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How panels are drawn: the rule's glyph and the titles' manner (`plain`, `upper`, `bracket`)."""

    rule: str = "─"
    title: str = "plain"


class ThemeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A theme file."""

    name: str
    title: str
    dark: bool
    ansi: bool = False
    colors: Colors
    shape: Shape = Shape()

    def color(self, role: str) -> str:
        """The colour of a text role, of a surface or of `series1` to `series4`."""
        if role.startswith("series"):
            return self.colors.series[int(role[6:]) - 1]
        value = getattr(self.colors, role)
        assert isinstance(value, str)
        return value


def parse_theme(text: str, source: str) -> ThemeSpec:
    """Read a theme file's text. Raises FileError that names `source`."""
    try:
        return msgspec.convert(tomllib.loads(text), ThemeSpec)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise FileError(source, f"not a theme: {error}.", "Compare it with themes/minimalist.toml.") from error


def theme_folder() -> Path:
    """Where the themes are: package data of an installed wheel, else the source tree's folder."""
    console = Path(__file__).resolve().parent.parent
    packaged = console / "themes"
    return packaged if packaged.is_dir() else console.parent / "themes"


def load_themes(folder: Path | None = None) -> dict[str, ThemeSpec]:
    """Every theme of a folder by name, in order of name."""
    place = folder or theme_folder()
    found = [parse_theme(path.read_text(encoding="utf-8"), path.name) for path in sorted(place.glob("*.toml"))]
    if not found:
        raise UsageError(f"No themes in {place}.", "Install Trinity again, or run it from its source tree.")
    return {theme.name: theme for theme in found}


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2)."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two `#rrggbb` colours, 1 to 21 (WCAG 2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
