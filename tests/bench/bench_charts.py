"""Prints what a second of three charts costs: CPU to draw it, bytes to the terminal; ours, and plotext's where it is.

Run as `python tests/bench/bench_charts.py [--seconds 300]`. plotext is no dependency; to compare, put it in a folder of
its own: `uv pip install --target /tmp/plotext plotext`, then run with `PYTHONPATH=/tmp/plotext`. Both draw the same
seconds of the same three charts (TTFT quantiles, queue, tokens a second; 5 minutes across) in the same cells, and both
pictures go through the console's differ, so that only changed cells count.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.contract.control import Quantiles, SeriesPoint
from console.render.chart_list import QUEUE_AND_FLIGHT, TOKENS, TTFT
from console.render.charts import Chart, Look
from console.render.theme import parse_theme
from console.state.series import FIELDS, Buckets, grid
from console.tui.colors import Colors
from console.tui.differ import FrameDiffer

WIDTH, HEIGHT, WINDOW_S = 37, 12, 300.0
SPECS = (TTFT, QUEUE_AND_FLIGHT, TOKENS)
THEME = Path(__file__).resolve().parents[2] / "themes" / "minimalist.toml"
PLOTEXT_COLORS = {"series1": "blue", "series2": "yellow", "series3": "red", "series4": "green"}
Rows = Sequence[Sequence[Segment]]


def seconds(count: int) -> list[SeriesPoint]:
    """A fleet under a load that breathes, the same every time."""
    pick = random.Random(4)
    out: list[SeriesPoint] = []
    recent: deque[float] = deque(maxlen=300)
    for at in range(count):
        recent.extend(pick.lognormvariate(-3, 0.4) for _ in range(5))
        ordered = sorted(recent)
        quantiles = [ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95, 0.99)]
        out.append(
            SeriesPoint(
                ts=1_000_000.0 + at,
                ttft=Quantiles(count=len(ordered), p50_s=quantiles[0], p95_s=quantiles[1], p99_s=quantiles[2]),
                queued=max(0, int(pick.gauss(1, 2))),
                in_flight=pick.randint(1, 9),
                requests_per_s=5.0,
                tokens_per_s=pick.uniform(200, 420),
                errors_per_s=0.0,
                ready=3,
                wanted=3,
                cpu_percent=20.0,
                memory_percent=40.0,
            )
        )
    return out


def ours() -> Callable[[deque[SeriesPoint]], list[Rows]]:
    """The console's own charts."""
    charts = [Chart(spec) for spec in SPECS]
    colors = Colors(parse_theme(THEME.read_text(encoding="utf-8"), THEME.name))

    def draw(points: deque[SeriesPoint]) -> list[Rows]:
        look = Look(width=WIDTH, height=HEIGHT, edge=points[-1].ts, window_s=WINDOW_S)
        return [
            [[Segment(text, colors.style(style)) for text, style in line] for line in chart.lines(points, look)]
            for chart in charts
        ]

    return draw


def plotext() -> Callable[[deque[SeriesPoint]], list[Rows]]:
    """The same charts by plotext 6, redrawn every second; it is given the same buckets, so that it draws no more."""
    import plotext as plt

    terminal = Console(width=WIDTH)

    def one(points: list[SeriesPoint], spec: Any) -> Rows:
        figure = plt.figure
        figure.clear()
        figure.plot_size(WIDTH, HEIGHT)
        figure.canvas("default")
        cells = grid(points[-1].ts, WINDOW_S, WIDTH - 7, 2)
        buckets = Buckets([FIELDS[line.field] for line in spec.lines], cells.step_s)
        buckets.follow(points)
        for line, row in zip(spec.lines, buckets.window(cells.first, cells.columns * 2), strict=True):
            known = [(at, value) for at, value in enumerate(row) if value is not None]
            times, values = [at for at, _ in known], [value for _, value in known]
            figure.draw(figure.signal(times, values, marker=plt.marker("braille", PLOTEXT_COLORS[line.style])).lines())
        text = figure.build().string()
        return [list(Text.from_ansi(row, end="").render(terminal)) for row in text.splitlines()[:HEIGHT]]

    def draw(points: deque[SeriesPoint]) -> list[Rows]:
        seen = [point for point in points if point.ts >= points[-1].ts - WINDOW_S]
        return [one(seen, spec) for spec in SPECS]

    return draw


def measured(draw: Callable[[deque[SeriesPoint]], list[Rows]], count: int) -> tuple[float, float]:
    """Milliseconds of CPU and bytes a second, for all three charts."""
    every = seconds(900 + count)
    points = deque(every[:900], maxlen=900)
    differ = FrameDiffer()
    differ.drop(WIDTH * len(SPECS))
    spent, sent = 0.0, 0
    for at, point in enumerate([every[899], *every[900:]]):
        if at:
            points.append(point)
        begin = time.process_time()
        pictures = draw(points)
        spent += time.process_time() - begin if at else 0.0
        for place, rows in enumerate(pictures):
            for y, row in enumerate(rows):
                differ.put(y, place * WIDTH, row, WIDTH)
        data = differ.encode(ColorSystem.TRUECOLOR)
        sent += len(data.encode()) if at else 0
    return 1000 * spent / count, sent / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    given = parser.parse_args()
    cost, sent = measured(ours(), given.seconds)
    print(f"ours             {cost:7.2f} ms   {sent:6.0f} B   a second, three charts of {WIDTH}x{HEIGHT}")
    try:
        version = importlib.metadata.version("plotext")
        other = plotext()
    except (ImportError, importlib.metadata.PackageNotFoundError):
        print("plotext is not there; to compare: uv pip install --target /tmp/plotext plotext; PYTHONPATH=/tmp/plotext")
        return
    cost, sent = measured(other, min(given.seconds, 60))
    print(f"plotext {version:<8} {cost:7.2f} ms   {sent:6.0f} B")


if __name__ == "__main__":
    main()
