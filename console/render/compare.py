"""A comparison of two instants as lines: what became of whom, the numbers, what happened between. Pure.

Every step has an arrow and a sign: nothing depends on colour.
"""

from __future__ import annotations

import math
from typing import Final

from backend.contract.words import Phase
from console.render import units
from console.render.spans import EMPTY, Line, Span, clean, fit_line, fit_text, line_width, text_width
from console.render.words import PHASES, SEVERITIES
from console.state.compare import Change, Comparison, Count, NumberChange, Side, Tone
from console.state.past import time_words

WIDE: Final = 104
FIRST: Final = 6
"""Changes that stand before the numbers where all is in one column; the rest comes after."""
GAP: Final = 3
TONES: Final[dict[Tone, str]] = {"worse": "error", "better": "ok", "changed": "text", "same": "faint"}
HOW_TO: Final[tuple[str, ...]] = (
    "Compare two instants",
    "t holds the fleet as it is, the arrows and , . move it",
    "c marks the instant A",
    "go elsewhere, or back to live with t: this view shows what differs",
)


def comparison_lines(found: Comparison, width: int, now: float, known_from: float = 0.0) -> list[Line]:
    """Everything, in two columns where there is room. Older happenings than `known_from` are not at hand."""
    head = [head_line(found.before, found.after, width, now), EMPTY]
    if width < WIDE:
        changes = _changes(found, width)
        tail = [EMPTY, *changes[FIRST + 1 :]] if len(changes) > FIRST + 1 else []
        rest = [EMPTY, *_numbers(found, width), EMPTY, *_happened(found, width, known_from, now)]
        return [*head, *changes[: FIRST + 1], *rest, *tail]
    side = min(56, (width - GAP) // 2)
    left = [*_numbers(found, side), EMPTY, *_happened(found, side, known_from, now)]
    right = _changes(found, width - side - GAP)
    out = list(head)
    for y in range(max(len(left), len(right))):
        first = fit_line(left[y] if y < len(left) else EMPTY, side)
        out.append((*first, (" " * GAP, "text"), *(right[y] if y < len(right) else EMPTY)))
    return out


def how_to_lines(width: int) -> list[Line]:
    """What the view says before an instant is marked."""
    first, *rest = HOW_TO
    return [((first, "text b"),), EMPTY, *(fit_line(((text, "muted"),), width) for text in rest)]


def head_line(before: Side, after: Side, width: int, now: float) -> Line:
    """`A 14:03:05  →  B 14:05:00   1m 55s later`."""
    later = units.duration(after.ts - before.ts)
    sides: Line = (*_side(before, now), ("  →  ", "muted"), *_side(after, now))
    tails = (f"   {later} later", f"  {later}", "")
    tail = next((words for words in tails if line_width(sides) + len(words) <= width), "")
    return fit_line((*sides, (tail, "muted")), width)


def _side(side: Side, now: float) -> Line:
    return ((f"{side.name} ", "accent b"), (time_words(side.ts, now), "text b"))


# -- what became of whom -------------------------------------------------------------------------------------------


def _changes(found: Comparison, width: int) -> list[Line]:
    out: list[Line] = [_title("What differs", str(len(found.changes)) if found.changes else "")]
    name = min(18, max((text_width(change.subject) for change in found.changes), default=0))
    out += [fit_line(_change(change, name), width) for change in found.changes]
    return out if found.changes else [*out, (("nothing: the same replicas in the same phases", "faint"),)]


def _change(change: Change, name: int) -> Line:
    """Sign, subject, phases, notes."""
    tone = TONES[change.tone]
    sign = "+" if change.before is None and change.after is not None else "-" if _went(change) else "~"
    if change.tone in ("worse", "better"):
        sign = {"worse": "▼", "better": "▲"}[change.tone] if sign == "~" else sign
    parts: list[Span] = [(f"{sign} ", f"{tone} b"), (fit_text(clean(change.subject), name), "text b"), ("  ", "text")]
    if change.before is not None or change.after is not None:
        parts += _phases(change)
    notes = ", ".join(clean(note) for note in change.notes)
    if notes:
        gap = "  " if change.before is not None or change.after is not None else ""
        parts.append((f"{gap}{notes}", tone if change.after is None and change.before is None else "muted"))
    return tuple(parts)


def _went(change: Change) -> bool:
    return change.before is not None and change.after is None


def _phases(change: Change) -> list[Span]:
    if change.before is None and change.after is not None:
        return [("new, ", "muted"), _phase(change.after)]
    if change.after is None and change.before is not None:
        return [("gone, was ", "muted"), _phase(change.before)]
    assert change.before is not None
    assert change.after is not None
    if change.before == change.after:
        return [_phase(change.after)]
    return [_phase(change.before), (" → ", "muted"), _phase(change.after)]


def _phase(phase: Phase) -> Span:
    glyph, style = PHASES[phase]
    return (f"{glyph} {phase}", style)


# -- numbers -------------------------------------------------------------------------------------------------------


def _numbers(found: Comparison, width: int) -> list[Line]:
    """Label, before, step, after. Narrower where there is little room."""
    label, value, step = (11, 9, 12) if width >= 46 else (10, 7, 10)
    head: Line = (
        (fit_text("", label), "faint"),
        (fit_text(found.before.name, value, "right"), "faint"),
        (fit_text("", step), "faint"),
        (fit_text(found.after.name, value, "right"), "faint"),
    )
    return [_title("Numbers"), head, *(_number(change, label, value, step) for change in found.numbers)]


def _number(change: NumberChange, label: int, value: int, step: int) -> Line:
    quiet = "faint" if change.tone == "same" else "text"
    return (
        (fit_text(change.label, label), "muted"),
        (fit_text(number_words(change.before, change), value, "right"), quiet),
        (fit_text(step_words(change), step, "right"), TONES[change.tone]),
        (fit_text(number_words(change.after, change), value, "right"), quiet),
    )


def number_words(value: float | None, change: NumberChange) -> str:
    """The number in its unit."""
    match change.unit:
        case "latency":
            return units.latency(value)
        case "rate":
            return units.rate(value)
        case "percent":
            return units.percent(value)
    return units.count(None if value is None else round(value))


def step_words(change: NumberChange) -> str:
    """`▲ +120 ms`, `▼ -3`, `=`; nothing where one of the two is not known."""
    if change.before is None or change.after is None:
        return ""
    step = change.after - change.before
    if change.tone == "same":
        return "="
    size = number_words(abs(step), change)
    return f"▲ +{size}" if step > 0 else f"▼ -{size}"


# -- what happened between -----------------------------------------------------------------------------------------


def _happened(found: Comparison, width: int, known_from: float, now: float) -> list[Line]:
    if math.isinf(known_from):
        return [_title("Between them"), (("asking what happened …", "faint"),)]
    partial = known_from > found.before.ts
    out: list[Line] = [_title("Between them", f"known from {time_words(known_from, now)} on" if partial else "")]
    out += [fit_line(_count(count), width) for count in found.happened]
    return out if found.happened else [*out, (("nothing happened", "faint"),)]


def _count(count: Count) -> Line:
    glyph, style = ("◆", "accent") if count.severity is None else SEVERITIES[count.severity]
    who = f"  {', '.join(clean(name) for name in count.who)}" if count.who else ""
    return (
        (f"{units.count(count.number):>4} ", "text b"),
        (f"{glyph} ", style),
        (clean(count.kind), "text"),
        (who, "muted"),
    )


def _title(text: str, info: str = "") -> Line:
    return ((text, "title b"), (f"  {info}" if info else "", "faint"))
