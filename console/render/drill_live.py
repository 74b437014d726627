"""The words around a running drill's timeline: head, banner, faults, hypotheses. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from console.render import units
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, Span, clean, fit_line, join, line_width
from console.render.timeline import MARKS, clock
from console.render.words import DRILLS
from console.state.drill_live import LiveCounts, LiveFault, LiveRun, Standing

STANDINGS: Final[dict[Standing, Span]] = {
    "holding": ("✓", "ok"),
    "violated": ("✗", "error b"),
    "no data": ("?", "muted"),
}
DOT: Final[Span] = ("  ·  ", "faint")
GAP: Final[Span] = ("   ", "text")
READ_ONLY: Final[Span] = ("read-only", "warn b")
LOOKING: Final[Line] = (READ_ONLY, (", so no X: ", "muted"), ("trinity drill stop", "text b"))
"""Why a console started with --read-only stops no drill, and what does."""


def outcome_words(run: LiveRun) -> Line:
    """Glyph and word of how the run stands."""
    glyph, style = DRILLS[run.outcome]
    return ((f"{glyph} {run.outcome}", f"{style} b" if not style.endswith(" b") else style),)


def fitting(parts: Sequence[Line], width: int, separator: Span = GAP) -> Line:
    """As many parts, from the first, as fit."""
    kept = [part for part in parts if part]
    while len(kept) > 1 and line_width(join(kept, separator)) > width:
        kept.pop()
    return fit_line(join(kept, separator), width)


def head_lines(run: LiveRun, width: int, height: int, *, read_only: bool = False) -> list[Line]:
    """Who runs, where it stands, what was counted; the first line alone is enough."""
    elapsed = clock(run.elapsed_s)
    about: Line = ((elapsed, "text b"), (f" of about {clock(run.estimated_s)}", "muted"))
    if not run.running or run.estimated_s <= 0:
        about = ((elapsed, "text b"), ("" if run.running else " in all", "muted"))
    step = f"phase {run.phase_number} of {len(run.phases)}" if run.phase_number else "preparing"
    named = clean(run.phase) if run.phase != step else ""
    phase: Line = ((f"{step}  " if named else step, "muted"), (named, "text b")) if run.running else EMPTY
    how = " stops and undoes everything" if width >= 100 else " stops it"
    stop: Line = (("X", "accent b"), (how, "muted"))
    if read_only:
        stop = LOOKING if width >= 60 else (READ_ONLY,)
    stop = stop if run.running else EMPTY
    name: Line = ((clean(run.name), "text b"),)
    title: Line = ((clean(run.title), "muted"),) if run.title and run.title != run.name else EMPTY
    if height <= 1 or width < 60:
        short: Line = ((f"{run.phase_number}/{len(run.phases)} ", "muted"), (clean(run.phase), "text"))
        first = fitting([outcome_words(run), about, short if run.running else EMPTY], width, ("  ", "text"))
        return [first, fitting([name, stop], width), fit_line(count_words(run.counts, width), width)][:height]
    lines = [
        fitting([outcome_words(run), name, title], width),
        fitting([phase, about, stop, ((clean(run.detail), "warn"),) if run.detail else EMPTY], width, DOT),
        fit_line(count_words(run.counts, width), width),
    ]
    return lines[:height]


def count_words(counts: LiveCounts, width: int) -> Line:
    """Requests so far by outcome; what is bad and not zero stands out by a glyph too."""
    parts: list[Line] = [((units.count(counts.arrivals), "text b"), (" requests", "muted"))]
    bad = (("✓", "ok", counts.ok, "ok"), ("◷", "warn", counts.slow, "slow"), ("✗", "error b", counts.failed, "failed"))
    more = (("⊘", "warn", counts.shed, "shed"), ("≠", "error b", counts.wrong, "wrong"))
    for glyph, style, number, word in (*bad, *more):
        if word == "wrong" and not number:
            continue
        lit = word == "ok" or number > 0
        parts.append(
            (
                (f"{glyph} " if lit else "", style),
                (units.count(number), ("text" if word == "ok" else style) if lit else "muted"),
                (f" {word}", "muted"),
            )
        )
    return fitting(parts, width, ("  ", "text") if width < 60 else GAP)


def _delta(seconds: float | None) -> str:
    return units.NOTHING if seconds is None else f"+{units.latency(seconds)}"


def fault_lines(run: LiveRun, width: int, height: int) -> list[Line]:
    """Each fault with its stamps: spelled out where there is height, in a line where there is not."""
    if not run.faults:
        return [fit_line((("no fault yet", "faint"),), width)]
    spelled = 6 * len(run.faults) - 1 <= height
    lines: list[Line] = []
    for index, fault in enumerate(run.faults):
        if spelled:
            lines += [EMPTY] if index else []
            lines += _spelled(fault, width)
        else:
            lines += _short(fault, width)
    return lines


def _named(fault: LiveFault) -> Line:
    return (
        (clean(fault.id), "text b"),
        (f"  {clean(fault.kind)}", "text"),
        (f"  {clean(fault.victim)}" if fault.victim else "", "muted"),
    )


def _stamps(fault: LiveFault) -> list[tuple[str, str]]:
    """Each mark's word with its time: the injection on the axis, the others after what came before in cause."""
    injected = units.NOTHING if fault.injected_s is None else clock(fault.injected_s)
    effect = None
    if fault.effective_s is not None and fault.injected_s is not None:
        effect = max(0.0, fault.effective_s - fault.injected_s)
    return [
        ("injected", injected),
        ("effective", _delta(effect)),
        ("detected", _delta(fault.after_effect(fault.detected_s))),
        ("recovered", _delta(fault.after_effect(fault.recovered_s))),
    ]


