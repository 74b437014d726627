"""Telemetry over a real ledger: a daemon that is opened again goes on with its totals, windows and series."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from backend.contract.clock import SystemClock
from backend.contract.words import RequestOutcome
from backend.ledger import Ledger
from backend.telemetry.meters import Meters
from backend.telemetry.series import Levels
from tests.unit.telemetry.scenes import request


def build(ledger: Ledger) -> Meters:
    return Meters(
        fleet="local",
        clock=SystemClock(),
        source=ledger,
        sink=ledger,
        targets=lambda: (),
        levels=lambda: Levels(ready=2, wanted=2),
    )


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition of several parts
            await asyncio.sleep(0.01)


async def test_history_survives(tmp_path: Path) -> None:
    clock = SystemClock()
    ledger = await Ledger.open(tmp_path, clock)
    before = build(ledger)
    running = asyncio.create_task(before.run())
    for index in range(150):
        outcome = RequestOutcome.FAILED if index % 10 == 0 else RequestOutcome.OK
        ledger.append(request(clock.now(), ttft_s=index / 1000, outcome=outcome, retries=index % 2))
        await asyncio.sleep(0.01)
    await until(lambda: sum(one.requests_per_s for one in before.series.points()) == 150)
    for _ in range(7):
        ledger.append(request(clock.now()))  # Newer than the newest sample.
    seen, points = before.traffic.fleet(), list(before.series.points())
    await until(lambda: before.loop_lag.read().count > 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    before.close()
    await ledger.close()

    ledger = await Ledger.open(tmp_path, clock)
    after = build(ledger)
    assert after.traffic.fleet().totals == seen.totals
    assert after.traffic.fleet().totals.requests == 157
    assert after.traffic.fleet().ttft == seen.ttft
    assert list(after.series.points())[: len(points)] == points
    ledger.append(request(clock.now()))
    assert after.traffic.fleet().totals.requests == 158
    after.close()
    await ledger.close()
