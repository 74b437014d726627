"""Log lines as spans: gutter, time, replica, level, fields as columns, the message with what was searched. Pure.

Owns the layout of a line at any width; knows neither the store nor where the cursor is.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from backend.contract.rows import LogRow, Scalar
from backend.contract.words import Severity
from console.render import units
from console.render.spans import EMPTY, Line, Span, clean, fit_line, fit_text, line_width, text_width
from console.render.spans import on as on_surface
from console.render.words import SEVERITIES

NAME_STYLES: Final = ("series1", "series4", "muted", "series1 b", "series4 b", "text b")
"""The other series are left out: they look like warnings and errors."""
LONGEST: Final = 16_384
"""Characters of one message that are laid out at most, and never many more than are seen: a line of megabytes must
not stop the screen."""
COLUMN_MOST: Final = 28
NARROW, SPOKEN, EXACT, DATED = 60, 100, 120, 160
"""Widths from which: whole names, levels as words, milliseconds, the date."""
_ENGINE_CLOCK: Final = re.compile(r"^\d+(?:\.\d+){3} [A-Z] +")
"""llama.cpp's own uptime and level, which our columns say already."""
_LEVEL_WORDS: Final = {"debug": "debug", "info": "info", "warning": "warn", "error": "error", "critical": "crit"}
_SAID: Final = frozenset({"message", "msg", "event", "text", "level", "severity", "lvl", "levelname", "log.level"})
_SAID_TIME: Final = frozenset({"ts", "time", "timestamp", "@timestamp"})

Tone = Literal["plain", "kept", "gone"]
"""What a filter that is being typed would do with a line."""
Marks = Sequence[tuple["re.Pattern[str]", str]]
"""Patterns to mark in a message, each with the marks it adds to the style (`r`, `u`)."""


