"""The report of a run: verdict, proof, evidence; compared with an earlier run, saved to a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from backend.contract.control import DrillView
from backend.contract.errors import TrinityError
from console.render import units
from console.render.drill_report import banner_lines, comparison_lines, report_lines
from console.render.spans import Line
from console.render.words import DRILLS
from console.state.drill_report import Comparison, DrillReport, read_comparison, read_report
from console.tui.canvas import Canvas
from console.tui.polling import Poller, later
from console.tui.scroll import ScrollPanel
from console.tui.views.base import View

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

RETRY_S: Final = 2.0
LOW: Final = 16
"""Lines under which nothing is spent on air."""
KINDS: Final = {".html": "html", ".json": "json", ".md": "md", ".xml": "junit"}


class VerdictBanner(Canvas):
    """Two lines that cannot be misread."""

    report: DrillReport | None = None
    problem = ""
    DEFAULT_CSS = "VerdictBanner { height: 2; margin: 0 0 1 0; }"

    def paint(self, width: int, height: int) -> Sequence[Line]:
        if self.report is None:
            return [((self.problem or "asking the daemon for the report …", "warn" if self.problem else "faint"),)]
        return banner_lines(self.report, width, self.trinity.clock.now())


class DrillReportView(View):
    """See the module."""

    DEFAULT_CSS = "DrillReportView { padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "compare", "compare", id="report.compare", show=False),
        Binding("o", "save", "save", id="report.save", show=False),
        Binding("w", "timeline", "timeline", id="report.timeline", show=False),
        Binding("h", "history", "earlier runs", id="report.history", show=False),
    ]
    label = "Report"
    home = "drills"
    keys = (("c", "compare"), ("o", "save"), ("h", "earlier"), ("esc", "back"))

    def __init__(self) -> None:
        super().__init__(id="view-drill-report")
        self.run_id = ""
        self.report: DrillReport | None = None
        self.comparison: Comparison | None = None
        self._path = ""
        self._poller: Poller | None = None

    def compose(self) -> ComposeResult:
        yield VerdictBanner(id="report-verdict")
        yield ScrollPanel(self._heading, self._lines, id="report")

    def on_resize(self, _: events.Resize) -> None:
        self.banner.styles.margin = (0, 0, 1 if self.size.height >= LOW else 0, 0)

    def on_mount(self) -> None:
        self._poller = Poller(self.trinity, self._fetch, RETRY_S)

    @property
    def banner(self) -> VerdictBanner:
        return self.query_one(VerdictBanner)

    @property
    def panel(self) -> ScrollPanel:
        return self.query_one(ScrollPanel)

    def show(self, run_id: str) -> None:
        """Read another run's report."""
        self.run_id, self.report, self.comparison, self._path = run_id, None, None, ""
        self.panel.top = 0
        self._told("")
        if self._poller is not None:
            self._poller.start()

    def _told(self, problem: str) -> None:
        self.banner.report, self.banner.problem = self.report, problem
        self.banner.sync()
        self.panel.sync()

    async def _fetch(self) -> None:
        """Until it is there: a run that has just ended is still being judged."""
        if self.report is not None or not self.run_id:
            return
        run_id = self.run_id
        try:
            report = read_report(await self.trinity.source.drill_report(run_id))
        except (TrinityError, OSError) as error:
            self._told(f"no report yet: {error}")
            raise
        runs = await self.trinity.source.drill_runs()
        if run_id == self.run_id:
            self.report = report
            self._path = next((view.report_path or "" for view in runs if view.run_id == run_id), "")
            self._told("")
            if self._poller is not None:
                self._poller.stop()

    def _heading(self) -> str:
        return "Comparison" if self.comparison is not None else "Report"

    def _lines(self, width: int) -> Sequence[Line]:
        if self.report is None:
            return []
        if self.comparison is not None:
            return comparison_lines(self.comparison, width)
        paths = [("report", self._path)] if self._path else []
        if self._path.endswith("report.json"):
            paths.append(
                ("as a page", f"{self._path.removesuffix('json')}html, where its scenario asks for one; o saves one")
            )
        return report_lines(self.report, paths, width)

    # -- compare, save ---------------------------------------------------------------------------------------

    def action_compare(self) -> None:
        self.trinity.run_worker(
            later(self._guarded, self._compare), exit_on_error=False, group="compare", exclusive=True
        )

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (TrinityError, OSError) as error:
            self.trinity.say(f"✗ {error}", "error")

    async def _compare(self) -> None:
        if self.report is None:
            return
        chosen = await pick_run(
            self.trinity, self.report.name, f"Compare {self.run_id} with", before=self.report.started_ts
        )
        if chosen:
            self.comparison = read_comparison(await self.trinity.source.drill_compare(chosen, self.run_id))
            self.panel.top = 0
            self.panel.sync()

    def action_save(self) -> None:
        self.trinity.run_worker(later(self._guarded, self._save), exit_on_error=False, group="save", exclusive=True)

    async def _save(self) -> None:
        if self.report is None:
            return
        from console.tui.dialogs import AskDialog

        question = "Save the report as (.html, .json, .md or .xml)"
        answer = await self.trinity.push_screen_wait(AskDialog(question, f"{self.run_id}.html", _saveable))
        if answer is None:
            return
        path = Path(answer).expanduser()
        data = await self.trinity.source.drill_file(self.run_id, KINDS[path.suffix])
        await asyncio.to_thread(path.write_bytes, data)
        self.trinity.say(f"✓ saved {path} ({units.size(len(data))})", "ok")

    async def action_timeline(self) -> None:
        await self.trinity.watch_drill("")

    def action_history(self) -> None:
        self.trinity.run_worker(later(self._guarded, self._other), exit_on_error=False, group="history", exclusive=True)

    async def _other(self) -> None:
        name = self.report.name if self.report is not None else ""
        chosen = await pick_run(self.trinity, name, f"Earlier runs of {name}")
        if chosen:
            self.show(chosen)

    def back(self) -> bool:
        """From a comparison to the report."""
        was = self.comparison is not None
        self.comparison = None
        if was:
            self.panel.top = 0
            self.panel.sync()
        return was

    def activate(self) -> None:
        super().activate()
        self.panel.focus()
        if self._poller is not None and self.report is None:
            self._poller.start()

    def deactivate(self) -> None:
        if self._poller is not None:
            self._poller.stop()


def _saveable(text: str) -> str:
    path = Path(text).expanduser()
    if path.suffix not in KINDS:
        return "A name that ends in .html, .json, .md or .xml."
    if path.exists():
        return "There is such a file already; take another name."
    return "" if path.parent.is_dir() else f"There is no folder {path.parent}."


async def pick_run(app: TrinityApp, name: str, heading: str, *, before: float | None = None) -> str | None:
    """A finished run of that drill (of any, without a name) out of a list, newest first; None where nobody chose."""
    from console.tui.dialogs import Choice, PickDialog

    runs: list[DrillView] = [
        view
        for view in await app.source.drill_runs()
        if (not name or view.name == name) and (before is None or view.started_ts < before)
    ]
    if not runs:
        app.say("There is no earlier run of this drill.", "muted")
        return None
    now = app.clock.now()
    choices = [
        Choice(
            view.run_id,
            f"{DRILLS[view.outcome][0]} {view.outcome}",
            f"{units.age(now - view.started_ts)} ago  {view.run_id}",
        )
        for view in runs
    ]
    return await app.push_screen_wait(PickDialog(heading, choices))
