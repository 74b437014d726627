"""What stands around a plot: the labels of its values at the left, its time axis below. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from console.render import units
from console.render.spans import Line, Span

GUTTER: Final = 7
"""Cells left of a plot: six for a label and one of air. Always the same, so that a scale never moves the picture."""


def value_labels(top: float, rows: int, label: Callable[[float], str]) -> list[str]:
    """What stands left of each row of a plot: its top, its middle where there is room, and 0 at its foot."""
    labels = [""] * rows
    labels[0] = label(top)
    labels[-1] = label(0.0) if rows > 1 else labels[-1]
    if rows >= 5:
        labels[rows // 2] = label(top / 2)
    return labels


def beside(labels: list[str], gutter: int, rows: list[Line]) -> list[Line]:
    """Each row of a plot behind its label."""
    return [((label.rjust(gutter - 1) + " ", "faint"), *row) for label, row in zip(labels, rows, strict=True)]


def time_axis(gutter: int, columns: int, window_s: float, right_s: float | None = None) -> Line:
    """Times before now, never a clock, because a clock would be sent again with every move: `-5m  -4m ... now`.

    `right_s` is the right edge of a picture that stands still: its times of day are shown."""
    cells = [" "] * columns
    steps = next((n for n in (5, 2, 1) if columns // n >= (6 if right_s is None else 10)), 1)
    last = "now" if right_s is None else units.time_of_day(right_s)
    for step in range(steps):
        before = window_s * (steps - step) / steps
        text = ago(before) if right_s is None else units.time_of_day(right_s - before)
        at = round(columns * step / steps)
        if at + len(text) > columns - len(last) - 2:
            break
        cells[at : at + len(text)] = text
    if columns >= len(last):
        cells[columns - len(last) :] = last
    return ((" " * gutter, "faint"), ("".join(cells[:columns]), "faint"))


def ago(seconds: float) -> str:
    """`-30s`, `-5m`, `-1.5m`, `-6h`."""
    if seconds < 60:
        return f"-{seconds:.0f}s"
    size, unit = (60, "m") if seconds < 3600 else (3600, "h")
    value = seconds / size
    return f"-{value:.0f}{unit}" if abs(value - round(value)) < 0.05 else f"-{value:.1f}{unit}"


def ruler(kind: str) -> Span:
    """The thin line through a plot at the cursor, or at a mark."""
    return ("│", "accent on-cursor") if kind == "cursor" else ("┊", "rule")
