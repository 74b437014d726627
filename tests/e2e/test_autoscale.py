"""The documented rule, on a real fleet: a step of load scales up by ones, its end scales down to the minimum."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.harness import RealFleet, real_fleet, wait_for

pytestmark = pytest.mark.alone

COOLDOWN_S = 4.0
MAXIMUM = 3


@pytest.fixture(scope="module")
def fleet() -> Iterator[RealFleet]:
    with real_fleet(
        TARGET_QUEUE_DEPTH="4",
        TARGET_TTFT_MS="100000",
        TARGET_CPU_PERCENT="100",
        MIN_INSTANCES="1",
        MAX_INSTANCES=str(MAXIMUM),
        COOLDOWN_SECONDS=str(COOLDOWN_S),
    ) as running:
        running.trinity("scale", "llm", "1")
        running.until_ready(1)
        yield running


@pytest.mark.timeout(600)
def test_threshold_scales_with_the_load_and_back(fleet: RealFleet) -> None:
    fleet.trinity("autoscale", "on", "--yes")
    load = BackgroundLoad(chat_load(fleet, rate=12.0, max_tokens=24, deadline_s=300.0))
    wait_for(lambda: fleet.snapshot().workloads[0].wanted == MAXIMUM, 120.0, "the maximum under load")
    summary = load.finish()
    assert (summary.failed, summary.shed, summary.wrong) == (0, 0, 0), summary.terminations
    ended = time.time()
    wait_for(lambda: fleet.snapshot().workloads[0].wanted == 1, 120.0, "the minimum after the load")
    fleet.until_ready(1)
    took = time.time() - ended

    scalings = [a for a in fleet.actions() if a.actor == "autoscaler" and a.verb == "scale" and a.outcome == "ok"]
    counts = [int(a.args["replicas"] or 0) for a in scalings]
    print(f"\nscalings to {counts}, back at the minimum {took:.1f} s after the load")
    steps = [after - before for before, after in zip([1, *counts], counts, strict=False)]
    assert set(steps) <= {1, -1}, "one at a time"
    assert max(counts) == MAXIMUM
    assert counts[-1] == 1
    starts = [a.ts - (a.duration_s or 0.0) for a in scalings]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) >= COOLDOWN_S - 0.5, gaps
    decisions = [e for e in fleet.events() if e.kind == "scaling.decision"]
    assert len(decisions) >= len(scalings)
    assert all({"cpu_percent", "queue_depth", "ttft_p99_ms"} <= d.attributes.keys() for d in decisions)
    fleet.trinity("autoscale", "off", "--yes")
    assert "is off" in fleet.trinity("autoscale", "status").stdout
