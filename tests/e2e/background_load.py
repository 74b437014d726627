"""Open-loop load in the background of a synchronous test."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from backend.contract.rows import RequestRow
from backend.load import LoadProcess, LoadSpec, LoadSummary, RowMessage
from tests.e2e.harness import RealFleet


def chat_load(fleet: RealFleet, **changes: Any) -> LoadSpec:
    """Short chats, half of them streaming, at a rate that two replicas of two idle cores can carry."""
    settings: dict[str, Any] = {
        "url": fleet.url,
        "kind": "chat",
        "rate": 6.0,
        "max_tokens": 8,
        "prompt_tokens_min": 8,
        "prompt_tokens_max": 32,
        "stream_fraction": 0.5,
        "deadline_s": 300.0,
        "grace_s": 300.0,
        "seed": 7,
    }
    return LoadSpec(**(settings | changes))


def carried(fleet: RealFleet, most: float, **changes: Any) -> float:
    """Such chats a second that this machine carries now, with one replica of two away for a while, and at most `most`:
    a queue that only grows tells of the overload (see test_overload), not of what the test asks."""
    burst = BackgroundLoad(chat_load(fleet, count=16, rate=100.0, seed=11, **changes)).wait()
    assert burst.ok + burst.slow == burst.total, burst.terminations
    return min(most, 0.3 * burst.total / burst.duration_s)


class BackgroundLoad:
    """Starts at once; `finish` stops arrivals, waits for what is in flight and gives what was seen."""

    def __init__(self, spec: LoadSpec) -> None:
        self.rows: list[RequestRow] = []
        self._spec, self._stop = spec, threading.Event()
        self._summary: LoadSummary | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._body())
        except BaseException as error:
            self._failure = error

    async def _body(self) -> None:
        process = await LoadProcess.start(self._spec, nice=-5)

        async def collect() -> None:
            async for message in process:
                if isinstance(message, RowMessage):
                    self.rows.append(message.row)

        collector = asyncio.create_task(collect())
        # Looked at, not waited for in a thread: a pool's thread would keep a program that failed from ending.
        while not self._stop.is_set() and not collector.done():
            await asyncio.wait({collector}, timeout=0.05)
        self._summary = await process.stop()
        await collector

    def finish(self) -> LoadSummary:
        """What it adds up to. Raises what the generator raised."""
        self._stop.set()
        self._thread.join(500.0)
        if self._failure is not None:
            raise self._failure
        assert self._summary is not None
        return self._summary

    def wait(self) -> LoadSummary:
        """Until its schedule has ended by itself."""
        self._thread.join(500.0)
        return self.finish()
