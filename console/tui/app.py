"""The console's application: wires source, state, views and keys. Acts only through console.tui.verbs."""

from __future__ import annotations

import getpass
import inspect
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from textual import events, on
from textual.app import App, ComposeResult
from textual.containers import Container
from textual.screen import ModalScreen, Screen
from textual.widgets import Input
from textual.worker import Worker

from backend.contract.clock import Clock, SystemClock
from backend.contract.control import ReplicaView, SeriesPoint, Snapshot
from backend.contract.rows import EventRow
from console.render import ability
from console.render.theme import ThemeSpec
from console.render.theme_shelf import ThemeShelf
from console.state.keymap import Keymap
from console.state.source import FleetSource
from console.state.store import FleetState
from console.tui import parts
from console.tui.banner import DrillBanner, TroubleBanner
from console.tui.colors import Colors, textual_theme
from console.tui.governor import FrameGovernor
from console.tui.keys import bindings
from console.tui.link import FleetLink, Shown
from console.tui.navigator import Navigator
from console.tui.panels import FleetLine
from console.tui.strip import Strip
from console.tui.tab_line import TabLine
from console.tui.theming import Theming
from console.tui.verbs import Verbs
from console.tui.views import catalogue
from console.tui.views.base import View
from console.tui.views.overview import OverviewView
from console.tui.vtable import VTable

if TYPE_CHECKING:
    from console.state.daemon_fleets import DaemonFleets
    from console.tui.travel import Travel

log = logging.getLogger("trinity.console")

STALE_STEP_S = 5.0


