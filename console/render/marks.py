"""Marks as glyphs on the time axis: a kind is known by its glyph, never by its colour alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console.render.plotter import runs
from console.render.spans import EMPTY, Line, Span, clean
from console.state.marks import WEIGHT, Mark, MarkKind
from console.state.series import Grid

GLYPHS: Final[dict[MarkKind, Span]] = {
    "action": ("▸", "accent b"),
    "drill": ("◆", "accent"),
    "fault": ("▼", "warn b"),
    "warning": ("▲", "warn"),
    "error": ("✗", "error"),
    "critical": ("‼", "error b"),
}
HEALED: Final[Span] = ("✓", "ok b")
RULED: Final = ("action", "drill", "fault", "error", "critical")
"""Kinds that have a thin line through the plots."""
MOST_RULERS: Final = 12
"""The newest ones: a picture is not to vanish behind lines."""


def mark_row(marks: Sequence[Mark], grid: Grid) -> Line:
    """Glyphs at their cells; a drill is a thin band, a fault that holds a heavy one up to where it was healed."""
    cells = [" "] * grid.columns
    styles = ["text"] * grid.columns
    weights = [-1.0] * grid.columns

    def put(column: int, span: Span, weight: float) -> None:
        if 0 <= column < grid.columns and weight >= weights[column]:
            (cells[column], styles[column]), weights[column] = span, weight

    for mark in marks:
        end = mark.ts if mark.until is None else mark.until
        if end < grid.left_s or mark.ts >= grid.right_s:
            continue
        begin = _column(mark.ts, grid)
        weight = float(WEIGHT[mark.kind])
        if mark.until is not None:
            last = _column(end, grid)
            band: Span = ("━", "warn") if mark.kind == "fault" else ("─", "accent")
            for column in range(max(0, begin), min(grid.columns, last + 1)):
                put(column, band, weight - 0.5 if mark.kind == "fault" else -0.5)
            if mark.kind == "fault" and mark.healed and last > begin:
                put(last, HEALED, weight - 0.25)
        put(begin, GLYPHS[mark.kind], weight)
    return runs(cells, styles)


def ruled_columns(marks: Sequence[Mark], grid: Grid) -> list[int]:
    """Where thin lines stand, the newest last."""
    found = (grid.column_of(mark.ts) for mark in marks if mark.kind in RULED)
    return list(dict.fromkeys(column for column in found if column is not None))[-MOST_RULERS:]


def mark_words(marks: Sequence[Mark], most: int = 3) -> Line:
    """`▸ scale llm 4 by ada   ✗ llm-1: pid 4211 was ended by signal 9`."""
    out: list[Span] = []
    for mark in marks[:most]:
        glyph, style = GLYPHS[mark.kind]
        out += [(glyph, style), (f" {clean(mark.words)}", "text"), ("   ", "text")]
    if len(marks) > most:
        out.append((f"+{len(marks) - most}", "muted"))
    return tuple(out) if out else EMPTY


def legend() -> Line:
    """What the glyphs mean."""
    out: list[Span] = []
    for kind, (glyph, style) in GLYPHS.items():
        out += [(glyph, style), (f" {kind}  ", "muted")]
    return (*out, HEALED, (" healed", "muted"))


def _column(ts: float, grid: Grid) -> int:
    return int((ts - grid.left_s) // grid.cell_s)
