"""What a terminal can show, from its environment: braille, blocks only, or ASCII only. Pure.

Every glyph of ours takes one cell and has an ASCII stand-in of one cell, so that layouts stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from console.render.plotter import Dots

_STAND_INS: Final = {
    "●": "*",
    "◔": "~",
    "◑": "!",
    "◒": "v",
    "○": "o",
    "◌": ".",
    "✗": "x",
    "✓": "+",
    "⊘": "-",
    "◷": "s",
    "≠": "#",
    "▲": "^",
    "▼": "v",
    "‼": "!",
    "◆": "D",
    "•": "*",
    "■": "=",
    "▸": ">",
    "‹": "<",  # noqa: RUF001 - the sign for more columns
    "›": ">",  # noqa: RUF001 - the same
    "↻": "@",
    "↘": "\\",
    "↗": "/",
    "↑": "^",
    "↓": "v",
    "→": ">",
    "←": "<",
    "·": ".",
    "…": ".",
    "–": "-",  # noqa: RUF001 - what nothing looks like
    "─": "-",
    "━": "=",
    "┣": "|",
    "┃": "|",
    "├": "|",
    "┊": ":",
    "│": "|",
    "≥": ">",
    "▀": '"',
    "▄": ".",
    "█": "#",
    "╍": "-",
    "┅": ":",
    "░": ".",
    "▒": "=",
    "▓": "%",
}
ASCII: Final[dict[int, str]] = {
    **{ord(glyph): plain for glyph, plain in _STAND_INS.items()},
    **{0x2800 + mask: ":" if mask & 0xC0 == 0 else "." for mask in range(1, 256)},
    **{ord(block): plain for block, plain in zip("▁▂▃▅▆▇", "...:::", strict=True)},
}
Palette = Literal["truecolor", "256", "16", "none"]
_NO_BRAILLE: Final = ("linux", "vt100", "vt102", "vt220", "cons25")


def is_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the locale names a character set that has none of our glyphs."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    charset = locale.partition(".")[2].partition("@")[0].replace("-", "").casefold()
    return charset != "utf8" if charset else locale in ("C", "POSIX")


def colors(environ: Mapping[str, str]) -> Palette:
    """How many colours the terminal says it has; `none` where it has none or none are wanted."""
    term = environ.get("TERM", "")
    if "NO_COLOR" in environ or is_dumb(environ):
        return "none"
    if environ.get("COLORTERM", "").casefold() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor"
    return "256" if "256" in term or "kitty" in term else "16"


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Whether the terminal cannot place text: lines are all that it shows."""
    return environ.get("TERM", "dumb") in ("", "dumb", "unknown")


def dots(environ: Mapping[str, str]) -> Dots:
    """Braille where the font has it: not on a text console, nor where nothing but ASCII is known."""
    return "block" if is_ascii(environ) or environ.get("TERM", "") in _NO_BRAILLE else "braille"
