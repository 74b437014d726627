"""The demo load behind key `g` and the verbs load-start and load-stop: one generator process at a time.

Owns its life; its rows go into the ledger like any client's. Ends it with the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from backend.contract.control import LoadView
from backend.contract.errors import Refused, TrinityError
from backend.contract.ledger import RowSink
from backend.load.messages import LoadSummary, ProgressMessage, RowMessage, SummaryMessage
from backend.load.process import LoadProcess
from backend.load.spec import LoadSpec


class DemoLoad:
    """At most one open-loop load against our own edge."""

    def __init__(self, sink: RowSink, changed: Callable[[], None]) -> None:
        self._sink, self._changed = sink, changed
        self._process: LoadProcess | None = None
        self._follower: asyncio.Task[None] | None = None
        self._view = LoadView()
        self._summary: LoadSummary | None = None

    def view(self) -> LoadView:
        return self._view

    async def start(self, spec: LoadSpec, actor: str) -> str:
        """Begin. Raises Refused when one runs already."""
        if self._process is not None:
            raise Refused("A demo load runs already.", "Stop it first: key g, or load-stop.")
        self._process = await LoadProcess.start(spec, nice=0)
        self._view = LoadView(running=True, rate=spec.rate, actor=actor)
        self._follower = asyncio.create_task(self._follow(self._process, spec.rate, actor), name="demo load")
        self._changed()
        return f"Load of {spec.rate:g} requests/s began."

    async def stop(self) -> str:
        """No new arrivals, wait for what is in flight. Raises Refused when none runs."""
        process, follower = self._process, self._follower
        if process is None or follower is None:
            raise Refused("No demo load runs.", "Start one with key g.")
        await process.stop()
        await follower
        summary = self._summary
        if summary is None:
            return "The load was stopped."
        return (
            f"The load was stopped: {summary.total} requests, {summary.ok + summary.slow} ok, {summary.failed} failed."
        )

    async def close(self) -> None:
        """End it with the daemon."""
        if self._process is not None:
            with contextlib.suppress(TrinityError):
                await self.stop()

    async def _follow(self, process: LoadProcess, rate: float, actor: str) -> None:
        self._summary = None
        try:
            async for message in process:
                if isinstance(message, RowMessage):
                    self._sink.append(message.row)
                elif isinstance(message, ProgressMessage):
                    good = message.ok + message.slow
                    bad = message.failed + message.wrong
                    self._view = LoadView(
                        running=True, rate=rate, sent=message.arrivals, ok=good, failed=bad, actor=actor
                    )
                elif isinstance(message, SummaryMessage):
                    self._summary = message.summary
        finally:
            done = self._summary
            self._view = LoadView(
                running=False,
                rate=rate,
                sent=done.total if done else self._view.sent,
                ok=done.ok + done.slow if done else self._view.ok,
                failed=done.failed + done.wrong if done else self._view.failed,
                actor=actor,
            )
            self._process = None
            self._changed()
