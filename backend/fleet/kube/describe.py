"""Pods, workloads and nodes for reading: sections of lines as `kubectl describe` has them. Pure; any object will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from backend.fleet.kube.describe_containers import container_lines
from backend.fleet.kube.objects import (
    Object,
    controller_of,
    mapping,
    name_of,
    number,
    objects,
    part,
    selector_text,
    text,
    when,
)
from backend.fleet.kube.revisions import cause_of, revision_of
from backend.fleet.masking import masked_value

Sections = tuple[tuple[str, tuple[str, ...]], ...]

_NONE: Final = "<none>"
_HIDDEN: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_WIDTH: Final = 18
_NEWEST_EVENTS: Final = 50
_DAEMON_COUNTS: Final = (
    ("desired", "desiredNumberScheduled"),
    ("current", "currentNumberScheduled"),
    ("ready", "numberReady"),
    ("up to date", "updatedNumberScheduled"),
    ("available", "numberAvailable"),
)
_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))


def field(name: str, value: str) -> str:
    """`Node:              worker-1`."""
    return f"{name + ':':<{_WIDTH}} {value or _NONE}".rstrip()


def age(seconds: float) -> str:
    """`3d4h`, `5m2s`: the two largest units, as kubectl shows ages."""
    left = max(0.0, seconds)
    shown: list[str] = []
    for size, unit in _UNITS:
        count = int(left // size)
        left -= count * size
        if count or (shown and unit != "s"):
            shown.append(f"{count}{unit}" if count else "")
        if len(shown) == 2:
            break
    return "".join(shown) or "0s"


def ago(value: object, now_ts: float) -> str:
    """`2026-11-21T10:00:00Z (3h ago)`."""
    at = when(value)
    return "" if at is None else f"{value} ({age(now_ts - at)} ago)"


def pairs(obj: object, *keys: str) -> list[str]:
    """Labels or annotations, `key=value` each."""
    held = mapping(obj, *keys)
    return [
        f"{key}={' '.join(str(value).split())[:400]}"
        for key, value in sorted(held.items(), key=str)
        if key not in _HIDDEN
    ]


def describe_pod(pod: Object, events: Sequence[Object], now_ts: float) -> Sections:
    """A pod, its containers and what happened to it."""
    owner = controller_of(pod)
    spec, status = mapping(pod, "spec"), mapping(pod, "status")
    state = "Terminating" if part(pod, "metadata", "deletionTimestamp") is not None else text(status, "phase")
    head = [
        field("Name", name_of(pod)),
        field("Namespace", text(pod, "metadata", "namespace")),
        field("Controlled By", f"{text(owner, 'kind')}/{text(owner, 'name')}" if owner is not None else ""),
        field("Node", _placed(spec, status)),
        field("Created", ago(part(pod, "metadata", "creationTimestamp"), now_ts)),
        field("Start Time", ago(part(status, "startTime"), now_ts)),
        field("Status", _with_reason(state, status)),
        field(
            "IP",
            ", ".join(filter(None, (text(one, "ip") for one in objects(status, "podIPs")))) or text(status, "podIP"),
        ),
        field("QoS Class", text(status, "qosClass")),
        field(
            "Priority",
            text(spec, "priority")
            + (f" ({text(spec, 'priorityClassName')})" if text(spec, "priorityClassName") else ""),
        ),
        field("Service Account", text(spec, "serviceAccountName")),
        field("Grace Period", f"{number(spec, 'terminationGracePeriodSeconds', default=30)}s"),
    ]
    if deleted := part(pod, "metadata", "deletionTimestamp"):
        head.append(field("Deleted", ago(deleted, now_ts)))
    sections: list[tuple[str, Sequence[str]]] = [("Pod", head)]
    sections += _labelled(pod)
    for title, specs, statuses in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        known = {text(one, "name"): one for one in objects(status, statuses)}
        lines = [
            line for one in objects(spec, specs) for line in container_lines(one, known.get(text(one, "name")), now_ts)
        ]
        if lines:
            sections.append((title, lines))
    sections.append(("Conditions", conditions(pod, now_ts)))
    sections.append(("Volumes", volumes(spec)))
    sections.append(("Scheduling", _scheduling(spec)))
    return _finished(sections, events, now_ts)


def describe_workload(
    kind: str,
    obj: Object,
    *,
    pods: Sequence[Object],
    revisions: Sequence[Object],
    autoscalers: Sequence[Object],
    budgets: Sequence[Object],
    events: Sequence[Object],
    now_ts: float,
) -> Sections:
    """A Deployment, StatefulSet, DaemonSet, Job, ... with its pods, revisions and what has a say in its count."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    head = [
        field("Name", name_of(obj)),
        field("Namespace", text(obj, "metadata", "namespace")),
        field("Created", ago(part(obj, "metadata", "creationTimestamp"), now_ts)),
        field("Selector", selector_text(part(spec, "selector"))),
        field("Replicas", _counts(kind, spec, status)),
    ]
    strategy = part(spec, "strategy") or part(spec, "updateStrategy")
    if strategy is not None:
        rolling = mapping(strategy, "rollingUpdate")
        words = ", ".join(f"{key} {value}" for key, value in sorted(rolling.items(), key=str))
        head.append(field("Strategy", f"{text(strategy, 'type')}{' (' + words + ')' if words else ''}"))
    for label, key in (("Min Ready", "minReadySeconds"), ("Progress Deadline", "progressDeadlineSeconds")):
        if text(spec, key):
            head.append(field(label, f"{text(spec, key)}s"))
    if part(spec, "paused") is True or part(spec, "suspend") is True:
        head.append(field("Paused", "yes"))
    if owner := controller_of(obj):
        head.append(field("Controlled By", f"{text(owner, 'kind')}/{text(owner, 'name')}"))
    sections: list[tuple[str, Sequence[str]]] = [(kind, head)]
    sections += _labelled(obj)
    template = mapping(spec, "template", "spec")
    lines = [line for one in objects(template, "containers") for line in container_lines(one, None, now_ts)]
    sections.append(("Containers", lines))
    sections.append(("Volumes", volumes(template)))
    sections.append(("Conditions", conditions(obj, now_ts)))
    sections.append(("Pods", [_pod_line(pod, now_ts) for pod in sorted(pods, key=name_of)]))
    shown = sorted(revisions, key=revision_of)
    sections.append(("Revisions", [_revision_line(one, now_ts) for one in shown]))
    sections.append(("Autoscalers", [_autoscaler_line(one) for one in autoscalers]))
    sections.append(("Disruption Budgets", [_budget_line(one) for one in budgets]))
    return _finished(sections, events, now_ts)


