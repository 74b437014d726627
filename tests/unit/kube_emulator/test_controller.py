"""The small cluster lives as a big one does: rollouts within their bounds, ordered sets, crashes with back-off, images
that are not there, budgets and cordons respected, real processes as containers."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiohttp
import pytest

from tests.kube_emulator import ADMIN_TOKEN, Emulator
from tests.kube_emulator.budgets import ready
from tests.kube_emulator.scenes import pod_template, workload
from tests.kube_emulator.store import Change, Object
from tests.unit.kube_emulator.talk import get, until


def pods(cluster: Emulator, app: str) -> list[Object]:
    return [pod for pod in cluster.registry.all("Pod") if pod["metadata"]["labels"].get("app") == app]


def rolled_out(cluster: Emulator, kind: str, name: str) -> bool:
    """As `kubectl rollout status` judges it."""
    obj = cluster.registry.get(kind, "default", name)
    status, wanted = obj.get("status") or {}, obj["spec"].get("replicas")
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        return False
    if kind == "DaemonSet":
        return bool(status["updatedNumberScheduled"] == status["numberAvailable"] == status["desiredNumberScheduled"])
    numbers = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return numbers == [wanted] * 3


def set_image(cluster: Emulator, kind: str, name: str, image: str) -> None:
    def change(obj: Object) -> Object:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return obj

    cluster.registry.update(kind, "default", name, change)


def container(pod: Object) -> dict[str, Any]:
    return dict((pod["status"].get("containerStatuses") or [{}])[0])


def reasons(cluster: Emulator, pod: Object) -> set[str]:
    return {e["reason"] for e in cluster.registry.all("Event") if e["involvedObject"]["uid"] == pod["metadata"]["uid"]}


async def test_a_rolling_update_stays_within_surge_and_unavailable_and_undo_goes_back(living: Emulator) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    living.registry.create("Deployment", workload("web", replicas=4, strategy=strategy))
    await until(lambda: rolled_out(living, "Deployment", "web"))
    most, least = 0, 99

    def look(_: object) -> None:
        nonlocal most, least
        here = [pod for pod in pods(living, "web") if "deletionTimestamp" not in pod["metadata"]]
        most, least = max(most, len(here)), min(least, sum(ready(pod) for pod in here))

    living.store.listen(look)
    set_image(living, "Deployment", "web", "example/app:2")
    await until(lambda: rolled_out(living, "Deployment", "web"))
    assert (most, least) == (5, 3)
    assert {container(pod)["image"] for pod in pods(living, "web")} >= {"example/app:2"}
    deployment = living.registry.get("Deployment", "default", "web")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    set_image(living, "Deployment", "web", "example/app:1")
    await until(lambda: rolled_out(living, "Deployment", "web"))
    deployment = living.registry.get("Deployment", "default", "web")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(living.registry.owned(deployment["metadata"]["uid"], "ReplicaSet")) == 2, "the first revision came back"


async def test_a_rollout_that_cannot_get_on_says_so_after_its_deadline(living: Emulator) -> None:
    living.registry.create("Deployment", workload("web", replicas=2, progressDeadlineSeconds=60))
    await until(lambda: rolled_out(living, "Deployment", "web"))
    set_image(living, "Deployment", "web", "example/app:missing")

    def progress() -> str:
        conditions = living.registry.get("Deployment", "default", "web")["status"]["conditions"]
        return next(entry["reason"] for entry in conditions if entry["type"] == "Progressing")

    await until(lambda: progress() == "ProgressDeadlineExceeded")
    assert sum(ready(pod) for pod in pods(living, "web")) == 2, "what worked still works"
    broken = next(pod for pod in pods(living, "web") if not ready(pod))
    await until(lambda: {"Failed", "BackOff"} <= reasons(living, broken))
    broken = next(pod for pod in pods(living, "web") if not ready(pod))
    assert container(broken)["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")


async def test_a_stateful_set_grows_in_order_and_shrinks_from_the_end(living: Emulator) -> None:
    made: list[str] = []
    living.store.listen(
        lambda c: made.append(f"{c.type[0]} {c.after.key[1]}") if c.table == "pods" and c.type != "MODIFIED" else None
    )
    below: list[bool] = []

    def look(change: Change) -> None:
        if change.table == "pods" and change.type == "ADDED":
            others = [pod for pod in pods(living, "db") if pod["metadata"]["name"] < change.after.key[1]]
            below.extend(ready(pod) for pod in others)

    living.store.listen(look)
    living.registry.create("StatefulSet", workload("db", replicas=3))
    await until(lambda: rolled_out(living, "StatefulSet", "db"))
    assert below == [True] * 3, "each waits until those before it are ready"
    set_image(living, "StatefulSet", "db", "example/app:2")
    await until(lambda: rolled_out(living, "StatefulSet", "db"))
    assert made == ["A db-0", "A db-1", "A db-2", "D db-2", "A db-2", "D db-1", "A db-1", "D db-0", "A db-0"]


async def test_a_daemon_set_is_everywhere_and_a_job_ends(living: Emulator) -> None:
    living.registry.create("DaemonSet", workload("agent", replicas=None))
    template = pod_template("task", behaviour="complete")
    template["spec"]["restartPolicy"] = "Never"
    living.registry.create("Job", {"metadata": {"name": "task"}, "spec": {"template": template, "completions": 2}})
    await until(lambda: rolled_out(living, "DaemonSet", "agent"))
    assert {pod["spec"]["nodeName"] for pod in pods(living, "agent")} == {"node-1", "node-2", "node-3"}
    await until(lambda: living.registry.get("Job", "default", "task")["status"].get("succeeded") == 2)
    assert {pod["status"]["phase"] for pod in pods(living, "task")} == {"Succeeded"}


@pytest.mark.parametrize(("behaviour", "reason", "code"), [("crash", "Error", 1), ("oom", "OOMKilled", 137)])
async def test_a_crashing_container_backs_off_and_tells_how_it_ended(
    living: Emulator, behaviour: str, reason: str, code: int
) -> None:
    living.registry.create("Deployment", workload("bad", template=pod_template("bad", behaviour=behaviour)))
    pod = await until(
        lambda: next(
            (
                pod
                for pod in pods(living, "bad")
                if (container(pod).get("state") or {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
                and container(pod)["restartCount"] >= 2
            ),
            None,
        )
    )
    last = container(pod)["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == (reason, code)
    assert pod["status"]["phase"] == "Running" and not ready(pod)
    backed_off = [e for e in living.registry.all("Event") if e["reason"] == "BackOff"]
    assert backed_off and backed_off[0]["type"] == "Warning"


async def test_a_crash_on_order_restarts_under_a_new_id_and_keeps_the_old_log(living: Emulator) -> None:
    living.registry.create("Deployment", workload("web"))
    await until(lambda: rolled_out(living, "Deployment", "web"))
    pod = pods(living, "web")[0]
    before, name = container(pod), pod["metadata"]["name"]
    living.logs.current(pod["metadata"]["uid"], "main").say("the last words")
    living.kubelet.crash("default", name, code=7)
    after = await until(
        lambda: (found := container(pods(living, "web")[0]))["restartCount"] == 1 and found["ready"] and found
    )
    assert after["containerID"] != before["containerID"]
    assert after["lastState"]["terminated"]["exitCode"] == 7
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    url = f"{living.url}/api/v1/namespaces/default/pods/{name}/log?previous=true&tailLines=1"
    async with aiohttp.request("GET", url, headers=headers) as answer:
        assert await answer.text() == "the last words\n"


async def test_failing_readiness_is_told_by_one_event_that_counts(living: Emulator) -> None:
    living.registry.create("Deployment", workload("web", template=pod_template("web", behaviour="unready")))

    def unhealthy() -> list[Object]:
        return [e for e in living.registry.all("Event") if e["reason"] == "Unhealthy" and e["count"] >= 3]

    events = await until(unhealthy)
    assert len(events) == 1 and "Readiness probe failed" in events[0]["message"]
    assert not ready(pods(living, "web")[0])


async def test_a_drained_node_stays_empty_and_the_budget_holds(living: Emulator) -> None:
    living.registry.create("Deployment", workload("web", replicas=3))
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    living.registry.create("PodDisruptionBudget", {"metadata": {"name": "web"}, "spec": budget})
    living.registry.create(
        "Service", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    )
    await until(lambda: rolled_out(living, "Deployment", "web"))
    await until(
        lambda: living.registry.get("PodDisruptionBudget", "default", "web")["status"].get("disruptionsAllowed") == 1
    )
    least = 99

    def look(_: object) -> None:
        nonlocal least
        least = min(least, sum(ready(p) and "deletionTimestamp" not in p["metadata"] for p in pods(living, "web")))

    living.store.listen(look)
    living.kubelet.start_s = 3.0 * living.kubelet.speed  # so that the second eviction comes before the first one's heir
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with aiohttp.ClientSession(living.url, headers=headers) as http:
        patch = {"Content-Type": "application/strategic-merge-patch+json"}
        await http.patch("/api/v1/nodes/node-1", data=b'{"spec":{"unschedulable":true}}', headers=patch)
        await http.patch("/api/v1/nodes/node-2", data=b'{"spec":{"unschedulable":true}}', headers=patch)
        refused = 0
        while there := [p for p in pods(living, "web") if p["spec"].get("nodeName") in ("node-1", "node-2")]:
            for pod in there:
                name = pod["metadata"]["name"]
                if "deletionTimestamp" in pod["metadata"]:
                    continue
                body = {"metadata": {"name": name, "namespace": "default"}}
                async with http.post(f"/api/v1/namespaces/default/pods/{name}/eviction", json=body) as answer:
                    refused += answer.status == 429
                    assert answer.status in (201, 404, 429)
            await asyncio.sleep(0.005)
        await until(lambda: rolled_out(living, "Deployment", "web"))
        found = await get(http, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
    assert least >= 2 and refused > 0
    assert {pod["spec"]["nodeName"] for pod in pods(living, "web")} == {"node-3"}
    ends = found["items"][0]["endpoints"]
    assert {end["nodeName"] for end in ends if end["conditions"]["ready"]} == {"node-3"}


async def test_without_a_node_a_pod_waits_and_says_why(living: Emulator) -> None:
    for number in (1, 2, 3):
        living.registry.update(
            "Node", "", f"node-{number}", lambda node: node | {"spec": node["spec"] | {"unschedulable": True}}
        )
    living.registry.create("Deployment", workload("web"))
    pod = await until(lambda: next((p for p in pods(living, "web") if p["status"].get("conditions")), None))
    condition = pod["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert condition["message"] == "0/3 nodes are available: 3 node(s) were unschedulable."
    living.registry.update("Node", "", "node-2", lambda node: node | {"spec": node["spec"] | {"unschedulable": False}})
    await until(lambda: rolled_out(living, "Deployment", "web"))


SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["POD_NAME"].encode())
    def log_message(self, *words): pass
server = http.server.HTTPServer((sys.argv[1], 8080), Answer)
print("listening", flush=True)
server.serve_forever()
"""


