"""Former revisions of workloads, and the patch that returns to one. Pure functions over API objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backend.contract.errors import Refused
from backend.fleet.kube.objects import Object, controller_of, mapping, name_of, number, part, text, uid_of

REVISION: Final = "deployment.kubernetes.io/revision"
_CHANGE_CAUSE: Final = "kubernetes.io/change-cause"
_HASH: Final = "pod-template-hash"
_KEPT: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations of a Deployment that stay its own when it returns to a ReplicaSet's template (as kubectl does it)."""


def owned_by(owner: Object, candidates: Sequence[Object]) -> list[Object]:
    """Those that the owner controls."""
    uid = uid_of(owner)
    return [one for one in candidates if (held := controller_of(one)) is not None and held.get("uid") == uid]


def revision_of(obj: Object) -> int:
    """Of a ReplicaSet or ControllerRevision; 0 where it has none."""
    if isinstance(part(obj, "revision"), int):
        return number(obj, "revision")
    written = text(obj, "metadata", "annotations", REVISION)
    return int(written) if written.isdecimal() else 0


def former_replica_set(deployment: Object, replica_sets: Sequence[Object]) -> Object:
    """The ReplicaSet of the revision before the present one. Raises Refused where there is none."""
    present = revision_of(deployment)
    known = sorted(owned_by(deployment, replica_sets), key=revision_of)
    if not present and known:
        present = revision_of(known[-1])
    before = [one for one in known if 0 < revision_of(one) < present]
    if not before:
        raise _no_former("Deployment", name_of(deployment))
    return before[-1]


def deployment_patch(deployment: Object, former: Object) -> list[dict[str, Any]]:
    """A JSON patch that gives it the template of that ReplicaSet. Fails (and changes nothing) where its spec was
    changed since it was read."""
    template = dict(mapping(former, "spec", "template"))
    metadata = dict(mapping(template, "metadata"))
    metadata["labels"] = {k: v for k, v in mapping(metadata, "labels").items() if k != _HASH}
    template["metadata"] = metadata
    own = mapping(deployment, "metadata", "annotations")
    annotations = {key: value for key, value in own.items() if key in _KEPT}
    annotations |= {k: v for k, v in mapping(former, "metadata", "annotations").items() if k not in _KEPT}
    patch: list[dict[str, Any]] = []
    if generation := number(deployment, "metadata", "generation"):
        patch.append({"op": "test", "path": "/metadata/generation", "value": generation})
    patch.append({"op": "replace", "path": "/spec/template", "value": template})
    patch.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    return patch


def former_controller_revision(owner: Object, kind: str, revisions: Sequence[Object]) -> Object:
    """The ControllerRevision before the present one. Raises Refused where there is none."""
    known = sorted(owned_by(owner, revisions), key=revision_of)
    present = text(owner, "status", "updateRevision")
    newest = next((one for one in known if name_of(one) == present), known[-1] if known else None)
    before = [one for one in known if newest is not None and revision_of(one) < revision_of(newest)]
    if not before:
        raise _no_former(kind, name_of(owner))
    return before[-1]


def set_patch(former: Object) -> dict[str, Any]:
    """The strategic merge patch that a ControllerRevision of a StatefulSet or DaemonSet keeps."""
    return dict(mapping(former, "data"))


def cause_of(revision: Object) -> str:
    """What `kubernetes.io/change-cause` says of it; empty where nobody wrote it."""
    return text(revision, "metadata", "annotations", _CHANGE_CAUSE)


def same_template(one: object, other: object) -> bool:
    """Whether two pod templates differ in nothing but the hash label that the Deployment controller adds."""
    return _plain(one) == _plain(other)


def _plain(template: object) -> dict[str, Any]:
    plain = dict(mapping(template))
    metadata = {k: v for k, v in mapping(plain, "metadata").items() if v is not None and k != "labels"}
    labels = {k: v for k, v in mapping(plain, "metadata", "labels").items() if k != _HASH}
    plain["metadata"] = {**metadata, "labels": labels}
    return plain


def _no_former(kind: str, name: str) -> Refused:
    return Refused(
        f"{kind} {name} has no former revision to return to.",
        "Its history is kept by `revisionHistoryLimit`; change the template instead.",
    )
