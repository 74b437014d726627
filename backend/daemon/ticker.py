"""Once a second: read the machine, close the second's point of the series, forget what is old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from backend.contract.words import Phase
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.rates import closed_second
from backend.telemetry.series import Levels, build_point, samples_of

if TYPE_CHECKING:
    from backend.daemon.parts import Parts

_AFTER_S = 0.15
"""Edge rows of a second may arrive this late and still count in it."""


async def tick(parts: Parts) -> None:
    """Run until cancelled."""
    while True:
        now = parts.clock.now()
        await asyncio.sleep(1.0 - now % 1.0 + _AFTER_S)
        parts.machine_reading = await asyncio.to_thread(parts.machine.read)
        close_second(parts)


def close_second(parts: Parts) -> None:
    """Add the newest whole second to the series and the ledger."""
    second = closed_second(parts.clock.now())
    edge, machine = parts.edge.observe(), parts.machine_reading
    view = parts.traffic.fleet()
    requests, errors = parts.traffic.second(second)
    point = build_point(
        second,
        ttft=view.ttft,
        requests=requests,
        errors=errors,
        tokens_per_s=parts.scraper.per_second(EngineMetric.TOKENS_OUT),
        levels=Levels(
            queued=sum(w.queued for w in edge.workloads),
            in_flight=sum(w.in_flight for w in edge.workloads),
            ready=sum(1 for r in parts.fleet.observe() if r.phase == Phase.READY),
            wanted=sum(parts.reconciler.wanted.of(s.name).replicas for s in parts.specs),
            cpu_percent=machine.cpu_percent,
            memory_percent=machine.memory_percent,
        ),
    )
    parts.series.push(point)
    for sample in samples_of(point, parts.config.name):
        parts.ledger.append(sample)
    parts.traffic.prune()