def describe_node(node: Object, pods: Sequence[Object], events: Sequence[Object], now_ts: float) -> Sections:
    """A node, what it has and what runs on it (as far as that may be seen)."""
    info = mapping(node, "status", "nodeInfo")
    roles = [str(key).rpartition("/")[2] for key in mapping(node, "metadata", "labels") if "node-role" in str(key)]
    head = [
        field("Name", name_of(node)),
        field("Roles", ", ".join(sorted(filter(None, roles)))),
        field("Created", ago(part(node, "metadata", "creationTimestamp"), now_ts)),
        field("Unschedulable", "yes: it is cordoned" if part(node, "spec", "unschedulable") is True else "no"),
        field("Kubelet", text(info, "kubeletVersion")),
        field("Runtime", text(info, "containerRuntimeVersion")),
        field("System", f"{text(info, 'osImage')}, {text(info, 'kernelVersion')}, {text(info, 'architecture')}"),
    ]
    taints = [
        f"{text(one, 'key')}{'=' + text(one, 'value') if text(one, 'value') else ''}:{text(one, 'effect')}"
        for one in objects(node, "spec", "taints")
    ]
    capacity, allocatable = mapping(node, "status", "capacity"), mapping(node, "status", "allocatable")
    room = [
        field(str(key), f"{value} (allocatable {allocatable.get(key, '?')})")
        for key, value in sorted(capacity.items(), key=str)
    ]
    sections: list[tuple[str, Sequence[str]]] = [("Node", head)]
    sections += _labelled(node)
    sections.append(("Taints", taints))
    sections.append(
        ("Addresses", [field(text(a, "type"), text(a, "address")) for a in objects(node, "status", "addresses")])
    )
    sections.append(("Conditions", conditions(node, now_ts)))
    sections.append(("Capacity", room))
    sections.append(("Pods", [_pod_line(pod, now_ts, namespace=True) for pod in sorted(pods, key=name_of)]))
    return _finished(sections, events, now_ts)


