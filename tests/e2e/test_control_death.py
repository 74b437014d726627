"""kill -9 of what controls and carries: daemon, HAProxy, console. And `trinity down`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.e2e.background_load import BackgroundLoad, carried, chat_load
from tests.e2e.deaths import Knocker, haproxy_pid, streams_begun
from tests.e2e.harness import PATIENCE_S, PORTS, RealFleet, real_fleet, wait_for

pytestmark = pytest.mark.alone
STREAMS = {"max_tokens": 96, "stream_fraction": 1.0}


@pytest.mark.timeout(600)
def test_killed_daemon_fails_no_request_and_the_next_adopts(fleet: RealFleet) -> None:
    fleet.trinity("scale", "llm", "3")
    fleet.until_ready(3)
    pids = fleet.pids()
    fleet.trinity("note", "before the kill")
    load = BackgroundLoad(chat_load(fleet, rate=carried(fleet, 6.0)))
    wait_for(lambda: len(load.rows) >= 10, 60.0, "answers")
    fleet.kill_daemon()
    known = len(load.rows)
    wait_for(lambda: len(load.rows) >= known + 10, 60.0, "answers while no daemon runs")
    alone = {row.request_id for row in load.rows[known : known + 10]}
    began = time.monotonic()
    fleet.trinity("up", "--no-wait")
    adopted = fleet.pids()
    took = time.monotonic() - began
    summary = load.finish()
    print(f"\nadopted after {took:.2f} s (the command's own start included); {summary.total} requests")
    assert (summary.failed, summary.shed, summary.wrong) == (0, 0, 0), summary.terminations
    assert adopted == pids, "the same processes"
    view = fleet.until_ready(3).workloads[0]
    assert view.wanted == 3, "what was asked for, not the default"
    assert any(event.message == "before the kill" for event in fleet.events())
    started = [e for e in fleet.events() if e.kind == "replica.adopted"]
    assert len(started) >= 3

    def all_rows() -> bool:
        return alone <= {row.request_id for row in fleet.requests(vantage="edge")}

    wait_for(all_rows, 60.0, "ledger rows of requests that ended while no daemon ran")


@pytest.mark.timeout(600)
def test_killed_haproxy_serves_again_and_refuses_nobody(fleet: RealFleet) -> None:
    fleet.trinity("scale", "llm", "2")
    before = fleet.until_ready(2)
    slots = {(r.edge.slot, r.status.name) for r in before.replicas if r.edge}
    load = BackgroundLoad(chat_load(fleet, rate=carried(fleet, 3.0, **STREAMS) + 0.5, **STREAMS))
    wait_for(lambda: streams_begun(fleet) >= 2, 60.0, "streams that have begun")
    knocker = Knocker(fleet)
    pid = haproxy_pid(fleet)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    answer = httpx.get(f"{fleet.url}/v1/models", timeout=PATIENCE_S)
    gap = time.monotonic() - killed
    refused = knocker.finish()
    summary = load.finish()
    print(f"\nserves again after {gap * 1000:.0f} ms; {summary.total} requests, {summary.terminations}")
    assert answer.status_code == 200
    assert gap <= 10.0, "one second is promised, and measured by the benchmark of failovers"
    assert not refused
    after = fleet.until_ready(2)
    assert {(r.edge.slot, r.status.name) for r in after.replicas if r.edge} == slots
    assert set(summary.terminations) <= {"truncated", "closed", "reset"}, "broken visibly, never a clean end"
    assert summary.terminations.get("truncated", 0) >= 1
    lost = {row.request_id for row in load.rows if row.termination == "truncated"}

    def recorded() -> bool:
        rows = {row.request_id: row for row in fleet.requests(vantage="edge") if row.request_id in lost}
        return lost == rows.keys() and all(row.termination == "edge_lost" for row in rows.values())

    wait_for(recorded, 60.0, "edge_lost rows of requests it had seen begin")


def test_killed_console_changes_nothing(fleet: RealFleet) -> None:
    import pty

    pids = fleet.pids()
    controller, terminal = pty.openpty()
    console = subprocess.Popen(
        [sys.executable, "-m", "console.cli"],
        env=fleet.env | {"TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        wait_for(lambda: fleet.snapshot().consoles >= 1, 60.0, "attached console")
        console.send_signal(signal.SIGKILL)
        console.wait(PATIENCE_S)
        wait_for(lambda: fleet.snapshot().consoles == 0, 60.0, "detached console")
    finally:
        console.kill()
        os.close(controller)
    assert fleet.pids() == pids
    assert fleet.snapshot().health == "ok"


@pytest.mark.timeout(300)
def test_down_leaves_no_process_and_no_port() -> None:
    with real_fleet() as fleet:
        assert len(fleet.processes()) >= 6
        fleet.trinity("down")
        assert fleet.processes() == []
        for name in PORTS:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", int(fleet.env[name])))


@pytest.mark.timeout(300)
def test_down_without_a_daemon_leaves_no_process() -> None:
    with real_fleet() as fleet:
        fleet.kill_daemon()
        fleet.trinity("down")
        assert fleet.processes() == []
