"""Embedding replicas that are pods, reached through the API server only: a pod that dies costs no request, and
`trinity exec` and `trinity expose` do there what they do on every driver.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from backend.contract.fleet import ExitRecord
from backend.contract.words import RequestOutcome
from backend.load import LoadSpec
from tests.e2e.background_load import BackgroundLoad
from tests.e2e.embedding_cluster import embedding_cluster
from tests.e2e.harness import PATIENCE_S, TRINITY, wait_for
from tests.e2e.light_cluster import LightCluster

BYTES = bytes(range(256)) * 2_000
"""Half a MB in which every byte occurs, an end-of-file character and line ends among them."""


@pytest.fixture(scope="module")
def pods() -> Iterator[LightCluster]:
    with embedding_cluster("forward", replicas=2) as fleet:
        yield fleet


def living(fleet: LightCluster) -> dict[str, dict[str, Any]]:
    """Its pods that are not leaving, by their names."""
    every = {pod["metadata"]["name"]: pod for pod in fleet.pods()}
    return {name: pod for name, pod in sorted(every.items()) if "deletionTimestamp" not in pod["metadata"]}


def container(fleet: LightCluster, pod: str) -> dict[str, Any]:
    """What the cluster says of its container."""
    return dict(living(fleet)[pod]["status"]["containerStatuses"][0])


def delete(fleet: LightCluster, pod: str) -> Callable[[], bool]:
    """The pod is gone at once, and a new one comes."""
    fleet.trinity("kill", pod, "--yes")
    return lambda: pod not in living(fleet) and len(living(fleet)) == 2


def crash(fleet: LightCluster, pod: str) -> Callable[[], bool]:
    """The process is gone, and nobody is told: the kubelet finds it dead and starts it again in place."""
    fleet.process_of(pod).send_signal(signal.SIGKILL)
    return lambda: container(fleet, pod)["restartCount"] == 1


@pytest.mark.parametrize("die", [delete, crash])
def test_a_pod_that_dies_behind_forwards_costs_no_request(
    pods: LightCluster, die: Callable[[LightCluster, str], Callable[[], bool]]
) -> None:
    victim = next(iter(living(pods)))
    load = BackgroundLoad(
        LoadSpec(
            url=pods.url,
            workload="embedding",
            kind="embeddings",
            golden=True,
            dimensions=384,
            rate=10.0,
            deadline_s=100.0,
            seed=3,
        )
    )
    wait_for(lambda: len(load.rows) >= 20, 60.0, "answers before the death")
    wait_for(die(pods, victim), 60.0, "its end, as the cluster tells it")
    pods.until_ready(2, "embedding")
    seen = len(load.rows)
    wait_for(lambda: len(load.rows) >= seen + 20, 60.0, "answers after it")
    summary = load.finish()
    print(f"\n{summary.total} embeddings, {summary.terminations}, p99 {summary.latency.p99_s} s")
    assert (summary.failed, summary.wrong, summary.shed) == (0, 0, 0), summary.terminations
    assert {row.outcome for row in load.rows} == {RequestOutcome.OK}
    wait_for(lambda: streams(pods) == 0, 60.0, "an end of each stream that carried a request")
    if die is crash:
        ended = container(pods, victim)["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "Error")

        def exit_told() -> ExitRecord | None:
            return next((v.status.last_exit for v in pods.snapshot().replicas if v.status.name == victim), None)

        seen_exit = wait_for(exit_told, PATIENCE_S, "its end, as the fleet tells it")
        assert seen_exit.signal == signal.SIGKILL


def program(fleet: LightCluster, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """`trinity exec` of words, to its end."""
    argv = [*TRINITY, "exec", *words]
    return subprocess.run(argv, env=fleet.env, cwd=fleet.root, capture_output=True, input=given, timeout=PATIENCE_S)


def test_exec_gives_the_programs_output_and_exit_code(pods: LightCluster) -> None:
    pod = next(iter(living(pods)))
    done = program(pods, pod, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\nerr\n", b"")
    piped = program(pods, pod, "-i", "--", "cat", given=BYTES)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == BYTES, "what goes in comes out, whole"
    missing = program(pods, pod, "--", "nothing")
    assert missing.returncode == 127
    assert b"There is no program nothing" in missing.stdout + missing.stderr
    nobody = program(pods, "nobody", "--", "sh")
    assert (nobody.returncode, nobody.stdout) == (64, b"")
    assert nobody.stderr.startswith(b"trinity: There is no replica nobody.")


def streams(fleet: LightCluster) -> int:
    """Open ones of exec and port forwards, as the cluster counts them."""
    return int(fleet.cluster("/emulator/counts")["open streams"])


def test_ctrl_c_ends_the_program_in_the_pod(pods: LightCluster) -> None:
    pod, before = next(iter(living(pods))), pods.cluster("/emulator/counts").get("get pods/exec", 0)
    wait_for(lambda: streams(pods) == 0, 60.0, "quiet")
    running = pods.start("exec", pod, "--", "sh", "-c", "echo began; sleep 60", stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == "began\n"
    wait_for(lambda: streams(pods) == 1, PATIENCE_S, "its stream alone")
    running.send_signal(signal.SIGINT)
    assert running.wait(PATIENCE_S) == 130
    wait_for(lambda: streams(pods) == 0, 60.0, "the program's end")
    assert pods.cluster("/emulator/counts")["get pods/exec"] == before + 1


def test_expose_leads_to_a_pod_and_ctrl_c_leaves_no_forward_behind(pods: LightCluster) -> None:
    pod = next(iter(living(pods)))
    exposing = pods.start(
        "expose", "embedding", f"{pod}:8081", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert exposing.stdout is not None
    views = json.loads(exposing.stdout.readline())
    (url,), (health,) = (view["urls"] for view in views)
    assert [view["port"] for view in views] == [8080, 8081]
    answer = httpx.post(f"{url}/v1/embeddings", json={"input": ["one", "two"]}, timeout=PATIENCE_S)
    assert [len(item["embedding"]) for item in answer.json()["data"]] == [384, 384]
    assert httpx.get(f"{health}/health/ready", timeout=PATIENCE_S).status_code == 200
    assert [view["id"] for view in pods.json("expose", "--list")] == [view["id"] for view in views]
    exposing.send_signal(signal.SIGINT)
    _, said = exposing.communicate(timeout=PATIENCE_S)
    assert (exposing.returncode, "Traceback" in said) == (0, False)
    assert pods.json("expose", "--list") == []
    for gone in (url, health):
        with pytest.raises(httpx.ConnectError):
            httpx.get(gone)
    wait_for(lambda: streams(pods) == 0, 60.0, "the end of the streams that carried them")


# -- verbs of the platform


def nodes(fleet: LightCluster) -> dict[str, bool]:
    """Node -> whether new pods may come onto it."""
    every = fleet.cluster("/api/v1/nodes")["items"]
    return {node["metadata"]["name"]: not node["spec"].get("unschedulable", False) for node in every}


def test_a_pod_is_evicted_and_its_heir_is_ready(pods: LightCluster) -> None:
    pods.until_ready(2, "embedding")
    victim = next(iter(living(pods)))
    assert "asked to leave" in pods.trinity("evict", victim, "--dry-run").stdout
    assert victim in living(pods)
    assert pods.trinity("evict", victim).stdout == f"{victim} was evicted.\n"
    wait_for(lambda: victim not in living(pods) and len(living(pods)) == 2, 60.0, "another pod")
    pods.until_ready(2, "embedding")


def test_a_node_is_cordoned_drained_and_opened_again(pods: LightCluster) -> None:
    pods.until_ready(2, "embedding")
    name, node = next((name, pod["spec"]["nodeName"]) for name, pod in living(pods).items())
    pods.trinity("cordon", node)
    assert not nodes(pods)[node]
    pods.trinity("node-drain", node, "--timeout", "120")
    wait_for(lambda: name not in living(pods), 60.0, "the pod's leave")
    pods.trinity("cordon", node, "--undo")
    assert all(nodes(pods).values())
    pods.until_ready(2, "embedding")


def test_a_workload_is_rolled_back_and_what_cannot_be_done_is_said(pods: LightCluster) -> None:
    pods.until_ready(2, "embedding")
    before = set(living(pods))
    pods.trinity("restart", "--rolling", "embedding", "--yes")
    assert not before & set(living(pods))
    between = set(living(pods))
    pods.trinity("rollback", "embedding", "--yes")
    assert not between & set(living(pods))
    refused = pods.trinity("pause", next(iter(living(pods))), check=False)
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "Kubernetes cannot freeze a container" in refused.stderr
    unknown = pods.trinity("cordon", "nowhere", check=False)
    assert unknown.returncode == 64
    assert "nowhere" in unknown.stderr
