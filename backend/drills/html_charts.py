"""The charts of the HTML report as SVG: time against latency and throughput, phases and faults. Pure, no scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from backend.drills.records import FaultStamps, PhaseSpan
from backend.drills.report import Report
from backend.drills.series import Point, Series

WIDTH: Final = 1000.0
LEFT: Final = 64.0
RIGHT: Final = 16.0
TOP: Final = 34.0
PLOT: Final = 190.0
TICKS_Y: Final = TOP + PLOT + 12.0
BARS_TOP: Final = TOP + PLOT + 26.0
BARS: Final = 46.0
HEIGHT: Final = BARS_TOP + BARS + 26.0
MARKS: Final[tuple[tuple[str, str, str], ...]] = (
    ("t_command", "injected", "mark injected"),
    ("t_effective", "effective", "mark effective"),
    ("t_detected", "detected", "mark detected"),
    ("t_ready", "recovered", "mark recovered"),
)
LINES: Final[tuple[tuple[str, str, str], ...]] = (
    ("latency_p95_s", "latency p95", "line p95"),
    ("latency_p50_s", "latency p50", "line p50"),
    ("ttft_p95_s", "TTFT p95", "line t95"),
    ("ttft_p50_s", "TTFT p50", "line t50"),
)


def load_chart(report: Report, series: Series) -> str:
    """One load over the whole run."""
    zero = report.record.started_mono_s
    start, end = _extent(report, series)
    peak = _nice(max((value for point in series.points for value in _values(point)), default=0.1))

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - start) / max(end - start, 1e-9)

    def y(value: float) -> float:
        return TOP + PLOT * (1.0 - min(value / peak, 1.0))

    parts = [
        *_phases(report.record.phases, zero, x, end),
        *_grid(peak, y),
        *(_outage(fault, zero, x, end) for fault in report.record.faults),
        *_axis(start, end, x),
        *_bars(series, x),
        *(_line(series.points, attribute, title, style, series.width_s, x, y) for attribute, title, style in LINES),
        *(
            f'<line class="lost" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TICKS_Y - 7:.0f}" y2="{TICKS_Y + 7:.0f}">'
            f"<title>not answered, at {at:.2f} s</title></line>"
            for at in series.unanswered_at_s
        ),
        *(mark for fault in report.record.faults for mark in _marks(fault, zero, x)),
    ]
    label = escape(f"{series.load}: latency and throughput over time", quote=True)
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def legend(series: Series) -> str:
    """Only what the chart shows."""
    shown = [
        (title, style)
        for attribute, title, style in LINES
        if any(getattr(point, attribute) is not None for point in series.points)
    ]
    keys = [f'<span class="key"><i class="{style}"></i>{title}</span>' for title, style in shown]
    keys += [f'<span class="key"><i class="{style}"></i>{title}</span>' for _, title, style in MARKS]
    return f'<p class="legend">{"".join(keys)}<span class="key"><i class="lostkey"></i>not answered</span></p>'


def _values(point: Point) -> list[float]:
    return [value for name, _, _ in LINES if (value := getattr(point, name)) is not None]


def _extent(report: Report, series: Series) -> tuple[float, float]:
    zero, spans = report.record.started_mono_s, report.record.phases
    starts = [span.start_s - zero for span in spans] or [point.at_s for point in series.points[:1]] or [0.0]
    starts += [point.at_s for point in series.points[:1]]
    ends = [span.end_s - zero for span in spans if span.end_s is not None]
    ends += [point.at_s + series.width_s for point in series.points[-1:]]
    return min(starts), max([*ends, min(starts) + 1.0])


def _nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-4)))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _phases(spans: Sequence[PhaseSpan], zero: float, x: Callable[[float], float], end: float) -> list[str]:
    found = []
    for index, span in enumerate(spans):
        left, right = x(span.start_s - zero), x(end if span.end_s is None else span.end_s - zero)
        name = escape(span.name)
        style = "phase odd" if index % 2 else "phase"
        width = right - left
        found.append(
            f'<rect class="{style}" x="{left:.1f}" y="12" width="{width:.1f}" rx="3" '
            f'height="{BARS_TOP + BARS - 12:.0f}"/>'
        )
        if width > 7.0 * len(span.name) + 8:
            found.append(f'<text class="phasename" x="{left + 7:.1f}" y="26">{name}</text>')
    return found


def _grid(peak: float, y: Callable[[float], float]) -> list[str]:
    found = []
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(peak * part)
        found.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        found.append(f'<text class="tick end" x="{LEFT - 8}" y="{at + 4:.1f}">{duration(peak * part)}</text>')
    return found


def _axis(start: float, end: float, x: Callable[[float], float]) -> list[str]:
    step = _nice((end - start) / 10.0)
    at, found = math.ceil(start / step) * step, []
    while at <= end:
        found.append(f'<text class="tick middle" x="{x(at):.1f}" y="{HEIGHT - 6:.0f}">{at:g} s</text>')
        at += step
    return found


def _bars(series: Series, x: Callable[[float], float]) -> list[str]:
    most = max((point.answered + point.unanswered for point in series.points), default=0)
    if not most:
        return []
    base, found = BARS_TOP + BARS, []
    for point in series.points:
        left = x(point.at_s)
        width = max(0.6, x(point.at_s + series.width_s) - left - 0.6)
        good, bad = BARS * point.answered / most, BARS * point.unanswered / most
        found.append(
            f'<rect class="good" x="{left:.1f}" y="{base - good:.1f}" width="{width:.1f}" height="{good:.1f}"/>'
        )
        if bad:
            top = base - good - bad
            found.append(f'<rect class="bad" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bad:.1f}"/>')
    rate = most / series.width_s
    return [*found, f'<text class="tick end" x="{LEFT - 8}" y="{BARS_TOP + 10:.0f}">{rate:.0f}/s</text>']


def _line(
    points: Sequence[Point],
    attribute: str,
    title: str,
    style: str,
    width_s: float,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    known = [(point.at_s + width_s / 2, value) for point in points if (value := getattr(point, attribute)) is not None]
    if not known:
        return ""
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in known)
    return f'<polyline class="{style}" points="{path}"><title>{title}</title></polyline>'


def _outage(fault: FaultStamps, zero: float, x: Callable[[float], float], end: float) -> str:
    """From the effect until everything was as before."""
    if fault.t_effective is None:
        return ""
    left = x(fault.t_effective - zero)
    right = x(end if fault.t_ready is None else fault.t_ready - zero)
    name = escape(f"{fault.id}: effective until Ready")
    return (
        f'<rect class="outage" x="{left:.1f}" y="{TOP:.0f}" width="{max(right - left, 1.0):.1f}" height="{PLOT:.0f}">'
        f"<title>{name}</title></rect>"
    )


def _marks(fault: FaultStamps, zero: float, x: Callable[[float], float]) -> list[str]:
    found = []
    for attribute, word, style in MARKS:
        at = getattr(fault, attribute)
        if at is None:
            continue
        title = escape(f"{fault.id} {word} at {at - zero:.3f} s")
        found.append(
            f'<line class="{style}" x1="{x(at - zero):.1f}" x2="{x(at - zero):.1f}" y1="{TOP:.0f}" '
            f'y2="{TOP + PLOT:.0f}"><title>{title}</title></line>'
        )
    return found


def duration(seconds: float | None) -> str:
    """`-`, `12 ms`, `1.25 s`."""
    if seconds is None:
        return "-"
    if seconds == 0:
        return "0"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1.0 else f"{seconds:.2f} s".replace(".00 s", " s")