def process_template(app: str) -> dict[str, Any]:
    template = pod_template(app, run="process")
    template["spec"]["terminationGracePeriodSeconds"] = 2
    template["spec"]["containers"][0] |= {
        "command": [sys.executable, "-c", SERVER, "$(POD_IP)"],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5},
    }
    return template


async def test_real_processes_listen_each_on_its_pods_address_and_are_restarted_and_ended(living: Emulator) -> None:
    living.registry.create("Deployment", workload("real", replicas=2, template=process_template("real")))
    await until(lambda: rolled_out(living, "Deployment", "real"))
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    first, second = pods(living, "real")
    name = first["metadata"]["name"]
    for pod in (first, second):
        async with aiohttp.request("GET", f"http://{pod['status']['podIP']}:8080/") as answer:
            assert await answer.text() == pod["metadata"]["name"]
    async with aiohttp.ClientSession(living.url, headers=headers) as http:
        async with http.get(f"/api/v1/namespaces/default/pods/{name}:8080/proxy/") as answer:
            assert await answer.text() == name
        pid = living.kubelet.pid_of("default", name)
        assert pid is not None
        os.kill(pid, 9)
        again = await until(
            lambda: (
                (pod := living.registry.get("Pod", "default", name))
                and container(pod)["restartCount"] == 1
                and ready(pod)
                and pod
            )
        )
        assert container(again)["lastState"]["terminated"]["exitCode"] == 137
        assert again["status"]["podIP"] == first["status"]["podIP"]
        async with http.get(f"/api/v1/namespaces/default/pods/{name}/log", params={"previous": "true"}) as answer:
            assert await answer.text() == "listening\n"
    newer = living.kubelet.pid_of("default", name)
    assert newer not in (None, pid)
    living.registry.delete("Deployment", "default", "real")
    await until(lambda: not pods(living, "real"))
    for ended in (pid, newer):
        with pytest.raises(ProcessLookupError):
            os.kill(ended, 0)
