"""A drill as it runs: phases, faults and charts on one time axis, hypotheses beside them. The last one stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.render import drill_live
from console.render.layout import RUN_PANES, drill_run, one_pane
from console.render.spans import EMPTY, Line
from console.render.timeline import legend, timeline
from console.state.drill_live import LiveRun, live
from console.tui.canvas import Canvas, Panel
from console.tui.polling import later
from console.tui.views.base import View

NOTHING_YET: Final[Sequence[Line]] = (
    (("No drill has run here yet.", "text b"),),
    (("6", "accent b"), (" lists the drills, ", "muted"), ("enter", "accent b"), (" runs one", "muted")),
)


class _RunPart:
    """What the panels of a run have in common."""

    run: LiveRun | None = None


class RunHead(Canvas, _RunPart):
    """Who runs, where it stands, what was counted."""

    never = False
    """No drill has run, and none is awaited."""

    def paint(self, width: int, height: int) -> Sequence[Line]:
        if self.run is None:
            return NOTHING_YET if self.never else [(("◔ the drill is about to begin …", "accent b"),)]
        return drill_live.head_lines(self.run, width, height, read_only=self.trinity.read_only)


class TimelinePanel(Panel, _RunPart):
    heading = "Timeline"

    def info(self) -> Line:
        return legend(self.size.width)

    def body(self, width: int, height: int) -> Sequence[Line]:
        return timeline(self.run, width, height, self.trinity.dots) if self.run is not None else []


class FaultsPanel(Panel, _RunPart):
    heading = "Faults"

    def body(self, width: int, height: int) -> Sequence[Line]:
        return drill_live.fault_lines(self.run, width, height) if self.run is not None else []


class HypothesesPanel(Panel, _RunPart):
    heading = "Hypotheses"

    def info(self) -> Line:
        if self.run is None:
            return EMPTY
        bad = sum(one.standing == "violated" for one in self.run.hypotheses)
        return ((f"✗ {bad} violated", "error b"),) if bad else EMPTY

    def body(self, width: int, height: int) -> Sequence[Line]:
        return drill_live.hypothesis_lines(self.run, width) if self.run is not None else []


class DrillRunView(View):
    """See the module. When the run that is watched ends, its report is shown."""

    DEFAULT_CSS = "DrillRunView > Canvas { position: absolute; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,enter", "report", "report", id="run.report", show=False),
        Binding("w", "app.back", "back", id="run.back", show=False),
    ]
    label = "Timeline"
    home = "drills"
    keys = (("X", "stop it"), ("esc", "drills"))

    def __init__(self) -> None:
        super().__init__(id="view-drill-run")
        self.pane = RUN_PANES[0]
        self.run: LiveRun | None = None
        self._watched = ""
        """The run whose end leads to its report; empty while a past one is looked at."""
        self._awaited = ""
        self._parts: dict[str, RunHead | TimelinePanel | FaultsPanel | HypothesesPanel] = {}
        self._laid_out: tuple[int, ...] = ()

    def compose(self) -> ComposeResult:
        self._parts = {
            "head": RunHead(id="run-head"),
            "timeline": TimelinePanel(id="run-timeline"),
            "hypotheses": HypothesesPanel(id="run-hypotheses"),
            "faults": FaultsPanel(id="run-faults"),
        }
        yield from self._parts.values()

    def follow(self, run_id: str) -> None:
        """Wait for this run; without an id look at what there is."""
        self._awaited = run_id
        self._watched = run_id
        self.update()

    def update(self) -> None:
        snapshot = self.trinity.state.snapshot
        view = snapshot.drill if snapshot is not None else None
        if view is None or (self._awaited and view.run_id != self._awaited):
            self.run = None
        else:
            self._awaited = ""
            self.run = live(view, snapshot.ts if snapshot is not None else 0.0)
            if self.run.running:
                self._watched = view.run_id
            elif self._watched == view.run_id and self.trinity.view is self:
                self._watched = ""
                self.trinity.run_worker(later(self.trinity.show_report, view.run_id, instead=True), exit_on_error=False)
        for part in self._parts.values():
            part.run = self.run
            if isinstance(part, RunHead):
                part.never = view is None and snapshot is not None and not self._awaited
        shape = (len(self.run.faults), len(self.run.hypotheses)) if self.run is not None else ()
        if shape != self._laid_out:
            self._laid_out = shape
            self._arrange()
        super().update()

    def _rows(self, name: str, width: int, height: int) -> int:
        if self.run is None:
            return 1
        lines = drill_live.fault_lines(self.run, width, height)
        return len(lines if name == "faults" else drill_live.hypothesis_lines(self.run, width))

    def _arrange(self) -> None:
        width, height = self.size
        places = drill_run(width, height, self.pane, rows=self._rows)
        for name, part in self._parts.items():
            place = places.get(name)
            part.display = place is not None and place.height > 0
            if place is not None:
                part.styles.offset = (place.x, place.y)
                part.styles.width = place.width
                part.styles.height = max(1, place.height)

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()

    def next_pane(self, step: int) -> None:
        focused = next((name for name in RUN_PANES if self._parts[name].has_focus), self.pane)
        self.pane = RUN_PANES[(RUN_PANES.index(focused) + step) % len(RUN_PANES)]
        if one_pane(*self.size):
            self._arrange()
            self.call_after_refresh(self.update)
        self._parts[self.pane].focus()

    def forget(self) -> None:
        self._watched = ""  # a run that ends because another instant is shown leads nowhere

    async def action_report(self) -> None:
        if self.run is None or self.run.running:
            self.trinity.say("The report comes when the drill has ended. X ends it now.", "muted")
        else:
            await self.trinity.show_report(self.run.run_id, instead=True)

    def activate(self) -> None:
        super().activate()
        self._parts[self.pane].focus()
