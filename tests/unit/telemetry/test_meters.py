"""All meters together: points by the second, and a restart that goes on where it was."""

from __future__ import annotations

import pytest

from backend.contract.rows import SampleRow
from backend.contract.words import RequestOutcome
from backend.telemetry.engine_names import EngineMetric
from backend.telemetry.machine import MachineMeter
from backend.telemetry.meters import Meters
from backend.telemetry.series import Levels
from tests.unit.telemetry.scenes import START, MemoryLedger, SettableClock, llama_page, request, snapshot, target


def meters(ledger: MemoryLedger, clock: SettableClock) -> Meters:
    return Meters(
        fleet="local",
        clock=clock,
        source=ledger,
        sink=ledger,
        targets=lambda: (),
        levels=lambda: Levels(queued=3, in_flight=2, ready=2, wanted=2),
        machine=MachineMeter(clock, groups=()),
    )


def run(all_meters: Meters, ledger: MemoryLedger, clock: SettableClock, seconds: int, *, per_second: int = 5) -> None:
    """So many seconds of a steady load, ticking as the daemon does."""
    for _ in range(seconds):
        for step in range(per_second):
            clock.wall += 1 / per_second
            outcome = RequestOutcome.FAILED if step == 0 else RequestOutcome.OK
            ledger.append(request(clock.wall - 0.05, outcome=outcome))
        all_meters.tick()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START + 0.6)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def test_each_second_has_a_point_with_its_own_counts(clock: SettableClock, ledger: MemoryLedger) -> None:
    all_meters = meters(ledger, clock)
    run(all_meters, ledger, clock, 12)
    points = all_meters.series.points()
    assert [one.ts - points[0].ts for one in points] == list(range(len(points)))
    assert {one.requests_per_s for one in points[2:]} == {5.0}
    assert {one.errors_per_s for one in points[2:]} == {1.0}
    assert points[-1].queued == 3
    assert all_meters.point().requests_per_s == pytest.approx(5.0)


def test_a_late_tick_still_gives_each_second_its_counts(clock: SettableClock, ledger: MemoryLedger) -> None:
    all_meters = meters(ledger, clock)
    all_meters.tick()
    for _ in range(20):
        clock.wall += 0.25
        ledger.append(request(clock.wall))
    all_meters.tick()
    assert [one.requests_per_s for one in all_meters.series.points()][1:] == [1.0, 4.0, 4.0, 4.0, 4.0]


def test_a_restarted_daemon_goes_on(clock: SettableClock, ledger: MemoryLedger) -> None:
    before = meters(ledger, clock)
    run(before, ledger, clock, 10)
    ledger.append(request(clock.wall))  # Not in any sample yet.
    clock.wall += 3.0
    after = meters(ledger, clock)
    assert after.traffic.fleet().totals == before.traffic.fleet().totals
    assert after.traffic.fleet().ttft == before.traffic.fleet().ttft
    assert after.series.points() == before.series.points()
    after.tick()
    seconds = [one.ts for one in after.series.points()]
    assert seconds == [seconds[0] + index for index in range(len(seconds))]


def test_tokens_go_on_over_a_restart_of_the_daemon(clock: SettableClock, ledger: MemoryLedger) -> None:
    before = meters(ledger, clock)
    replica = target(started_ts=clock.wall + 1)
    clock.wall += 2
    before.engines.take(replica, llama_page(predicted=100), latency_s=0.0)
    before.tick()
    clock.wall += 30
    after = meters(ledger, clock)
    after.engines.take(replica, llama_page(predicted=140), latency_s=0.0)
    assert before.engines.total(EngineMetric.TOKENS_OUT) == 100
    assert after.engines.total(EngineMetric.TOKENS_OUT) == 140


def test_totals_are_written_when_they_change_and_every_half_minute(clock: SettableClock, ledger: MemoryLedger) -> None:
    all_meters = meters(ledger, clock)
    ledger.append(request(clock.wall))
    for _ in range(70):
        clock.wall += 1
        all_meters.tick()
    rows = [row for row in ledger.rows if isinstance(row, SampleRow) and row.metric == "requests_total"]
    assert [row.value for row in rows][-3:] == [1.0, 1.0, 1.0]
    assert len(rows) <= 4


def test_exposition_has_all_of_it(clock: SettableClock, ledger: MemoryLedger) -> None:
    all_meters = meters(ledger, clock)
    run(all_meters, ledger, clock, 3)
    state = all_meters.exposition(snapshot())
    assert state.traffic.totals.requests == 15
    assert state.workload_traffic["llm"].totals.errors == 3
    assert state.ttft_histograms["llm"].count == 15
    assert state.machine is not None
