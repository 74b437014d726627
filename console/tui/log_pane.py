"""The log lines on screen: paints what an explorer shows, a window at a time, and moves in it. Owns when to repaint.

Reads no source and fills no store. However many lines arrive, it repaints a few times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.worker import Worker

from console.render import units
from console.render.log_lines import header, layout, log_lines, near, screenful
from console.render.log_title import Chip, Standing, chips_line, search_note, title_info
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, fit_line
from console.state.log_explorer import LEVELS, LogExplorer
from console.tui.canvas import Panel

REPAINT_S: Final = 0.2
"""Between two paints for new lines."""
REPAINT_SHORT_S: Final = 1.0
"""The same where the lines are one panel of many: each paint moves all of them, which is bytes on a slow link."""
AGAIN_S: Final = 0.02
"""Until the next look where one was not enough."""


class LogPane(Panel):
    """Lines of an explorer, newest at the bottom; enter on one shows all that is known of its request."""

    heading = "Logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "line before", id="log.up", show=False),
        Binding("down,j", "move(1)", "next line", id="log.down", show=False),
        Binding("pageup", "page(-1)", "page back", id="log.pageup", show=False),
        Binding("pagedown", "page(1)", "page forward", id="log.pagedown", show=False),
        Binding("home", "oldest", "oldest held line", id="log.home", show=False),
        Binding("end,G", "follow", "newest, follow", id="log.end", show=False),
        Binding("space", "pause", "pause, follow", id="log.pause", show=False),
        Binding("left", "scroll_sideways(-1)", "left in long lines", id="log.left", show=False),
        Binding("right", "scroll_sideways(1)", "right in long lines", id="log.right", show=False),
        Binding("w", "wrap", "wrap long lines", id="log.wrap", show=False),
        Binding("enter", "open", "every row of this request", id="log.open", show=False),
    ]

    def __init__(self, explorer: LogExplorer, *, short: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self.explorer = explorer
        self.short = short
        self.link = ""
        """What is wrong with the connection, in a word or two."""
        self.past = ""
        """The instant up to which lines are shown, where that is not the present."""
        self.older = 0
        """Lines before these that are kept but were not asked for."""
        self.busy = ""
        self.go_live: Callable[[], bool] = lambda: False
        """Back from a window of the past; whether one was shown."""
        self.waiting = True
        """Nothing has been answered yet."""
        self._lines_at: list[int] = []
        self._first_row = 1
        self._saving: Worker[None] | None = None
        self._timer: Timer | None = None
        self._due = 0.0
        self._read: object = None

    # -- painting --------------------------------------------------------------------------------------------

    def info(self) -> Line:
        explorer = self.explorer
        counts = explorer.counts()
        names = explorer.replicas
        who = "all replicas" if names is None else ", ".join(names[:2]) + (f" +{len(names) - 2}" if names[2:] else "")
        standing = Standing(
            who=who,
            held=counts.held,
            dropped=counts.dropped,
            lost=counts.lost,
            paused=not explorer.following,
            below=explorer.below(),
            filtered=explorer.filtered,
            link=self.link,
            past=self.past,
            older=self.older,
            busy=self.busy,
        )
        return title_info(standing, self.size.width - len(self.heading) - 4)

    def body(self, width: int, height: int) -> Sequence[Line]:
        explorer = self.explorer
        above = bool(self._chips()) + bool(explorer.fields) if not self.short else 0
        room = max(1, height - above)
        settled = self._look(room)
        chips = self._chips(room) if not self.short else []
        if chips and not self._chips():
            room = max(1, room - 1)
        head = [chips_line(chips, width)] if chips else []
        rows = self._rows(width, room, head) or self._nothing(width, settled)
        if not settled:
            self.soon(AGAIN_S)
        elif not explorer.finder.settled:
            self.soon(REPAINT_S)
        return [*head, *rows]

    def _look(self, room: int) -> bool:
        """Read what is to be shown, unless nothing can have changed."""
        explorer = self.explorer
        store = explorer.store
        now = (id(store), store.received, store.dropped, explorer.query(), explorer.cursor, explorer.following, room)
        if self._read == now and not explorer.finder.wanted:
            return True
        settled = explorer.look(room)
        self._read = now if settled and not explorer.finder.wanted else None
        return settled

    def _rows(self, width: int, room: int, head: list[Line]) -> list[Line]:
        explorer = self.explorer
        lines, at = explorer.shown(room)
        self._lines_at = []
        if not lines:
            return []
        rows = [line.row() for line in lines]
        names = explorer.replicas or sorted({one.replica for one in explorer.store.streams()})
        look = layout(width, names, rows, fields=explorer.fields, wrap=explorer.wrap, x=explorer.x, brief=self.short)
        marks = explorer.marks()
        active = self.has_focus or explorer.draft is not None

        @cache
        def block(number: int) -> list[Line]:
            here, tone = number == at and active, explorer.tone(lines[number])
            return log_lines(rows[number], look, marks, here=here, tone=tone, most=room)

        low, high = near(at, len(lines), room, lambda number: len(block(number))) if look.wrap else (0, len(lines))
        shown = screenful([block(number) for number in range(low, high)], at - low if at >= 0 else at, room)
        self._lines_at = [low + number for _, number in shown]
        if explorer.fields:
            head.append(header(look))
        self._first_row = 1 + len(head)
        return [line for line, _ in shown]

    def _chips(self, room: int = 0) -> list[Chip]:
        explorer = self.explorer
        chips: list[Chip] = []
        if explorer.life_of:
            lives = explorer.lives(explorer.life_of)
            at = max(1, len(lives) - 1)
            chips.append(Chip("life", explorer.life_of, f"life {at} of {len(lives)}, before its last restart"))
        if explorer.level:
            chips.append(Chip("level", LEVELS[explorer.level][0]))
        chips += [Chip(one.kind, one.pattern) for one in explorer.filters]
        draft = explorer.draft
        if draft is not None and draft.kind != "search":
            lines, _ = explorer.shown(room) if room else ([], 0)
            stay = sum(explorer.tone(line) != "gone" for line in lines)
            note = draft.problem or (f"{stay} of {len(lines)} lines here stay" if draft.text else "type a pattern")
            chips.append(Chip(draft.kind, draft.text, note))
        elif draft is not None and draft.problem:
            chips.append(Chip("search", draft.text, draft.problem))
        elif draft is not None or explorer.finder.pattern:
            chips.append(Chip("search", explorer.finder.pattern, self._search_words() or "type a pattern"))
        lines, _ = explorer.shown(room) if room and not explorer.following else ([], 0)
        whole = explorer.whole_from() if lines and not self.past else None
        if whole is not None and lines[0].ts < whole:
            words = f"before {units.time_of_day(whole)} lines of some replicas may be missing: @ asks for them"
            chips.append(Chip("note", "", words))
        return chips

    def _search_words(self) -> str:
        finder = self.explorer.finder
        progress = finder.progress(self.explorer.cursor)
        if finder.error or progress is None:
            return finder.error
        until = finder.seen_to if finder.behind(self.explorer.store) else None
        return search_note(**progress, until="" if until is None else units.time_of_day(until))

    def _nothing(self, width: int, settled: bool) -> list[Line]:
        """Words in place of lines: why there are none, and what to do."""
        explorer = self.explorer
        words = "No line yet. What the replicas write shows here as they write it."
        if self.waiting:
            words = self.link or "asking for lines …"
        elif not settled:
            words = "looking further back …"
        elif explorer.filtered:
            words = "No line matches. esc takes the last filter back, v goes on to the next level."
        elif explorer.replicas is not None:
            words = f"{', '.join(explorer.replicas)} has written nothing yet." + ("" if self.short else " 0 shows all.")
        return [fit_line(EMPTY, width), *wrapped(words, width, "faint", " ")]

    # -- when to paint ---------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """New lines are in the store."""
        first, self.waiting = self.waiting, False
        self.soon(AGAIN_S if first else REPAINT_SHORT_S if self.short else REPAINT_S)

    def soon(self, seconds: float = REPAINT_S) -> None:
        """Paint within that time; asking often paints once."""
        due = time.monotonic() + seconds
        if not self.is_mounted or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.stop()
        self._timer, self._due = self.set_timer(seconds, self._paint_again), due

    def _paint_again(self) -> None:
        self._timer = None
        if self.display:
            self.sync()

    # -- moving ----------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Screen lines for log lines."""
        return max(1, len(self._lines_at) or self.size.height - 1)

    def action_move(self, delta: int) -> None:
        self.explorer.move(delta, self.room)
        self.sync()

    def action_page(self, direction: int) -> None:
        self.explorer.page(direction, self.room)
        self.sync()

    def action_oldest(self) -> None:
        self.explorer.oldest()
        self.sync()

    def action_follow(self) -> None:
        if not self.go_live():
            self.explorer.follow()
        self.sync()

    def action_pause(self) -> None:
        if not self.go_live():
            self.explorer.toggle(self.room)
        self.sync()

    def action_scroll_sideways(self, direction: int) -> None:
        self.explorer.scroll(direction * max(8, self.size.width // 3))
        self.sync()

    def action_wrap(self) -> None:
        self.explorer.toggle_wrap()
        self.sync()

    async def action_open(self) -> None:
        """Every row of the request that the line names."""
        from console.tui.views.correlation import correlate

        line = self.explorer.current()
        row = line.row() if line is not None else None
        if row is not None and row.correlation_id is not None:
            self.explorer.pause(self.room)
            await correlate(self.trinity, row.correlation_id, row.ts)
        elif row is not None:
            self.trinity.say("This line names no request: there is nothing to go with it.", "warn")

    def save_in(self, worker: Worker[None]) -> None:
        """Lines are being saved by this worker."""
        self._saving = worker

    def stop_saving(self) -> bool:
        """End a save that goes on; whether one did."""
        going = self._saving is not None and not self._saving.is_finished
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        self.busy = ""
        return going

    def selected_text(self) -> str:
        """The line under the cursor as text."""
        line = self.explorer.current()
        if line is None:
            return ""
        row = line.row()
        return f"{units.time_of_day(row.ts)} {row.replica} {row.message}"

    # -- mouse -----------------------------------------------------------------------------------------------

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    async def on_click(self, event: events.Click) -> None:
        row = event.y - self._first_row
        if 0 <= row < len(self._lines_at):
            lines, _ = self.explorer.shown(self.room)
            number = self._lines_at[row]
            if number < len(lines):
                self.explorer.go_to(lines[number].key, number)
                self.sync()
                if event.chain >= 2:
                    await self.action_open()
