"""What the live picture of a run keeps of its requests."""

from __future__ import annotations

from backend.contract.words import RequestOutcome
from backend.drills.timeline import BUCKETS, Timeline
from tests.unit.drills.samples import row


def test_counts_are_by_outcome_and_outlive_the_buckets() -> None:
    timeline = Timeline(0.0)
    for second in range(BUCKETS + 50):
        timeline.add(row(second + 0.5))
        timeline.buckets(second + 10.0)
    for outcome in (RequestOutcome.SLOW, RequestOutcome.SHED, RequestOutcome.FAILED, RequestOutcome.FAILED):
        timeline.add(row(BUCKETS + 60.0, outcome=outcome))
    assert timeline.counts == {"ok": BUCKETS + 50, "slow": 1, "wrong": 0, "shed": 1, "failed": 2}
    assert len(timeline.buckets(BUCKETS + 100.0)) == BUCKETS
