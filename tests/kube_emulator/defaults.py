"""What the API server fills in and refuses when objects are made or changed. Pure functions on one object."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.kube_emulator.kinds import Kind
from tests.kube_emulator.selectors import object_selector
from tests.kube_emulator.status import ApiError, invalid

_DNS_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_cluster_ips = count(10)


def timestamp(at: float | None = None) -> str:
    """RFC 3339 in whole seconds, as metav1.Time."""
    moment = datetime.datetime.now(datetime.UTC) if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp_micro(at: float | None = None) -> str:
    """RFC 3339 with microseconds, as metav1.MicroTime."""
    moment = datetime.datetime.now(datetime.UTC) if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises ValueError."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def fill(kind: Kind, obj: dict[str, Any]) -> None:
    """Defaults of `obj`, in place."""
    filler = _FILLERS.get(kind.kind)
    if filler is not None:
        filler(obj)


def check(kind: Kind, obj: dict[str, Any]) -> None:
    """Raises ApiError 422."""
    name = obj["metadata"].get("name") or ""
    if not name:
        raise invalid(
            kind, "", "metadata.name", "Required value: name or generateName is required", "FieldValueRequired"
        )
    if not _DNS_NAME.match(name) or len(name) > 253:
        why = (
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
            "characters, '-' or '.', and must start and end with an alphanumeric character"
        )
        raise invalid(kind, name, "metadata.name", why)
    for error in _spec_errors(kind, obj):
        raise error


def _spec_errors(kind: Kind, obj: dict[str, Any]) -> Iterator[ApiError]:
    name, spec = obj["metadata"]["name"], obj.get("spec") or {}
    if kind.kind == "Pod" and not spec.get("containers"):
        yield invalid(kind, name, "spec.containers", "Required value", "FieldValueRequired")
    if kind.kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        template = spec.get("template") or {}
        if spec.get("selector") is None:
            yield invalid(kind, name, "spec.selector", "Required value", "FieldValueRequired")
        elif not object_selector(spec["selector"])((template.get("metadata") or {}).get("labels") or {}):
            yield invalid(
                kind,
                name,
                "spec.template.metadata.labels",
                f"Invalid value: {template.get('metadata', {}).get('labels')}: `selector` does not match template "
                "`labels`",
            )
        if not (template.get("spec") or {}).get("containers"):
            yield invalid(kind, name, "spec.template.spec.containers", "Required value", "FieldValueRequired")
        replicas = spec.get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            why = f"Invalid value: {replicas}: must be greater than or equal to 0"
            yield invalid(kind, name, "spec.replicas", why)


IMMUTABLE = {
    "Deployment": ("selector",),
    "ReplicaSet": ("selector",),
    "DaemonSet": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Job": ("selector", "template", "completions"),
}
POD_MUTABLE = frozenset(
    {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "containers", "initContainers"}
)


def check_change(kind: Kind, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raises ApiError 422 where a field was changed that may not be."""
    name = before["metadata"]["name"]
    old, new = before.get("spec") or {}, after.get("spec") or {}
    for field in IMMUTABLE.get(kind.kind, ()):
        if old.get(field) != new.get(field):
            raise invalid(kind, name, f"spec.{field}", "Invalid value: field is immutable")
    if kind.kind == "Pod":
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} - POD_MUTABLE
        bare_old = [{k: v for k, v in c.items() if k != "image"} for c in old.get("containers") or ()]
        bare_new = [{k: v for k, v in c.items() if k != "image"} for c in new.get("containers") or ()]
        if changed or bare_old != bare_new:
            why = (
                "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
                "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                "existing tolerations),`spec.terminationGracePeriodSeconds`"
            )
            raise invalid(kind, name, "spec", why, "FieldValueForbidden")


def fill_pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in spec.get("containers") or ():
        container.setdefault("image", "")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            probe = container.get(name)
            if probe:
                for field, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1)):
                    probe.setdefault(field, value)
                probe.setdefault("failureThreshold", 3)


def _pod(obj: dict[str, Any]) -> None:
    fill_pod_spec(obj["spec"])
    status = obj.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", _qos(obj["spec"]))


def _qos(spec: dict[str, Any]) -> str:
    wants = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(want.get("limits") or want.get("requests") for want in wants):
        return "BestEffort"
    if all(
        {"cpu", "memory"} <= (want.get("limits") or {}).keys()
        and (want.get("requests") or want["limits"]) == want["limits"]
        for want in wants
    ):
        return "Guaranteed"
    return "Burstable"


def _template(spec: dict[str, Any]) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            fill_pod_spec(template["spec"])


def _deployment(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)
    obj.setdefault("status", {})


def _replica_set(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    obj.setdefault("status", {"replicas": 0})


def _stateful_set(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("serviceName", "")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    _template(spec)
    obj.setdefault("status", {"replicas": 0, "availableReplicas": 0})


def _daemon_set(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxUnavailable", 1)
        strategy["rollingUpdate"].setdefault("maxSurge", 0)
    _template(spec)
    counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    obj.setdefault("status", dict.fromkeys(counts, 0))


def _job(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    _template(spec)
    uid, name = obj["metadata"].get("uid", ""), obj["metadata"].get("name", "")
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})
    labels = spec["template"]["metadata"].setdefault("labels", {})
    labels.setdefault("batch.kubernetes.io/controller-uid", uid)
    labels.setdefault("batch.kubernetes.io/job-name", name)
    labels.setdefault("controller-uid", uid)
    labels.setdefault("job-name", name)
    obj.setdefault("status", {})


def _service(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
        if spec["type"] in ("NodePort", "LoadBalancer"):
            port.setdefault("nodePort", 30000 + next(_cluster_ips) % 2700)
    if spec["type"] != "ExternalName" and "clusterIP" not in spec:
        number = next(_cluster_ips)
        spec["clusterIP"] = f"10.96.{number // 250 % 250}.{number % 250 + 1}"
        spec["clusterIPs"] = [spec["clusterIP"]]
    obj.setdefault("status", {"loadBalancer": {}})


def _namespace(obj: dict[str, Any]) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")


def _budget(obj: dict[str, Any]) -> None:
    counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    obj.setdefault("status", dict.fromkeys(counts, 0))


def _ingress(obj: dict[str, Any]) -> None:
    obj.setdefault("status", {"loadBalancer": {}})


_FILLERS = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "Service": _service,
    "Namespace": _namespace,
    "PodDisruptionBudget": _budget,
    "Ingress": _ingress,
}
