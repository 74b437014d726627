"""A fleet's life without an engine: two starters, dead keepers, workloads that come and go. Each test has its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from contextlib import aclosing

import psutil
import pytest

from backend.control_client import ControlClient
from tests.e2e.harness import PATIENCE_S, RealFleet, is_alive, wait_for
from tests.e2e.light_fleet import WEB, LightFleet, light_fleet


def test_two_ups_at_once_make_one_fleet() -> None:
    with LightFleet() as fleet:
        both = [fleet.start("up", stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        said = [process.communicate(timeout=240) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        # The one that found the state directory held may still be on its way out.
        wait_for(lambda: len(daemons(fleet)) == 1, PATIENCE_S, "one daemon")
        assert len(fleet.pids()) == 2


def daemons(fleet: RealFleet) -> list[int]:
    found = []
    for process in fleet.processes():
        with contextlib.suppress(psutil.Error):
            found += [process.pid] if "backend.daemon" in process.cmdline() else []
    return found


STARTER = """\
import sys, time
from pathlib import Path
from backend.config.paths import StatePaths
from backend.daemon_start import ensure_daemon
ensure_daemon(StatePaths(Path(sys.argv[1])))
print("up", flush=True)
time.sleep(600)
"""


def test_down_while_the_program_that_started_the_daemon_lives_on() -> None:
    """As with a console in another terminal, whose child the daemon is."""
    with LightFleet() as fleet:
        argv = [sys.executable, "-c", STARTER, str(fleet.state)]
        with subprocess.Popen(argv, env=fleet.env, cwd=fleet.root, stdout=subprocess.PIPE, text=True) as starter:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "up\n"
            done = fleet.trinity("down")
            starter.kill()
        assert "killing" not in done.stderr
        fleet.assert_nothing_runs()


def test_down_after_the_daemon_was_killed_leaves_no_process() -> None:
    with light_fleet() as fleet:
        fleet.kill_daemon()
        assert len(fleet.processes()) >= 4
        done = fleet.trinity("down")
        assert "Stopped without a daemon: edge, web-0, web-1." in done.stderr
        fleet.assert_nothing_runs()


def test_down_with_a_daemon_that_hangs_leaves_no_process() -> None:
    with light_fleet() as fleet:
        os.kill(fleet.daemon_pid(), signal.SIGSTOP)
        done = fleet.trinity("down")
        assert "does not answer in time" in done.stderr
        fleet.assert_nothing_runs()


def test_a_killed_shim_is_replaced_and_leaves_no_orphan() -> None:
    with light_fleet() as fleet:
        victim = next(view.status for view in fleet.snapshot().replicas if view.status.name == "web-0")
        assert victim.shim_pid is not None
        assert victim.pid is not None
        os.kill(victim.shim_pid, signal.SIGKILL)

        def back() -> bool:
            views = {view.status.name: view.status for view in fleet.snapshot().replicas}
            now = views.get("web-0")
            return now is not None and now.pid not in (None, victim.pid) and fleet.snapshot().health == "ok"

        wait_for(back, 60.0, "web-0 under a new shim")
        assert not is_alive(victim.pid), "the program ends with its shim: nobody would watch it"
        lives = fleet.ask(lives_in_the_log)
        assert lives == sorted(set(lives)), "what it wrote before and after is told apart"
        assert len(lives) == 2
        fleet.trinity("down")
        fleet.assert_nothing_runs()


async def lives_in_the_log(client: ControlClient) -> list[int]:
    """The lives of web-0 in its log, as they come, until two are seen."""
    lives: list[int] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(client.log_chunks(["web-0"], lines=5_000)) as batches:
        async for batch in batches:
            lives += [chunk.incarnation for chunk in batch if chunk.incarnation not in lives[-1:]]
            if len(lives) >= 2:
                break
    return lives


def haproxies(fleet: RealFleet) -> set[int]:
    found = set()
    for process in fleet.processes():
        with contextlib.suppress(psutil.Error):
            found |= {process.pid} if process.name() == "haproxy" else set()
    return found


def test_a_killed_edge_shim_is_replaced() -> None:
    with light_fleet() as fleet:
        shim = next(p for p in fleet.processes() if any(word.endswith("edge.json.spec") for word in p.cmdline()))
        before = haproxies(fleet)
        shim.kill()

        def another() -> bool:
            now = haproxies(fleet)
            return bool(now) and not now & before and fleet.snapshot().health == "ok"

        wait_for(another, PATIENCE_S, "a new edge")
        done = subprocess.run(["curl", "-sS", f"{fleet.url}/web/"], capture_output=True, text=True)
        assert done.stdout == "hello"
        fleet.trinity("down")
        fleet.assert_nothing_runs()


# -- any command as a workload

OTHER = f"""\
  other:
    command: [{sys.executable}, -m, http.server, "{{port}}", --bind, 127.0.0.1]
    routes: [/other]
    probes: {{readiness: {{http: /, period: 250ms}}}}
"""


def get(fleet: RealFleet, path: str) -> int:
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", fleet.url + path]
    return int(subprocess.run(argv, capture_output=True, text=True).stdout)


@pytest.mark.timeout(300)
def test_a_workload_is_applied_survives_the_daemon_and_is_removed_again() -> None:
    with light_fleet() as fleet:
        (fleet.root / "other").mkdir()
        (fleet.root / "other" / "index.html").write_text("other")
        pids = fleet.pids()
        assert fleet.trinity("apply").stdout == "Nothing to change.\n"
        fleet.write(WEB + OTHER)

        shown = fleet.trinity("apply", "--dry-run").stdout
        assert "other" in shown
        assert [w.name for w in fleet.snapshot().workloads] == ["web"], "a dry run changes nothing"
        assert get(fleet, "/other/") == 404

        assert fleet.trinity("apply").returncode == 0
        fleet.trinity("wait", "--workload", "other")
        assert (get(fleet, "/other/"), get(fleet, "/web/")) == (200, 200)
        assert pids.items() <= fleet.pids().items(), "what did not change was not restarted"
        assert fleet.trinity("apply", "--dry-run").stdout == "Nothing to change.\n"

        known = fleet.pids()
        fleet.kill_daemon()
        assert get(fleet, "/other/") == 200, "no daemon is on the path of a request"
        (fleet.root / "trinity.yaml").rename(fleet.root / "elsewhere.yaml")
        fleet.up()
        assert fleet.pids() == known
        assert sorted(w.name for w in fleet.snapshot().workloads) == ["other", "web"]

        fleet.write(WEB)
        assert "other" in fleet.trinity("apply", "--dry-run").stdout
        fleet.trinity("apply")
        wait_for(lambda: set(fleet.pids()) == {"web-0", "web-1"}, 60.0, "removal of other")
        wait_for(lambda: (get(fleet, "/other/"), get(fleet, "/web/")) == (404, 200), PATIENCE_S, "its route gone")
