"""The retry budget: spent at its bound, earned back, never by ordinary deaths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.edge import EdgeObservation, EdgeWorkload
from backend.contract.mercy import allowed_extra, budget_reserve
from backend.reconcile.retry_budget import Budget, RetryBudget, account
from tests.fakes.clock import FakeClock
from tests.fakes.edge import FakeEdge
from tests.fakes.ledger import MemoryLedger


def test_deaths_of_two_replicas_are_within_the_reserve() -> None:
    budget = account(Budget(), requests=0, retries=0, slots=32, mono_s=0.0)
    budget = account(budget, requests=64, retries=63, slots=32, mono_s=0.2)
    assert not budget.spent
    assert budget_reserve(32) == 64 and budget_reserve(1) == 10


def test_storm_spends_it_and_calm_gives_it_back() -> None:
    budget = account(Budget(), requests=0, retries=0, slots=4, mono_s=0.0)
    budget = account(budget, requests=20, retries=60, slots=4, mono_s=0.2)
    assert budget.spent and (budget.requests, budget.extra) == (20, 60)
    for tick in range(45):
        budget = account(budget, requests=20 + tick, retries=60, slots=4, mono_s=0.4 + tick * 0.2)
        assert budget.spent == (0.4 + tick * 0.2 - 0.2 < 10.0)
    budget = account(budget, requests=80, retries=60, slots=4, mono_s=10.3)
    assert not budget.spent and budget.extra == 0


def test_new_haproxy_counts_from_zero() -> None:
    budget = account(Budget(), requests=1000, retries=500, slots=4, mono_s=0.0)
    assert (budget.requests, budget.extra) == (0, 0), "what was before nobody watched"
    budget = account(budget, requests=5, retries=2, slots=4, mono_s=1.0)
    assert (budget.requests, budget.extra) == (5, 2)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 5.0)), max_size=60))
def test_spent_exactly_from_the_bound_on(adds: list[tuple[int, int, float]]) -> None:
    budget, now, requests, retries = account(Budget(), requests=0, retries=0, slots=4, mono_s=0.0), 0.0, 0, 0
    for more, extra, gap in adds:
        before, now = budget, now + gap
        requests, retries = requests + more, retries + extra
        budget = account(budget, requests=requests, retries=retries, slots=4, mono_s=now)
        allowed = allowed_extra(budget.requests, 4)
        if budget.extra >= allowed:
            assert budget.spent
        if not before.spent and budget.extra < allowed:
            assert not budget.spent
        if budget.extra <= allowed / 2:
            assert not budget.spent


class CountingEdge(FakeEdge):
    requests = retries = 0

    def observe(self) -> EdgeObservation:
        workload = EdgeWorkload(
            workload="llm",
            in_flight=0,
            queued=0,
            sessions_total=self.counted[0],
            retries_total=self.counted[1],
            errors_total=0,
        )
        return EdgeObservation(ts=0.0, up=True, workloads=(workload,))

    counted = (0, 0)


async def test_switch_is_thrown_and_told_with_numbers() -> None:
    edge, ledger, clock = CountingEdge(), MemoryLedger(), FakeClock()
    loop = RetryBudget(edge, ledger, clock)

    async def look(requests: int, retries: int, after_s: float) -> None:
        clock.advance(after_s)
        edge.counted = (requests, retries)
        await loop.look({"llm": 4})

    edge.spent = {"llm"}  # an earlier daemon left it off
    await look(0, 0, 0.2)
    assert edge.spent == set() and ledger.rows == []
    await look(10, 40, 0.2)
    assert edge.spent == {"llm"}
    await look(20, 40, 5.0)
    assert edge.spent == {"llm"}
    await look(30, 40, 5.1)
    assert edge.spent == set()
    off, on = ledger.rows
    assert (off.kind, on.kind) == ("edge.retries-off", "edge.retries-on")  # type: ignore[union-attr]
    assert off.attributes == {"extra": 40, "requests": 10, "allowed": 11}  # type: ignore[union-attr]
    assert edge.retries_on, "the operator's switch is his own"
