"""Every chart of the console in one table: its lines, scale and words; and the legend in its title. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from console.render import units
from console.render.plotter import DASH_GLYPHS
from console.render.scales import GUTTER
from console.render.spans import Line, Span, line_width


class ChartLine(msgspec.Struct, frozen=True):
    """One line of a chart: a field of the series, its word in the legend, its style."""

    field: str
    word: str
    style: str


class ChartSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One chart. Values are written with `label` at the scale and with `words` in the legend."""

    name: str
    heading: str
    lines: tuple[ChartLine, ...]
    words: Callable[[float | None], str]
    floor: float
    """The scale never shrinks below this maximum."""
    ceiling: float = 0.0
    """A fixed maximum (100 %); 0 follows the data."""
    area: bool = False
    noted: tuple[tuple[str, str], ...] = ()
    """Fields that the legend tells and nobody draws: field and word."""

    @property
    def styles(self) -> tuple[str, ...]:
        return tuple(line.style for line in self.lines)

    @property
    def fields(self) -> tuple[str, ...]:
        """What is drawn first, then what is told."""
        return (*(line.field for line in self.lines), *(field for field, _ in self.noted))

    def label(self, value: float) -> str:
        """A value at the scale: no wider than its gutter."""
        if value == 0:
            return "0"
        words = f"{value:.1f}" if self.words is _whole and value != round(value) else self.words(value)
        return words if len(words) < GUTTER else f"{value:.0e}"


def _whole(value: float | None) -> str:
    return units.count(None if value is None else round(value))


TTFT: Final = ChartSpec(
    name="ttft",
    heading="TTFT",
    lines=(
        ChartLine("p50", "p50", "series1"),
        ChartLine("p95", "p95", "series2"),
        ChartLine("p99", "p99", "series3"),
    ),
    words=units.latency,
    floor=0.05,
    noted=(("n", "n"),),
)
QUEUE_AND_FLIGHT: Final = ChartSpec(
    name="queue",
    heading="Queue",
    lines=(ChartLine("in_flight", "in flight", "series1"), ChartLine("queued", "waiting", "series2")),
    words=_whole,
    floor=5.0,
)
TOKENS: Final = ChartSpec(
    name="tokens",
    heading="Throughput",
    lines=(ChartLine("tokens", "tok/s", "series4"),),
    words=units.rate,
    floor=10.0,
    area=True,
    noted=(("requests", "req/s"),),
)
USAGE: Final = ChartSpec(
    name="usage",
    heading="CPU and memory",
    lines=(ChartLine("cpu", "cpu", "series1"), ChartLine("memory", "memory", "series4")),
    words=units.percent,
    floor=100.0,
    ceiling=100.0,
)
CHARTS: Final[tuple[ChartSpec, ...]] = (
    TTFT,
    ChartSpec(
        name="requests",
        heading="Requests",
        lines=(ChartLine("requests", "req/s", "series1"), ChartLine("errors", "err/s", "series3")),
        words=units.rate,
        floor=5.0,
    ),
    ChartSpec(
        name="waiting", heading="Queue", lines=(ChartLine("queued", "waiting", "series2"),), words=_whole, floor=5.0
    ),
    ChartSpec(
        name="flight",
        heading="In flight",
        lines=(ChartLine("in_flight", "in flight", "series1"),),
        words=_whole,
        floor=5.0,
        area=True,
    ),
    msgspec.structs.replace(TOKENS, noted=()),
    ChartSpec(
        name="replicas",
        heading="Replicas",
        lines=(ChartLine("wanted", "wanted", "series2"), ChartLine("ready", "ready", "series4")),
        words=_whole,
        floor=2.0,
    ),
    ChartSpec(
        name="cpu",
        heading="CPU",
        lines=(ChartLine("cpu", "of the machine", "series1"),),
        words=units.percent,
        floor=100.0,
        ceiling=100.0,
        area=True,
    ),
    ChartSpec(
        name="memory",
        heading="Memory",
        lines=(ChartLine("memory", "of the machine", "series4"),),
        words=units.percent,
        floor=100.0,
        ceiling=100.0,
        area=True,
    ),
)
"""The charts of the charts view, in the order in which `tab` walks through them."""
WITHOUT_EDGE: Final = ("replicas", "cpu", "memory")
"""Those that say something where no edge of ours sees the requests."""


def legend(
    spec: ChartSpec, values: Mapping[str, float | None], width: int, when: str = "", *, dashed: bool = False
) -> Line:
    """`p50 81 ms  p95 210 ms  p99 380 ms  n 143`: the fullest of the forms that fits a title of that width. Where
    lines are told apart by their dashes, each word stands behind its own."""
    if dashed and len(spec.lines) > 1:
        lines = [msgspec.structs.replace(line, word=DASH_GLYPHS[at] + line.word) for at, line in enumerate(spec.lines)]
        spec = msgspec.structs.replace(spec, lines=tuple(lines))
    if not any(value is not None for value in values.values()):
        return _dated((("no data", "faint"),), when, width)
    if values.get("n") == 0:
        return _dated((("idle, n 0", "faint"),), when, width)
    room = width - len(spec.heading) - 2
    bare = msgspec.structs.replace(spec, noted=())
    forms = [_wide(spec, values, when), _wide(spec, values, "")]
    forms += [_tight(spec, values), _tight(spec, values, unit=False), _tight(bare, values)]
    return next((form for form in forms if line_width(form) <= room), forms[-1])


def _dated(words: Line, when: str, width: int) -> Line:
    return ((f"{when}  ", "accent"), *words) if when and width >= 40 else words


def _wide(spec: ChartSpec, values: Mapping[str, float | None], when: str) -> Line:
    out: list[Span] = [(f"{when}  ", "accent")] if when else []
    for line in spec.lines:
        out += [(f"{line.word} ", line.style), (f"{spec.words(values.get(line.field))}  ", "text")]
    for field, word in spec.noted:
        value = values.get(field)
        words = _whole(value) if field == "n" else units.rate(value)
        out += [(f"{word} ", "faint"), (f"{words}  ", "faint")]
    return (*out[:-1], (out[-1][0].rstrip(), out[-1][1]))


def _tight(spec: ChartSpec, values: Mapping[str, float | None], *, unit: bool = True) -> Line:
    """Numbers of one unit, the unit once; the scale says it too."""
    known = [value for line in spec.lines if (value := values.get(line.field)) is not None]
    timed = spec.words is units.latency
    slow = timed and max(known, default=0.0) >= 0.9995
    out: list[Span] = []
    for line in spec.lines:
        value = values.get(line.field)
        words = spec.words(value)
        if timed and value is not None:
            words = f"{value:.1f}" if slow else f"{value * 1000:.0f}"
        out += [(f"{line.word} ", line.style), (f"{words} ", "text")]
    if timed and unit:
        out.append(("s " if slow else "ms ", "muted"))
    for field, word in spec.noted:
        if field == "n":
            out.append((f"{word}{_whole(values.get(field))} ", "faint"))
    return (*out[:-1], (out[-1][0].rstrip(), out[-1][1]))
