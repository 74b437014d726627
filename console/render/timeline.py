"""A drill's timeline as text: phases, faults with their marks, latency and errors over one shared time axis. Pure.

The axis begins with the run and ends where it is expected to: new seconds fill it from the left, so that between two
seconds only the newest column changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console.render import units
from console.render.charts import Frame, Series, plot
from console.render.plotter import Dots, runs
from console.render.scales import value_labels
from console.render.spans import EMPTY, Line, Span, clean, crop_text, fit_line, text_width
from console.state.drill_live import LiveFault, LivePhase, LiveRun

MARKS: Final[dict[str, Span]] = {
    "injected": ("▼", "warn b"),
    "effective": ("●", "error b"),
    "detected": ("◆", "accent b"),
    "recovered": ("✓", "ok b"),
}
"""The four instants of a fault's life, in order: each has a glyph of its own, never a colour alone."""
PHASE_DONE: Final = ("■", "muted")
PHASE_NOW: Final = ("◔", "accent b")
PHASE_NEXT: Final = ("○", "faint")
PHASE_CUT: Final = ("⊘", "warn")
LANES: Final = 4
"""Faults with a line of their own; the ones after share the last."""
MAX_GAP_S: Final = 3.0


def legend(width: int) -> Line:
    """The marks in words, where there is room."""
    if width < 64:
        return EMPTY
    out: list[Span] = []
    for word, (glyph, style) in MARKS.items():
        out += [(glyph, style), (f" {word}  ", "muted")]
    return (*out[:-1], (out[-1][0].rstrip(), "muted"))


def marks_of(fault: LiveFault) -> list[tuple[str, float]]:
    """The marks a fault has so far: word and seconds since the run's start."""
    stamps = (
        ("injected", fault.injected_s),
        ("effective", fault.effective_s),
        ("detected", fault.detected_s),
        ("recovered", fault.recovered_s),
    )
    return [(word, at) for word, at in stamps if at is not None]


def segments(run: LiveRun) -> list[tuple[LivePhase, float, float]]:
    """Every phase with where it begins and ends on the axis, seconds; those to come follow one another as planned."""
    out: list[tuple[LivePhase, float, float]] = []
    at = 0.0
    for phase in run.phases:
        start = phase.start_s if phase.start_s is not None else at
        if phase.end_s is not None:
            end = phase.end_s
        elif phase.start_s is not None:
            end = max(run.elapsed_s, start + phase.planned_s) if run.running else run.elapsed_s
        elif run.running:
            end = start + phase.planned_s
        else:
            continue
        out.append((phase, start, max(start, end)))
        at = end
    return out


def axis_end(run: LiveRun) -> float:
    """Seconds at the right edge."""
    return max([run.span_s, *(end for _, _, end in segments(run))])


