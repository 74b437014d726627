"""Embedding replicas that are pods, reached through the API server only: a pod that dies costs no request, and
`trinity exec` and `trinity expose` do there what they do on every driver.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.contract.words import RequestOutcome
from backend.load import LoadSpec
from tests.e2e.background_load import BackgroundLoad
from tests.e2e.embedding_cluster import embedding_cluster
from tests.e2e.harness import wait_for
from tests.e2e.light_cluster import LightCluster


@pytest.fixture(scope="module")
def pods() -> Iterator[LightCluster]:
    with embedding_cluster("forward", replicas=2) as fleet:
        yield fleet


def names(fleet: LightCluster) -> list[str]:
    """Of its living pods."""
    return sorted(p["metadata"]["name"] for p in fleet.pods() if "deletionTimestamp" not in p["metadata"])


def test_a_killed_pod_behind_forwards_costs_no_request(pods: LightCluster) -> None:
    before = names(pods)
    spec = LoadSpec(
        url=pods.url, workload="embedding", kind="embeddings", golden=True, dimensions=384, rate=20.0, deadline_s=20.0
    )
    load = BackgroundLoad(spec)
    wait_for(lambda: len(load.rows) >= 40, 30.0, "answers before the kill")
    pods.trinity("kill", before[0], "--yes")
    wait_for(lambda: before[0] not in names(pods), 10.0, "the pod's end")
    pods.until_ready(2, "embedding", 30.0)
    seen = len(load.rows)
    wait_for(lambda: len(load.rows) >= seen + 40, 30.0, "answers after it")
    summary = load.finish()
    print(f"\n{summary.total} embeddings, {summary.terminations}, p99 {summary.latency.p99_s} s")
    assert (summary.failed, summary.wrong, summary.shed) == (0, 0, 0), summary.terminations
    assert {row.outcome for row in load.rows} == {RequestOutcome.OK}
