"""Fills a log ring from the source for whatever is selected; reconnects by itself. Owns the worker, draws nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from textual.worker import Worker

from backend.contract.errors import TrinityError
from console.state.logs import without

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.panels import LogPane

SETTLE_S = 0.15
RETRY_S = 1.5


class LogFollower:
    """Keeps one pane on one selection at a time."""

    def __init__(self, app: TrinityApp, pane: LogPane, *, window: int) -> None:
        self.app, self.pane, self.window = app, pane, window
        self._worker: Worker[None] | None = None
        self._following: list[str] | None = None

    def follow(self, replicas: list[str] | None) -> None:
        """Show these replicas (None: all). The same ones again change nothing."""
        if self._worker is not None and self._following == replicas and not self._worker.is_finished:
            return
        self.stop()
        self._following = replicas
        self.pane.shown = list(replicas or [])
        self.pane.back = 0
        self._worker = self.app.run_worker(partial(self._run, replicas), exit_on_error=False, name="logs")

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None

    async def _run(self, replicas: list[str] | None) -> None:
        await asyncio.sleep(SETTLE_S)
        ring, source = self.pane.ring, self.app.source
        ring.clear()
        while True:
            try:
                if not ring.rows:
                    window = await source.logs(replicas, limit=self.window)
                    ring.left_out = window.truncated
                    self.pane.arrived(ring.extend(window.rows))
                held = ring.newest()
                async for batch in source.follow_logs(replicas, since_ts=ring.newest_ts):
                    self.pane.arrived(ring.extend(without(batch, held)))
            except (TrinityError, OSError):
                self.pane.sync()
            await asyncio.sleep(RETRY_S)
