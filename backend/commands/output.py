"""How commands print: data on stdout (a table, or JSON with --json), narration on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

_LAST_LEAST: Final = 24
"""Cells of a table's last column that are shown even where the line then wraps."""


def print_json(value: object) -> None:
    """One JSON document on one line."""
    import msgspec

    click.echo(msgspec.json.encode(value).decode())


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, short: bool = False) -> None:
    """Columns padded to their widest cell; the last one is not padded, and if `short` ends where the terminal does."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max([len(h), *(len(r[i]) for r in cells)]) for i, h in enumerate(header)]
    left = terminal_columns() - sum(widths[:-1]) - 2 * (len(widths) - 1)
    most = max(left, _LAST_LEAST) if short else sys.maxsize
    for row in cells:
        row[-1] = row[-1] if len(row[-1]) <= most else f"{row[-1][: most - 1]}…"
    for row in [list(header), *cells]:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def terminal_columns() -> int:
    """Of the terminal that is written to; endless where the lines go to a file or a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def narrate(message: str) -> None:
    """A sentence for the person, never part of the data."""
    click.echo(message, err=True)


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line every few seconds while it changes."""

    def __init__(self, *, every_s: float = 5.0) -> None:
        self._last = ""
        self._live = sys.stderr.isatty()
        self._every_s, self._printed = every_s, float("-inf")

    def show(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif time.monotonic() - self._printed >= self._every_s:
            self._printed = time.monotonic()
            narrate(text)

    def end(self) -> None:
        if self._live and self._last:
            sys.stderr.write("\n")
        self._last = ""


def age(seconds: float | None) -> str:
    """`5s`, `3m`, `2h`, `4d`: coarse on purpose."""
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def clock(ts: float) -> str:
    """Local time of day with milliseconds."""
    return time.strftime("%H:%M:%S", time.localtime(ts)) + f".{int(ts % 1 * 1000):03d}"


def milliseconds(seconds: float | None) -> str:
    """`412 ms`, or `-` where nobody saw it."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def mebibytes(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size / 1048576:.0f} MiB" if size >= 1048576 else f"{size / 1024:.0f} KiB"


def plain(value: Any) -> Any:
    """Structs as plain data, for joining into larger JSON answers."""
    import msgspec

    return msgspec.to_builtins(value)