class TrinityApp(App[int]):
    """The console on one fleet. `source` may answer later: the first frame never waits for data."""

    TITLE = "Trinity"
    history_path: Path | None = None
    """Where the history of commands is kept; nowhere by default."""
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; layers: default line; }
    #body { width: 1fr; height: 1fr; background: $background; }
    .dialog { align: center middle; background: transparent; }
    .dialog > .box {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        background: $panel; border: round $accent; padding: 0 1;
    }
    .dialog > .danger { border: round $error; }
    .-ascii .box { border: ascii $accent; }
    .-ascii .danger { border: ascii $error; }
    .dialog Input, .dialog Input:focus {
        border: none; height: 1; padding: 0; background: $background; color: $foreground;
    }
    """
    BINDINGS: ClassVar = bindings()

    def __init__(
        self,
        source: FleetSource,
        *,
        others: Sequence[tuple[str, FleetSource]] = (),
        read_only: bool = False,
        theme: str | None = None,
        interval_s: float = 1.0,
        first_snapshot: Snapshot | None = None,
        first_points: Sequence[SeriesPoint] = (),
        clock: Clock | None = None,
        bell: bool = True,
        user: str | None = None,
        shelf: ThemeShelf | None = None,
        low_bandwidth: bool = False,
        keymap: Keymap | None = None,
        replay: bool = False,
        preferences: Path | None = None,
        fleets: DaemonFleets | None = None,
    ) -> None:
        # Textual then takes its filter that removes colours, not the one that makes them grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.links = [FleetLink(source, first_snapshot, first_points)]
        self.links += [FleetLink(other, name=name) for name, other in others]
        self.daemon_fleets = fleets
        """The other fleets of the first tab's daemon: they get tabs as they come."""
        self.link = self.links[0]
        """The fleet that is chosen."""
        self.shown: Shown = self.link
        """What is on screen: the chosen fleet, or an instant of its past."""
        self.read_only = read_only
        self.replay = replay
        """`source` is a recording: there is a past only."""
        self.interval_s = interval_s
        self.clock: Clock = clock or SystemClock()
        self.bell_on = bell
        self.keymap = keymap or Keymap()
        self.preferences_path = preferences
        """The file of what the user has set; None keeps nothing."""
        self.actor = f"console:{user or _user()}"
        self.theming = Theming(self, theme, shelf)
        self.dots = ability.dots(os.environ)
        self.stand_ins = ability.ASCII if ability.is_ascii(os.environ) else None
        """Glyph to ASCII where the terminal knows no other."""
        self.set_class(self.stand_ins is not None, "-ascii")
        self.register_theme(textual_theme(self.theme_spec))
        self.theme = self.theme_spec.name
        self._parts: dict[str, Any] = {}
        self.verbs = Verbs(self)
        self.navigator = Navigator(self)
        self._parts |= {"verbs": self.verbs, "go": self.navigator}
        self.view_name = "overview"
        self.views: dict[str, View] = {}
        self.crash: BaseException | None = None
        self.frames = FrameGovernor(self, low_bandwidth=low_bandwidth)

    @property
    def theme_spec(self) -> ThemeSpec:
        """The theme on screen."""
        return self.theming.spec

    @property
    def ink(self) -> Colors:
        """Its styles."""
        return self.theming.ink

    @property
    def state(self) -> FleetState:
        """What the panels read."""
        return self.shown.state

    @property
    def source(self) -> FleetSource:
        """Where rows come from and verbs go to."""
        return self.shown.source

    def part(self, name: str) -> Any:
        """A part of the console by name, made when first used."""
        if name not in self._parts:
            self._parts[name] = parts.build(name, self)
        return self._parts[name]

    @property
    def _travel(self) -> Travel | None:
        """Time travel, once it was used."""
        return self._parts.get("travel")

    async def action_on(self, part: str, method: str, *arguments: object) -> None:
        """What keys and commands do: a part's method."""
        result = getattr(self.part(part), method)(*arguments)
        if inspect.isawaitable(result):
            await result

    # -- the screen ------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield TabLine()
        yield FleetLine(id="fleet-line")
        yield TroubleBanner(id="trouble-banner")
        yield DrillBanner(id="drill-banner")
        overview = OverviewView()
        self.views["overview"] = overview
        with Container(id="body"):
            yield overview
        yield Strip()

    def on_mount(self) -> None:
        self.set_keymap(self.keymap.for_screen())
        self.app_resume_signal.subscribe(self, self._resumed)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """After the first paint: attach to the fleet."""
        typing = self.focused
        self.views[self.view_name].activate()
        if isinstance(typing, Input):  # a line that was opened ahead of the first data keeps the keys
            self.screen.set_focus(typing)
        if self.replay:
            self.part("travel").open()
        else:
            for link in self.links:
                self.attend(link)
            if self.daemon_fleets is not None:
                self.run_worker(self.part("fleets").follow(self.daemon_fleets), exit_on_error=False, name="fleets")
        self.set_interval(STALE_STEP_S, self._age)
        self.theming.begin()

    @property
    def view(self) -> View:
        return self.views[self.view_name]

    def current_view_keys(self) -> tuple[tuple[str, str], ...]:
        return (self._travel.hints() if self._travel is not None else ()) or self.view.keys

    def say(self, text: str, style: str = "text") -> None:
        """A sentence in the last line."""
        self.query_one(Strip).say(text, style)

    def refresh_panels(self) -> None:
        """Bring what is visible up to date; costs nothing where nothing changed."""
        if not self.is_running or not self.screen_stack:
            return
        base = self.screen_stack[0]
        if len(self.links) > 1:
            base.query_one(TabLine).sync()
        base.query_one(FleetLine).sync()
        base.query_one(TroubleBanner).update()
        base.query_one(DrillBanner).update()
        self.view.update()
        base.query_one(Strip).sync()

    def _age(self) -> None:
        if self.state.link != "live" or self.state.trouble is not None:
            self.refresh_panels()

    # -- the fleets ------------------------------------------------------------------------------------------

    def attend(self, link: FleetLink) -> Worker[None]:
        """Follow a fleet from now on."""
        return self.run_worker(link.attend(self, self.interval_s, self._told), exit_on_error=False, name="stream")

    def _told(self, link: FleetLink, alarms: list[EventRow]) -> None:
        if alarms and self.bell_on:
            self.bell()
        if link is self.shown or self.view_name == "everywhere":
            self.refresh_panels()
        elif self.is_running:
            self.screen_stack[0].query_one(TabLine).sync()

    def look_at(self, shown: Shown) -> None:
        """Show another fleet, or another instant: the same views, filled anew."""
        self.shown = shown
        if self._travel is not None:
            self._travel.looked_at(shown)
        for view in self.views.values():
            view.forget()
        self.view.activate()
        self.refresh_panels()

    # -- getting around --------------------------------------------------------------------------------------

    async def action_view(self, name: str) -> None:
        await self.navigator.go(name)

    async def show_view(self, name: str) -> None:
        """Put a view on screen; it is built the first time. The trail is the navigator's."""
        if name == self.view_name:
            return
        if not self.query_one("#body").is_mounted:  # a key that was typed ahead of the first frame
            self.call_after_refresh(self.show_view, name)
            return
        before = self.view
        if name not in self.views:
            self.views[name] = catalogue.build(name)
            await self.query_one("#body").mount(self.views[name])
        before.display = False
        before.deactivate()
        self.view_name = name
        self.view.display = True
        self.call_after_refresh(self._shown)

    def _shown(self) -> None:
        scrubbing = self._travel is not None and self._travel.focused
        if isinstance(self.focused, Input):
            self.view.update()  # a line was opened meanwhile and keeps the keys; closing it activates the view
        else:
            self.view.activate()
        if self._travel is not None and scrubbing:
            self._travel.focus()
        self.screen_stack[0].query_one(DrillBanner).update()
        self.query_one(Strip).sync()

    async def action_back(self) -> None:
        await self.navigator.escape()

    def action_pane(self, step: int) -> None:
        if self._travel is not None and self._travel.pane(step):
            return
        move = getattr(self.view, "next_pane", None)
        if move is not None:
            move(step)
        else:
            (self.screen.focus_next if step > 0 else self.screen.focus_previous)()

    def action_redraw(self) -> None:
        self.frames.redraw()
        self.screen.refresh(layout=True)
        for canvas in self.screen.query("Canvas"):
            canvas.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.frames.resized(event.size.width, event.size.height)

    def _resumed(self, _: object) -> None:
        """Back from ctrl-z: the terminal shows something else."""
        self.action_redraw()

    def action_theme(self) -> None:
        self.theming.next()

    # -- what the keys do ------------------------------------------------------------------------------------

    def chosen_replicas(self) -> list[str]:
        """Whom the verbs act on: the view's choice, else the overview's."""
        return self.view.replicas() or (self.views["overview"].replicas() if self.view.borrows else [])

    def chosen_workload(self) -> str | None:
        return self.view.workload() or (self.views["overview"].workload() if self.view.borrows else None)

    def action_verb(self, name: str) -> None:
        getattr(self.verbs, name)()

    async def action_logs(self) -> None:
        """`l`: the logs of what is chosen; in the logs, back to where one came from."""
        chosen = self.chosen_replicas()
        if self.view_name != "logs":
            await self.show_logs(chosen)

    async def show_logs(self, replicas: list[str]) -> None:
        """The logs of these replicas, or of all."""
        await self.action_view("logs")
        from console.tui.views.logs import LogsView

        logs = self.view
        assert isinstance(logs, LogsView)
        logs.show(replicas or None)

    async def watch_drill(self, run_id: str) -> None:
        """The timeline of that run, or of the present or last one."""
        await self.action_view("drill-run")
        from console.tui.views.drill_run import DrillRunView

        if isinstance(self.view, DrillRunView):
            self.view.follow(run_id)

    async def show_report(self, run_id: str, *, instead: bool = False) -> None:
        """A run's report; `instead` of the present view, which esc does not go back to."""
        await (self.navigator.replace if instead else self.navigator.go)("drill-report")
        from console.tui.views.drill_report import DrillReportView

        if isinstance(self.view, DrillReportView):
            self.view.show(run_id)

    async def show_replica(self, name: str, *, raw: bool = False) -> None:
        """Describe this replica."""
        from console.tui.views.detail import DetailView

        await self.action_view("detail")
        assert isinstance(self.view, DetailView)
        self.view.show_replica(name, raw=raw)
        self.view.activate()

    async def action_describe(self) -> None:
        await self._detail(raw=False)

    async def action_raw(self) -> None:
        await self._detail(raw=True)

    async def _detail(self, *, raw: bool) -> None:
        """Describe the row under the cursor: a replica, or any other row as it is."""
        from console.tui.views.detail import DetailView

        row, names = self.view.current_row(), self.chosen_replicas()
        if not isinstance(self.view, DetailView):
            if row is None and not names:
                self.say("There is nothing here to describe yet.", "muted")
                return
            await self.action_view("detail")
            detail = self.view
            assert isinstance(detail, DetailView)
            if row is not None and not isinstance(row, ReplicaView):
                detail.show_row(row, raw=raw)
            elif row is not None or names:
                detail.show_replica(row.status.name if row is not None else names[0], raw=raw)
        elif self.view.raw != raw:
            self.view.raw = raw
        elif names and not raw:
            self.view.show_replica(names[0], raw=False)
        self.view.activate()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A line is opened from the panels only, not while one types or is asked; the logs have a line of their own."""
        if action == "filter" or (action, parameters) in (("on", ("line", "open")), ("on", ("palette", "open"))):
            busy = isinstance(self.focused, Input) or isinstance(self.screen, ModalScreen)
            return not busy and not (action == "filter" and self.view_name == "logs")
        return True

    async def action_filter(self) -> None:
        """Open the filter line in place of the strip."""
        from console.tui.filter_bar import FilterBar

        if not self.screen.query(FilterBar):
            self.query_one(Strip).display = False
            table = self.view.table()
            bar = FilterBar(self.view.filter_text(), table.model if table is not None else None)
            await self.screen.mount(bar)
            self.screen.set_focus(bar)

    def close_filter(self) -> None:
        """Keep what was typed and give the keys back to the view."""
        from console.tui.filter_bar import FilterBar

        self.screen.query(FilterBar).remove()
        self.query_one(Strip).display = True
        self.view.activate()

    def action_use_theme(self, name: str) -> None:
        self.theming.use(name)

    def action_mute(self) -> None:
        self.bell_on = not self.bell_on
        self.say("The bell rings on alarms." if self.bell_on else "The bell is muted.")

    async def action_go_to(self, replica: str) -> None:
        await self.action_view("overview")
        self.view.update()
        table = self.view.table()
        if table is not None and table.model.select(replica):
            table.moved()

    def action_leave(self) -> None:
        self.exit(0)

    @on(VTable.Opened)
    async def open_row(self) -> None:
        await self.run_action("describe")

    def on_app_focus(self, _: events.AppFocus) -> None:
        self.refresh_panels()

    def _handle_exception(self, error: Exception) -> None:
        """Textual's hook for what nobody caught: end quietly; run_console says one sentence and keeps the traceback."""
        self.crash = error
        self._return_code = 1
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        log.critical("the console crashed", exc_info=error)
        self._close_messages_no_wait()

    # -- the terminal ----------------------------------------------------------------------------------------

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual's hook for every frame: through the differ, one at a time."""
        if not self.frames.display(renderable):
            super()._display(screen, renderable)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
