"""Pods as replicas: kubectl's words, our phases, ends and probes; whatever a server sends, a pod can be shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.kube.exits import number_of
from backend.fleet.kube.pod_phase import ProbeFailure, kubectl_word
from backend.fleet.kube.pods import Usage, replica_of
from backend.fleet.kube.shapes import Pod

T0 = "2026-05-01T10:00:00Z"
T0_S = 1777629600.0
READY = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
NOT_READY = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]
RUNS = {"running": {"startedAt": T0}}
KILLED = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": T0}}
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": T0}}
FAILED_1 = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": T0, "message": "first\nlast words\n"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": T0}}


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    phase: str,
    *states: dict[str, Any],
    conditions: list[dict[str, str]] | None = None,
    init: list[dict[str, Any]] | None = None,
    spec: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **status: Any,
) -> Pod:
    """A pod with one container a state; `last`, `ready`, `started` and `restarts` in a state are its siblings'."""
    containers, statuses = [], []
    for number, given_state in enumerate(states):
        state = dict(given_state)
        name = f"c{number}"
        beside = {key: state.pop(key) for key in ("lastState", "ready", "started", "restartCount") if key in state}
        containers.append({"name": name, "image": f"image-{number}"})
        statuses.append({"name": name, "state": state, "containerID": f"containerd://{name}"} | beside)
    inits = init or []
    body = {
        "metadata": {"name": "p", "creationTimestamp": T0, **(metadata or {})},
        "spec": {
            "nodeName": "n",
            "containers": containers,
            "initContainers": [{"name": f"i{number}"} for number in range(len(inits))],
            **(spec or {}),
        },
        "status": {
            "phase": phase,
            "conditions": conditions if conditions is not None else NOT_READY,
            "containerStatuses": statuses,
            "initContainerStatuses": [{"name": f"i{n}", "state": state} for n, state in enumerate(inits)],
            **status,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=Pod)


def shown(found: Pod, **more: Any) -> ReplicaStatus:
    return replica_of(found, fleet="f", workload="w", owner="Deployment/w", **more)


UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: too little memory"}
]
GATED = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
NEVER = {"restartPolicy": "Never"}
DELETED = {"deletionTimestamp": T0}
CASES: list[tuple[Pod, str, Phase, str]] = [
    (pod("Pending", conditions=[], spec={"nodeName": None}), "Pending", Phase.PENDING, ""),
    (
        pod("Pending", conditions=UNSCHEDULABLE, spec={"nodeName": None}),
        "Pending",
        Phase.PENDING,
        "Unschedulable: 0/3 nodes: too little memory",
    ),
    (pod("Pending", conditions=GATED), "SchedulingGated", Phase.PENDING, "SchedulingGated"),
    (pod("Pending", waits("ContainerCreating")), "ContainerCreating", Phase.STARTING, "ContainerCreating"),
    (
        pod("Pending", waits("PodInitializing"), init=[RUNS, waits("PodInitializing")]),
        "Init:0/2",
        Phase.STARTING,
        "Init:0/2",
    ),
    (pod("Pending", waits("PodInitializing"), init=[DONE, RUNS]), "Init:1/2", Phase.STARTING, "Init:1/2"),
    (
        pod("Pending", waits("PodInitializing"), init=[FAILED_1]),
        "Init:Error",
        Phase.CRASH_LOOP,
        "Init:exit code 1: last words",
    ),
    (
        pod("Pending", waits("PodInitializing"), init=[waits("CrashLoopBackOff")]),
        "Init:CrashLoopBackOff",
        Phase.CRASH_LOOP,
        "Init:CrashLoopBackOff",
    ),
    (
        pod("Pending", waits("ErrImagePull", "no such image")),
        "ErrImagePull",
        Phase.FAILED,
        "ErrImagePull: no such image",
    ),
    (pod("Pending", waits("ImagePullBackOff")), "ImagePullBackOff", Phase.FAILED, "ImagePullBackOff"),
    (
        pod("Pending", waits("CreateContainerConfigError", 'secret "x" not found')),
        "CreateContainerConfigError",
        Phase.FAILED,
        'CreateContainerConfigError: secret "x" not found',
    ),
    (pod("Running", RUNS | {"ready": True, "started": True}, conditions=READY), "Running", Phase.READY, ""),
    (pod("Running", RUNS | {"ready": False, "started": True}), "Running", Phase.NOT_READY, "not ready: c0"),
    (
        pod("Running", RUNS | {"ready": False, "started": False}),
        "Running",
        Phase.STARTING,
        "startup probe has not passed yet",
    ),
    (
        pod("Running", RUNS | {"ready": True}, RUNS | {"ready": False}),
        "Running",
        Phase.NOT_READY,
        "not ready: c1",
    ),
    (
        pod(
            "Running",
            RUNS | {"ready": True},
            conditions=[{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "gate x"}],
        ),
        "Running",
        Phase.NOT_READY,
        "ReadinessGatesNotReady: gate x",
    ),
    (pod("Running", FAILED_1), "Error", Phase.CRASH_LOOP, "exit code 1: last words"),
    (pod("Running", OOM), "OOMKilled", Phase.CRASH_LOOP, "OOMKilled"),
    (
        pod("Running", waits("CrashLoopBackOff") | {"lastState": OOM}),
        "CrashLoopBackOff",
        Phase.CRASH_LOOP,
        "CrashLoopBackOff: OOMKilled",
    ),
    (pod("Running", DONE, RUNS | {"ready": True}, spec=NEVER), "NotReady", Phase.NOT_READY, "c0 ended: Completed"),
    (pod("Succeeded", DONE), "Completed", Phase.COMPLETED, ""),
    (pod("Failed", FAILED_1), "Error", Phase.FAILED, "exit code 1: last words"),
    (pod("Failed", OOM, spec={"restartPolicy": "Never"}), "OOMKilled", Phase.FAILED, "OOMKilled"),
    (
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        "Evicted",
        Phase.FAILED,
        "Evicted: The node was low on resource: memory.",
    ),
    (pod("Running", RUNS | {"ready": True}, conditions=READY, metadata=DELETED), "Terminating", Phase.TERMINATING, ""),
    (pod("Running", RUNS, metadata=DELETED, reason="NodeLost"), "Unknown", Phase.TERMINATING, "its node is lost"),
    (pod("Unknown", RUNS), "Unknown", Phase.NOT_READY, "its node does not answer"),
]