def conditions(obj: Object, now_ts: float) -> list[str]:
    """`Ready  False  ContainersNotReady  5m  containers with unready status: [app]`."""
    lines = []
    for one in objects(obj, "status", "conditions"):
        since = when(part(one, "lastTransitionTime"))
        passed = age(now_ts - since) if since is not None else "-"
        message = " ".join(text(one, "message").split())
        state = f"{text(one, 'type'):<26} {text(one, 'status'):<8} {text(one, 'reason') or '-':<28}"
        lines.append(f"{state} {passed:>7}  {message}".rstrip())
    return lines


def volumes(spec: Object) -> list[str]:
    """`data: PersistentVolumeClaim data-0`."""
    lines = []
    for one in objects(spec, "volumes"):
        kind = next((str(key) for key in one if key != "name"), "unknown")
        about = mapping(one, kind)
        named = next(
            (text(about, key) for key in ("claimName", "secretName", "name", "path", "driver") if text(about, key)), ""
        )
        more = f" medium {text(about, 'medium')}" if text(about, "medium") else ""
        lines.append(f"{text(one, 'name')}: {kind}{' ' + named if named else ''}{more}")
    return lines


def event_lines(events: Sequence[Object], now_ts: float) -> list[str]:
    """`3m (x5)  Warning  BackOff  kubelet  Back-off restarting ...`, the newest last."""
    dated = sorted(((event_ts(one), one) for one in events), key=lambda pair: pair[0])
    lines = []
    for at, one in dated[-_NEWEST_EVENTS:]:
        count = number(one, "series", "count") or number(one, "count")
        passed = f"{age(now_ts - at) if at else '-'}{f' (x{count})' if count > 1 else ''}"
        source = text(one, "source", "component") or text(one, "reportingComponent") or "-"
        message = " ".join(text(one, "message").split())
        lines.append(f"{passed:<13} {text(one, 'type'):<8} {text(one, 'reason'):<24} {source:<22} {message}".rstrip())
    return lines


def event_ts(event: Object) -> float:
    """When it last happened; 0 where it does not say."""
    for keys in (("series", "lastObservedTime"), ("lastTimestamp",), ("eventTime",), ("metadata", "creationTimestamp")):
        at = when(part(event, *keys))
        if at is not None:
            return at
    return 0.0


# -- parts


def _finished(sections: list[tuple[str, Sequence[str]]], events: Sequence[Object], now_ts: float) -> Sections:
    shown = [(title, tuple(lines)) for title, lines in sections if lines]
    return (*shown, ("Events", tuple(event_lines(events, now_ts)) or (_NONE,)))


def _labelled(obj: Object) -> list[tuple[str, Sequence[str]]]:
    return [("Labels", pairs(obj, "metadata", "labels")), ("Annotations", _annotations(obj))]


