"""The edge with real HAProxy and tiny engines: routes, ids, refusals, rows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backend.contract.errors import FileError, PortTaken, UsageError
from backend.contract.words import Vantage
from backend.edge.flags import explain_flags
from backend.edge.process import choose_port
from backend.edge.reader import POLL_S
from tests.integration.edge_bench import bench, client, until, workload


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


async def test_bad_request_id_is_cleaned_and_a_missing_one_is_made() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        for sent, got in ((b'a"b c', "abc"), (b"x" * 300, "x" * 128), (b"\xff\xfe", None)):
            answer = await http.post(b.url, json={}, headers={b"x-request-id": sent})
            seen = answer.headers["x-request-id"]
            assert seen == got if got else len(seen) == 36
            assert answer.json()["request_id"] == seen


async def test_answers_the_edge_makes_are_openai_shaped_and_carry_the_id() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        root = b.edge.public_url
        missing = await http.get(root + "/nowhere", headers={"x-request-id": "lost-1"})
        assert missing.status_code == 404
        assert missing.headers["x-request-id"] == "lost-1"
        assert missing.json()["error"] == {
            "message": "No workload serves this path.",
            "type": "invalid_request_error",
            "param": None,
            "code": "unknown_route",
            "request_id": "lost-1",
        }
        large = await http.post(b.url, content=b"x" * (b.settings.max_body_bytes + 1))
        assert large.status_code == 413
        assert large.json()["error"]["code"] == "request_too_large"

        await b.edge.clear("llm", "llm-0")
        none = await http.post(b.url, json={})
        assert none.status_code == 503
        assert none.headers["retry-after"] == "1"
        assert none.json()["error"]["code"] == "no_replica"
        await until(lambda: len(b.sink.requests()) == 3, what="three rows")
        assert [r.workload for r in b.sink.requests()] == ["edge", "edge", "llm"]


async def test_body_of_unknown_length_is_bounded_too() -> None:
    async with bench() as b, client() as http:
        await b.up(1)

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"y" * 32768

        # The edge answers before it read all of it; a client still writing may see the closed connection first.
        with contextlib.suppress(httpx.TransportError):
            assert (await http.post(b.url, content=pieces())).status_code == 413
        await until(lambda: bool(b.sink.requests()), what="row")
        assert b.sink.requests()[0].status == 413
        assert b.sink.requests(Vantage.ATTEMPT) == []


async def test_longest_route_wins() -> None:
    async with bench() as b, client() as http:
        b.specs = [workload("llm", routes=("/",)), workload("embedding", routes=("/v1/embeddings", "/embed"))]
        await b.up(1)
        await b.add("embedding-0", workload_name="embedding")
        root = b.edge.public_url
        assert (await http.post(root + "/v1/embeddings", json={})).json()["replica"] == "embedding-0"
        assert (await http.post(root + "/embed", json={})).json()["replica"] == "embedding-0"
        assert (await http.post(root + "/v1/chat/completions", json={})).json()["replica"] == "llm-0"


async def test_engine_503_becomes_429_and_500_passes_without_ejecting() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        busy = await http.post(b.url, json={"status": 503})
        assert busy.status_code == 429
        assert busy.headers["retry-after"] == "1"
        for status in (500, 502, 504, 400):
            for _ in range(6):
                answer = await http.post(b.url, json={"status": status})
                assert answer.status_code == status
                assert answer.json()["replica"] == "llm-0"
        assert (await http.post(b.url, json={})).status_code == 200
        await until(lambda: len(b.sink.requests()) == 26, what="rows")
        rows = b.sink.requests()
        assert all(r.retries == 0 for r in rows)
        assert rows[0].outcome == "shed"
        assert [r.outcome for r in rows].count("failed") == 18


async def test_api_key_is_required_and_never_reaches_the_replica() -> None:
    async with bench(api_key="sk-trinity") as b, client() as http:
        await b.up(1)
        assert (await http.post(b.url, json={})).status_code == 401
        wrong = await http.post(b.url, json={}, headers={"authorization": "Bearer sk-other"})
        assert wrong.status_code == 401
        assert wrong.json()["error"]["code"] == "invalid_api_key"
        right = await http.post(b.url, json={}, headers={"authorization": "Bearer sk-trinity"})
        assert right.status_code == 200
        assert right.json()["authorization"] is None
        text = (b.paths.edge_dir / "haproxy.cfg").read_text()
        assert "sk-trinity" not in text and "secret-word" not in text
        assert (b.paths.edge_dir / "haproxy.cfg").stat().st_mode & 0o777 == 0o600
        assert "<redacted>" in b.edge.config_text()


async def test_statistics_page_wants_its_password() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        assert (await http.get(b.edge.stats_url)).status_code == 401
        page = await http.get(b.edge.stats_url, auth=("trinity", "secret-word"))
        assert page.status_code == 200
        assert "llm" in page.text
        metrics = await http.get(b.edge.stats_url + "/metrics", auth=("trinity", "secret-word"))
        assert "haproxy_server_current_sessions" in metrics.text


async def test_public_listener_without_a_key_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0"):
        async with bench(host="0.0.0.0"):
            pass


async def test_taken_port_is_named_with_its_owner_and_auto_port_takes_the_next() -> None:
    with socket.socket() as blocker:
        blocker.bind(("127.0.0.1", 0))
        blocker.listen()
        port = blocker.getsockname()[1]
        async with bench(port=port, auto_port=False) as b:
            with pytest.raises(PortTaken) as raised:
                await b.edge.start()
            assert raised.value.port == port
            assert f"pid {os.getpid()}" in raised.value.owner
            b.edge = b.new_edge(auto_port=True)
            await b.edge.start()
            assert b.edge.public_url != f"http://127.0.0.1:{port}"
            async with client() as http:
                assert (await http.get(b.edge.public_url)).status_code == 404


async def test_port_taken_between_the_look_and_the_start_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as b:
        with socket.socket() as quicker:

            def choose(host: str, port: int, *, auto: bool, avoid: int = 0) -> int:
                if port == b.settings.port and quicker.getsockname()[1] == 0:
                    quicker.bind((host, port))
                    quicker.listen()
                    return port
                return choose_port(host, port, auto=auto, avoid=avoid)

            monkeypatch.setattr("backend.edge.haproxy_process.choose_port", choose)
            await b.edge.start()
            assert quicker.getsockname()[1] == b.settings.port
            async with client() as http:
                assert (await http.get(b.edge.public_url)).status_code == 404


async def test_users_lines_are_included_and_bad_ones_are_refused_with_haproxys_words(tmp_path: Path) -> None:
    lines = tmp_path / "mine.cfg"
    lines.write_text(
        "# mine\nhttp-request return status 418 if { path /teapot }\n\n"
        "backend unused\n  server x 127.0.0.1:1 disabled\n"
    )
    async with bench(snippet=str(lines)) as b, client() as http:
        await b.up(1)
        assert (await http.get(b.edge.public_url + "/teapot")).status_code == 418
        assert (await http.post(b.url, json={})).status_code == 200
        lines.write_text("http-request no-such-thing\n")
        with pytest.raises(FileError, match="no-such-thing"):
            await b.edge.configure(b.specs)
        assert (await http.get(b.edge.public_url + "/teapot")).status_code == 418


async def test_queue_wait_is_counted_when_more_arrive_than_slots() -> None:
    async with bench() as b, client() as http:
        await b.up(1, slots=2)
        running = [asyncio.create_task(http.post(b.url, json={"go": b.held})) for _ in range(6)]
        await until(lambda: [(w.in_flight, w.queued) for w in b.edge.observe().workloads] == [(2, 4)], what="a queue")
        await asyncio.sleep(0.5)  # the wait under test
        b.release()
        assert {(await answer).status_code for answer in running} == {200}
        await until(lambda: len(b.sink.requests()) == 6, what="rows")
        rows = sorted(b.sink.requests(), key=lambda row: row.queue_s or 0.0)
        served = [(row.total_s or 0.0) - (row.queue_s or 0.0) for row in rows]
        assert all(at_the_replica > 0.49 for at_the_replica in served[:2])
        assert all(row.queue_s is not None and row.queue_s > 0.49 for row in rows[2:])


async def test_ttft_equals_the_clients_clock_though_headers_leave_early() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        truth: dict[str, tuple[float, float]] = {}
        for number, delay in enumerate((0.0, 0.02, 0.1, 0.25) * 5):
            prompt = "x" * (number * 2500)
            sent = time.monotonic()
            async with http.stream("POST", b.url, json={"stream": True, "first_s": delay, "p": prompt}) as answer:
                async for _ in answer.aiter_raw():
                    truth.setdefault(answer.headers["x-request-id"], (delay, time.monotonic() - sent))
        await until(lambda: len(b.sink.requests()) == len(truth), what="rows")
        # Between what the engine waits after its headers and what a client sees, who may be late to look.
        for row in b.sink.requests():
            delay, seen = truth[row.request_id]
            assert row.stream and row.ttft_s is not None
            assert delay - 0.003 <= row.ttft_s <= seen + 0.003


async def test_slowly_sent_body_does_not_count_into_ttft() -> None:
    async with bench() as b:
        await b.up(1)
        host, port = b.edge.public_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps({"stream": True, "first_s": 0.1}).encode()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body[:5])
        await writer.drain()
        await asyncio.sleep(0.4)  # the delay under test, not a wait
        sent = time.monotonic()
        writer.write(body[5:])
        await reader.readuntil(b"\r\n\r\n")
        seen = time.monotonic() - sent
        writer.close()
        await until(lambda: bool(b.sink.requests()), what="row")
        row = b.sink.requests()[0]
        assert row.ttft_s is not None and 0.097 <= row.ttft_s <= seen + 0.003
        assert row.queue_s == 0


async def test_each_answer_soon_has_its_row_with_no_further_request() -> None:
    assert POLL_S <= 0.05, "a quarter of a second after the answer, with as much again for HAProxy and the file"
    async with bench() as b, client() as http:
        await b.up(1)
        for count in range(1, 6):
            await http.post(b.url, json={})
            await until(lambda count=count: len(b.sink.requests()) == count, what="row")


async def test_client_that_leaves_frees_the_slot_and_is_recorded() -> None:
    async with bench() as b, client() as http:
        await b.up(1, slots=1)
        leaving = asyncio.create_task(http.post(b.url, json={"go": b.held}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        leaving.cancel()
        assert (await http.post(b.url, json={})).status_code == 200
        await until(lambda: len(b.sink.requests()) == 2, what="rows")
        left = b.sink.requests()[0]
        assert left.termination.startswith("C") and left.outcome == "failed" and left.replica == "llm-0"
        assert "client" in explain_flags(left.termination)
        await until(lambda: b.edge.reader.open_count == 0, what="nothing left open")


async def test_haproxys_own_words_are_reachable() -> None:
    async with bench() as b:
        await b.up(1)
        assert "llm:0" in await b.edge.stat_text()
        assert "Total events captured" in await b.edge.errors_text()
        assert "frontend edge-public" in b.edge.config_text()
