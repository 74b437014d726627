"""Loop lag: a block weighs as much as it lasted."""

from __future__ import annotations

import asyncio
import time

import pytest

from backend.telemetry.looplag import LoopLagMeter


def test_nothing_measured_is_null() -> None:
    lag = LoopLagMeter().read()
    assert (lag.count, lag.p99_s, lag.max_s) == (0, None, None)


def test_one_long_block_counts_for_every_timer_it_kept_back() -> None:
    meter = LoopLagMeter(period_s=0.025)
    for index in range(60):
        meter.record(index * 0.025, index * 0.025 + 0.001)
    meter.record(2.0, 2.5)
    lag = meter.read()
    assert lag.count == 60 + 21
    assert lag.max_s == pytest.approx(0.5)
    assert lag.p99_s is not None
    assert lag.p99_s > 0.4


def test_a_suspended_machine_does_not_flood_the_window() -> None:
    meter = LoopLagMeter(period_s=0.025, window_s=10.0)
    meter.record(0.0, 86_400.0)
    assert meter.read().count <= 401


def test_old_samples_leave() -> None:
    meter = LoopLagMeter(period_s=0.025, window_s=10.0)
    meter.record(0.0, 0.5)
    meter.record(20.0, 20.001)
    assert meter.read().max_s == pytest.approx(0.001)


async def test_a_blocked_loop_is_seen() -> None:
    meter = LoopLagMeter(period_s=0.01)
    loop = asyncio.get_running_loop()
    began = loop.time()
    meter.start()
    meter.start()
    await asyncio.sleep(0.03)
    time.sleep(0.15)  # noqa: ASYNC251 - the block to be measured
    await asyncio.sleep(0.03)
    lag = meter.read()
    meter.stop()
    assert lag.max_s is not None
    assert 0.1 < lag.max_s < loop.time() - began, "however slow the machine, no timer is later than it was waited for"
    stopped = meter.read().count
    await asyncio.sleep(0.03)
    assert meter.read().count == stopped