@pytest.mark.parametrize(("found", "word", "phase", "reason"), CASES, ids=[f"{c[1]}-{n}" for n, c in enumerate(CASES)])
def test_a_pod_is_worded_as_kubectl_words_it_and_has_our_phase(
    found: Pod, word: str, phase: Phase, reason: str
) -> None:
    assert (kubectl_word(found), shown(found).phase, shown(found).reason) == (word, phase, reason)


def test_the_end_of_a_back_off_is_known() -> None:
    message = "back-off 2m40s restarting failed container=c0 pod=p_default(1)"
    found = shown(pod("Running", waits("CrashLoopBackOff", message) | {"lastState": KILLED, "restartCount": 7}))
    assert found.next_start_ts == T0_S + 160
    assert found.restarts == 7


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (KILLED, ExitRecord(ts=T0_S, signal=9, reason="Killed")),
        (OOM, ExitRecord(ts=T0_S, signal=9, reason="OOMKilled")),
        (FAILED_1, ExitRecord(ts=T0_S, code=1, reason="Error", last_lines=("first", "last words"))),
        (DONE, ExitRecord(ts=T0_S, code=0, reason="Completed")),
        ({"terminated": {"exitCode": 143, "finishedAt": T0}}, ExitRecord(ts=T0_S, signal=15, reason="Error")),
        ({"terminated": {"exitCode": 255, "finishedAt": T0}}, ExitRecord(ts=T0_S, code=255, reason="Error")),
        (
            {"terminated": {"exitCode": 128, "reason": "StartError", "finishedAt": T0}},
            ExitRecord(ts=T0_S, code=128, reason="Error", last_lines=("StartError",)),
        ),
        ({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}, ExitRecord(ts=0.0, reason="Unknown")),
    ],
)
def test_an_end_has_its_code_or_its_signal(state: dict[str, Any], end: ExitRecord) -> None:
    assert shown(pod("Running", RUNS | {"lastState": state})).last_exit == end


