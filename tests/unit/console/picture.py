"""A screen as text that a person can review: the characters, then for each look the styles of every line.

Styles are letters with a legend, run after run: `12a 3b` is twelve cells of style a, then three of b.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual.app import App
from textual.strip import Strip

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@#$%&*+=?"


def characters(app: App[int]) -> list[str]:
    """The screen's lines without their trailing blanks."""
    return [strip.text.rstrip() for strip in strips(app)]


def strips(app: App[int]) -> Sequence[Strip]:
    return app.screen._compositor.render_strips()


def styles(app: App[int]) -> list[str]:
    """The legend, a style a line, then the runs of each line of the screen."""
    letters: dict[str, str] = {}
    lines: list[str] = []
    for strip in strips(app):
        runs: list[tuple[int, str]] = []
        for text, style, _ in strip:
            name = described(style)
            letter = letters.setdefault(name, LETTERS[len(letters) % len(LETTERS)])
            size = cell_len(text)
            if runs and runs[-1][1] == letter:
                runs[-1] = (runs[-1][0] + size, letter)
            else:
                runs.append((size, letter))
        lines.append(" ".join(f"{count}{letter}" for count, letter in runs))
    return [*(f"{letter} {name}" for name, letter in letters.items()), *lines]


def described(style: Style | None) -> str:
    """`#dfe3ea on #14161a bold`."""
    if style is None:
        return "default"
    parts = [style.color.name if style.color else "default", "on", style.bgcolor.name if style.bgcolor else "default"]
    marks = ("bold", "dim", "reverse", "underline", "italic")
    return " ".join([*parts, *(mark for mark in marks if getattr(style, mark))])
