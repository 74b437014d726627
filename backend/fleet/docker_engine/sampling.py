"""CPU, memory and network of every running container, about once in two seconds, as statuses and samples.

Owns the rhythm and how many are asked at once. The arithmetic is usage's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.usage import Counters, Rates, parse_counters

PERIOD_S: Final = 2.0
_AT_ONCE: Final = 4


class Sampled(msgspec.Struct, frozen=True):
    """A container to be measured, as which replica of which workload."""

    id: str
    workload: str
    replica: str


class Sampler:
    """`chosen` says whom to measure now, `measured` takes a reading and gives what is shown of it."""

    def __init__(
        self,
        client: EngineClient,
        sink: RowSink,
        clock: Clock,
        fleet: str,
        *,
        chosen: Callable[[], Sequence[Sampled]],
        measured: Callable[[str, Counters], Rates | None],
        after: Callable[[], None],
    ) -> None:
        self._client, self._sink, self._clock, self._fleet = client, sink, clock, fleet
        self._chosen, self._measured, self._after = chosen, measured, after

    async def run(self) -> None:
        """For ever; ends by being cancelled. While the engine cannot be asked there are no samples."""
        gate = asyncio.Semaphore(_AT_ONCE)
        while True:
            begun = self._clock.mono()
            chosen = self._chosen()
            if chosen:
                await asyncio.gather(*(self._measure(sampled, gate) for sampled in chosen))
                self._after()
            await asyncio.sleep(max(0.1, PERIOD_S - (self._clock.mono() - begun)))

    async def _measure(self, sampled: Sampled, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                # One shot: the engine would else wait a second for its own comparison.
                params: dict[str, str | int] = {"stream": "false", "one-shot": "true"}
                stats = await self._client.get(f"/containers/{sampled.id}/stats", **params)
            except TrinityError:
                return  # it has just ended, or the engine is gone: the watch says so
        counters = parse_counters(stats)
        rates = None if counters is None else self._measured(sampled.id, counters)
        if rates is None:
            return
        if rates.memory_bytes is not None:
            self._append(sampled, "memory_bytes", float(rates.memory_bytes))
        if rates.cpu_percent is not None:
            self._append(sampled, "cpu_percent", rates.cpu_percent)

    def _append(self, sampled: Sampled, metric: str, value: float) -> None:
        self._sink.append(
            SampleRow(
                ts=self._clock.now(),
                fleet=self._fleet,
                workload=sampled.workload,
                replica=sampled.replica,
                metric=metric,
                value=value,
            )
        )
