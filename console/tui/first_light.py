"""The first frame, painted from the pure renderers before the screen library is even loaded. Owns one write.

The library takes a few tenths of a second to import; what is drawn here is the frame it will draw first, so that
it is taken over without a jump. Colours only where the terminal says that it has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backend.contract.control import Snapshot
from console.render.layout import overview
from console.render.panels import fleet_line, title
from console.render.spans import Line, fit_line
from console.render.theme import ThemeSpec
from console.state.store import FleetState

HEADINGS: Final = {
    "table": "Replicas",
    "ttft": "TTFT",
    "queue": "Queue",
    "rate": "Throughput",
    "scaling": "Scaling",
    "feed": "Events and actions",
    "logs": "Logs",
}


def first_frame(
    size: tuple[int, int], theme: ThemeSpec, environ: Mapping[str, str], now: float, snapshot: Snapshot | None = None
) -> str:
    """What to write to the terminal: alternate screen, fleet line, the panels' titles. `size` is columns, rows."""
    width, height = size
    colors = _Colors(theme, environ)
    state = FleetState(snapshot)
    out = ["\x1b[?1049h\x1b[?25l", colors.style("text"), "\x1b[2J\x1b[1;1H"]
    out.append(colors.line(fleet_line(state, width, now), "panel"))
    for name, place in overview(width, height - 2, len(state.replicas), "table").items():
        out.append(f"\x1b[{place.y + 2};{place.x + 1}H")
        out.append(colors.line(title(HEADINGS[name], (), place.width, theme.shape), "background"))
    out.append(f"\x1b[{height};1H" + colors.line(fit_line((), width), "panel") + "\x1b[0m")
    return "".join(out)


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
