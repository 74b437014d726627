"""A simulated fleet whose replicas write as many log lines a second as one likes. Measures nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from backend.contract.log_chunks import LogChunk
from console.state.simulator import SimulatorSource

BATCH_S = 0.05
STREAMS = 100
LINE = b"%s stdout F flood %08d slot 1: prompt done in 84 ms, n = 113 request 0123456789abcdef\n"


class FloodedSource(SimulatorSource):
    """`lines_per_s` in all, from the first hundred replicas in turn."""

    def __init__(self, *, replicas: int, rate: float, lines_per_s: int) -> None:
        super().__init__(replicas=replicas, rate=rate)
        self.lines_per_s = lines_per_s
        self.sent = 0
        self._names = [view.status.name for view in self._snapshot().replicas[:STREAMS]]

    async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        """Whole lines at the rate asked for; what cannot be made in time is made later, none is left out."""
        if not self.lines_per_s:
            while True:
                await asyncio.sleep(1.0)
                yield []
        begun, made = time.monotonic(), 0
        while True:
            await asyncio.sleep(BATCH_S)
            due = int((time.monotonic() - begun) * self.lines_per_s)
            batch: list[LogChunk] = []
            share = max(1, (due - made) // len(self._names))
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
            body = (LINE * share).replace(b"%s", stamp.encode()).replace(b"%08d", b"%08d" % made)
            for name in self._names:
                if made < due:
                    batch.append(LogChunk(replica=name, data=body))
                    made += share
            self.sent = made
            yield batch
