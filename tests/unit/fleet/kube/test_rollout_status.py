"""A rollout is told in kubectl's words, and its end is told from its failure."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.errors import Refused
from backend.fleet.kube.revisions import deployment_patch, former_controller_revision, former_replica_set, set_patch
from backend.fleet.kube.rollout_status import pod_trouble, refusal, status_of, worst_of


def deployment(generation: int = 2, observed: int = 2, wanted: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "uid": "d1", "generation": generation, "annotations": {}},
        "spec": {"replicas": wanted, "template": {"spec": {"containers": [{"image": "new"}]}}},
        "status": {"observedGeneration": observed, **status},
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (deployment(observed=1), "Waiting for deployment spec update to be observed..."),
        (
            deployment(updatedReplicas=1),
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
        ),
        (
            deployment(updatedReplicas=3, replicas=4),
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
        ),
        (
            deployment(updatedReplicas=3, replicas=3, availableReplicas=2),
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
        ),
    ],
)
def test_a_deployment_says_what_it_waits_for(found: dict[str, Any], words: str) -> None:
    status = status_of("Deployment", found)
    assert (status.message, status.done, status.failed) == (words, False, False)


def test_a_deployment_ends_well_or_by_its_deadline() -> None:
    done = status_of("Deployment", deployment(updatedReplicas=3, replicas=3, availableReplicas=3))
    assert done.done
    assert done.message == 'deployment "web" successfully rolled out'
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert status_of("Deployment", deployment(updatedReplicas=1, conditions=late)).failed
    assert not status_of("Deployment", deployment(observed=1, conditions=late)).failed, "that was the former rollout"


def test_sets_say_what_they_wait_for() -> None:
    status = {"observedGeneration": 1, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"}
    found = {"metadata": {"name": "db", "generation": 1}, "spec": {"replicas": 3}, "status": status}
    assert status_of("StatefulSet", found).message == "Waiting for 1 pods to be ready..."
    status["readyReplicas"] = 3
    assert not status_of("StatefulSet", found).done
    status["currentRevision"] = "b"
    assert status_of("StatefulSet", found).done
    counts = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}
    node_wide = {"metadata": {"name": "agent", "generation": 1}, "status": counts}
    assert "1 of 2 updated pods are available" in status_of("DaemonSet", node_wide).message
    counts["numberAvailable"] = 2
    assert status_of("DaemonSet", node_wide).done


def test_what_replaces_no_pods_by_itself_is_refused() -> None:
    on_delete = {"metadata": {"name": "db"}, "spec": {"updateStrategy": {"type": "OnDelete"}}}
    assert "only when they are deleted" in refusal("StatefulSet", on_delete)
    assert "no rollouts" in refusal("Job", {"metadata": {"name": "once"}})
    assert "paused" in refusal("Deployment", {"metadata": {"name": "web"}, "spec": {"paused": True}})
    assert refusal("Deployment", deployment()) == ""


def test_the_cause_names_pod_container_and_reason() -> None:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "web:9"'}}
    pod = {"metadata": {"name": "web-1"}, "status": {"containerStatuses": [{"name": "app", "state": state}]}}
    assert pod_trouble(pod) == 'web-1: container app: ImagePullBackOff (Back-off pulling image "web:9")'
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    waiting = {"metadata": {"name": "web-2"}, "status": {"conditions": [unplaced]}}
    assert worst_of([pod, waiting]).count(";") == 1
    assert "Unschedulable (0/3 nodes)" in worst_of([waiting])


def revision(number: int, owner: str = "d1") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"web-{number}",
            "annotations": {
                "deployment.kubernetes.io/revision": str(number),
                "kubernetes.io/change-cause": f"v{number}",
            },
            "ownerReferences": [{"uid": owner, "controller": True, "kind": "Deployment", "name": "web"}],
        },
        "spec": {
            "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}},
                "spec": {"containers": [{"image": f"web:{number}"}]},
            }
        },
    }


def test_rollback_goes_to_the_revision_before_the_present_one() -> None:
    found = deployment()
    found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"
    former = former_replica_set(found, [revision(4), revision(2), revision(3), revision(3, owner="other")])
    assert former["metadata"]["name"] == "web-3"
    patch = {(one["op"], one["path"]): one["value"] for one in deployment_patch(found, former)}
    assert patch["test", "/metadata/generation"] == 2
    template = patch["replace", "/spec/template"]
    assert template["metadata"]["labels"] == {"app": "web"}, "the hash is the controller's own"
    annotations = patch["add", "/metadata/annotations"]
    assert annotations["kubernetes.io/change-cause"] == "v3"
    assert annotations["deployment.kubernetes.io/revision"] == "4", "the controller counts on by itself"


def test_without_history_nothing_is_rolled_back() -> None:
    found = deployment()
    found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    with pytest.raises(Refused, match="no former revision"):
        former_replica_set(found, [revision(1)])


def test_sets_return_by_their_controller_revisions() -> None:
    def kept(number: int) -> dict[str, Any]:
        owner = [{"uid": "s1", "controller": True, "kind": "StatefulSet", "name": "db"}]
        data = {"spec": {"template": {"$patch": "replace", "spec": {"n": number}}}}
        return {"metadata": {"name": f"db-{number}", "ownerReferences": owner}, "revision": number, "data": data}

    owner = {"metadata": {"name": "db", "uid": "s1"}, "status": {"updateRevision": "db-3"}}
    former = former_controller_revision(owner, "StatefulSet", [kept(3), kept(1), kept(2)])
    assert set_patch(former)["spec"]["template"]["spec"]["n"] == 2
