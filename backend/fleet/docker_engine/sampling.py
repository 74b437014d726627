"""CPU, memory and network of every running container, about once in two seconds, as statuses and samples.

Owns the streams of readings and their rhythm. The arithmetic is usage's.
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
from backend.fleet.docker_engine.client import EngineClient, lines_of
from backend.fleet.docker_engine.usage import Counters, Rates, parse_counters

PERIOD_S: Final = 2.0
_FIRST_S: Final = 0.9
"""The second reading is taken sooner: before it there is no CPU to show."""
_MAX_STREAMS: Final = 400
"""Of more running containers, the first ones are measured: each holds a connection."""
_LOOK_S: Final = 0.25
_AGAIN_S: Final = 1.0


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
        """For ever; ends by being cancelled. While the engine cannot be asked there are no samples.

        A stream for each container: asked for single readings, engines wait up to a second for each.
        """
        streams: dict[Sampled, asyncio.Task[None]] = {}
        told = self._clock.mono()
        try:
            while True:
                chosen = list(self._chosen())[:_MAX_STREAMS]
                for sampled in chosen:
                    if sampled not in streams or streams[sampled].done():
                        streams[sampled] = asyncio.create_task(self._measure(sampled))
                for sampled in set(streams).difference(chosen):
                    streams.pop(sampled).cancel()
                if chosen and self._clock.mono() - told >= PERIOD_S:
                    told = self._clock.mono()
                    self._after()
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in streams.values():
                task.cancel()
            await asyncio.gather(*streams.values(), return_exceptions=True)

    async def _measure(self, sampled: Sampled) -> None:
        due, readings = self._clock.mono(), 0
        try:
            async with self._client.stream(f"/containers/{sampled.id}/stats", {"stream": 1}) as response:
                async for line in lines_of(response.aiter_raw()):
                    now = self._clock.mono()
                    if now < due:
                        continue
                    readings += 1
                    due = now + (_FIRST_S if readings == 1 else PERIOD_S - 0.1)
                    self._take(sampled, line)
        except TrinityError:
            pass  # it has just ended, or the engine is gone: the watch says so
        await asyncio.sleep(_AGAIN_S)

    def _take(self, sampled: Sampled, line: bytes) -> None:
        try:
            counters = parse_counters(msgspec.json.decode(line))
        except (msgspec.DecodeError, RecursionError):
            return
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
