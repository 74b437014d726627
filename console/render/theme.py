"""Themes as data: semantic colours and shapes read from TOML. Knows no widget; owns contrast and what a file may say.

Which files there are is console.render.theme_shelf's business.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

import msgspec

from backend.contract.errors import FileError

DEFAULT_THEME: Final = "minimalist"
COLORLESS_THEME: Final = "ansi-16"
TEXT_ROLES: Final = ("text", "muted", "faint", "accent", "ok", "warn", "error")
SURFACES: Final = ("background", "panel", "cursor", "mark")
_COMPARE: Final = "Compare it with a shipped one: `trinity themes minimalist`."
_HEX_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_ANSI_COLORS: Final = re.compile(
    r"default|dim|reverse|underline|(?:bright_)?(?:black|red|green|yellow|blue|magenta|cyan|white)"
)


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
        spec = msgspec.convert(tomllib.loads(text), ThemeSpec)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise FileError(source, f"not a theme: {error}.", _COMPARE) from error
    wrong = _wrong_colors(spec)
    if wrong:
        raise FileError(source, f"not a theme: {', '.join(wrong)}.", _COMPARE)
    return spec


def _wrong_colors(spec: ThemeSpec) -> list[str]:
    """`cursor = "blue"` for each value that its kind of theme does not know."""
    values: dict[str, str] = {role: getattr(spec.colors, role) for role in (*TEXT_ROLES, *SURFACES, "rule")}
    values |= {f"series {number}": value for number, value in enumerate(spec.colors.series, 1)}
    known = _ANSI_COLORS.fullmatch if spec.ansi else _HEX_COLOR.fullmatch
    wrong = [f'{role} = "{value}"' for role, value in values.items() if not known(value)]
    return [*wrong, "a color is a terminal's color name here" if spec.ansi else "a color is #rrggbb"] if wrong else []


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2)."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two `#rrggbb` colours, 1 to 21 (WCAG 2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
