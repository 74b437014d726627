"""Fills a log store from the source for whatever is selected; reconnects without loss or repetition. Draws nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.worker import Worker

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


class LogFollower:
    """Keeps one pane's store on one selection at a time. `memory_bytes` and `spill` bound what is held."""

    def __init__(
        self, app: TrinityApp, pane: LogPane, *, lines: int, memory_bytes: int, spill: bool, keep: bool = False
    ) -> None:
        self.app, self.pane, self.lines = app, pane, lines
        self.keep = keep
        """Whether another selection leaves what is held of the one before."""
        self._memory_bytes, self._spill = memory_bytes, spill
        self._worker: Worker[None] | None = None
        self._following: frozenset[str] | None = frozenset()
        self._intake = LogIntake(pane.explorer.store)
        self._stored_for: object = None

    def follow(self, replicas: list[str] | None) -> None:
        """Fetch these replicas (None: all). Nothing changes where they are followed already."""
        wanted = None if replicas is None else frozenset(replicas)
        running = self._worker is not None and not self._worker.is_finished and self._stored_for is self.app.shown
        enough = self._following is None or (wanted is not None and wanted <= self._following)
        if running and (enough if self.keep else wanted == self._following):
            return
        self.stop()
        if not self.keep or self._stored_for is not self.app.shown:
            self._stored_for = self.app.shown
            self.pane.past = ""
            # What is shown of one instant stays until the lines of the next are there.
            if self._past() is None:
                self._begin_anew(None)
        self._following = wanted
        self._worker = self.app.run_worker(partial(self._run, replicas), exit_on_error=False, name="logs")

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None

    def forget(self) -> None:
        """Nothing of what is held is wanted any more."""
        self.stop()
        self._stored_for = None

    def close(self) -> None:
        """Give memory and disk back."""
        self.stop()
        self.pane.explorer.store.close()

    def _begin_anew(self, past: float | None) -> None:
        """An empty store: another fleet, another instant, another replica."""
        before = self.pane.explorer.store
        store = new_store(self._memory_bytes, spill=self._spill)
        self.pane.explorer.use(store, past)
        before.close()
        self.pane.waiting, self.pane.link = True, ""
        self._intake = LogIntake(store)

    def _past(self) -> float | None:
        """The instant that is shown, where it is not the present."""
        snapshot = self.app.state.snapshot
        return None if isinstance(self.app.shown, FleetLink) or snapshot is None else snapshot.ts

    async def _run(self, replicas: list[str] | None) -> None:
        await asyncio.sleep(SETTLE_S)
        source, past = self.app.source, self._past()
        while True:
            self._intake.reconnecting()
            try:
                if past is not None:
                    await self._read_past(source, replicas, past)
                    return
                await self._follow_chunks(source, replicas)
                self.pane.link = "reconnecting"
            except (TrinityError, OSError) as error:
                self.pane.link = "reconnecting" if self._intake.known() else str(error)
            self.pane.sync()
            await asyncio.sleep(RETRY_S)

    async def _read_past(self, source: FleetSource, replicas: list[str] | None, until: float) -> None:
        window = await source.logs(replicas, until_ts=until, limit=PAST_LINES)
        self._begin_anew(until)
        self.pane.past = units.time_of_day(until)
        self._intake.rows(window.rows, left_out=window.truncated)
        self._arrived()

    async def _follow_chunks(self, source: FleetSource, replicas: list[str] | None) -> None:
        async for batch in source.log_chunks(replicas, lines=self.lines):
            for chunk in batch:
                await self._take(source, chunk)
                # Keys come before lines: a batch may hold many.
                await asyncio.sleep(0)
            self._arrived()

    async def _take(self, source: FleetSource, chunk: LogChunk) -> None:
        gap = self._intake.chunk(chunk)
        if gap is not None:
            window = await source.logs(
                [gap.replica], since_ts=gap.since_ts, until_ts=gap.until_ts + 1e-6, limit=GAP_LINES
            )
            self._intake.fill(gap, window.rows, window.truncated, chunk)

    def _arrived(self) -> None:
        self.pane.link = ""
        self.pane.arrived()


def new_store(memory_bytes: int, *, spill: bool) -> LogStore:
    """A store that is bounded; with `spill` its older lines stand in nameless temporary files."""
    if not spill:
        return LogStore(None, memory_bytes=memory_bytes)
    import tempfile  # the first frame, which spills nothing, does not wait for it

    return LogStore(Path(tempfile.gettempdir()), memory_bytes=memory_bytes)
