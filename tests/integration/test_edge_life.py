"""The edge's own life: killed, reloaded, drained, adopted by another daemon; and what its log keeps meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import httpx
import psutil
import pytest

from backend.contract.words import SlotState
from backend.edge import tail
from tests.integration.edge_bench import Bench, bench, client, free_port, until, workload
from tests.integration.test_edge_failover import Tally, load


async def test_killed_haproxy_serves_again_with_its_slots_and_refuses_nobody() -> None:
    async with bench() as b, client() as http:
        await b.up(3)
        await b.edge.drain("llm", "llm-2")
        await until(lambda: len(b.edge.observe().servers) == 3, what="observed")
        pid = b.edge.observe().pid
        host, port = b.edge.public_url.removeprefix("http://").split(":")
        refused = 0
        stop = asyncio.Event()

        async def knock() -> None:
            nonlocal refused
            while not stop.is_set():
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                except ConnectionRefusedError:
                    refused += 1
                await asyncio.sleep(0.002)

        knocker = asyncio.create_task(knock())
        streams = [asyncio.create_task(http.post(b.url, json={"stream": True, "hold": b.held})) for _ in range(4)]
        await until(lambda: b.edge.reader.open_count == 4, what="streams begun")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        answer = await http.post(b.url, json={})
        assert answer.status_code == 200
        stop.set()
        await knocker
        assert refused == 0
        for stream in streams:
            with pytest.raises(httpx.TransportError):
                await stream
        await until(lambda: b.edge.observe().up and b.edge.observe().pid != pid, what="observed again")
        states = {s.replica: s.state for s in b.edge.observe().servers}
        assert states == {"llm-0": SlotState.READY, "llm-1": SlotState.READY, "llm-2": SlotState.DRAIN}
        assert {(await http.post(b.url, json={})).json()["replica"] for _ in range(6)} == {"llm-0", "llm-1"}
        lost = lambda: [r for r in b.sink.requests() if r.termination == "edge_lost"]  # noqa: E731
        await until(lambda: len(lost()) == 4, what="rows of what was lost")
        assert all(r.outcome == "failed" and r.stream and r.ttft_s is not None and r.total_s is None for r in lost())
        assert len(b.sink.events("edge.died")) == 1
        await until(lambda: bool(b.sink.events("edge.respawned")), what="said so")
        back = b.sink.events("edge.respawned")[0]
        assert back.attributes["in_flight_lost"] == 4
        assert isinstance(back.attributes["gap_s"], float)


async def test_drained_slot_is_ready_again_after_a_respawn_and_an_undrain() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        await b.edge.drain("llm", "llm-1")
        await until(lambda: b.edge.observe().up, what="observed")
        pid = b.edge.observe().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: b.edge.observe().up and b.edge.observe().pid != pid, what="respawned")
        await b.edge.undrain("llm", "llm-1")
        assert {(await http.post(b.url, json={})).json()["replica"] for _ in range(4)} == {"llm-0", "llm-1"}


async def test_reload_under_load_fails_and_truncates_nothing() -> None:
    async with bench() as b, client() as http:
        await b.up(2, slots=8)
        tally, stop = Tally(), asyncio.Event()
        loader = asyncio.create_task(load(b, http, tally, stop, per_s=120))
        await until(lambda: tally.ok > 20, what="load")
        for number in range(4):
            b.specs = [workload("llm"), *(workload(f"extra-{n}", routes=(f"/extra-{n}",)) for n in range(number + 1))]
            assert await b.edge.configure(b.specs) is True
            assert await b.edge.configure(b.specs) is False
            done = tally.ok
            await until(lambda done=done: tally.ok > done + 30, what="served after a reload")
        stop.set()
        await loader
        assert (tally.failed, tally.truncated, tally.silent) == ([], 0, [])
        await until(lambda: len(b.sink.requests()) == tally.ok, what="a row per request")
        assert len({r.request_id for r in b.sink.requests()}) == tally.ok
        assert len(b.sink.events("edge.reloaded")) == 5
        await until(lambda: b.edge.reader.open_count == 0, what="nothing left open")


async def test_drain_counts_requests_on_a_replaced_process_too() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        running = asyncio.create_task(http.post(b.url, json={"stream": True, "hold": b.held}))
        await until(lambda: b.edge.reader.open_count == 1, what="stream begun")
        b.specs.append(workload("other", routes=("/other",)))
        assert await b.edge.configure(b.specs)
        await b.edge.drain("llm", "llm-0")
        assert await b.edge.in_flight("llm", "llm-0") == 1
        # A new daemon has no line to the replaced process; it counts its connections.
        await b.edge.close()
        b.edge = b.new_edge()
        await b.edge.start()
        assert b.edge.adopted
        assert await b.edge.in_flight("llm", "llm-0") == 1
        b.release()
        assert (await running).text.endswith("data: [DONE]\n\n")
        await emptied(b, "llm-0")


async def emptied(b: Bench, replica: str) -> None:
    """It has no request any more; an idle connection to it is kept for two seconds and may count."""
    async with asyncio.timeout(60):
        while await b.edge.in_flight("llm", replica):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)


async def test_drained_replica_gets_nothing_new_and_keeps_what_it_has() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        wish = {"stream": True, "hold": b.held}
        streams = [asyncio.create_task(http.post(b.url, json=wish)) for _ in range(4)]
        await until(lambda: b.edge.reader.open_count == 4, what="streams begun")
        await b.edge.drain("llm", "llm-0")
        await b.edge.drain("llm", "llm-0")
        await b.edge.drain("llm", "nobody")
        assert {(await http.post(b.url, json={})).json()["replica"] for _ in range(6)} == {"llm-1"}
        b.release()
        for stream in streams:
            assert (await stream).text.endswith("data: [DONE]\n\n")
        await emptied(b, "llm-0")
        await b.edge.clear("llm", "llm-0")
        await b.edge.clear("llm", "llm-0")
        assert [s.replica for s in b.edge.slots()] == ["llm-1"]


async def test_requests_that_end_without_a_daemon_are_read_by_the_next_one() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        running = asyncio.create_task(http.post(b.url, json={"stream": True, "hold": b.held}))
        await until(lambda: b.edge.reader.open_count == 1, what="stream begun")
        pids = {e.process.pid for e in b.engines.values()}
        url, haproxy = b.url, b.edge.observe().pid
        await b.edge.close()
        b.release()
        assert (await http.post(url, json={}, headers={"x-request-id": "orphan"})).status_code == 200
        assert (await running).status_code == 200
        b.edge = b.new_edge()
        await b.edge.start()
        assert b.edge.adopted and b.edge.public_url in url
        await until(lambda: len(b.sink.requests()) == 2, what="rows")
        assert {r.outcome for r in b.sink.requests()} == {"ok"}
        streamed = next(r for r in b.sink.requests() if r.stream)
        assert streamed.ttft_s is not None and streamed.replica is not None
        assert [s.replica for s in b.edge.slots()] == ["llm-0", "llm-1"]
        assert await b.edge.configure(b.specs) is False
        await until(lambda: b.edge.observe().up, what="observed")
        assert b.edge.observe().pid == haproxy, "an adopted edge is not restarted"
        assert all(psutil.pid_exists(pid) for pid in pids)


async def test_edge_that_died_without_a_daemon_leaves_edge_lost_rows() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        running = asyncio.create_task(http.post(b.url, json={"stream": True, "hold": b.held}))
        await until(lambda: b.edge.reader.open_count == 1, what="stream begun")
        await until(lambda: b.edge.observe().up and b.edge.observe().starts == 2, what="observed")
        pid = b.edge.observe().pid
        await b.edge.close()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(httpx.TransportError):
            await running
        b.edge = b.new_edge()
        await b.edge.start()
        assert b.edge.adopted
        await until(lambda: bool(b.sink.requests()), what="row")
        assert b.sink.requests()[0].termination == "edge_lost"
        await until(lambda: len(b.sink.events("edge.respawned")) == 1, what="said so")
        assert (await http.post(b.url, json={})).status_code == 200


async def test_other_port_means_a_new_edge_and_stop_frees_everything() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        await b.edge.close()
        first = b.edge.public_url
        b.edge = b.new_edge(port=free_port(), auto_port=False)
        await b.edge.start()
        assert not b.edge.adopted and b.edge.public_url != first
        with pytest.raises(httpx.ConnectError):
            await http.get(first)
        await b.edge.stop()
        with pytest.raises(httpx.ConnectError):
            await http.get(b.edge.public_url)
        assert not [
            p for p in psutil.process_iter(["cmdline"]) if str(b.paths.edge_dir) in " ".join(p.info["cmdline"] or [])
        ]


async def test_refilled_slot_and_wrong_hands_are_mended() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        engine = await type(b.engines["llm-0"]).start("llm-0b")
        before = b.engines.pop("llm-0")
        b.engines["llm-0"] = engine
        await b.fill("llm-0")
        await before.end()
        assert (await http.post(b.url, json={})).json()["replica"] == "llm-0b"
        assert len(b.edge.slots()) == 1
        await until(lambda: not b.edge._verify, what="compared with the table")
        await _wreck(b)
        assert (await http.post(b.url, json={})).status_code == 503
        b.edge._verify = True  # what a new process sets
        await until(lambda: bool(b.sink.events("edge.mended")), what="mended")
        assert (await http.post(b.url, json={})).status_code == 200


async def _wreck(b: Bench) -> None:
    await b.edge._api.tell("set server llm:0/s state maint")


@pytest.mark.timeout(300)
async def test_log_that_was_read_gives_its_space_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_PUNCH_EVERY", 256 * 1024)
    async with bench() as b, client() as http:
        await b.up(2, slots=32)
        sent = 0
        path = sorted(b.paths.edge_dir.glob("access-*.log"))[-1]
        text = "/v1/" + "x" * 480
        while path.stat().st_size < 1024 * 1024:
            await asyncio.gather(*(http.post(b.edge.public_url + text, json={}) for _ in range(64)))
            sent += 64
        await until(lambda: len(b.sink.requests()) == sent, what="rows")
        await until(lambda: path.stat().st_blocks * 512 < 512 * 1024, what="space given back")
        assert b.edge.reader.unreadable == 0
        others = [p for p in b.paths.edge_dir.glob("access-*.log") if p != path]
        assert others == [], "finished logs are deleted"
