"""Prints what the virtual table costs at 1,000 and 10,000 replicas, beside Textual's DataTable in the same run.

Run as `python tests/bench/bench_table.py [--rows 10000] [--samples 9]`. Both tables are widgets of a running Textual
app of 120x40 that writes nowhere; a time is the CPU time of a step and the frame it leads to. Both are fed the same
replicas, of which 5 % change a second: ours gets all rows, of which it finds the changed ones; DataTable is told
each changed cell, which is the cheapest way it knows, and is sorted again. Filtering is not in DataTable: its rows
are cleared and added again. Goals are those of the console: a first list within 1.5 s, a keystroke within 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import RenderableType
from textual.app import App
from textual.screen import Screen
from textual.widgets import DataTable

from backend.contract.control import ReplicaView
from console.render.columns import REPLICAS, replica_haystack
from console.state.simulator import SimulatorSource
from console.state.table import TableModel
from console.tui.app import TrinityApp
from console.tui.vtable import VTable
from tests.bench.machine import Others, at, goal, header, spread

SHARE = 0.05
FIRST_S, KEYSTROKE_S = 1.5, 0.05
COLUMNS = [column for column in REPLICAS if not column.hidden]
FILTERS = ("l", "ll", "llm-9", "l9", "cpu>8", "cpu>80", "cpu>80 phase:Ready", "-phase:Ready", "age>1m")
Times = dict[str, list[float]]


class Fleet:
    """So many replicas, of which a share changes with each step. Unchanged ones stay the same objects."""

    def __init__(self, rows: int) -> None:
        self._random = random.Random(11)
        sample = SimulatorSource(replicas=50, warm_s=30)._snapshot().replicas
        self.views = [self._named(sample[at % len(sample)], f"llm-{at}") for at in range(rows)]

    def _named(self, view: ReplicaView, name: str) -> ReplicaView:
        status = msgspec.structs.replace(view.status, name=name, cpu_percent=float(self._random.randrange(100)))
        return msgspec.structs.replace(view, status=status)

    def step(self) -> list[int]:
        """Which places changed."""
        changed = self._random.sample(range(len(self.views)), int(SHARE * len(self.views)))
        for place in changed:
            self.views[place] = self._named(self.views[place], self.views[place].status.name)
        return changed


class Ours(TrinityApp):
    """Our table alone on the console's app, which is attached to nothing."""

    def __init__(self, source: SimulatorSource) -> None:
        super().__init__(source, bell=False)
        self.frame = asyncio.Event()

    def _begin(self) -> None: ...

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        self.frame.set()


class Theirs(App[None]):
    """A DataTable alone."""

    CSS: ClassVar[str] = "DataTable { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.frame = asyncio.Event()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        self.frame.set()

    def compose(self):  # type: ignore[no-untyped-def]
        yield DataTable(cursor_type="row")


async def timed(app: Ours | Theirs, into: list[float], act: Callable[[], object]) -> None:
    """CPU seconds of one step and the frame it leads to. A step that changes nothing on screen leads to none."""
    await asyncio.sleep(0.05)  # what the step before left behind is not this one's
    app.frame.clear()
    begin = time.process_time()
    act()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(app.frame.wait(), 0.2)
    into.append(time.process_time() - begin)


def named(names: Sequence[str]) -> Times:
    return {name: [] for name in names}


STEPS = ("first list", "5 % changed, sorted by CPU", "5 % changed, sorted, filtered", "cursor key")


