"""The first frame, painted from the pure renderers before the screen library is even loaded. Owns one write.

The library takes a few tenths of a second to import; what is drawn here is the frame it will draw first, so that
it is taken over without a jump. Colours only where the terminal says that it has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backend.contract.control import Snapshot
from console.render.layout import NOTHING_INSTEAD, overview, without_edge
from console.render.panels import fleet_line, title
from console.render.replica_columns import replica_columns
from console.render.spans import Line, fit_line, fit_text, join
from console.render.theme import ThemeSpec
from console.state.column import window
from console.state.store import FleetState

GUTTER: Final = 2
GAP: Final = 2
HEADINGS: Final = {
    "table": "Replicas",
    "ttft": "TTFT",
    "queue": "Queue",
    "rate": "Throughput",
    "scaling": "Scaling",
    "feed": "Events and actions",
    "logs": "Logs",
    "workloads": "Workloads",
    "usage": "CPU and memory",
    "nodes": "Nodes",
    "ports": "Ports",
    "causes": "Worth a look",
}


def first_frame(
    size: tuple[int, int], theme: ThemeSpec, environ: Mapping[str, str], now: float, snapshot: Snapshot | None = None
) -> str:
    """What to write to the terminal: alternate screen, fleet line, the panels' titles, the replicas as they were last
    seen. `size` is columns, rows."""
    width, height = size
    colors = _Colors(theme, environ)
    state = FleetState(snapshot)
    out = ["\x1b[?1049h\x1b[?25l", colors.style("text"), "\x1b[2J\x1b[1;1H"]
    out.append(colors.line(fleet_line(state, width, now), "panel"))
    instead = NOTHING_INSTEAD if state.has_edge else without_edge(width, nodes=bool(state.nodes))
    for name, place in overview(width, height - 2, len(state.replicas), "table", instead).items():
        lines = [title(HEADINGS[name], (), place.width, theme.shape)]
        if name == "table":
            lines += _replica_lines(state, place.width, place.height - 1, now)
        for row, line in enumerate(lines):
            out.append(f"\x1b[{place.y + 2 + row};{place.x + 1}H" + colors.line(line, "background"))
    out.append(f"\x1b[{height};1H" + colors.line(fit_line((), width), "panel") + "\x1b[0m")
    return "".join(out)


def _replica_lines(state: FleetState, width: int, height: int, now: float) -> list[Line]:
    """The table as it will stand: its header, and the replicas that fit."""
    if not state.replicas or height < 2:
        return []
    every = replica_columns(state.driver, edge=state.has_edge, slots=state.edge_slots)
    fitted = window([column for column in every if not column.hidden], width - GUTTER, gap=GAP).columns
    gap = (" " * GAP, "text")
    lines = [join([((fit_text(column.title, size, column.align), "muted"),) for column, size in fitted], gap)]
    for view in state.replicas[: height - 1]:
        cells = [(*column.cell(view, now), size, column.align) for column, size in fitted]
        lines.append(join([((fit_text(text, size, align), style),) for text, style, size, align in cells], gap))
    return [fit_line(((" " * GUTTER, "text"), *line), width) for line in lines]


class _Colors:
    """Semantic styles to escape sequences, true colour or none."""

    def __init__(self, theme: ThemeSpec, environ: Mapping[str, str]) -> None:
        self.theme = theme
        self.full = (
            not theme.ansi and "NO_COLOR" not in environ and environ.get("COLORTERM", "") in ("truecolor", "24bit")
        )

    def style(self, name: str, surface: str = "background") -> str:
        role, *marks = name.split()
        codes = ["0", *(code for mark, code in (("b", "1"), ("r", "7"), ("u", "4")) if mark in marks)]
        if self.full:
            codes.append("38;2;" + _channels(self.theme.color("text" if role == "title" else role)))
            codes.append("48;2;" + _channels(self.theme.color(surface)))
        return f"\x1b[{';'.join(codes)}m"

    def line(self, line: Line, surface: str) -> str:
        return "".join(self.style(style, surface) + text for text, style in line)


def _channels(color: str) -> str:
    return ";".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))