def _spelled(fault: LiveFault, width: int) -> list[Line]:
    lines: list[Line] = [fit_line(_named(fault), width)]
    notes = {"injected": "", "effective": "  after the order", "detected": "  after the effect", "recovered": ""}
    for word, value in _stamps(fault):
        glyph, style = MARKS[word]
        seen = value != units.NOTHING
        lines.append(
            fit_line(
                (
                    (f"  {glyph if seen else '·'} ", style if seen else "faint"),
                    (f"{word:<10}", "muted" if seen else "faint"),
                    (f"{value:>9}", "text b" if seen else "faint"),
                    (notes[word] if seen and width >= 42 else "", "faint"),
                ),
                width,
            )
        )
    if fault.problem:
        lines += wrapped(f"▲ {fault.problem}", width, "warn", "  ")
    return lines


def _short(fault: LiveFault, width: int) -> list[Line]:
    stamps: list[Line] = []
    for word, value in _stamps(fault):
        glyph, style = MARKS[word]
        seen = value != units.NOTHING
        shown: Line = ((f"{glyph} ", style), (value, "text")) if seen else (("· ", "faint"), (value, "faint"))
        stamps.append(shown)
    line = join(stamps, ("  ", "text"))
    named = _named(fault)
    together = (*named, GAP, *line)
    if line_width(together) <= width:
        return [fit_line(together, width)]
    if line_width(line) + 2 > width:
        line = join(stamps, (" ", "text"))
    return [fit_line(named, width), fit_line((("  " if line_width(line) + 2 <= width else "", "text"), *line), width)]


def hypothesis_lines(run: LiveRun, width: int) -> list[Line]:
    """What must hold and whether it does: glyph and word, then the sentence."""
    if not run.hypotheses:
        return [fit_line((("this drill has no hypothesis over all phases", "faint"),), width)]
    lines: list[Line] = []
    for one in run.hypotheses:
        glyph, style = STANDINGS[one.standing]
        head = f"{glyph} {one.standing:<9}"
        indent = len(head) if width >= 44 else 2
        body = wrapped(one.text, max(8, width - indent), "text")
        if indent == 2:
            lines.append(fit_line(((head, style), (_now(one.measured), "muted")), width))
            lines += [fit_line((("  ", "text"), *line), width) for line in body]
            continue
        for at, line in enumerate(body):
            lines.append(fit_line(((head, style) if at == 0 else (" " * indent, "text"), *line), width))
        last = ((f"{body[-1][0][0].rstrip()}", "text"), (f"   {_now(one.measured)}", "muted"))
        if _now(one.measured) and line_width(last) <= width - indent:
            front: Span = (head, style) if len(body) == 1 else (" " * indent, "text")
            lines[-1] = fit_line((front, *last), width)
    return lines


_SECONDS: Final = re.compile(
    r"^(p\d+|max|mean)\((latency|ttft|service|stall)|^(detect|suspect|recover|failover|undone)"
)


def _now(measured: dict[str, float | None]) -> str:
    """What was measured, in words; the name only where there is more than one."""
    known = [(name, value) for name, value in measured.items() if value is not None]
    said = [(name, units.latency(value) if _SECONDS.match(name) else f"{value:.4g}") for name, value in known]
    if len(said) == 1:
        return f"now {said[0][1]}"
    return ", ".join(f"{clean(name)} = {value}" for name, value in said)


def banner_line(run: LiveRun | None, blocked: str, width: int, *, read_only: bool = False) -> Line:
    """One line above every view: a drill runs (phase, elapsed, X), or drills are blocked (why, how to allow).

    A console that may only look says so where it would name a key."""
    if run is not None and run.running:
        glyph, style = DRILLS[run.outcome]
        step = f"{run.phase_number}/{len(run.phases)} " if run.phase_number else ""
        violated = sum(one.standing == "violated" for one in run.hypotheses)
        parts: list[Line] = [
            ((f" {glyph} drill ", f"{style} b"), (clean(run.name), "text b")),
            ((f"{step}{clean(run.phase)}" if run.phase else clean(run.detail) or "preparing", "text"),),
            ((clock(run.elapsed_s), "text b"), (f" / {clock(run.estimated_s)}" if run.estimated_s else "", "muted")),
            (LOOKING if width >= 100 else (READ_ONLY,)) if read_only else (("X", "accent b"), (" stop", "muted")),
            ((f"✗ {units.plural(violated, 'hypothesis').replace('hypothesiss', 'hypotheses')} violated", "error b"),)
            if violated
            else EMPTY,
            (("f", "accent b"), (" timeline", "muted")),
        ]
        if width < 60:
            parts = [((f" {glyph} ", f"{style} b"), (clean(run.phase) or "drill", "text b")), parts[2], parts[3]]
        return fitting(parts, width)
    if blocked:
        words = [
            ((" ⊘ drills are blocked", "warn b"),),
            (("P", "accent b"), (" or ", "muted"), ("trinity drill allow", "text b"), (" ends it", "muted")),
            ((clean(blocked), "muted"),),
        ]
        if read_only:
            words[1] = (("trinity drill allow", "text b"), (" ends it", "muted"))
        elif width < 60:
            words[1] = (("P", "accent b"), (" allows", "muted"))
        return fitting(words, width)
    return EMPTY