async def ours(rows: int, samples: int) -> Times:
    fleet, times = Fleet(rows), named((*STEPS, "filter keystroke"))
    app = Ours(SimulatorSource(replicas=1, warm_s=0))
    async with app.run_test(size=(120, 40)) as pilot:
        await app.action_view("fleet")
        await pilot.pause()
        for _ in range(samples):
            table: VTable[ReplicaView] = VTable(
                TableModel(REPLICAS, lambda view: view.status.name, replica_haystack, sort_key="cpu"), "Replicas"
            )
            table.styles.width, table.styles.height = "1fr", "1fr"
            for old in app.view.query(VTable):
                await old.remove()
            await app.view.mount(table)
            await timed(app, times["first list"], lambda: table.set_items(tuple(fleet.views)))  # noqa: B023
            for _ in range(3):
                fleet.step()
                views = tuple(fleet.views)
                await timed(app, times["5 % changed, sorted by CPU"], lambda: table.set_items(views))  # noqa: B023
            for text in FILTERS:
                await timed(app, times["filter keystroke"], lambda: _filter(table, text))  # noqa: B023
            _filter(table, "l cpu>20")
            for _ in range(3):
                fleet.step()
                views = tuple(fleet.views)
                await timed(app, times["5 % changed, sorted, filtered"], lambda: table.set_items(views))  # noqa: B023
            for _ in range(5):
                await timed(app, times["cursor key"], lambda: table.action_move(1))  # noqa: B023
    return times


def _filter(table: VTable[ReplicaView], text: str) -> None:
    table.model.set_filter(text)
    table.moved()


async def theirs(rows: int, samples: int) -> Times:
    fleet, times = Fleet(rows), named(STEPS)
    times["filter keystroke"] = []
    app = Theirs()
    async with app.run_test(size=(120, 40)):
        table = app.query_one(DataTable)
        for column in COLUMNS:
            table.add_column(column.title, key=column.key, width=max(len(column.title), column.width))

        def cells(view: ReplicaView) -> list[str]:
            now = time.time()
            return [column.cell(view, now)[0] for column in COLUMNS]

        def fill(views: Sequence[ReplicaView]) -> None:
            table.clear()
            for view in views:
                table.add_row(*cells(view), key=view.status.name)

        def cpu(cell: str) -> int:
            return int(cell.rstrip("%"))

        def update(changed: Sequence[int]) -> None:
            now = time.time()
            for at in changed:
                view = fleet.views[at]
                for column in COLUMNS:
                    table.update_cell(view.status.name, column.key, column.cell(view, now)[0])
            table.sort("cpu", key=cpu)

        for _ in range(samples):
            await timed(app, times["first list"], lambda: fill(fleet.views))
            for _ in range(3):
                changed = fleet.step()
                await timed(app, times["5 % changed, sorted by CPU"], lambda: update(changed))  # noqa: B023
            kept = [view for view in fleet.views if (view.status.cpu_percent or 0) > 80]
            await timed(app, times["filter keystroke"], lambda: fill(kept))  # noqa: B023
            for _ in range(5):
                await timed(app, times["cursor key"], table.action_cursor_down)
    return times


def show(rows: int, own: Times, other: Times) -> None:
    print(f"\n{rows} replicas, {len(COLUMNS)} columns, 120x40; CPU milliseconds: median (least to greatest, n)")
    print(f"{'':32}{'ours':38}{'DataTable':38}DataTable takes")
    for name, mine in own.items():
        yours = other.get(name, [])
        ratio = f"{statistics.median(yours) / statistics.median(mine):.1f} times as long" if yours else "-"
        said = spread(yours, "ms", 1000) if yours else "not measured"
        print(f"{name:32}{spread(mine, 'ms', 1000):38}{said:38}{ratio}")
    first, keystroke = max(own["first list"]), at(own["filter keystroke"], 0.95)
    print(f"first list within {FIRST_S} s: {goal(first <= FIRST_S)}; ", end="")
    print(f"filter keystroke within {KEYSTROKE_S * 1000:.0f} ms, 19 of 20: {goal(keystroke <= KEYSTROKE_S)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--samples", type=int, default=3)
    arguments = parser.parse_args()
    header("textual", samples=arguments.samples)
    others = Others()
    for rows in arguments.rows:
        own = asyncio.run(ours(rows, arguments.samples))
        show(rows, own, asyncio.run(theirs(rows, arguments.samples)))
        print(f"the machine: {others.line()}")


if __name__ == "__main__":
    main()
