"""The kinds that the emulator knows, and its discovery documents. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SERVER_VERSION = "v1.36.0"


@dataclass(frozen=True)
class Kind:
    """One resource of one API group. `store_as` is the table it is kept in (two groups may show the same objects)."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    store_as: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def table(self) -> str:
        return self.store_as or self.qualified

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


KINDS: tuple[Kind, ...] = (
    Kind(
        "",
        "v1",
        "pods",
        "Pod",
        short=("po",),
        subresources=("status", "log", "exec", "attach", "portforward", "proxy", "eviction", "binding"),
    ),
    Kind("", "v1", "nodes", "Node", False, ("no",), ("status", "proxy")),
    Kind("", "v1", "namespaces", "Namespace", False, ("ns",), ("status", "finalize")),
    Kind("", "v1", "services", "Service", short=("svc",), subresources=("status", "proxy")),
    Kind("", "v1", "endpoints", "Endpoints", short=("ep",)),
    Kind("", "v1", "events", "Event", short=("ev",), store_as="events"),
    Kind("", "v1", "configmaps", "ConfigMap", short=("cm",)),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",)),
    Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), subresources=("status",)),
    Kind("apps", "v1", "deployments", "Deployment", short=("deploy",), subresources=("status", "scale")),
    Kind("apps", "v1", "replicasets", "ReplicaSet", short=("rs",), subresources=("status", "scale")),
    Kind("apps", "v1", "statefulsets", "StatefulSet", short=("sts",), subresources=("status", "scale")),
    Kind("apps", "v1", "daemonsets", "DaemonSet", short=("ds",), subresources=("status",)),
    Kind("apps", "v1", "controllerrevisions", "ControllerRevision"),
    Kind("batch", "v1", "jobs", "Job", subresources=("status",)),
    Kind("batch", "v1", "cronjobs", "CronJob", short=("cj",), subresources=("status",)),
    Kind("networking.k8s.io", "v1", "ingresses", "Ingress", short=("ing",), subresources=("status",)),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short=("netpol",)),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), subresources=("status",)),
    Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ("hpa",), ("status",)),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Kind("events.k8s.io", "v1", "events", "Event", short=("ev",), store_as="events"),
    Kind("rbac.authorization.k8s.io", "v1", "roles", "Role"),
    Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
)

METRICS = (
    Kind("metrics.k8s.io", "v1beta1", "pods", "PodMetrics"),
    Kind("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", False),
)

REVIEWS = (
    Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    Kind("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
)

BY_PATH: dict[tuple[str, str, str], Kind] = {(k.group, k.version, k.plural): k for k in KINDS + METRICS + REVIEWS}
_PREFERRED: dict[str, Kind] = {}
for _kind in KINDS:
    _PREFERRED.setdefault(_kind.kind, _kind)
    _PREFERRED.setdefault(_kind.plural, _kind)
    _PREFERRED.setdefault(_kind.qualified, _kind)


def kind_of(name: str) -> Kind:
    """By kind (`Pod`), plural (`pods`) or qualified plural (`deployments.apps`). Raises KeyError."""
    return _PREFERRED[name]


def _resource_list(group: str, version: str, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        if kind in METRICS:
            verbs = ["get", "list"]
        elif kind in REVIEWS:
            verbs = ["create"]
        else:
            verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        resource: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs,
        }
        if kind.short:
            resource["shortNames"] = list(kind.short)
        resources.append(resource)
        resources.extend(
            {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": _SUBRESOURCE_KIND.get(name, kind.kind),
                "verbs": _SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
            }
            for name in kind.subresources
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


_SUBRESOURCE_KIND = {
    "scale": "Scale",
    "eviction": "Eviction",
    "exec": "PodExecOptions",
    "attach": "PodAttachOptions",
    "portforward": "PodPortForwardOptions",
    "proxy": "PodProxyOptions",
    "binding": "Binding",
    "token": "TokenRequest",
}
_SUBRESOURCE_VERBS = {
    "log": ["get"],
    "eviction": ["create"],
    "binding": ["create"],
    "token": ["create"],
    "exec": ["create", "get"],
    "attach": ["create", "get"],
    "portforward": ["create", "get"],
    "proxy": ["create", "delete", "get", "patch", "update"],
}


def discovery(path: tuple[str, ...], *, metrics: bool) -> dict[str, Any] | None:
    """What `/version`, `/api`, `/apis` and the lists below them say, or null where there is no such document."""
    known = KINDS + REVIEWS + (METRICS if metrics else ())
    groups: dict[str, str] = {}
    for kind in known:
        groups.setdefault(kind.group, kind.version)
    if path == ("version",):
        return {
            "major": "1",
            "minor": "36",
            "gitVersion": SERVER_VERSION,
            "gitCommit": "0" * 40,
            "gitTreeState": "clean",
            "buildDate": "2026-04-22T00:00:00Z",
            "goVersion": "go1.26.0",
            "compiler": "gc",
            "platform": "linux/amd64",
        }
    if path == ("api",):
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == ("api", "v1"):
        return _resource_list("", "v1", tuple(k for k in known if not k.group))
    if path == ("apis",):
        listed = [_group(name, version) for name, version in groups.items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    if len(path) == 2 and path[0] == "apis" and path[1] in groups and path[1]:
        return {"kind": "APIGroup", "apiVersion": "v1"} | _group(path[1], groups[path[1]])
    if len(path) == 3 and path[0] == "apis" and groups.get(path[1]) == path[2]:
        return _resource_list(path[1], path[2], tuple(k for k in known if k.group == path[1]))
    return None


def _group(name: str, version: str) -> dict[str, Any]:
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}