def timeline(run: LiveRun, width: int, height: int, dots: Dots = "braille") -> list[Line]:
    """Exactly `height` lines: phases, faults, latency, errors, the axis. What has no room is left out from below."""
    lanes = min(LANES, len(run.faults), max(1, height - 8)) if run.faults else 0
    rest = height - 2 - lanes - 1
    error_rows = 0 if rest < 5 else 1 if rest < 9 else max(2, min(4, (rest - 2) // 4))
    quantile_rows = rest - 1 - (1 + error_rows if error_rows else 0)
    if width < 24 or quantile_rows < 1:
        return [fit_line(line, width) for line in _words_only(run, height)]
    end = axis_end(run)
    top, labels = _quantile_scale(run, quantile_rows)
    error_top, error_labels = _error_scale(run, error_rows)
    gutter = max(map(text_width, (*labels, *error_labels, "100%"))) + 1
    columns = width - gutter - 1
    pad: Span = (" " * gutter, "text")
    out: list[Line] = [(pad, *line) for line in _phase_lanes(run, columns, end)]
    out += [(pad, *line) for line in _fault_lanes(run, columns, end, lanes)]
    borders = _borders(run, columns, end)
    frame = Frame(
        width, quantile_rows, end * (1 - 1e-9), end, units.latency, max_gap_s=_gap(run), dots=dots
    )  # the axis ends just before its right edge: a bucket grid is half open
    out.append((pad, *_quantile_heading(run)))
    picture = plot(_quantiles(run), frame, columns, quantile_rows, top)
    out += _beside(labels, gutter, _ruled(picture, borders, columns))
    if error_rows:
        out.append((pad, *_error_heading(run)))
        errors = Series("errors", "error", [(b.at_s, _share(b.failed, b.arrivals)) for b in run.buckets])
        area = Frame(width, error_rows, frame.now, end, units.percent, max_gap_s=_gap(run), area=True)
        picture = plot([errors], area, columns, error_rows, error_top)
        out += _beside(error_labels, gutter, _ruled(picture, borders, columns))
    out.append((pad, *_axis(columns, end, run)))
    out = [fit_line(line, width) for line in out]
    return [*out, *([fit_line(EMPTY, width)] * (height - len(out)))][:height]


def _words_only(run: LiveRun, height: int) -> list[Line]:
    """For a strip too small for a picture."""
    lines: list[Line] = [(_phase_glyph(run, phase), (f" {clean(phase.name)}", "text")) for phase in run.phases]
    now = next((at for at, p in enumerate(run.phases) if p.start_s is not None and p.end_s is None), 0)
    top = max(0, min(now - height // 2, len(lines) - height))
    return lines[top : top + height] + [EMPTY] * max(0, height - len(lines))


def _gap(run: LiveRun) -> float:
    """Buckets may be wider than a second in a long run."""
    ats = [bucket.at_s for bucket in run.buckets]
    return max([MAX_GAP_S, *(2.5 * (b - a) for a, b in zip(ats[-3:], ats[-2:], strict=False))])


def _share(part: int, whole: int) -> float | None:
    return None if whole <= 0 else part / whole * 100


def _quantiles(run: LiveRun) -> list[Series]:
    return [
        Series("p50", "series1", [(b.at_s, b.p50_s) for b in run.buckets]),
        Series("p95", "series2", [(b.at_s, b.p95_s) for b in run.buckets]),
        Series("TTFT p95", "series3", [(b.at_s, b.ttft_p95_s) for b in run.buckets]),
    ]


def _quantile_scale(run: LiveRun, rows: int) -> tuple[float, list[str]]:
    values = [v for b in run.buckets for v in (b.p50_s, b.p95_s, b.ttft_p95_s) if v is not None]
    top = units.nice_ceiling(max([0.01, *values]))
    return top, value_labels(top, rows, lambda value: "0" if value == 0 else units.latency(value))


def _error_scale(run: LiveRun, rows: int) -> tuple[float, list[str]]:
    worst = max([5.0, *(_share(b.failed, b.arrivals) or 0.0 for b in run.buckets)])
    top = min(100.0, units.nice_ceiling(worst))
    if rows < 2:
        return top, [units.percent(top)] * rows
    return top, value_labels(top, rows, lambda value: "0" if value == 0 else units.percent(value))


def _quantile_heading(run: LiveRun) -> Line:
    newest = next((b for b in reversed(run.buckets) if b.p50_s is not None), None)
    head: Line = (("latency", "text b"),)
    if newest is None:
        return (*head, ("  no answer yet", "faint"))
    out: Line = (
        *head,
        ("  p50 ", "series1"),
        (units.latency(newest.p50_s), "text"),
        ("  p95 ", "series2"),
        (units.latency(newest.p95_s), "text"),
    )
    if newest.ttft_p95_s is None:
        return out
    return (*out, ("  TTFT p95 ", "series3"), (units.latency(newest.ttft_p95_s), "text"))


def _error_heading(run: LiveRun) -> Line:
    failed, arrivals = run.counts.failed, run.counts.arrivals
    glyph: Span = ("✗", "error b") if failed else ("✓", "ok")
    words = f" {units.count(failed)} of {units.count(arrivals)} requests" if arrivals else " no request yet"
    return (("failed  ", "text b"), glyph if arrivals else ("", "text"), (words, "text" if arrivals else "faint"))


def _beside(labels: Sequence[str], gutter: int, picture: Sequence[Line]) -> list[Line]:
    return [((label.rjust(gutter - 1) + " ", "faint"), *cells) for label, cells in zip(labels, picture, strict=True)]


# -- lanes ---------------------------------------------------------------------------------------------------------


def column_of(at_s: float, columns: int, end: float) -> int:
    """The cell of an instant."""
    return max(0, min(columns - 1, int(at_s / end * columns)))


def _borders(run: LiveRun, columns: int, end: float) -> set[int]:
    """Where a phase begins after the first, so that the charts say which phase is which."""
    return {column_of(start, columns, end) for _, start, _ in segments(run)[1:]}


def _ruled(picture: Sequence[Line], borders: set[int], columns: int) -> list[Line]:
    """Quiet vertical rules in the blank cells of a picture."""
    out: list[Line] = []
    for line in picture:
        cells = [(character, style) for text, style in line for character in text]
        cells += [(" ", "text")] * (columns - len(cells))
        for at in borders:
            if cells[at][0] == " ":
                cells[at] = ("┊", "rule")
        out.append(runs([c for c, _ in cells], [s for _, s in cells]))
    return out


def _phase_glyph(run: LiveRun, phase: LivePhase) -> Span:
    if phase.end_s is not None:
        return PHASE_DONE
    if phase.start_s is None:
        return PHASE_NEXT
    return PHASE_NOW if run.running else PHASE_CUT


def _phase_lanes(run: LiveRun, columns: int, end: float) -> list[Line]:
    """Names over bars: what is done is heavy, what is to come is thin."""
    names: list[str] = [" "] * columns
    name_styles = ["text"] * columns
    bar, bar_styles = ["─"] * columns, ["rule"] * columns
    now = column_of(run.elapsed_s, columns, end)
    known = segments(run)
    for index, (phase, start, stop) in enumerate(known):
        left = column_of(start, columns, end)
        following = known[index + 1][1] if index + 1 < len(known) else end
        right = columns if index + 1 == len(known) else column_of(following, columns, end)
        glyph, style = _phase_glyph(run, phase)
        tone = {"faint": "faint", "accent b": "accent b"}.get(style, "text")
        label = crop_text(f"{glyph} {clean(phase.name)}", max(0, right - left - 1))
        for at, character in enumerate(label):
            if text_width(label) == len(label):
                names[left + at] = character
                name_styles[left + at] = style if at == 0 else tone
        if phase.start_s is not None:
            done = min(now, column_of(stop, columns, end)) if run.running else column_of(stop, columns, end)
            for at in range(left, min(columns, max(done + 1, left + 1))):
                bar[at], bar_styles[at] = "━", tone if phase.end_s is None else "muted"
        bar[left] = "┣" if phase.start_s is not None else "├"
    return [runs(names, name_styles), runs(bar, bar_styles)]


def _fault_lanes(run: LiveRun, columns: int, end: float, lanes: int) -> list[Line]:
    """One line a fault: its marks, a bar while it lasts, its name where there is room."""
    cells = [[" "] * columns for _ in range(lanes)]
    styles = [["text"] * columns for _ in range(lanes)]
    for index, fault in enumerate(run.faults):
        row = min(index, lanes - 1)
        _draw_fault(fault, run, cells[row], styles[row], end, named=len(run.faults) <= lanes or index < lanes - 1)
    return [runs(line, names) for line, names in zip(cells, styles, strict=True)]


def _draw_fault(
    fault: LiveFault, run: LiveRun, cells: list[str], styles: list[str], end: float, *, named: bool
) -> None:
    columns = len(cells)
    if fault.effective_s is not None:
        last = fault.recovered_s if fault.recovered_s is not None else run.elapsed_s
        for at in range(column_of(fault.effective_s, columns, end), column_of(last, columns, end) + 1):
            cells[at], styles[at] = "─", "warn"
    taken: list[int] = []
    for word, at_s in marks_of(fault):
        at = column_of(at_s, columns, end)
        while at in taken and at < columns - 1:
            at += 1  # instants closer than a cell stand side by side, in order
        taken.append(at)
        cells[at], styles[at] = MARKS[word]
    if not named:
        return
    right = (max(taken) + 2) if taken else 0
    if taken and fault.recovered_s is None:
        right = max(right, column_of(run.elapsed_s, columns, end) + 2)
    for label in (clean(f"{fault.id} {fault.victim}".strip()), clean(fault.id)):
        if text_width(label) != len(label):
            continue
        if right + len(label) <= columns:
            _write(cells, styles, right, label, "muted" if taken else "faint")
            return
        if taken and min(taken) - len(label) - 1 >= 0:
            _write(cells, styles, min(taken) - len(label) - 1, label, "muted")
            return


def _write(cells: list[str], styles: list[str], at: int, text: str, style: str) -> None:
    for offset, character in enumerate(text):
        cells[at + offset], styles[at + offset] = character, style


def _axis(columns: int, end: float, run: LiveRun) -> Line:
    """Elapsed time at even steps; `now` while it runs."""
    cells, styles = [" "] * columns, ["faint"] * columns
    step = _step(end, columns)
    now = column_of(run.elapsed_s, columns, end)
    word = "now" if run.running else "end"
    at_now = min(columns - len(word), max(0, now - 1))
    count = int(end / step + 1e-6)
    for index in range(count + 1):
        label = clock(index * step)
        at = min(column_of(index * step, columns, end), columns - len(label))
        if at + len(label) < at_now or at > at_now + len(word):
            _write(cells, styles, at, label, "faint")
    _write(cells, styles, at_now, word, "accent" if run.running else "muted")
    return runs(cells, styles)


def _step(end: float, columns: int) -> float:
    for step in (5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0):
        if columns * step / end >= 9:
            return step
    return end


def clock(seconds: float) -> str:
    """Elapsed time as the axis writes it: `0:05`, `1:30`, `61:00`."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
