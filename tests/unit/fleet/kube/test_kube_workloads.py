"""Workloads: their names, what they want, how their rollouts stand, and how what runs can be reached."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backend.contract.fleet import WorkloadSpec
from backend.fleet.kube.ports import port_table
from backend.fleet.kube.rollouts import rollout_words, wanted
from backend.fleet.kube.shapes import Ingress, Pod, PodSpec, Service, WorkloadObject
from backend.fleet.kube.workloads import Owner, Workloads


def made(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, name: str = "w") -> WorkloadObject:
    metadata = {"name": name, "generation": 2}
    body = {"metadata": metadata, "spec": spec or {}, "status": {"observedGeneration": 2, **(status or {})}}
    return msgspec.convert(body, WorkloadObject)


def pod(name: str, kind: str = "", owner: str = "", digest: str = "") -> Pod:
    owners = [{"kind": kind, "name": owner, "controller": True}] if kind else []
    labels = {"pod-template-hash": digest} if digest else {}
    return msgspec.convert({"metadata": {"name": name, "ownerReferences": owners, "labels": labels}}, Pod)


STUCK = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
DONE = [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]


@pytest.mark.parametrize(
    ("kind", "spec", "status", "count", "words"),
    [
        ("Deployment", {"replicas": 3}, {"observedGeneration": 1}, 3, "waiting for the change to be seen"),
        ("Deployment", {"replicas": 5}, {"replicas": 6, "updatedReplicas": 2}, 5, "2 of 5 updated"),
        ("Deployment", {"replicas": 2}, {"replicas": 3, "updatedReplicas": 2}, 2, "1 old to end"),
        (
            "Deployment",
            {"replicas": 2},
            {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
            2,
            "1 of 2 updated available",
        ),
        (
            "Deployment",
            {"replicas": 2},
            {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "conditions": DONE},
            2,
            "",
        ),
        ("Deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 2, ""),
        ("Deployment", {"replicas": 2}, {"conditions": STUCK}, 2, "stuck: past its progress deadline"),
        (
            "Deployment",
            {"replicas": 2, "paused": True},
            {"replicas": 2, "updatedReplicas": 1},
            2,
            "paused: 1 of 2 updated",
        ),
        ("Deployment", {"replicas": 0}, {}, 0, ""),
        (
            "StatefulSet",
            {"replicas": 3},
            {"currentRevision": "a", "updateRevision": "b", "updatedReplicas": 1},
            3,
            "1 of 3 updated",
        ),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {"currentRevision": "a", "updateRevision": "b", "updatedReplicas": 1, "readyReplicas": 3},
            3,
            "",
        ),
        ("StatefulSet", {"replicas": 3}, {"currentRevision": "a", "updateRevision": "a", "readyReplicas": 1}, 3, ""),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"type": "OnDelete"}},
            {"currentRevision": "a", "updateRevision": "b"},
            3,
            "",
        ),
        ("DaemonSet", {}, {"desiredNumberScheduled": 4, "updatedNumberScheduled": 3}, 4, "3 of 4 updated"),
        ("DaemonSet", {}, {"desiredNumberScheduled": 4, "updatedNumberScheduled": 4}, 4, ""),
        ("Job", {"parallelism": 3, "completions": 5}, {"succeeded": 4}, 1, "4 of 5 completed"),
        ("Job", {}, {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}, 0, ""),
        (
            "Job",
            {},
            {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]},
            0,
            "stuck: BackoffLimitExceeded",
        ),
        ("Job", {"suspend": True}, {}, 0, "suspended"),
    ],
)
def test_what_is_wanted_and_how_the_rollout_stands(
    kind: str, spec: dict[str, Any], status: dict[str, Any], count: int, words: str
) -> None:
    found = made(spec, status)
    assert (wanted(kind, found), rollout_words(kind, found)) == (count, words)


def test_workloads_of_one_name_do_not_collide() -> None:
    known = Workloads()
    assert known.put(Owner("StatefulSet", "db"), made({"replicas": 3})) == ()
    assert [view.spec.name for view in known.views()] == ["db"]
    assert known.put(Owner("Deployment", "db"), made({"replicas": 1})) == ("db",), "whose name changes is told"
    assert [(view.spec.name, view.kind, view.spec.replicas) for view in known.views()] == [
        ("db", "Deployment", 1),
        ("statefulset/db", "StatefulSet", 3),
    ]
    assert known.find("db") == known.find("deployment/db") == Owner("Deployment", "db")
    assert known.find("statefulset/db") == known.find("StatefulSet/db") == Owner("StatefulSet", "db")
    assert known.find("job/db") is None
    assert known.put(Owner("Deployment", "db"), None) == ("db",)
    assert [view.spec.name for view in known.views()] == ["db"]
    assert known.views() is known.views(), "the same until something changes"


@pytest.mark.parametrize(
    ("found", "owner"),
    [
        (pod("p"), Owner("Pod", "p")),
        (pod("p", "ReplicaSet", "web-7d9", "7d9"), Owner("Deployment", "web")),
        (pod("p", "ReplicaSet", "alone"), Owner("ReplicaSet", "alone")),
        (pod("p", "StatefulSet", "db"), Owner("StatefulSet", "db")),
        (pod("p", "RayCluster", "ray"), Owner("RayCluster", "ray")),
    ],
)
def test_what_keeps_a_pod(found: Pod, owner: Owner) -> None:
    assert Workloads().owner_of(found) == owner


def test_a_deployment_is_found_above_its_replica_set() -> None:
    known = Workloads()
    metadata = {"name": "odd", "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]}
    known.put_replica_set("odd", msgspec.convert({"metadata": metadata}, WorkloadObject))
    assert known.owner_of(pod("p", "ReplicaSet", "odd")) == Owner("Deployment", "web")


def test_the_newest_replica_set_says_a_deployments_revision() -> None:
    known = Workloads()
    known.put(Owner("Deployment", "web"), made({"replicas": 1}, name="web"))
    for number, digest in ((9, "old"), (10, "new")):
        metadata = {
            "name": f"web-{digest}",
            "labels": {"pod-template-hash": digest},
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
            "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}],
        }
        known.put_replica_set(f"web-{digest}", msgspec.convert({"metadata": metadata}, WorkloadObject))
    assert known.views()[0].spec.revision == "new"


def test_owners_of_which_only_pods_are_seen_count_those() -> None:
    known = Workloads()
    owner = Owner("RayCluster", "ray")
    for name in ("a", "b"):
        known.put_pod(owner, pod(name, "RayCluster", "ray"), 1)
    view = known.views()[0]
    assert (view.spec.name, view.kind, view.spec.replicas, view.scalable) == ("ray", "RayCluster", 2, False)
    for name in ("a", "b"):
        known.put_pod(owner, pod(name, "RayCluster", "ray"), -1)
    assert known.views() == ()


def test_a_bare_pod_that_has_completed_is_not_wanted_any_more() -> None:
    known, owner = Workloads(), Owner("Pod", "once")
    known.put_pod(owner, pod("once"), 1)
    assert known.views()[0].spec.replicas == 1
    known.renew_bare(owner, msgspec.convert({"metadata": {"name": "once"}, "status": {"phase": "Succeeded"}}, Pod))
    assert known.views()[0].spec.replicas == 0


def test_a_declaration_is_laid_over_what_is_seen() -> None:
    known = Workloads()
    known.put(Owner("StatefulSet", "llm"), made({"replicas": 2}))
    declared = WorkloadSpec(name="llm", command=(), of="statefulset/llm", routes=("/v1",), port=8000, slots=2)
    assert known.declare([declared])
    assert not known.declare([declared])
    spec = known.views()[0].spec
    assert (spec.routes, spec.slots, spec.replicas, spec.kind) == (("/v1",), 2, 2, "StatefulSet")
    assert known.port_of(Owner("StatefulSet", "llm")) == 8000
    assert known.port_of(Owner("Deployment", "other")) is None


def test_parts_of_our_chart_say_what_they_are() -> None:
    keys = {"name": "trinity", "instance": "shop", "component": "edge"}
    labels = {f"app.kubernetes.io/{key}": text for key, text in keys.items()}
    workloads = Workloads()
    workloads.put(Owner("Deployment", "shop-edge"), made({"template": {"metadata": {"labels": labels}}}))
    other = labels | {"app.kubernetes.io/name": "nginx"}
    workloads.put(Owner("Deployment", "web"), made({"template": {"metadata": {"labels": other}}}))
    found = {view.spec.name: (view.spec.role, view.spec.release) for view in workloads.views()}
    assert found == {"shop-edge": ("edge", "shop"), "web": ("", "")}


def test_how_things_can_be_reached() -> None:
    spec = {"containers": [{"name": "main", "ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9}]}]}
    templates = {"web": ({"app": "web", "tier": "front"}, msgspec.convert(spec, PodSpec))}
    service = {
        "metadata": {"name": "shop"},
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}],
        },
    }
    ingress = {
        "metadata": {"name": "front"},
        "spec": {
            "tls": [{"hosts": ["shop.test"]}],
            "rules": [
                {
                    "host": host,
                    "http": {
                        "paths": [{"path": "/buy", "backend": {"service": {"name": "shop", "port": {"number": 80}}}}]
                    },
                }
                for host in ("shop.test", "plain.test")
            ],
        },
    }
    rows = port_table(templates, [msgspec.convert(service, Service)], [msgspec.convert(ingress, Ingress)])
    assert [(r.source, r.workload, r.container_port, r.service_port, r.node_port, r.url) for r in rows] == [
        ("ingress front", "web", 8080, 80, None, "https://shop.test/buy"),
        ("ingress front", "web", 8080, 80, None, "http://plain.test/buy"),
        ("service shop", "web", 8080, 80, 30080, ""),
        ("container main", "web", 9, None, None, ""),
    ]
