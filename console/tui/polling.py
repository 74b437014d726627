"""Asks for something again and again while a view is on screen. Owns the worker and the last error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.worker import Worker

from backend.contract.errors import TrinityError

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


def later(call: Callable[..., Awaitable[None]], *args: object, **options: object) -> Callable[[], Awaitable[None]]:
    """The call as work for a worker: made when the worker begins, not before."""

    async def work() -> None:
        await call(*args, **options)

    return work


class Poller:
    """`fetch` is awaited at once and then every `every_s` seconds between `start` and `stop`."""

    def __init__(self, app: TrinityApp, fetch: Callable[[], Awaitable[None]], every_s: float) -> None:
        self.app, self.fetch, self.every_s = app, fetch, every_s
        self.error = ""
        self.awaited = False
        """It was begun, and nothing has come of it yet."""
        self._worker: Worker[None] | None = None

    def start(self) -> None:
        """Begin, or begin again at once."""
        self.stop()
        self.awaited = True
        self._worker = self.app.run_worker(self._run, exit_on_error=False, name="poll")

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None

    async def _run(self) -> None:
        while True:
            try:
                await self.fetch()
                self.error = ""
            except (TrinityError, OSError) as error:
                self.error = str(error)
            self.awaited = False
            await asyncio.sleep(self.every_s)