def _annotations(obj: Object) -> list[str]:
    held: Mapping[str, object] = mapping(obj, "metadata", "annotations")
    lines = []
    for key, value in sorted(held.items(), key=str):
        if key not in _HIDDEN:
            said = masked_value(str(key), str(value))
            lines.append(f"{key}={' '.join(said.split())[:400]}")
    return lines


def _placed(spec: Object, status: Object) -> str:
    node, host = text(spec, "nodeName"), text(status, "hostIP")
    return f"{node}/{host}" if node and host else node


def _with_reason(state: str, status: Object) -> str:
    reason, message = text(status, "reason"), " ".join(text(status, "message").split())
    return f"{state}{' (' + reason + ')' if reason else ''}{': ' + message if message else ''}"


def _counts(kind: str, spec: Object, status: Object) -> str:
    if kind == "DaemonSet":
        return ", ".join(f"{number(status, key)} {word}" for word, key in _DAEMON_COUNTS)
    if kind == "Job":
        done = f"{number(status, 'succeeded')} of {number(spec, 'completions', default=1)} succeeded"
        return f"{done}, {number(status, 'active')} active, {number(status, 'failed')} failed"
    shown = (("updated", "updatedReplicas"), ("ready", "readyReplicas"), ("available", "availableReplicas"))
    counts = ", ".join(f"{number(status, key)} {word}" for word, key in shown)
    return f"{number(spec, 'replicas', default=1)} desired, {number(status, 'replicas')} there, {counts}"


def _scheduling(spec: Object) -> list[str]:
    lines = [f"node selector: {line}" for line in pairs(spec, "nodeSelector")]
    for one in objects(spec, "tolerations"):
        value = f"={text(one, 'value')}" if text(one, "value") else ""
        lasting = f" for {text(one, 'tolerationSeconds')}s" if text(one, "tolerationSeconds") else ""
        lines.append(f"tolerates {text(one, 'key') or 'everything'}{value}:{text(one, 'effect') or '*'}{lasting}")
    if part(spec, "affinity"):
        lines.append(f"affinity: {', '.join(sorted(map(str, mapping(spec, 'affinity'))))}")
    gates = [text(one, "name") for one in objects(spec, "schedulingGates")]
    return lines + [f"gated by {name}" for name in gates]


def _pod_line(pod: Object, now_ts: float, *, namespace: bool = False) -> str:
    statuses = objects(pod, "status", "containerStatuses")
    ready = sum(one.get("ready") is True for one in statuses)
    restarts = sum(number(one, "restartCount") for one in statuses)
    made = when(part(pod, "metadata", "creationTimestamp"))
    name = f"{text(pod, 'metadata', 'namespace')}/{name_of(pod)}" if namespace else name_of(pod)
    passed = age(now_ts - made) if made is not None else "-"
    total = max(len(statuses), len(objects(pod, "spec", "containers")))
    return f"{name}  {text(pod, 'status', 'phase')}  {ready}/{total} ready  {restarts} restarts  {passed}"


def _revision_line(one: Object, now_ts: float) -> str:
    made = when(part(one, "metadata", "creationTimestamp"))
    images = ", ".join(text(c, "image") for c in objects(one, "spec", "template", "spec", "containers"))
    cause = cause_of(one)
    words = [f"{revision_of(one)}", name_of(one), images, age(now_ts - made) if made is not None else "-", cause]
    return "  ".join(filter(None, words))


def _autoscaler_line(one: Object) -> str:
    low, high = number(one, "spec", "minReplicas", default=1), number(one, "spec", "maxReplicas")
    wanted = number(one, "status", "desiredReplicas")
    return f"{name_of(one)}: between {low} and {high} replicas, wants {wanted} now"


def _budget_line(one: Object) -> str:
    status = mapping(one, "status")
    return (
        f"{name_of(one)}: {number(status, 'currentHealthy')} of {number(status, 'expectedPods')} healthy, "
        f"{number(status, 'desiredHealthy')} must be, {number(status, 'disruptionsAllowed')} may go"
    )
