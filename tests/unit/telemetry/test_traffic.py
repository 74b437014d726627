"""Traffic: exact TTFT quantiles of streaming rows, rates by the end of a request, totals that survive a restart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.words import RequestOutcome, Vantage
from backend.quantiles import summarize
from backend.telemetry.traffic import Totals, TrafficMeter
from tests.unit.telemetry.scenes import START, MemoryLedger, SettableClock, request


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def meter(clock: SettableClock) -> TrafficMeter:
    return TrafficMeter("local", clock)


def test_quantiles_are_those_of_the_rows(meter: TrafficMeter) -> None:
    values = [index / 97 for index in range(1, 90)]
    for value in values:
        meter.take(request(ttft_s=value, total_s=2.0))
    assert meter.fleet().ttft == summarize(values)
    assert meter.workload("llm").ttft == meter.replica("llm-0").ttft == summarize(values)


def test_only_answered_streams_have_a_time_to_first_token(meter: TrafficMeter) -> None:
    meter.take(request(stream=False))
    meter.take(request(ttft_s=None))
    meter.take(request(status=503, outcome=RequestOutcome.FAILED))
    assert meter.fleet().ttft.count == 0
    assert meter.fleet().ttft.p99_s is None
    assert meter.ttft_histograms() == {}


def test_only_the_edges_rows_of_this_fleet_count(meter: TrafficMeter) -> None:
    meter.take(request(vantage=Vantage.CLIENT))
    meter.take(request(vantage=Vantage.ATTEMPT))
    meter.take(request(fleet="k8s:other"))
    assert meter.fleet().totals == Totals()


def test_a_window_goes_by_the_end_of_a_request(meter: TrafficMeter, clock: SettableClock) -> None:
    meter.take(request(START, total_s=300.0))
    assert meter.fleet().ttft.count == 1
    clock.wall = START + 59.9
    assert meter.fleet().ttft.count == 1
    clock.wall = START + 60.1
    assert meter.fleet().ttft.count == 0


def test_rates_are_of_closed_seconds(meter: TrafficMeter, clock: SettableClock) -> None:
    for index in range(30):
        clock.wall = START + index / 10
        outcome = RequestOutcome.FAILED if index % 10 == 0 else RequestOutcome.OK
        meter.take(request(clock.wall, outcome=outcome))
    clock.wall = START + 3.6
    assert meter.fleet().requests_per_s == 3.0
    assert meter.fleet().errors_per_s == pytest.approx(0.3)
    assert meter.fleet().requests_last_s == 10.0
    assert meter.second(int(START)) == (10.0, 1.0)


def test_rows_of_long_ago_count_in_totals_only(meter: TrafficMeter) -> None:
    meter.take(request(START - 61.0))
    assert meter.fleet().totals.requests == 1
    assert meter.fleet().requests_per_s == 0.0
    assert meter.fleet().ttft.count == 0
    assert meter.ttft_histograms()["llm"].count == 1


def test_retry_share_is_extra_attempts_per_request(meter: TrafficMeter, clock: SettableClock) -> None:
    assert meter.fleet().retry_share is None
    for retries in (0, 0, 0, 2):
        meter.take(request(retries=retries))
    assert meter.fleet().retry_share == 0.5
    assert meter.fleet().totals.retries == 2
    clock.wall = START + 31
    assert meter.fleet().retry_share is None


def test_shed_and_failed_are_kept_apart(meter: TrafficMeter) -> None:
    meter.take(request(outcome=RequestOutcome.SHED, status=429))
    meter.take(request(outcome=RequestOutcome.FAILED, status=-1, replica=None))
    assert meter.workload("llm").totals == Totals(requests=2, errors=1, shed=1)


def test_request_without_an_end_counts_by_its_first_byte(meter: TrafficMeter, clock: SettableClock) -> None:
    meter.take(request(START, total_s=None, ttft_s=0.4, outcome=RequestOutcome.FAILED))
    clock.wall = START + 1.6
    assert meter.second(int(START)) == (1.0, 1.0)


def test_long_silent_replicas_are_forgotten(meter: TrafficMeter, clock: SettableClock) -> None:
    meter.take(request())
    clock.wall = START + 121
    meter.prune()
    assert meter.replica("llm-0").totals == Totals()
    assert meter.workload("llm").totals.requests == 1


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.floats(0, 0.4), st.sampled_from(list(RequestOutcome)), st.integers(0, 2)),
        max_size=50,
    ),
    st.integers(0, 50),
)
def test_totals_survive_a_restart_exactly(
    arrivals: list[tuple[float, float, RequestOutcome, int]], restart_at: int
) -> None:
    """Totals written for closed seconds, plus the rows that ended later, are the totals."""
    clock, ledger = SettableClock(), MemoryLedger()
    meter = TrafficMeter("local", clock)
    meter.attach(ledger)
    written: dict[str, tuple[float, Totals]] = {}
    for index, (gap, late, outcome, retries) in enumerate(arrivals):
        clock.wall += gap
        ledger.append(request(clock.wall - late, outcome=outcome, retries=retries))
        if index <= restart_at:
            ts, totals = meter.closed_totals()
            written = {name: (ts, known) for name, known in totals.items()}
    again = TrafficMeter("local", clock)
    again.restore(ledger.rows, written)
    assert again.fleet().totals == meter.fleet().totals
    assert again.fleet().ttft == meter.fleet().ttft
