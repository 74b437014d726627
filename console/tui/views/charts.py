"""Charts: everything over one time axis, with one cursor through all of it."""

from __future__ import annotations

import logging
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.errors import TrinityError
from console.render.chart_list import CHARTS, WITHOUT_EDGE
from console.render.layout import charts_view, one_pane
from console.state.recorded import Stretch, fill_heat, load, reach_s, rows_of, wanted
from console.state.replica_ttft import ReplicaTtft
from console.state.series import ZOOMS
from console.tui.canvas import Canvas
from console.tui.chart_panels import ChartPanel, ChartWords, Stage, TimeAxis, TimePanel
from console.tui.heat_panel import HeatPanel
from console.tui.polling import later
from console.tui.views.base import View

log = logging.getLogger("trinity.console")

MARKED_RUNS = 20
NAMES = tuple(spec.name for spec in CHARTS)
PANES = (*NAMES, "heat")


class ChartsView(View):
    """See the module. On a small terminal one chart at a time; `tab` walks through them."""

    DEFAULT_CSS = "ChartsView > Canvas { position: absolute; }"
    label = "Charts"
    keys = (("← →", "cursor"), ("z Z", "zoom"), ("H", "heat map"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "cursor back", id="charts.left", show=False),
        Binding("right", "move(1)", "cursor forward", id="charts.right", show=False),
        Binding("shift+left", "minutes(-1)", "a minute back", id="charts.minute-back", show=False),
        Binding("shift+right", "minutes(1)", "a minute forward", id="charts.minute-on", show=False),
        Binding("home", "edge(0)", "left edge", id="charts.home", show=False),
        Binding("end", "edge(1)", "newest", id="charts.end", show=False),
        Binding("z", "zoom(-1)", "zoom in", id="charts.in", show=False),
        Binding("Z", "zoom(1)", "zoom out", id="charts.out", show=False),
        Binding("H", "heat", "heat map by replica", id="charts.heat", show=False),
        Binding("enter", "travel", "the fleet at the cursor", id="charts.travel", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-charts")
        self.stage = Stage()
        self.pane = NAMES[0]
        self._panels: dict[str, Canvas] = {}
        self._before_heat = NAMES[0]
        self._filled: ReplicaTtft | None = None
        """The readings that were filled up from the record."""
        self._asking: Stretch | None = None
        """What the record is being asked for."""
        self._laid_out: tuple[int, bool] | None = None

    def compose(self) -> ComposeResult:
        self._panels = {
            "words": ChartWords(self.stage, id="chart-words"),
            **{spec.name: ChartPanel(spec, self.stage, shared=True, id=f"chart-{spec.name}") for spec in CHARTS},
            "heat": HeatPanel(self.stage, id="chart-heat"),
            "axis0": TimeAxis(self.stage, id="chart-axis0"),
            "axis1": TimeAxis(self.stage, id="chart-axis1"),
        }
        yield from self._panels.values()

    # -- the screen ------------------------------------------------------------------------------------------

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Place the panels; those without a place are hidden."""
        width, height = self.size
        edge, self._laid_out = self.trinity.state.has_edge, self._basis()
        names = NAMES if edge else WITHOUT_EDGE
        if self.pane not in self._panes():
            self.pane = self._before_heat = names[0]
        places = charts_view(width, height, names, self.pane, len(self.trinity.state.replicas), heated=edge)
        for name, panel in self._panels.items():
            place = places.get(name)
            panel.display = place is not None
            if place is not None:
                panel.styles.offset = (place.x, place.y)
                panel.styles.width = place.width
                panel.styles.height = place.height

    def _basis(self) -> tuple[int, bool]:
        return len(self.trinity.state.replicas), self.trinity.state.has_edge

    def _panes(self) -> tuple[str, ...]:
        return PANES if self.trinity.state.has_edge else WITHOUT_EDGE

    def update(self) -> None:
        if self._basis() != self._laid_out:
            self._arrange()
        self._words().cell_s = self._cell_s()
        self._fill_heat()
        super().update()

    def _words(self) -> ChartWords:
        words = self._panels["words"]
        assert isinstance(words, ChartWords)
        return words

    def activate(self) -> None:
        super().activate()
        self._panels[self.pane].focus()
        self.run_worker(later(self._ask_runs), exit_on_error=False, group="chart runs", exclusive=True)
        self._recall()

    def forget(self) -> None:
        self.stage.forget()
        self._asking = None

    # -- the record ------------------------------------------------------------------------------------------

    async def _ask_runs(self) -> None:
        """Earlier drills are marks too."""
        try:
            self.stage.book.runs = tuple(await self.trinity.source.drill_runs(limit=MARKED_RUNS))
        except (TrinityError, OSError) as error:
            log.info("no drill runs for the marks: %s", error)
            return
        self.update()

    def _fill_heat(self) -> None:
        """A heat map that is on screen begins with what the record knows."""
        heat = self.trinity.state.replica_ttft
        if self._panels["heat"].display and heat is not self._filled and len(heat):
            self._filled = heat
            self.run_worker(later(self._ask_heat, heat), exit_on_error=False, group="chart heat", exclusive=True)

    async def _ask_heat(self, heat: ReplicaTtft) -> None:
        try:
            came = await fill_heat(self.trinity.source, heat, self._newest(), len(self.trinity.state.replicas))
        except (TrinityError, OSError) as error:
            log.info("the heat map begins now: %s", error)
            return
        if came:
            self._panels["heat"].sync()

    def _recall(self, *, everything: bool = False) -> None:
        """Ask for what the picture needs and the state does not hold; once a stretch."""
        newest, lens = self._newest(), self.stage.lens
        edge = lens.edge(newest)
        asked = wanted(edge - lens.window_s, edge, self.trinity.state.points, self._asking or self.stage.known)
        if asked is not None or everything:
            self._asking = asked
            work = later(self._ask_record, asked, newest, everything=everything)
            self.run_worker(work, exit_on_error=False, group="chart record", exclusive=True)

    async def _ask_record(self, asked: Stretch | None, newest: float, *, everything: bool) -> None:
        words, stage, source = self._words(), self.stage, self.trinity.source
        words.note = "asking the record" if asked is not None else ""
        words.sync()
        try:
            if everything:
                stage.lens.all_s = await reach_s(source, newest)
                edge = stage.lens.edge(newest)
                asked = wanted(edge - stage.lens.window_s, edge, self.trinity.state.points, stage.known)
            if asked is not None:
                found = await load(source, asked, newest)
                events, actions = await rows_of(source, asked)
                if source is self.trinity.source:
                    stage.known = found
                    stage.book.events, stage.book.actions = events, actions
            words.note = ""
        except (TrinityError, OSError) as error:
            words.note = str(error)
        self._asking = None
        self.update()

    def next_pane(self, step: int) -> None:
        """`tab`: the next chart; where one fits, it is shown instead."""
        alone = one_pane(*self.size) or self.pane == "heat"
        panes = self._panes()
        self._turn_to(panes[(panes.index(self.pane) + step) % len(panes)], alone=alone)

    def action_heat(self) -> None:
        """`H`: the heat map over the whole view, and back."""
        if not self.trinity.state.has_edge:
            self.trinity.say("No edge of ours sees this fleet's requests: there is no TTFT to map.", "muted")
            return
        if self.pane != "heat":
            self._before_heat = self.pane
        self._turn_to(self._before_heat if self.pane == "heat" else "heat", alone=True)

    def _turn_to(self, pane: str, *, alone: bool) -> None:
        """Go to a panel; `alone` where the others make room for it or come back."""
        self.pane = pane
        if alone or pane == "heat":
            self._arrange()
            self.call_after_refresh(self.update)
        self._panels[pane].focus()

    def back(self) -> bool:
        """`esc` lets go of the cursor, then of the heat map."""
        if self.stage.lens.clear():
            self.update()
            return True
        if self.pane == "heat":
            self.action_heat()
            return True
        return False

    # -- the cursor ------------------------------------------------------------------------------------------

    @on(TimePanel.Looked)
    def follow_mouse(self) -> None:
        self.update()

    def action_move(self, cells: int) -> None:
        self._move(cells * self._cell_s())

    def action_minutes(self, minutes: int) -> None:
        self._move(minutes * 60.0)

    def action_edge(self, right: int) -> None:
        newest, lens = self._newest(), self.stage.lens
        lens.point(newest if right else lens.edge(newest) - lens.window_s + self._cell_s(), newest)
        self.update()
        self._recall()

    def action_zoom(self, step: int) -> None:
        if self.stage.lens.zoom(step, self._newest()):
            self.update()
            self._recall(everything=ZOOMS[self.stage.lens.level] is None)

    async def action_travel(self) -> None:
        """`enter`: the whole console at the instant under the cursor."""
        at = self.stage.lens.at
        if at is None:
            self.trinity.say("Choose an instant first: left and right move the cursor.", "muted")
            return
        try:
            travel = self.trinity.part("travel")
        except KeyError:
            self.trinity.say("This console cannot travel in time.", "warn")
            return
        found = travel.open(at)
        if found is not None:
            await found

    def _move(self, seconds: float) -> None:
        newest = self._newest()
        self.stage.lens.move(seconds, newest, self.stage.floor(self.trinity.state, newest))
        self.update()
        self._recall()

    def _newest(self) -> float:
        """The newest second there is."""
        return self.stage.newest(self.trinity.state, self.trinity.clock.now())

    def _cell_s(self) -> float:
        """Seconds of a cell of the panel that has the cursor."""
        panel = self._panels[self.pane]
        assert isinstance(panel, TimePanel)
        return panel.gutter_and_cells()[1].cell_s if panel.size.width > 0 else 1.0
