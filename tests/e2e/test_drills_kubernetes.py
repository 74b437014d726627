"""The drill files that run on processes of this machine run on pods, unchanged, through the same edge, and cost no
request; what the platform does otherwise (it restarts by itself, under other names) is said and not hidden.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import wait_for
from tests.e2e.light_cluster import LightCluster, light_cluster
from tests.e2e.light_drill import light_drill_fleet, scenario
from tests.e2e.light_fleet import LightFleet

KILL = "fault: process.kill, target: victim, signal: KILL, respawn: held, verify: [pid_gone, port_closed]"
ROLL = "fault: workload.restart, target: pool, verify: [action_done]"
SHRINK = "fault: workload.scale, target: pool, replicas: 1, verify: [action_done]"
DRAIN = "fault: node.drain, target: victim, verify: [pid_gone, respawned]"
SLOW = "fault: net.latency, target: victim, latency: 100ms, verify: [requests_affected]"
CUT = "fault: net.cut, target: victim, after: 64B, share: 0.5, verify: [requests_affected]"
NONE_FAILED = '["failed(embed) == 0"]'


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kill's run on this machine's processes is kept."""
    return tmp_path_factory.mktemp("runs") / "local"


@pytest.fixture(scope="module")
def on_processes(kept: Path) -> dict[str, Any]:
    """The report of the kill on this machine's processes."""
    with light_drill_fleet() as local:
        report = run(local, KILL, "kill")
        shutil.copytree(local.paths.drills_dir / report["run_id"], kept)
        return report


@pytest.fixture(scope="module")
def cluster(on_processes: dict[str, Any]) -> Iterator[LightCluster]:
    with light_cluster() as fleet:
        yield fleet


def run(fleet: LightFleet, inject: str, name: str, *, expect: str = NONE_FAILED, hold: str = "1s") -> dict[str, Any]:
    """Run a drill; its report."""
    fleet.until_ready(2, "toy")
    file = fleet.root / f"{name}.yaml"
    file.write_text(scenario(inject, name=name, expect=expect, hold=hold))
    out = fleet.root / f"{name}-report"
    done = fleet.trinity("drill", "run", str(file), "--out", str(out), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((out / "report.json").read_text()))


def nodes_of(fleet: LightCluster) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in fleet.pods() if "deletionTimestamp" not in pod["metadata"]}


def test_a_kill_passes_on_both_drivers_and_its_reports_are_alike(
    cluster: LightCluster, on_processes: dict[str, Any], kept: Path
) -> None:
    on_pods = run(cluster, KILL, "kill")
    planned = cluster.trinity("drill", "run", str(cluster.root / "kill.yaml"), "--dry-run").stdout
    assert "respawn natural: light starts what dies again by itself" in planned
    for report in (on_pods, on_processes):
        assert report["outcome"] == "pass"
    assert on_pods.keys() == on_processes.keys()
    assert on_pods["scenario_digest"] == on_processes["scenario_digest"], "it is the same file"
    assert (on_pods["driver"], on_processes["driver"]) == ("kubernetes", "local")
    assert [phase["name"] for phase in on_pods["phases"]] == [phase["name"] for phase in on_processes["phases"]]
    for report in (on_pods, on_processes):
        fault = report["faults"][0]["stamps"]
        times = [fault[name] for name in ("t_command", "t_effective", "t_detected", "t_ready")]
        assert None not in times and times[0] == min(times), "each instant is on record, on either driver"
    compared = cluster.trinity("drill", "compare", str(kept), on_pods["run_id"])
    assert "failures 0 of" in compared.stdout
    assert "The drivers differ (local and kubernetes)" in compared.stderr, "what differs is shown and not judged"


def test_a_rolling_restart_costs_no_request(cluster: LightCluster) -> None:
    before = {pod["metadata"]["name"] for pod in cluster.pods()}
    assert run(cluster, ROLL, "roll", hold="3s")["outcome"] == "pass"
    wait_for(lambda: not before & {pod["metadata"]["name"] for pod in cluster.pods()}, 60.0, "end of the former pods")


def test_scaling_down_costs_no_request_and_the_count_comes_back(cluster: LightCluster) -> None:
    assert run(cluster, SHRINK, "shrink")["outcome"] == "pass"
    cluster.until_ready(2, "toy")
    deployment = cluster.cluster("/apis/apps/v1/namespaces/default/deployments/toy")
    assert deployment["spec"]["replicas"] == 2


def test_draining_a_node_costs_no_request_and_the_node_is_open_again(cluster: LightCluster) -> None:
    cluster.until_ready(2, "toy")
    before = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.pods()}
    report = run(cluster, DRAIN, "drain", hold="3s")
    assert report["outcome"] == "pass"
    gone = wait_for(lambda: before.keys() - {pod["metadata"]["name"] for pod in cluster.pods()}, 60.0, "its pod's end")
    assert len(gone) == 1
    nodes = cluster.cluster("/api/v1/nodes")["items"]
    assert not any(node["spec"].get("unschedulable") for node in nodes), "it was uncordoned"
    assert nodes_of(cluster) - {before[gone.pop()]}, "somebody serves elsewhere"


@pytest.mark.parametrize(
    ("name", "inject", "expect"), [("slow", SLOW, NONE_FAILED), ("cut", CUT, '["failed(embed) >= 1"]')]
)
def test_a_fault_proxy_stands_in_front_of_a_pod_and_leaves(
    cluster: LightCluster, name: str, inject: str, expect: str
) -> None:
    report = run(cluster, inject, name, expect=expect)
    assert report["outcome"] == "pass"
    assert "touched" in " ".join(report["faults"][0]["stamps"]["evidence"])
    wait_for(lambda: all(view.status.via_port is None for view in cluster.snapshot().replicas), 60.0, "straight paths")