def test_an_end_soon_after_a_failed_liveness_probe_was_for_that() -> None:
    found = pod("Running", RUNS | {"lastState": KILLED})
    soon, before = ProbeFailure("HTTP 500", 3, T0_S - 30), ProbeFailure("HTTP 500", 3, T0_S - 3600)
    ends = [shown(found, failing={"liveness": failure}).last_exit for failure in (soon, before)]
    assert [end.reason for end in ends if end is not None] == ["LivenessFailed", "Killed"]


def test_a_failed_readiness_probe_is_why_a_pod_is_not_ready() -> None:
    probe = {"containers": [{"name": "c0", "readinessProbe": {}, "livenessProbe": {}, "startupProbe": {}}]}
    failing = {"readiness": ProbeFailure("HTTP probe failed with statuscode: 503", 12, T0_S)}
    found = shown(pod("Running", RUNS | {"ready": False, "started": True}, spec=probe), failing=failing)
    assert (found.phase, found.reason) == (
        Phase.NOT_READY,
        "readiness probe failed: HTTP probe failed with statuscode: 503",
    )
    probes = {probe.name: probe for probe in found.probes}
    assert [probes[name].ok for name in ("startup", "readiness", "liveness")] == [True, False, True]
    assert (probes["readiness"].failures, probes["readiness"].last_ts) == (12, T0_S)
    better = shown(pod("Running", RUNS | {"ready": True}, spec=probe, conditions=READY), failing=failing)
    assert (better.phase, better.reason) == (Phase.READY, "")
    assert next(p for p in better.probes if p.name == "readiness").ok


def test_the_main_container_is_the_one_named_or_the_first() -> None:
    annotated = {"annotations": {"kubectl.kubernetes.io/default-container": "c1"}}
    assert shown(pod("Running", RUNS, RUNS)).image == "image-0"
    assert shown(pod("Running", RUNS, RUNS, metadata=annotated)).image == "image-1"


def test_counts_ports_limits_and_usage() -> None:
    containers = [
        {"name": "c0", "ports": [{"containerPort": 8080}], "resources": {"limits": {"memory": "128Mi"}}},
        {"name": "c1", "resources": {"limits": {"memory": "64Mi", "cpu": "1"}}},
    ]
    sidecar = [{"name": "i0", "restartPolicy": "Always"}, {"name": "i1"}]
    found = pod(
        "Running",
        RUNS | {"ready": True, "restartCount": 2},
        RUNS | {"ready": False, "restartCount": 1},
        init=[RUNS | {}, DONE],
        spec={"containers": containers, "initContainers": sidecar},
        podIP="10.0.0.7",
    )
    status = shown(found, usage=Usage(12.5, 1000))
    assert (status.containers, status.containers_ready, status.restarts) == (3, 1, 3)
    assert (status.host, status.port, status.memory_limit_bytes) == ("10.0.0.7", 8080, 192 * 2**20)
    assert (status.cpu_percent, status.memory_bytes) == (12.5, 1000)
    assert shown(found, port=9000).port == 9000, "what trinity.yaml declares wins"


def test_a_restart_in_place_has_another_number() -> None:
    first, second = number_of("containerd://a"), number_of("containerd://b")
    assert first != second
    assert shown(pod("Running", RUNS)).pid == number_of("containerd://c0")
    assert shown(pod("Running", waits("CrashLoopBackOff"))).pid is None


# -- whatever comes