class FieldColumn(msgspec.Struct, frozen=True):
    """A JSON field shown as a column."""

    name: str
    width: int
    right: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How the lines of one screen are laid out."""

    width: int
    names: dict[str, str] = {}
    """What stands for a replica in the name column."""
    name_width: int = 0
    """0: no name column."""
    columns: tuple[FieldColumn, ...] = ()
    wrap: bool = False
    x: int = 0
    """Cells scrolled to the right."""
    brief: bool = False
    """Leave out JSON fields, and at any width what an engine repeats of our columns."""

    @property
    def time_width(self) -> int:
        return 8 if self.width < EXACT else 12 if self.width < DATED else 18

    @property
    def level_width(self) -> int:
        return 1 if self.width < SPOKEN else 7

    @property
    def head_width(self) -> int:
        """Cells before fields and message."""
        name = self.name_width + 1 if self.name_width else 0
        return 1 + self.time_width + 1 + name + self.level_width + 1


def layout(
    width: int,
    replicas: Sequence[str],
    rows: Sequence[LogRow] = (),
    *,
    fields: Sequence[str] = (),
    wrap: bool = False,
    x: int = 0,
    brief: bool = False,
) -> Look:
    """The layout for lines of these replicas; column widths follow the `rows` on screen."""
    many = len(replicas) > 1
    names = short_names(replicas) if many and width < NARROW else {name: name for name in replicas}
    most = max(6, min(24, width // 6))
    widest = max((text_width(shown) for shown in names.values()), default=0) if many else 0
    return Look(
        width=width,
        names={name: _ending_of(shown, most) for name, shown in names.items()},
        name_width=min(most, widest),
        columns=tuple(_column(name, rows) for name in fields),
        wrap=wrap,
        x=0 if wrap else x,
        brief=brief,
    )


def _column(name: str, rows: Sequence[LogRow]) -> FieldColumn:
    values = [row.fields[name] for row in rows if name in row.fields]
    size = max([text_width(clean(name)), *(text_width(field_text(value)) for value in values)])
    numbers = bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return FieldColumn(name, max(3, min(COLUMN_MOST, size)), numbers)


def field_text(value: Scalar) -> str:
    """A field's value in a cell."""
    if value is None:
        return units.NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    return clean(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def short_names(replicas: Iterable[str]) -> dict[str, str]:
    """The shortest that still tells replicas apart: what is after the last `-`, and of what is before it as much
    as distinguishes it: `llm-0`, `llm-1` are 0 and 1; with `embedding-0` they are l0, l1 and e0."""
    names = list(dict.fromkeys(replicas))
    split = {name: name.rpartition("-")[::2] if "-" in name.strip("-") else (name, "") for name in names}
    bases = {base for base, _ in split.values()}
    if len(bases) == 1 and len(names) > 1:
        return {name: tail or name for name, (_, tail) in split.items()}
    heads = {base: _distinct(base, bases) for base in bases}
    return {name: heads[base] + tail[-5:] for name, (base, tail) in split.items()}


def _ending_of(name: str, width: int) -> str:
    """A name in so many cells; its end, which tells replicas apart, is kept."""
    return name if text_width(name) <= width else f"…{name[1 - width :]}"


def _distinct(word: str, others: Iterable[str]) -> str:
    """The shortest beginning of `word` that no other word has."""
    rest = [other for other in others if other != word]
    for size in range(1, len(word)):
        if not any(other.startswith(word[:size]) for other in rest):
            return word[:size]
    return word


def name_style(replica: str) -> str:
    """A replica's own colour: the same in every view and every run."""
    return NAME_STYLES[zlib.crc32(replica.encode()) % len(NAME_STYLES)]


def level_cell(level: str | None, width: int) -> Span:
    """Glyph, and the word where there is room: readable without its colour."""
    if level is None:
        return (" " * width, "text")
    glyph, style = SEVERITIES[Severity(level)] if level in _LEVEL_WORDS else SEVERITIES[Severity.DEBUG]
    word = _LEVEL_WORDS.get(level, level)
    return (fit_text(glyph if width < 3 else f"{glyph} {word}", width), style)


def message_style(level: str | None) -> str:
    return {"debug": "faint", "warning": "warn", "error": "error", "critical": "error b"}.get(level or "", "text")


def time_text(ts: float, width: int) -> str:
    """Local time in 8, 12 (milliseconds) or 18 cells (with the day)."""
    milliseconds = min(999, int(ts % 1 * 1000))
    clock = units.time_of_day(ts)
    if width < 12:
        return clock
    exact = f"{clock}.{milliseconds:03d}"
    return exact if width < 18 else f"{time.strftime('%m-%d', time.localtime(ts))} {exact}"


# -- a line --------------------------------------------------------------------------------------------------------


def log_lines(
    row: LogRow, look: Look, marks: Marks = (), *, here: bool = False, tone: Tone = "plain", most: int = 1
) -> list[Line]:
    """A log line on one screen line, or on up to `most` where it is wrapped; each exactly `look.width` wide.

    `tone` tells what the filter being typed would do: kept lines get a `+`, those that would go a `-` and fade."""
    if here:  # reversed, a match would not be seen where the cursor's surface is a reversed one too
        marks = [(pattern, extra.replace("r", "u b")) for pattern, extra in marks]
    seen = (most + 1) * look.width if look.wrap else look.x + 2 * look.width
    body = _body(row, look, marks, min(seen, LONGEST), faded=tone == "gone")
    head = _head(row, look, here, tone)
    lines = _wrapped(head, body, look, most) if look.wrap else [fit_line((*head, *shifted(body, look.x)), look.width)]
    return [on_surface(line, "on-cursor") for line in lines] if here else lines


def _head(row: LogRow, look: Look, here: bool, tone: Tone) -> Line:
    faded = tone == "gone"
    sign = {"plain": " ", "kept": "+", "gone": "-"}[tone]
    spans: list[Span] = [
        ("▸" if here else sign, "accent b" if here or tone == "kept" else "faint"),
        (time_text(row.ts, look.time_width), "faint"),
        (" ", "text"),
    ]
    if look.name_width:
        shown = look.names.get(row.replica, row.replica)
        spans += [(fit_text(shown, look.name_width), "faint" if faded else name_style(row.replica)), (" ", "text")]
    text, style = level_cell(row.level, look.level_width)
    return (*spans, (text, "faint" if faded else style), (" ", "text"))


def _body(row: LogRow, look: Look, marks: Marks, longest: int, *, faded: bool) -> Line:
    style = "faint" if faded else message_style(row.level)
    message = clean(row.message[:longest])
    if look.brief or look.width < SPOKEN:
        message = without_clock(message)
    spans: list[Span] = []
    for column in look.columns:
        value = field_text(row.fields[column.name]) if column.name in row.fields else ""
        cell = fit_text(value, column.width, "right" if column.right else "left")
        spans += [*marked(cell, marks, "faint" if faded else "text"), ("  ", "text")]
    spans += marked(message, marks, style)
    if not look.columns and not look.brief:
        spans += marked(fields_tail(row)[:longest], marks, "faint" if faded else "muted")
    return tuple(spans)


def without_clock(message: str) -> str:
    """A message without what an engine repeats of our columns."""
    return " ".join(_ENGINE_CLOCK.sub("", message).split())


def fields_tail(row: LogRow) -> str:
    """The fields of a JSON line that no column says, `  key=value` each."""
    return "".join(
        f"  {clean(name)}={field_text(value)}"
        for name, value in row.fields.items()
        if name not in _SAID and name not in _SAID_TIME
    )


def marked(text: str, marks: Marks, style: str) -> Line:
    """The text with every place that a pattern finds marked; where two find the same place, the first says how."""
    if not marks or not text:
        return ((text, style),) if text else EMPTY
    found = sorted(
        (hit.start(), order, hit.end(), extra)
        for order, (pattern, extra) in enumerate(marks)
        for hit in pattern.finditer(text)
        if hit.end() > hit.start()
    )
    out: list[Span] = []
    at = 0
    for start, _, end, extra in found:
        begin = max(at, start)
        if end <= at:
            continue
        out += [(text[at:begin], style), (text[begin:end], f"{style} {extra}")]
        at = end
    out.append((text[at:], style))
    return tuple(span for span in out if span[0])


def shifted(line: Line, cells: int) -> Line:
    """The line without its first `cells` cells; an ellipsis says that something is to the left."""
    if cells <= 0:
        return line
    rest = _cut(line, cells + 1)
    gone = line_width(line) - line_width(rest)
    return (("…", "faint"), *rest) if gone else line


def _cut(line: Line, cells: int) -> Line:
    left = cells
    for at, (text, style) in enumerate(line):
        size = text_width(text)
        if size <= left:
            left -= size
            continue
        rest = text[len(_prefix(text, left)) :] if left else text
        return ((rest, style), *line[at + 1 :])
    return EMPTY


def _prefix(text: str, cells: int) -> str:
    """As much of the text as fills that many cells."""
    if text.isascii():
        return text[:cells]
    room, end = cells, 0
    for character in text:
        size = text_width(character)
        if size > room:
            break
        room -= size
        end += 1
    return text[:end]


def _wrapped(head: Line, body: Line, look: Look, most: int) -> list[Line]:
    """A long message on several lines, broken between words where that costs little; what goes on is indented to
    the message."""
    indent = look.head_width if look.width - look.head_width >= 24 else 2
    lines: list[Line] = []
    current, room, rest = list(head), look.width - line_width(head), body
    while True:
        taken, rest = _split(rest, room)
        lines.append(fit_line((*current, *taken), look.width))
        if not rest:
            return lines
        if len(lines) == most:
            return [*lines[:-1], _unfinished(lines[-1], look.width)]
        indent = min(indent, max(0, look.width - 2))
        current, room = [(" " * indent, "text")], look.width - indent


def _split(line: Line, cells: int) -> tuple[Line, Line]:
    """What of a line fits in so many cells, at least a character, and the rest without the blanks it begins with."""
    text = "".join(words for words, _ in line)
    if len(text) <= 4 * cells and text_width(text) <= cells:
        return line, EMPTY
    end = max(1, len(_prefix(text[: 4 * cells], cells)))
    blank = text.rfind(" ", end - max(1, cells // 3), end + 1)
    end = blank if blank > 0 else end
    start = end
    while text.startswith(" ", start):
        start += 1
    return _slice(line, 0, end), _slice(line, start, len(text))


def _slice(line: Line, start: int, end: int) -> Line:
    """The characters from `start` to before `end`."""
    out: list[Span] = []
    at = 0
    for text, style in line:
        part = text[max(0, start - at) : max(0, end - at)]
        if part:
            out.append((part, style))
        at += len(text)
    return tuple(out)


def _unfinished(line: Line, width: int) -> Line:
    """A full line, its last character an ellipsis: there is more."""
    kept, _ = _split(line, max(1, width - 1))
    return fit_line((*(kept if width > 1 else EMPTY), ("…", "faint")), width)


def near(at: int, count: int, height: int, rows_of: Callable[[int], int]) -> tuple[int, int]:
    """Which log lines, from and to before, can be on a screen of so many rows that shows line `at` (the end for -1):
    where lines are wrapped, those further away need not be laid out."""
    start = count - 1 if at < 0 else at
    low, rows = start, rows_of(start)
    while low > 0 and rows < height:
        low -= 1
        rows += rows_of(low)
    high, rows = start + 1, 0
    while high < count and rows < height:
        rows += rows_of(high)
        high += 1
    return low, high


def screenful(blocks: Sequence[Sequence[Line]], at: int, height: int) -> list[tuple[Line, int]]:
    """The screen lines of as many log lines as fit, each with the number of its log line. `at` is visible whatever
    is above it; -1 shows the end."""
    rows = [(line, number) for number, block in enumerate(blocks) for line in block]
    if at < 0:
        return rows[-height:] if height else []
    first = next(row for row, (_, number) in enumerate(rows) if number == at)
    last = first + len(blocks[at]) - 1
    top = max(0, min(first, last - height + 1))
    top = max(0, min(top, len(rows) - height)) if len(rows) - height < top else top
    return rows[top : top + height]


def header(look: Look) -> Line:
    """The names above the columns."""
    spans: list[Span] = [(" ", "muted"), (fit_text("TIME", look.time_width), "muted"), (" ", "muted")]
    if look.name_width:
        word = "REPLICA" if look.name_width >= 7 else "WHO" if look.name_width >= 3 else ""
        spans += [(fit_text(word, look.name_width), "muted"), (" ", "muted")]
    spans.append((" " * (look.level_width + 1) if look.level_width < 5 else fit_text("LEVEL", 8), "muted"))
    names = tuple(
        span
        for column in look.columns
        for span in (
            (fit_text(clean(column.name), column.width, "right" if column.right else "left"), "muted"),
            ("  ", "muted"),
        )
    )
    return fit_line((*spans, *shifted((*names, ("message", "muted")), look.x)), look.width)


def fields_seen(rows: Iterable[LogRow]) -> list[tuple[str, int]]:
    """The JSON fields of these lines with how many have them, most first; those that our columns say are left out."""
    counts: dict[str, int] = {}
    for row in rows:
        for name in row.fields:
            if name not in _SAID and name not in _SAID_TIME:
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
