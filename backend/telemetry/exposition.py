"""A small, tolerant reader of the Prometheus text format: what engines answer on `/metrics`.

Owns the split of text into (name, labels, value). Unlike prometheus_client's parser it never raises: a line that
cannot be read is skipped, because an engine under stress may cut its answer short and the lines before the cut
are still true. Fast enough for the event loop: a few microseconds a line, no regular expressions on plain lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r'\\[\\"n]')


class Sample(msgspec.Struct, frozen=True):
    """One line: `name{labels} value`."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str) -> Iterator[Sample]:
    """The samples of an exposition, in order. Comments, blank and unreadable lines are skipped.

    A last line without a newline is skipped too: it may be half a number.
    """
    end = text.rfind("\n")
    for line in text[: max(end, 0)].split("\n"):
        sample = _parse_line(line.strip())
        if sample is not None:
            yield sample


def _parse_line(line: str) -> Sample | None:
    if not line or line[0] == "#":
        return None
    brace = line.find("{")
    if brace < 0:
        words = line.split()
        name, labels = words[0], {}
        rest = words[1:]
    else:
        close = _closing_brace(line, brace)
        if close < 0:
            return None
        name, found = line[:brace].strip(), _parse_labels(line[brace + 1 : close])
        if found is None or not name:
            return None
        labels, rest = found, line[close + 1 :].split()
    if not rest:
        return None
    try:
        return Sample(name, labels, float(rest[0]))
    except ValueError:
        return None


def _closing_brace(line: str, start: int) -> int:
    quoted = False
    position = start
    while position < len(line):
        character = line[position]
        if quoted and character == "\\":
            position += 1
        elif character == '"':
            quoted = not quoted
        elif character == "}" and not quoted:
            return position
        position += 1
    return -1


def _parse_labels(text: str) -> dict[str, str] | None:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text) and text[position:].strip():
        match = _LABEL.match(text, position)
        if match is None:
            return None
        labels[match[1]] = _ESCAPE.sub(lambda found: _ESCAPES[found[0]], match[2])
        position = match.end()
    return labels
