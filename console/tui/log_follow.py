"""Fills a log store from the source for whatever is selected; reconnects without loss or repetition. Draws nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.worker import Worker

from backend.contract.control import LogWindow
from backend.contract.errors import TrinityError
from backend.contract.log_chunks import LogChunk
from console.render import units
from console.state.log_intake import LogIntake
from console.state.log_store import LogStore
from console.state.source import FleetSource
from console.tui.link import FleetLink

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.log_pane import LogPane

SETTLE_S: Final = 0.15
"""A cursor that runs through the replicas starts nothing on its way."""
RETRY_S: Final = 1.5
GAP_LINES: Final = 20_000
PAST_LINES: Final = 5_000
SPAN_S: Final = (60.0, 600.0)
"""Around an instant that is looked back to: so long before it and after it, less where that is too many lines."""
NARROWER: Final = 6


class LogFollower:
    """Keeps one pane's store on one selection at a time. `memory_bytes` and `spill` bound what is held.

    The live lines are kept while an instant of the past, or a window of it, is looked at."""

    def __init__(
        self, app: TrinityApp, pane: LogPane, *, lines: int, memory_bytes: int, spill: bool, keep: bool = False
    ) -> None:
        self.app, self.pane, self.lines = app, pane, lines
        self.keep = keep
        """Whether another selection leaves what is held of the one before."""
        self._memory_bytes, self._spill = memory_bytes, spill
        self._worker: Worker[None] | None = None
        self._live = pane.explorer.store
        self._intake = LogIntake(self._live)
        self._live_of: object = None
        """The fleet whose lines the live store holds."""
        self._wanted: frozenset[str] | None = frozenset()
        self._running_for: object = None

    def follow(self, replicas: list[str] | None) -> None:
        """Fetch these replicas (None: all). Nothing changes where they are followed already."""
        wanted = None if replicas is None else frozenset(replicas)
        shown, past = self.app.shown, self._past()
        running = self._worker is not None and not self._worker.is_finished and self._running_for is shown
        enough = self._wanted is None or (wanted is not None and wanted <= self._wanted)
        if running and past is None and (enough if self.keep else wanted == self._wanted):
            return
        self.stop()
        if past is None:
            self._resume(shown, anew=not self.keep and wanted != self._wanted)
        self._wanted, self._running_for = wanted, shown
        self._worker = self.app.run_worker(partial(self._run, replicas, past), exit_on_error=False, name="logs")

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None

    def close(self) -> None:
        """Give memory and disk back."""
        self.stop()
        self._live.close()
        self.pane.explorer.store.close()

    def _resume(self, shown: object, *, anew: bool) -> None:
        """Show live lines: those that are held of this fleet, or none yet."""
        if anew or self._live_of is not shown:
            before, self._live = self._live, new_store(self._memory_bytes, spill=self._spill)
            self._intake, self._live_of = LogIntake(self._live), shown
            self.pane.waiting = True
            self._show(self._live, None)
            before.close()
        elif self.pane.explorer.store is not self._live:
            self._show(self._live, None)

    def _show(self, store: LogStore, until: float | None, *, past: str = "", older: int = 0) -> None:
        before = self.pane.explorer.store
        self.pane.explorer.use(store, until)
        self.pane.past, self.pane.older, self.pane.link = past, older, ""
        if before is not self._live:
            before.close()

    def _past(self) -> float | None:
        """The instant that is shown, where it is not the present."""
        snapshot = self.app.state.snapshot
        return None if isinstance(self.app.shown, FleetLink) or snapshot is None else snapshot.ts

    async def _run(self, replicas: list[str] | None, past: float | None) -> None:
        await asyncio.sleep(SETTLE_S)
        source = self.app.source
        while True:
            self._intake.reconnecting()
            try:
                if past is not None:
                    # What is shown of one instant stays until the lines of the next are there.
                    window = await source.logs(replicas, until_ts=past, limit=PAST_LINES)
                    self._show_rows(window, past, units.time_of_day(past))
                    return
                await self._follow_chunks(source, replicas)
                self.pane.link = "reconnecting"
            except (TrinityError, OSError) as error:
                self.pane.link = "reconnecting" if self._intake.known() else str(error)
            self.pane.sync()
            await asyncio.sleep(RETRY_S)

    async def _follow_chunks(self, source: FleetSource, replicas: list[str] | None) -> None:
        async for batch in source.log_chunks(replicas, lines=self.lines):
            for chunk in batch:
                await self._take(source, chunk)
                # Keys come before lines: a batch may hold many.
                await asyncio.sleep(0)
            if batch or self.pane.waiting or self.pane.link:
                self.pane.link = ""
                self.pane.arrived()

    async def _take(self, source: FleetSource, chunk: LogChunk) -> None:
        gap = self._intake.chunk(chunk)
        if gap is not None:
            window = await source.logs(
                [gap.replica], since_ts=gap.since_ts, until_ts=gap.until_ts + 1e-6, limit=GAP_LINES
            )
            self._intake.fill(gap, window.rows, window.truncated, chunk)

    # -- looking back ----------------------------------------------------------------------------------------

    async def look_back(self, replicas: list[str] | None, ts: float) -> bool:
        """Show the lines around an instant that is older than what is held; what is live goes on being held.

        False where nothing is kept of that time. Raises what the source raises."""
        before_s, after_s = SPAN_S
        for _ in range(NARROWER):
            window = await self.app.source.logs(
                replicas, since_ts=ts - before_s, until_ts=ts + after_s, limit=PAST_LINES
            )
            if not window.truncated or not window.rows or window.rows[0].ts <= ts:
                break
            before_s, after_s = before_s / 4, after_s / 4
        if not window.rows:
            return False
        self._show_rows(window, None, units.time_of_day(window.rows[-1].ts))
        return True

    def back_to_live(self) -> bool:
        """From a window of the past to what is live; whether one was there."""
        if self._past() is not None or self.pane.explorer.store is self._live:
            return False
        self._show(self._live, None)
        return True

    def _show_rows(self, window: LogWindow, until: float | None, past: str) -> None:
        store = new_store(self._memory_bytes, spill=self._spill)
        LogIntake(store).rows(window.rows)
        self._show(store, until, past=past, older=window.truncated)
        self.pane.arrived()


def new_store(memory_bytes: int, *, spill: bool) -> LogStore:
    """A store that is bounded; with `spill` its older lines stand in nameless temporary files."""
    if not spill:
        return LogStore(None, memory_bytes=memory_bytes)
    import tempfile  # the first frame, which spills nothing, does not wait for it

    return LogStore(Path(tempfile.gettempdir()), memory_bytes=memory_bytes)
