"""The edge without a daemon: replicas found by DNS, and requests treated as the local edge treats them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from backend.edge.join import Joiner
from backend.edge.records import EndRecord, FirstRecord
from tests.integration.discovery_rig import Rig, command, edge_yaml, rig
from tests.integration.edge_bench import client, until

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"


async def stream(http: httpx.AsyncClient, url: str) -> str:
    """A streamed answer that waits in its middle; raises where it breaks."""
    async with http.stream("POST", url, json={"stream": True, "wait": True}) as answer:
        return "".join([piece async for piece in answer.aiter_text()])


async def test_addresses_that_come_and_go_are_followed(tmp_path: Path) -> None:
    async with rig(tmp_path, 2, 3) as r, client() as http:
        await r.takes(http, A, B)
        await r.add(4)
        await r.takes(http, A, B, C)
        r.names.addresses.remove(B)
        await r.takes(http, A, C)
        r.names.silent = True
        r.replicas[A].die()
        await r.takes(http, C)


async def test_a_stream_leaves_the_same_rows_as_at_the_local_edge(tmp_path: Path) -> None:
    async with rig(tmp_path, 2) as r, client() as http:
        await r.takes(http, A)
        r.replicas[A].go.set()
        answer = await http.post(r.url, json={"stream": True}, headers={"x-request-id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1" and answer.headers["x-trinity-replica"] == A

        def mine() -> list[FirstRecord | EndRecord]:
            return [record for record in r.records() if record.id == "mine-1"]

        await until(lambda: len(mine()) == 2, what="both records")
        joiner = Joiner("cluster", lambda workload, slot: None)
        records = sorted(mine(), key=lambda record: isinstance(record, EndRecord))
        rows = [joiner.first(x) if isinstance(x, FirstRecord) else joiner.end(x) for x in records]
        attempt, request = rows
        assert (attempt.workload, attempt.replica, attempt.attempt) == ("llm", A, 1)
        assert (request.workload, request.replica, request.status, request.outcome) == ("llm", A, 200, "ok")
        assert request.ttft_s is not None and request.total_s is not None and request.retries == 0


async def test_a_dying_replica_loses_no_request_that_had_no_byte(tmp_path: Path) -> None:
    async with rig(tmp_path, 2, 3) as r, client() as http:
        await r.takes(http, A, B)
        asked = [asyncio.create_task(http.post(r.url, json={"wait": True})) for _ in range(8)]
        await until(lambda: r.replicas[A].waiting + r.replicas[B].waiting == 8, what="all requests waiting")
        assert r.replicas[A].waiting == 4, "the least loaded is chosen"
        r.replicas[A].die()
        r.replicas[B].go.set()
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200] * 8
        assert {answer.headers["x-trinity-replica"] for answer in answers} == {B}
        await until(lambda: sum(isinstance(x, EndRecord) and x.retries == 1 for x in r.records()) == 4, what="retries")


async def test_a_replica_that_says_404_finishes_and_gets_nothing_new(tmp_path: Path) -> None:
    async with rig(tmp_path, 2) as r, client() as http:
        await r.takes(http, A)
        running = asyncio.create_task(stream(http, r.url))
        await until(lambda: r.replicas[A].waiting == 1, what="the stream")
        await r.add(3)
        await r.takes(http, A, B)
        r.replicas[A].health = 404
        await r.takes(http, B)
        r.replicas[A].go.set()
        assert "[DONE]" in await running


async def test_a_request_that_loses_two_replicas_is_not_tried_on_a_third(tmp_path: Path) -> None:
    async with rig(tmp_path, 2, 3, 4) as r, client() as http:
        await r.takes(http, A, B, C)
        asked = asyncio.create_task(http.post(r.url, json={"wait": True}))
        for _ in range(2):
            await until(lambda: any(x.waiting for x in r.replicas.values()), what="an attempt")
            await asyncio.sleep(0.02)  # a replica that dies within 5 ms was dying already
            victim = next(x for x in r.replicas.values() if x.waiting)
            victim.waiting = 0
            victim.die()
        answer = await asked
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "request_kills_replicas"


async def test_no_replica_at_all_is_an_error_in_the_api_s_shape(tmp_path: Path) -> None:
    async with rig(tmp_path, more="max_queue: 1") as r, client() as http:
        answer = await http.post(r.url, json={}, headers={"x-request-id": "x"})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "no_replica" and answer.json()["error"]["request_id"] == "x"
        assert (await http.get(r.at("health", "/health/ready"))).status_code == 200


async def test_keys_health_metrics_and_a_soft_stop(tmp_path: Path) -> None:
    secrets = {"TRINITY_API_KEY": "sk-of-mine", "TRINITY_STATS_PASSWORD": "page"}
    async with rig(tmp_path, 2, **secrets) as r, client() as http:
        assert (await http.post(r.url, json={})).status_code == 401
        http.headers["authorization"] = "Bearer sk-of-mine"
        await r.takes(http, A)
        assert (await http.get(r.at("health", "/health/live"), headers={"authorization": ""})).status_code == 200
        metrics = await http.get(r.at("metrics", "/metrics"))
        assert 'haproxy_backend_active_servers{proxy="llm"} 1' in metrics.text
        assert (await http.get(r.at("stats", "/"))).status_code == 401
        assert (await http.get(r.at("stats", "/"), auth=("trinity", "page"))).status_code == 200
        for path in tmp_path.rglob("haproxy.cfg"):
            assert "sk-of-mine" not in path.read_text() and path.stat().st_mode & 0o077 == 0
        running = asyncio.create_task(stream(http, r.url))
        await until(lambda: r.replicas[A].waiting == 1, what="the stream")
        r.process.send_signal(signal.SIGUSR1)
        r.replicas[A].go.set()
        assert "[DONE]" in await running
        await http.aclose()
        assert await asyncio.wait_for(r.process.wait(), 60) == 0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("routes: [/v1]", "routes: [v1]", "routes are paths"),
        ("max_replicas: 4", "max_replicas: 0", "max_replicas is 1 to 1000"),
        ("trinity: 1", "trinity: 2", "allowed: 1"),
        ("dns:", "dnsname:", "Did you mean `dns`?"),
        ("llm.test", "'no such name'", "Correct the names and routes there"),
        ("listen: 127.0.0.1", "listen: 0.0.0.0", "Set TRINITY_API_KEY"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_exit_code_64(before: str, after: str, words: str, tmp_path: Path) -> None:
    made = Rig(tmp_path)
    text = edge_yaml(made, 53, "")
    assert before in text
    (tmp_path / "edge.yaml").write_text(text.replace(before, after))
    environment = {**os.environ, "TRINITY_API_KEY": ""}
    done = subprocess.run(command(made), capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 64 and words in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
