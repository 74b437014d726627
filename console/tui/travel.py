"""Time travel: holds an instant, moves it by keys, asks for moments (the newest wish wins), goes back to live.

Owns the playhead and what is marked; the arithmetic is `state.scrub`'s, the picture `render.scrubber`'s.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from textual.timer import Timer
from textual.worker import Worker

from backend.contract.errors import TrinityError, UsageError
from backend.contract.recording import Moment
from backend.contract.rows import ActionRow, EventRow
from console.render.scrubber import Bar
from console.state.compare import Comparison, Side, compare
from console.state.past import PastShown, clock_words
from console.state.scrub import Happening, Scrub, happenings
from console.tui.panels import FleetLine
from console.tui.polling import later
from console.tui.scrubber import Scrubber

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.link import FleetLink, Shown

ROWS: Final = 5000
"""Events, and actions, that the bar knows of the time it shows."""
PLAY_EVERY_S: Final = 0.25
AGE_EVERY_S: Final = 5.0
HISTORY_EVENTS: Final = 500
"""With as many a link begins: what is older it may not know."""
UNKNOWN: Final = (float("inf"), float("-inf"))
LATE_S: Final = 0.4
"""A moment that takes longer is shown as awaited."""
KEYS: Final = (("← →", "1 s"), (", .", "event"), ("c", "compare"), ("space", "play"), ("t", "live"))


class Travel:
    """`open` holds the newest recorded instant; every other method does nothing while none is held."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        self.held: PastShown | None = None
        self.scrub: Scrub | None = None
        self.found: list[Happening] = []
        """What happened in the time that the axis shows, at least."""
        self._mark: tuple[FleetLink, Side] | None = None
        self._clock = app.clock
        self._known = UNKNOWN
        self._shown = 0.0
        """The instant that was last asked for and came."""
        self._waiting = False
        self._asking: Worker[None] | None = None
        self._timers: list[Timer] = []
        self._played_to = 0.0

    # -- opening and leaving ---------------------------------------------------------------------------------

    def toggle(self) -> None:
        """`t`: the past, or back to live."""
        if self.held is None:
            self.open()
        else:
            self.leave()

    def open(self, at: float | None = None) -> None:
        """Hold an instant, the newest recorded one by default, and show the bar."""
        if self.held is None:
            self.app.run_worker(later(self._open, at), exclusive=True, group="travel-open", exit_on_error=False)
        else:
            self.go_to(self.held.ts if at is None else at)
            self.focus()

    async def _open(self, at: float | None) -> None:
        source = self.app.link.source
        try:
            extent = await source.extent()
            if extent.first_ts is None or extent.last_ts is None:
                raise UsageError("Nothing is recorded yet.", "Try again in a few seconds.")
            moment = await source.moment(extent.last_ts if at is None else at)
        except (TrinityError, OSError) as error:
            self.app.say(f"✗ {error}", "warn")
            return
        self._clock = self.app.clock
        self.scrub = Scrub(extent.first_ts, max(extent.last_ts, moment.ts))
        self.scrub.move_to(moment.ts)
        self.held = held = PastShown(self.app.link.source, moment, self._clock, replay=self.app.replay)
        self.app.clock = held.clock
        bar = Scrubber(self)
        await self.app.screen_stack[0].mount(bar, after="#body")
        if self.held is not held:  # left again meanwhile
            return
        self.app.look_at(held)
        bar.focus()
        self._timers = [self.app.set_interval(AGE_EVERY_S, self._age)]
        self._shown = self.scrub.ts
        self._learn(whole=True)

    def leave(self) -> None:
        """Back to the present, in one key."""
        if self.app.replay:
            self.app.say("This is a recording: there is no live fleet behind it. q leaves.", "muted")
        elif self.held is not None:
            self._close()
            self.app.look_at(self.app.link)
            self.app.say("Live.", "ok")

    def looked_at(self, shown: Shown) -> None:
        """Something else is shown from now on, e.g. another fleet."""
        if self.held is not None and shown is not self.held:
            self._close()

    def _close(self) -> None:
        self.held = self.scrub = None
        self.found, self._known = [], UNKNOWN
        self.app.clock = self._clock
        self.app.workers.cancel_group(self.app, "travel")
        for timer in self._timers:
            timer.stop()
        self.app.screen_stack[0].query(Scrubber).remove()

    @property
    def marked(self) -> Side | None:
        """Instant A of a comparison, of this fleet. It stays when one goes back to live."""
        return self._mark[1] if self._mark is not None and self._mark[0] is self.app.link else None

    def refusal(self) -> str:
        """Why a verb does nothing now."""
        return self.held.refusal() if self.held is not None else ""

    # -- moving ----------------------------------------------------------------------------------------------

    def step(self, seconds: float) -> None:
        """So many seconds on, or back."""
        if self.scrub is not None:
            self.scrub.move_to(self.scrub.ts + seconds)
            self._want()

    def step_event(self, direction: int) -> None:
        """To the next or the previous thing that happened."""
        if self.scrub is None:
            return
        if self.scrub.step_to(self.found, direction) is None:
            self.app.say("Nothing happened after this." if direction > 0 else "Nothing is known from before.", "muted")
        self._want()

    def edge(self, side: int) -> None:
        """The first or the newest recorded instant."""
        if self.scrub is not None:
            self.app.run_worker(later(self._edge, side), exclusive=True, group="travel-edge", exit_on_error=False)

    async def _edge(self, side: int) -> None:
        source = self.app.link.source
        try:
            extent = await source.extent()
        except (TrinityError, OSError) as error:
            self.app.say(f"✗ {error}", "warn")
            return
        if self.scrub is None or extent.first_ts is None or extent.last_ts is None:
            return
        self.scrub.reach(extent.first_ts, extent.last_ts)
        self.go_to(self.scrub.first if side < 0 else self.scrub.last)

    def go_to(self, ts: float) -> None:
        """To an instant; what was asked for before is no longer waited for."""
        if self.scrub is not None:
            self.scrub.move_to(ts)
            self._drop()
            self._want()

    def go_to_column(self, column: int, columns: int) -> None:
        """Where the mouse points: to what happened there, else to the instant."""
        if self.scrub is None:
            return
        there = self.scrub.in_column(self.found, column, columns)
        self.scrub.at = there
        self.go_to(there.ts if there is not None else self.scrub.ts_at(column, columns))

    def zoom(self, factor: float) -> None:
        """Less or more of the time."""
        if self.scrub is not None:
            self.scrub.zoom(factor)
            self._learn(whole=True)
            self._sync()

    def play(self) -> None:
        """Faster and faster, then stand."""
        if self.scrub is None:
            return
        self.scrub.play()
        if self.scrub.speed and len(self._timers) == 1:
            self._timers.append(self.app.set_interval(PLAY_EVERY_S, self._played))
        self._played_to = time.monotonic()
        self._sync()

    def _played(self) -> None:
        if self.scrub is None or not self.scrub.speed:
            if len(self._timers) > 1:
                self._timers.pop().stop()
            return
        now = time.monotonic()
        seconds = int((now - self._played_to) * self.scrub.speed)
        if seconds:
            self._played_to += seconds / self.scrub.speed
            self.step(seconds)
        if self.scrub.ts >= self.scrub.last:
            self.scrub.speed = 0
            self._sync()

    def at(self, text: str) -> None:
        """`:at 14:05`: hold that instant."""
        if problem := self._problem(text):
            self.app.say(problem, "warn")
        else:
            self.open(self._instant(text))

    async def ask(self) -> None:
        """`@`: a time in words."""
        from console.tui.dialogs import AskDialog, ask

        dialog = AskDialog("Go to which time? 14:05, 2026-11-21 14:05, -5m", "", self._problem)
        await ask(self.app, dialog, lambda answer: self.at(answer) if answer else None)

    def _instant(self, text: str) -> float:
        """A time of day is the last one before the present, or before a recording's end."""
        from console.state.time_input import parse_instant

        last = self.scrub.last if self.scrub is not None else self.now()
        return parse_instant(
            text,
            now=last if self.app.replay else self.now(),
            origin=self.scrub.ts if self.scrub is not None else None,
        )

    def _problem(self, text: str) -> str:
        try:
            self._instant(text)
        except UsageError as error:
            return str(error)
        return ""

    # -- comparing -------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """`c`: mark the instant; from another one, see what differs."""
        if self.marked is None or self.app.view_name == "compare" or self._stands_on_mark():
            self.mark()
        else:
            await self.show_comparison()

    async def show_comparison(self) -> None:
        """What differs between A and the instant on screen; how to mark A where none is."""
        await self.app.action_view("compare")

    def mark(self) -> None:
        """The instant on screen is A from now on."""
        snapshot = self.app.state.snapshot
        if snapshot is None:
            return
        ts = self.held.ts if self.held is not None else snapshot.ts
        self._mark = (self.app.link, Side("A", ts, snapshot))
        words = clock_words(ts, self.now()) if self.held is not None else "now"
        self.app.say(f"A is {words}. Go to another instant: c shows what differs.", "accent")
        self._sync()
        self.app.view.update()

    def _stands_on_mark(self) -> bool:
        return self.marked is not None and self.held is not None and self.marked.ts == self.held.ts

    def comparison(self) -> Comparison | None:
        """A and what is on screen; None before A is marked."""
        snapshot = self.app.state.snapshot
        if self.marked is None or snapshot is None:
            return None
        if self.held is not None:
            return compare(self.marked, Side("B", self.held.ts, snapshot), self.found)
        state = self.app.state
        return compare(self.marked, Side("now", snapshot.ts, snapshot), happenings(state.events, state.actions))

    def known_from(self) -> float:
        """Since when all that happened is at hand."""
        if self.held is not None:
            return self._known[0]
        events = self.app.state.events
        return events[0].ts if len(events) >= HISTORY_EVENTS else 0.0

    def now(self) -> float:
        """The real time, while the console's clock stands."""
        return self._clock.now()

    # -- asking for moments ----------------------------------------------------------------------------------

    def _want(self) -> None:
        """The playhead moves at once; the panels follow as fast as moments come. One is asked for at a time."""
        self._sync()
        if self._asking is None or self._asking.is_finished:
            self._asking = self.app.run_worker(self._follow, group="travel", exit_on_error=False)

    def _drop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _follow(self) -> None:
        """Until what is shown is what is wanted; whatever was wanted in between is never asked for."""
        source = self.app.link.source
        while self.scrub is not None and self.scrub.ts != self._shown:
            wanted = self.scrub.ts
            late = self.app.set_timer(LATE_S, self._late)
            try:
                moment = await source.moment(wanted)
            except (TrinityError, OSError) as error:
                self.app.say(f"✗ {error}", "warn")
                return
            finally:
                late.stop()
                self._waiting = False
            self._shown = wanted
            self._take(moment)
            await asyncio.sleep(0)

    def _late(self) -> None:
        self._waiting = True
        self._sync()

    def _take(self, moment: Moment) -> None:
        """Show it: every view is filled anew, the focus stays."""
        if self.held is None or self.scrub is None:
            return
        if moment.ts > self.scrub.ts == self._shown:
            self.scrub.first = self.scrub.ts = self._shown = moment.ts  # the oldest was given up meanwhile
        self.held.take(moment)
        for view in self.app.views.values():
            view.forget()
        self.app.refresh_panels()
        self._learn()
        self._sync()

    # -- what happened ---------------------------------------------------------------------------------------

    def _learn(self, *, whole: bool = False) -> None:
        """What happened around the playhead, or in the `whole` axis, where that is not known yet."""
        if self.scrub is None:
            return
        low, high = (self.scrub.low, self.scrub.high) if whole else (self.scrub.ts, self.scrub.ts)
        if low < self._known[0] or high > self._known[1]:
            self.app.run_worker(
                later(self._fetch, self.scrub), exclusive=True, group="travel-rows", exit_on_error=False
            )

    async def _fetch(self, scrub: Scrub) -> None:
        """The newest rows of the axis; where they do not reach back to the playhead, those before it."""
        try:
            found, known = await self._rows(scrub.low, scrub.high + 1.0)
            if scrub.ts < known[0]:
                found, known = await self._rows(scrub.low, scrub.ts + 1.0)
        except (TrinityError, OSError) as error:
            self.app.say(f"✗ {error}", "warn")
            return
        self.found, self._known = found, known
        self._sync()

    async def _rows(self, low: float, until: float) -> tuple[list[Happening], tuple[float, float]]:
        """What happened, and from when to when that is all."""
        source = self.app.link.source
        events = await source.rows("events", since_ts=low, until_ts=until, limit=ROWS)
        actions = await source.rows("actions", since_ts=low, until_ts=until, limit=ROWS)
        starts = [rows[0].ts for rows in (events, actions) if len(rows) >= ROWS]
        found = happenings(
            (row for row in events if isinstance(row, EventRow)), (row for row in actions if isinstance(row, ActionRow))
        )
        return found, (max(starts, default=low), until)

    # -- what is seen ----------------------------------------------------------------------------------------

    def bar(self, *, focused: bool) -> Bar:
        """What the bar shows beside the playhead."""
        return Bar(
            now=self._clock.now(),
            found=self.found,
            marked=self.marked.ts if self.marked is not None else None,
            focused=focused,
            waiting=self._waiting,
            live=not self.app.replay,
        )

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Keys for the strip, while the bar has the focus."""
        return KEYS if self.focused else ()

    @property
    def focused(self) -> bool:
        """Whether the bar has the keys."""
        return self.held is not None and isinstance(self.app.focused, Scrubber)

    def focus(self) -> None:
        """Give the bar the keys."""
        for bar in self.app.screen_stack[0].query(Scrubber):
            bar.focus()

    def pane(self, step: int) -> bool:
        """`tab` leads from the bar to the panels, `shift+tab` from there to the bar; whether it did."""
        if self.held is None or (step > 0 and not self.focused):
            return False
        if self.focused:
            self.app.view.activate()
        else:
            self.focus()
        return True

    def _sync(self) -> None:
        for bar in self.app.screen_stack[0].query(Scrubber):
            bar.sync()

    def _age(self) -> None:
        """How long ago it was, in coarse steps."""
        if self.held is not None and self.held.state.past != self.held.badge():
            self.held.state.past = self.held.badge()
            self.app.screen_stack[0].query_one(FleetLine).sync()
        self._sync()
