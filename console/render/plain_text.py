"""Tables and lines as plain text, for the clipboard and for files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from console.render.spans import Line, clean
from console.state.table import Column

T = TypeVar("T")


def as_tsv(columns: Sequence[Column[T]], items: Iterable[T], now: float, *, titles: bool = True) -> str:
    """A line a row, cells between tabs; no cell can hold a tab or a line's end."""
    lines = ["\t".join(column.title.strip() or column.key for column in columns)] if titles else []
    lines += ["\t".join(clean(column.cell(item, now)[0]).strip() for column in columns) for item in items]
    return "".join(f"{line}\n" for line in lines)


def as_text(lines: Iterable[Line]) -> str:
    """Lines as they read, without the blanks at their ends."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
