"""The log explorer's view: what its keys do, the line in which patterns are typed, dialogs. Owns the follower.

Where one is and what is asked for is the explorer's; painting is the pane's.
"""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Input

from backend.contract.errors import TrinityError, UsageError
from backend.contract.rows import LogRow
from console.render import units
from console.render.log_lines import fields_seen
from console.state.log_explorer import Kind, LogExplorer
from console.state.time_input import ACCEPTED, parse_instant
from console.tui.log_bar import LogBar
from console.tui.log_follow import LogFollower, new_store
from console.tui.log_pane import LogPane
from console.tui.polling import later
from console.tui.strip import Strip
from console.tui.views.base import View

LINES: Final = 2000
"""Lines of each replica to begin with."""
MEMORY_BYTES: Final = 64 * 1024 * 1024
TYPING_S: Final = 0.25
"""A pause in typing after which everything held is searched, not only what is near."""

ASKING: Final = ("type", "time", "save")
"""Actions that open a line or a question."""


class LogsView(View):
    """Follows a selection (`l` elsewhere brings one here) or all replicas."""

    DEFAULT_CSS = "LogsView { padding: 0 1; }"
    label = "Logs"
    keys = (("/", "search"), ("i x", "filter"), ("v", "level"), ("space", "pause"), ("enter", "request"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "type('search')", "search", id="log.search", show=False, priority=True),
        Binding("n", "match(1)", "next match", id="log.next", show=False),
        Binding("N", "match(-1)", "match before", id="log.before", show=False),
        Binding("i", "type('include')", "keep lines with", id="log.include", show=False, priority=True),
        Binding("x", "type('exclude')", "leave out lines with", id="log.exclude", show=False, priority=True),
        Binding("v", "level", "next level", id="log.level", show=False),
        Binding("F", "fields", "fields as columns", id="log.fields", show=False),
        Binding("at", "time", "go to a time", id="log.time", show=False, priority=True),
        Binding("p", "life", "the life before the last restart", id="log.life", show=False),
        Binding("S", "save", "save to a file", id="log.save", show=False, priority=True),
        Binding("0", "everyone", "all replicas", id="log.all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-logs")
        self.explorer = LogExplorer(new_store(MEMORY_BYTES, spill=True))
        self._follower: LogFollower | None = None
        self._search_soon: Timer | None = None

    def compose(self) -> ComposeResult:
        yield LogPane(self.explorer, id="log-explorer")

    def on_mount(self) -> None:
        self._follower = LogFollower(
            self.trinity, self.pane, lines=LINES, memory_bytes=MEMORY_BYTES, spill=True, keep=True
        )
        self.pane.go_live = self._follower.back_to_live

    def on_unmount(self) -> None:
        if self._follower is not None:
            self._follower.close()

    @property
    def pane(self) -> LogPane:
        return self.query_one(LogPane)

    def awaits(self) -> bool:
        return self.pane.waiting

    def show(self, replicas: list[str] | None) -> None:
        """Follow these replicas; None means all."""
        self.explorer.choose(replicas)
        self._follow()
        self.pane.sync()

    def _follow(self) -> None:
        if self._follower is not None:
            chosen = self.explorer.replicas
            self._follower.follow(None if chosen is None else list(chosen))

    def activate(self) -> None:
        super().activate()
        self.pane.focus()
        self._follow()

    def deactivate(self) -> None:
        self._close_bar()

    def forget(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            if self.trinity.view is self:
                self._follow()

    # -- typing a pattern ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What asks for words is taken before all other keys, so that what is typed after it, perhaps long ago on a
        slow link, is never taken for keys of the view; but not while one types."""
        return action not in ASKING or not isinstance(self.app.focused, Input)

    async def action_type(self, kind: Kind) -> None:
        """`/`, `i` and `x`: a line in place of the strip."""
        if not self.screen.query(LogBar):
            self.explorer.begin(kind)
            draft = self.explorer.draft
            bar = LogBar(kind, draft.text if draft is not None else "")
            self.trinity.query_one(Strip).display = False
            await self.mount(bar)
            self.screen.set_focus(bar)
            self.pane.sync()

    @on(LogBar.Typed)
    def typed(self, event: LogBar.Typed) -> None:
        self.explorer.type_in(event.text)
        self.pane.sync()
        if self._search_soon is not None:
            self._search_soon.stop()
        self._search_soon = self.set_timer(TYPING_S, self._search_all)

    def _search_all(self) -> None:
        """A pause in typing: what is far away is searched too."""
        draft = self.explorer.draft
        if draft is not None and draft.kind == "search" and not draft.problem:
            self.explorer.search_now()
            self.pane.sync()

    @on(LogBar.Applied)
    def applied(self) -> None:
        problem = self.explorer.apply()
        if problem:
            self.pane.sync()
        else:
            self._close_bar()

    @on(LogBar.Cancelled)
    def cancelled(self) -> None:
        self.explorer.cancel()
        self._close_bar()

    def _close_bar(self) -> None:
        bars = self.query(LogBar)
        if bars:
            self.explorer.cancel()
            bars.remove()
            self.trinity.query_one(Strip).display = True
            self.pane.focus()
            self.pane.sync()

    def set_filter(self, text: str) -> None:
        """What `/` of the app types: a search here."""
        self.explorer.begin("search")
        self.explorer.type_in(text)
        self.explorer.apply()
        self.pane.sync()

    def back(self) -> bool:
        """`esc`: takes back the search, then the filters one by one, the level, the life."""
        taken = self.pane.stop_saving() or self.explorer.take_back()
        if taken:
            self.pane.sync()
        return taken

    # -- keys ------------------------------------------------------------------------------------------------

    def action_match(self, direction: int) -> None:
        if not self.explorer.finder.pattern:
            self.trinity.say("Nothing is searched: / begins a search.", "warn")
            return
        self.explorer.next_match(direction, self.pane.room)
        self.pane.sync()

    def action_level(self) -> None:
        self.explorer.next_level()
        self.pane.sync()

    def action_everyone(self) -> None:
        self.show(None)

    def action_life(self) -> None:
        line = self.explorer.current()
        chosen = self.explorer.life_of or (line.replica if line is not None else "")
        if not chosen and self.explorer.replicas:
            chosen = self.explorer.replicas[0]
        problem = self.explorer.toggle_life(chosen) if chosen else "No line, no replica: nothing has been written yet."
        if problem:
            self.trinity.say(problem, "warn")
        self.pane.sync()

    def action_fields(self) -> None:
        self.run_worker(later(self._choose_fields), exit_on_error=False, group="log dialogs", exclusive=True)

    async def _choose_fields(self) -> None:
        from console.tui.dialogs import Choice, PickDialog

        rows = [line.row() for line in self.explorer.sample()]
        seen = fields_seen(rows)
        if not seen and not self.explorer.fields:
            self.trinity.say("None of these lines is JSON with fields: there are no columns to show.", "warn")
            return
        names = dict(seen) | {name: 0 for name in self.explorer.fields if name not in dict(seen)}
        while True:
            chosen = self.explorer.fields
            choices = [
                Choice(name, f"{'◆' if name in chosen else ' '} {name}", f"in {count} of {len(rows)} lines")
                for name, count in names.items()
            ]
            if chosen:
                choices.append(Choice("", "  no columns"))
            name = await self.trinity.push_screen_wait(PickDialog("Fields as columns: enter switches, esc", choices))
            if name is None:
                return
            self.explorer.toggle_field(name)
            self.pane.sync()

    async def action_time(self) -> None:
        from console.tui.dialogs import AskDialog, ask

        line = self.explorer.current()
        origin = line.ts if line is not None else None
        now = self.explorer.until_ts or self.trinity.clock.now()

        def wrong(answer: str) -> str:
            try:
                parse_instant(answer, now=now, origin=origin)
            except UsageError as error:
                return str(error)
            return ""

        initial = units.time_of_day(origin) if origin is not None else ""

        def go(answer: str | None) -> None:
            if answer is not None:
                ts = parse_instant(answer, now=now, origin=origin)
                work = later(self._go_to_time, ts)
                self.run_worker(work, exit_on_error=False, group="log dialogs", exclusive=True)

        await ask(self.trinity, AskDialog(f"Go to: {ACCEPTED}", initial, wrong), go)

    async def _go_to_time(self, ts: float) -> None:
        try:
            if not await self._reach(ts):
                self.trinity.say(f"No line is kept from {units.time_of_day(ts)} or the minutes after it.", "warn")
        except (TrinityError, OSError) as error:
            self.trinity.say(f"✗ {error}", "error")
        self.pane.sync()

    async def _reach(self, ts: float) -> bool:
        """Go to an instant, whether it is held or has to be asked for; False where there is nothing."""
        follower, chosen = self._follower, self.explorer.replicas
        if follower is not None and self.explorer.until_ts is None:
            follower.back_to_live()
            whole = self.explorer.whole_from()
            held = whole is not None and ts >= whole
            if not held and not await follower.look_back(None if chosen is None else list(chosen), ts):
                return False
        self.explorer.go_to_time(ts, self.pane.room)
        return True

    async def action_save(self) -> None:
        from console.tui.dialogs import ask
        from console.tui.log_saving import save_as, where_to

        def save(answer: str | None) -> None:
            if answer is not None:
                work = later(save_as, self.trinity, self.pane, answer)
                self.run_worker(work, exit_on_error=False, group="log dialogs", exclusive=True)

        await ask(self.trinity, where_to(self.trinity, self.pane), save)

    def subject(self) -> str:
        names = self.explorer.replicas or ()
        return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names)

    def replicas(self) -> list[str]:
        """The chosen ones; of all, the one whose line is under the cursor."""
        line = self.explorer.current()
        if self.explorer.replicas is None and not self.explorer.following and line is not None:
            return [line.replica]
        return list(self.explorer.replicas or [])

    def current_row(self) -> LogRow | None:
        """The line under the cursor; while following, none."""
        line = None if self.explorer.following else self.explorer.current()
        return None if line is None else line.row()

    def workload(self) -> str | None:
        for name in self.replicas():
            view = self.trinity.state.replica(name)
            if view is not None:
                return view.status.workload
        return None
