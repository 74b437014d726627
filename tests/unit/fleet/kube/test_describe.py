"""Descriptions read as kubectl's do, hold for objects of any shape, and never show a secret."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.fleet.kube.describe import age, describe_node, describe_pod, describe_workload, event_lines
from backend.fleet.kube.masking import as_yaml, masked
from backend.fleet.masking import MASK, is_secret, masked_words

NOW = 1_763_700_000.0
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web-5d-x2",
        "namespace": "shop",
        "labels": {"app": "web"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"hunter2": 1}', "note": "mine"},
        "creationTimestamp": "2025-11-21T04:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "uid": "u1", "controller": True}],
    },
    "spec": {
        "nodeName": "worker-1",
        "containers": [
            {
                "name": "app",
                "image": "shop/web:2",
                "args": ["--port=8080", "--api-key=hunter2", "--password", "hunter2"],
                "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [
                    {"name": "DB_PASSWORD", "value": "hunter2"},
                    {"name": "DATABASE", "value": "postgres://web:hunter2@db:5432/shop"},
                    {"name": "LEVEL", "value": "info"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "web", "key": "token"}}},
                ],
                "resources": {"limits": {"memory": "256Mi", "cpu": "500m"}},
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 5},
                "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "hostIP": "192.168.0.4",
        "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
        "containerStatuses": [
            {
                "name": "app",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {
                    "terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2025-11-21T04:10:00Z"}
                },
            }
        ],
    },
}
EVENTS: list[dict[str, Any]] = [
    {"type": "Warning", "reason": "BackOff", "message": "Back-off restarting", "lastTimestamp": "2025-11-21T04:39:00Z"}
    | {"count": 5, "source": {"component": "kubelet"}},
    {
        "type": "Normal",
        "reason": "Pulled",
        "message": "Container image present",
        "lastTimestamp": "2025-11-21T04:20:00Z",
    },
]


def lines_of(sections: tuple[tuple[str, tuple[str, ...]], ...], title: str) -> str:
    return "\n".join(dict(sections)[title])


def test_a_pod_tells_state_last_state_probes_limits_and_events_newest_last() -> None:
    sections = describe_pod(POD, EVENTS, NOW)
    head, containers = lines_of(sections, "Pod"), lines_of(sections, "Containers")
    assert "Controlled By:     ReplicaSet/web-5d" in head
    assert "worker-1/192.168.0.4" in head
    assert "Waiting (CrashLoopBackOff): back-off 40s" in containers
    assert "Terminated (OOMKilled, exit code 137)" in containers
    assert "cpu 500m, memory 256Mi" in containers
    assert "http-get :http/health delay=0s timeout=1s period=5s #success=1 #failure=3" in containers
    assert "/data from data (read-only)" in containers
    assert lines_of(sections, "Volumes") == "data: persistentVolumeClaim data-0"
    assert sections[-1][0] == "Events"
    assert "BackOff" in sections[-1][1][-1]
    assert sections[-1][1][-1].startswith("1m (x5)")


def test_neither_sections_nor_source_show_a_secret() -> None:
    shown = "\n".join(line for _, lines in describe_pod(POD, EVENTS, NOW) for line in lines) + as_yaml(POD)
    assert "hunter2" not in shown
    assert MASK in shown
    assert "LEVEL: info" in shown
    assert "--port=8080" in shown
    assert "managedFields" not in shown
    assert "last-applied-configuration" not in shown


def test_a_secret_object_is_masked_key_by_key() -> None:
    found = masked({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "stringData": {"b": "hunter2"}})
    assert found["data"] == {"a": MASK}
    assert found["stringData"] == {"b": MASK}


def test_names_of_counts_and_files_are_no_secrets() -> None:
    assert not any(is_secret(name, "512") for name in ("MAX_TOKENS", "TOKENIZER_PATH", "secretName", "tokenFile"))
    assert all(
        is_secret(name, "512") for name in ("HF_TOKEN", "API_KEY", "PGPASSWORD", "aws_secret_access_key", "SSH_KEY")
    )


def test_the_source_is_yaml_of_the_object() -> None:
    assert yaml.safe_load(as_yaml(POD))["spec"]["nodeName"] == "worker-1"


def test_a_workload_names_what_has_a_say_in_its_count() -> None:
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "strategy": {"type": "RollingUpdate"}},
        "status": {},
    }
    scaler = {
        "metadata": {"name": "web"},
        "spec": {"minReplicas": 2, "maxReplicas": 9},
        "status": {"desiredReplicas": 3},
    }
    budget = {"metadata": {"name": "web"}, "status": {"currentHealthy": 3, "expectedPods": 3, "desiredHealthy": 2}}
    sections = describe_workload(
        "Deployment",
        deployment,
        pods=[POD],
        revisions=[],
        autoscalers=[scaler],
        budgets=[budget],
        events=[],
        now_ts=NOW,
    )
    assert "3 desired, 0 there" in lines_of(sections, "Deployment")
    assert lines_of(sections, "Autoscalers") == "web: between 2 and 9 replicas, wants 3 now"
    assert "3 of 3 healthy, 2 must be, 0 may go" in lines_of(sections, "Disruption Budgets")
    assert "web-5d-x2  Running  0/1 ready  4 restarts" in lines_of(sections, "Pods")


def test_ages_show_two_units() -> None:
    assert [age(seconds) for seconds in (0, 5, 65, 3600, 90_061)] == ["0s", "5s", "1m5s", "1h", "1d1h"]


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
_keys = st.sampled_from(
    [
        "metadata",
        "name",
        "spec",
        "status",
        "conditions",
        "type",
        "reason",
        "message",
        "containers",
        "containerStatuses",
        "state",
        "lastState",
        "terminated",
        "running",
        "waiting",
        "env",
        "value",
        "valueFrom",
        "volumes",
        "ports",
        "readinessProbe",
        "httpGet",
        "labels",
        "annotations",
        "items",
        "series",
        "count",
        "lastTimestamp",
        "resources",
        "limits",
        "args",
        "command",
        "taints",
        "capacity",
        "addresses",
        "template",
        "selector",
        "matchLabels",
    ]
)
_json: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | st.text(max_size=4), inner, max_size=5),
    max_leaves=40,
)
_objects = st.dictionaries(_keys, _json, max_size=6)


@settings(max_examples=40)
@given(_objects, st.lists(_objects, max_size=3))
def test_objects_of_any_shape_are_described(obj: dict[str, Any], others: list[dict[str, Any]]) -> None:
    for sections in (
        describe_pod(obj, others, NOW),
        describe_node(obj, others, others, NOW),
        describe_workload(
            "Deployment",
            obj,
            pods=others,
            revisions=others,
            autoscalers=others,
            budgets=others,
            events=others,
            now_ts=NOW,
        ),
    ):
        assert sections[-1][0] == "Events"
        assert all(isinstance(line, str) and "\n" not in line for _, lines in sections for line in lines)
    yaml.safe_load(as_yaml(obj))


@settings(max_examples=40)
@given(_json, st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and text not in MASK))
def test_a_secret_of_any_shape_around_it_is_masked(around: Any, secret: str) -> None:
    secret = f"S3CR3T{secret}T3RC3S"
    obj = {"spec": {"env": [{"name": "API_TOKEN", "value": secret}], "around": around}, "stringData": {"a": secret}}
    assert secret not in as_yaml({**obj, "kind": "Secret"})


@given(st.lists(st.text(max_size=10), max_size=5))
def test_argv_keeps_its_length(words: list[str]) -> None:
    assert len(masked_words(list(words))) == len(words)


def test_events_without_times_come_first() -> None:
    assert "Odd" in event_lines([*EVENTS, {"reason": "Odd"}], NOW)[0]
