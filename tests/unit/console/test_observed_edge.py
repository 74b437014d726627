"""An edge that the platform runs, on the screen: its traffic shows, and no slot that nobody knows is claimed."""

from __future__ import annotations

import msgspec
import pytest

from console.render.detail import replica_lines
from console.render.replica_columns import replica_columns, workload_columns
from tests.unit.console.sample import replica


@pytest.mark.parametrize("driver", ["docker", "kubernetes"])
def test_of_an_edge_that_the_platform_runs_traffic_shows_and_no_slots(driver: str) -> None:
    shown = {c.key for c in replica_columns(driver, edge=True, slots=False) if not c.hidden}
    with_slots = {c.key for c in replica_columns(driver, edge=True) if not c.hidden}
    without = {c.key for c in replica_columns(driver, edge=False) if not c.hidden}
    assert shown - without == {"ttft_p95", "rate"} and with_slots - shown == {"in_flight", "queue"}
    workloads = {c.key for c in workload_columns(driver, edge=True, slots=False) if not c.hidden}
    assert {"in_flight", "queued"} <= workloads and not {"slots", "routes"} & workloads


def test_a_replica_behind_it_has_ttft_and_requests_and_no_word_on_slots() -> None:
    view = msgspec.structs.replace(replica(), edge=None)

    def text(**known: bool) -> str:
        lines = replica_lines(view, requests=(), events=(), logs=(), now=0.0, width=80, **known)
        return "\n".join("".join(words for words, _ in line) for line in lines)

    observed = text(edge_slots=False)
    assert "TTFT" in observed and "Requests (0 newest)" in observed
    assert "has no slot" not in observed and "has no slot" in text()