WORDS = st.sampled_from(
    ["", "Running", "Pending", "Failed", "Succeeded", "Unknown", "CrashLoopBackOff", "Completed", "Error", "OOMKilled",
     "ErrImagePull", "PodInitializing", "ContainerCreating", "Evicted", "NodeLost", "ContainerStatusUnknown"]
)  # fmt: skip
TIMES = st.none() | st.sampled_from([T0, "2026-05-01T10:00:01.123456Z", "1970-01-01T00:00:00Z"])
STATE = st.one_of(
    st.none(),
    st.just({}),
    st.fixed_dictionaries(
        {"waiting": st.fixed_dictionaries({"reason": WORDS, "message": st.none() | st.text(max_size=9)})}
    ),
    st.fixed_dictionaries({"running": st.fixed_dictionaries({"startedAt": TIMES})}),
    st.fixed_dictionaries(
        {
            "terminated": st.fixed_dictionaries(
                {
                    "exitCode": st.none() | st.integers(-1, 300),
                    "signal": st.none() | st.integers(0, 70),
                    "reason": st.none() | WORDS,
                    "message": st.none() | st.text(max_size=9),
                    "finishedAt": TIMES,
                }
            )
        }
    ),
)
STATUS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c"]), "state": STATE},
    optional={
        "lastState": STATE,
        "ready": st.booleans(),
        "started": st.none() | st.booleans(),
        "restartCount": st.integers(0, 99),
        "containerID": st.none() | st.text(max_size=9),
    },
)
CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c"])},
    optional={
        "restartPolicy": st.sampled_from(["Always"]),
        "readinessProbe": st.just({}),
        "livenessProbe": st.just({"httpGet": {"port": 1}}),
        "startupProbe": st.none(),
        "ports": st.just([{"containerPort": 0}]) | st.just([]),
        "resources": st.just({}) | st.just({"limits": {"memory": "1Gi"}}) | st.just({"limits": {"memory": "lots"}}),
    },
)
LISTS = st.lists(STATUS, max_size=3)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("p")},
            optional={"deletionTimestamp": TIMES, "creationTimestamp": TIMES, "labels": st.none()},
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "nodeName": st.none() | st.just("n"),
                "containers": st.none() | st.lists(CONTAINER, max_size=3),
                "initContainers": st.none() | st.lists(CONTAINER, max_size=3),
                "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never"]),
            },
        ),
        "status": st.fixed_dictionaries(
            {},
            optional={
                "phase": st.none() | WORDS,
                "reason": st.none() | WORDS,
                "message": st.none() | st.text(max_size=9),
                "conditions": st.lists(
                    st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(["Ready", "PodScheduled"]),
                            "status": st.sampled_from(["True", "False"]),
                        }
                    ),
                    max_size=2,
                ),
                "containerStatuses": LISTS,
                "initContainerStatuses": LISTS,
            },
        ),
    }
)
FAILING = st.dictionaries(
    st.sampled_from(["readiness", "liveness", "startup"]),
    st.builds(ProbeFailure, st.text(max_size=5), st.integers(1), st.just(T0_S)),
)


@given(PODS, FAILING)
def test_any_pod_can_be_shown_and_its_status_holds_together(body: dict[str, Any], failing: dict[str, Any]) -> None:
    found = msgspec.json.decode(msgspec.json.encode(body), type=Pod)
    status = shown(found, failing=failing, now=T0_S)
    assert kubectl_word(found)
    assert status.pid is None or status.pid > 0
    assert len(status.reason) <= 200
    assert "\n" not in status.reason
    if status.phase == Phase.READY:
        assert status.reason == ""
        assert body["status"].get("phase") == "Running"
        assert body["metadata"].get("deletionTimestamp") is None
    if body["metadata"].get("deletionTimestamp") is not None:
        assert status.phase == Phase.TERMINATING
    if (end := status.last_exit) is not None:
        assert end.code is None or end.signal is None
        assert end.reason
    assert msgspec.json.decode(msgspec.json.encode(status), type=ReplicaStatus) == status
