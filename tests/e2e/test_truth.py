"""The ledger tells the truth about requests: rows, queue waits, first bytes, tokens, exported numbers."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.contract.rows import RequestRow
from backend.quantiles import summarize
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.harness import PATIENCE_S, RealFleet, wait_for

pytestmark = pytest.mark.alone

COUNT = 60
EXPORTED = (
    "trinity_total_requests",
    "trinity_total_tokens",
    "trinity_total_errors",
    "trinity_cpu_usage_percent",
    "trinity_memory_usage_percent",
    "trinity_queue_depth",
    "trinity_active_requests",
    "trinity_instance_count",
    "trinity_healthy_instances",
    "trinity_throughput_tokens_per_second",
    "trinity_loop_lag_seconds",
    "trinity_request_ttft_seconds_bucket",
)


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE_S)


def test_metrics_parse_and_agree_with_the_ledger(fleet: RealFleet) -> None:
    def agree() -> bool:
        text = get(f"{fleet.metrics_url}/metrics").text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        rows = fleet.requests(vantage="edge")
        view = fleet.snapshot().point.ttft
        exact = summarize([r.ttft_s for r in rows if r.ttft_s is not None and r.status == 200])
        shown = {s.labels["quantile"]: s.value for s in families["trinity_ttft_seconds"].samples if s.labels}
        total = next(s.value for s in families["trinity_total_requests"].samples)
        return (
            view.count == exact.count
            and shown["0.5"] == pytest.approx(exact.p50_s)
            and shown["0.99"] == pytest.approx(exact.p99_s)
            and total == len(rows)
        )

    # The first requests of this fleet, and few: the ledger has all of them, the exporter those of the last minute.
    BackgroundLoad(chat_load(fleet, count=8, stream_fraction=1.0)).wait()
    wait_for(agree, 60.0, "agreement of /metrics and ledger within the window")
    names = get(f"{fleet.metrics_url}/metrics").text
    for name in EXPORTED:
        assert f"\n{name}" in names, name


@pytest.mark.timeout(600)
def test_every_request_has_its_row_with_queue_wait_and_true_first_byte(fleet: RealFleet) -> None:
    slots = sum(view.slots * view.ready for view in fleet.snapshot().workloads)
    load = BackgroundLoad(
        chat_load(fleet, count=COUNT, rate=40.0, max_tokens=16, prompt_tokens_max=64, deadline_s=400.0)
    )
    summary = load.wait()
    assert (summary.total, summary.failed, summary.wrong) == (COUNT, 0, 0)
    assert summary.max_in_flight > slots

    ids = {row.request_id for row in load.rows}
    wait_for(lambda: ids <= {row.request_id for row in fleet.requests(vantage="edge")}, 60.0, "all rows")
    rows: dict[str, RequestRow] = {r.request_id: r for r in fleet.requests(vantage="edge") if r.request_id in ids}
    differences = []
    for client in load.rows:
        edge = rows[client.request_id]
        assert (edge.status, edge.outcome, edge.termination) == (200, "ok", "--")
        assert edge.replica in {"llm-0", "llm-1"}
        assert edge.stream == client.stream
        assert (edge.ttft_s is None) == (not client.stream)
        assert edge.total_s is not None
        assert edge.bytes_out
        if edge.ttft_s is not None and client.ttft_s is not None:
            differences.append(abs(edge.ttft_s - client.ttft_s))
    waited = [row for row in rows.values() if (row.queue_s or 0.0) > 0.0]
    assert len(waited) >= COUNT - slots - 4, "more requests than slots were queued at the edge"
    differences.sort()
    print(f"\nTTFT edge against client: p50 {differences[len(differences) // 2] * 1000:.2f} ms, n {len(differences)}")
    assert differences[len(differences) // 2] <= 0.05, "5 ms on an idle machine; a queue's wait is far more"


def test_status_dashboard_and_health_answer(fleet: RealFleet) -> None:
    assert get(f"{fleet.metrics_url}/status").json()["fleet"] == "local"
    assert get(f"{fleet.metrics_url}/dashboard").status_code == 200
    for path in ("live", "ready", "startup"):
        assert get(f"{fleet.health_url}/health/{path}").status_code == 200


def test_tokens_are_counted_by_replica(fleet: RealFleet) -> None:
    rows = fleet.ask(lambda client: client.rows("samples", limit=20_000, where={"metric": "engine_tokens_out_total"}))
    assert {row.replica for row in rows} >= {"llm-0", "llm-1"}
    assert fleet.trinity("query", "SELECT count(*) AS n FROM requests WHERE vantage = 'edge'").stdout.split()[-1] != "0"
