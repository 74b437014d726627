"""The edge with real HAProxy and tiny engines: routes, ids, refusals, rows."""

from __future__ import annotations

from tests.integration.edge_bench import bench, client, until


async def test_request_reaches_a_replica_and_becomes_a_row() -> None:
    async with bench() as b, client() as http:
        await b.up()
        answer = await http.post(b.url + "?secret=1", json={}, headers={"x-request-id": "mine-1"})
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "mine-1"
        said = answer.json()
        assert said["request_id"] == "mine-1"
        assert said["internal"] == []
        await until(lambda: bool(b.sink.requests()), what="edge row")
        row = b.sink.requests()[0]
        assert (row.request_id, row.status, row.replica, row.workload) == ("mine-1", 200, said["replica"], "llm")
        assert row.route == "/v1/completions"
        assert row.outcome == "ok"
        assert row.ttft_s is None and row.total_s is not None and row.stream is False
