"""Styled text as data: spans, lines, widths and the columns in which two lines differ.

A span is (text, style); a style is a semantic name with optional marks, e.g. `muted`, `ok b` (bold),
`text r` (reverse), `text on-cursor` (on the cursor row's surface). Never knows colours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

Span = tuple[str, str]
Line = tuple[Span, ...]

EMPTY: Line = ()
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_ONE_CELL_EACH = re.compile("[ -~\u2500-\u25fc\u2800-\u28ff]*")
"""Lines, blocks, shapes and braille: what charts are made of is measured without a look at each character."""


def clean(text: str) -> str:
    """Text that cannot move the cursor: escape sequences go, tabs and other controls become a space."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda found: "" if len(found.group()) > 1 else " ", text)


def text_width(text: str) -> int:
    """Terminal cells the text takes."""
    if text.isascii() or _ONE_CELL_EACH.fullmatch(text):
        return len(text)
    total = 0
    for character in text:
        if unicodedata.combining(character) or character == "\u200d":
            continue
        total += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return total


def crop_text(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells, ending in an ellipsis where something was cut."""
    if text_width(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, room = 0, width - text_width(ellipsis)
    while (size := text_width(text[kept])) <= room:  # ends before the text does, which is wider
        kept += 1
        room -= size
    return text[:kept] + ellipsis


def crop_middle(text: str, width: int) -> str:
    """At most `width` cells, with an ellipsis in the middle: of names that begin alike the end is seen."""
    if text_width(text) <= width or width < 5:
        return crop_text(text, width)
    end = (width - 1) // 2
    kept = len(text)
    while (size := text_width(text[kept - 1])) <= end:
        kept -= 1
        end -= size
    tail = text[kept:]
    return crop_text(text, width - text_width(tail)) + tail


def fit_text(text: str, width: int, align: str = "left") -> str:
    """Exactly `width` cells; `align` is `left` or `right`."""
    cropped = crop_text(text, width)
    gap = " " * (width - text_width(cropped))
    return gap + cropped if align == "right" else cropped + gap


def line_width(line: Iterable[Span]) -> int:
    """Terminal cells the line takes."""
    return sum(text_width(text) for text, _ in line)


def fit_line(line: Iterable[Span], width: int, style: str = "text") -> Line:
    """Exactly `width` cells: cut with an ellipsis, or filled with spaces in `style`. What fits is returned as it is."""
    if isinstance(line, tuple) and sum(len(text) if text.isascii() else text_width(text) for text, _ in line) == width:
        return line
    out: list[Span] = []
    room = width
    for text, name in line:
        size = text_width(text)
        if size > room:
            if room > 0:
                cut = crop_text(text, room)
                out.append((cut, name))
                room -= text_width(cut)
            break
        if text:
            out.append((text, name))
            room -= size
    if room > 0:
        out.append((" " * room, style))
    return tuple(out)


def on(line: Iterable[Span], surface: str) -> Line:
    """The same text on another surface, e.g. `on-cursor`."""
    return tuple((text, f"{style} {surface}") for text, style in line)


def join(parts: Sequence[Line], separator: Span) -> Line:
    """Lines one after another with `separator` between those that are not empty."""
    out: list[Span] = []
    for part in parts:
        if not part:
            continue
        if out:
            out.append(separator)
        out.extend(part)
    return tuple(out)


def changed_columns(old: Line, new: Line) -> list[tuple[int, int]]:
    """Half-open column ranges in which `new` differs from `old`; both have the same total width.

    Where the spans line up (table cells), each differing span is its own range, trimmed of what it has in
    common; otherwise one range from the first to the last difference.
    """
    if old is new or old == new:
        return []
    if len(old) == len(new):
        widths = [text_width(text) for text, _ in new]
        if all(text_width(text) == size for (text, _), size in zip(old, widths, strict=True)):
            return _aligned_changes(old, new, widths)
    start = _common_prefix(old, new)
    return [(start, max(line_width(old), line_width(new)) - _common_suffix(old, new))]


def _aligned_changes(old: Line, new: Line, widths: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    at = 0
    for before, after, size in zip(old, new, widths, strict=True):
        if before != after:
            left, right = _trim(before, after) if before[1] == after[1] else (0, 0)
            start, end = at + left, at + size - right
            if ranges and start - ranges[-1][1] <= 3:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((start, end))
        at += size
    return ranges


def _trim(before: Span, after: Span) -> tuple[int, int]:
    """Cells in common at both ends of two spans of one width; only counted for narrow text."""
    a, b = before[0], after[0]
    if len(a) != len(b) or text_width(b) != len(b) or text_width(a) != len(a):
        return 0, 0
    left = 0
    while left < len(b) and a[left] == b[left]:
        left += 1
    right = 0
    while right < len(b) - left and a[-1 - right] == b[-1 - right]:
        right += 1
    return left, right


def _common_prefix(old: Line, new: Line) -> int:
    at = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            if before[1] == after[1]:
                for left, right in zip(before[0], after[0], strict=False):
                    if left != right:
                        break
                    at += text_width(left)
            return at
        at += text_width(after[0])
    return at


def _common_suffix(old: Line, new: Line) -> int:
    if line_width(old) != line_width(new):
        return 0
    at = 0
    for before, after in zip(reversed(old), reversed(new), strict=False):
        if before != after:
            if before[1] == after[1]:
                for left, right in zip(reversed(before[0]), reversed(after[0]), strict=False):
                    if left != right:
                        break
                    at += text_width(left)
            return at
        at += text_width(after[0])
    return at
