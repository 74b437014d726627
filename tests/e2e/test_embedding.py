"""The default fleet: two llm and three embedding replicas behind one edge; right answers, a kill loses none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backend.contract.words import RequestOutcome
from backend.load import LoadSpec
from tests.e2e.background_load import BackgroundLoad
from tests.e2e.harness import PATIENCE_S, RealFleet, real_fleet, wait_for


@pytest.fixture(scope="module")
def default_fleet() -> Iterator[RealFleet]:
    with real_fleet(yaml=None) as running:
        yield running


def embeddings(fleet: RealFleet, **changes: Any) -> LoadSpec:
    settings: dict[str, Any] = {"kind": "embeddings", "golden": True, "dimensions": 384, "deadline_s": 100.0, "seed": 3}
    return LoadSpec(url=fleet.url, workload="embedding", **(settings | changes))


@pytest.mark.timeout(300)
def test_both_workloads_are_ready_and_answer_through_the_edge(default_fleet: RealFleet) -> None:
    views = {view.name: view for view in default_fleet.snapshot().workloads}
    assert {name: (view.ready, view.total) for name, view in views.items()} == {"llm": (2, 2), "embedding": (3, 3)}
    with httpx.Client(base_url=default_fleet.url, timeout=PATIENCE_S) as http:
        chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        assert http.post("/v1/chat/completions", json=chat).json()["choices"]
        openai = http.post("/v1/embeddings", json={"input": ["one", "two"]}, headers={"X-Request-ID": "emb-1"})
        assert openai.headers["x-request-id"] == "emb-1"
        own = http.post("/embed", json={"texts": ["one", "two"]}).json()
        assert [item["embedding"] for item in openai.json()["data"]] == own["embeddings"]
        refused = http.post("/v1/embeddings", json={"input": [[1, 2]]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "tokens_refused")

    def scraped() -> bool:
        where = {"workload": "embedding", "metric": "engine_progress_total"}
        rows = default_fleet.ask(lambda client: client.rows("samples", limit=1_000, where=where))
        return any(row.value >= 1.0 for row in rows)

    wait_for(scraped, 60.0, "its engines' progress in the samples")


@pytest.mark.timeout(300)
def test_a_killed_embedding_replica_loses_no_request(default_fleet: RealFleet) -> None:
    load = BackgroundLoad(embeddings(default_fleet, rate=20.0))
    wait_for(lambda: len(load.rows) >= 60, 60.0, "answers before the kill")
    pid = default_fleet.pids()["embedding-1"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: default_fleet.pids()["embedding-1"] not in (pid, None), 60.0, "a new process")
    default_fleet.until_ready(3, "embedding")
    seen = len(load.rows)
    wait_for(lambda: len(load.rows) >= seen + 40, 60.0, "answers after it")
    summary = load.finish()
    print(
        f"\n{summary.total} embeddings, {summary.terminations}, p99 {summary.latency.p99_s} s, lag {summary.lag.p99_s}"
    )
    assert (summary.failed, summary.wrong, summary.shed) == (0, 0, 0), summary.terminations
    assert {row.outcome for row in load.rows} == {RequestOutcome.OK}
    ids = {row.request_id for row in load.rows}
    wait_for(lambda: ids <= {row.request_id for row in default_fleet.requests(vantage="edge")}, 60.0, "their rows")
