"""The controller-manager and the scheduler: hears of every change and lets the reconcilers of the kinds concerned look
again. Owns the queue and the clock; what each kind does is in its own module.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.kube_emulator import budgets, endpoints
from tests.kube_emulator.daemons import reconcile_daemon_set
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.jobs import reconcile_job
from tests.kube_emulator.pods import condition, controller_of, is_active
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.replicas import reconcile_replica_set
from tests.kube_emulator.rollouts import Rollouts
from tests.kube_emulator.stateful import reconcile_stateful_set
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Change, Object, Stored

_OWN = {
    "deployments.apps": "Deployment",
    "replicasets.apps": "ReplicaSet",
    "statefulsets.apps": "StatefulSet",
    "daemonsets.apps": "DaemonSet",
    "jobs.batch": "Job",
}
Work = tuple[str, str, str]
"""(what, namespace, name)."""


class Controllers:
    """`speed` compresses every wait: 60 makes a minute a second."""

    def __init__(
        self, registry: Registry, recorder: Recorder, *, speed: float, deadline_speed: float | None = None
    ) -> None:
        self._registry = registry
        self._recorder = recorder
        self._due: dict[Work, None] = {}
        self._woken = False
        self._on_node: Counter[str] = Counter()
        self._unbound: dict[tuple[str, str], None] = {}
        self._stop: Callable[[], None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self.failures: list[BaseException] = []
        """Errors in reconcilers: a test that sees one has found a fault of the emulator."""
        self._rollouts = Rollouts(registry, recorder, deadline_speed or speed, self._later_at)
        self._acts: dict[str, Callable[[str, str], None]] = {
            "Deployment": self._rollouts.reconcile,
            "ReplicaSet": lambda namespace, name: reconcile_replica_set(registry, recorder, namespace, name),
            "StatefulSet": lambda namespace, name: reconcile_stateful_set(registry, recorder, namespace, name),
            "DaemonSet": lambda namespace, name: reconcile_daemon_set(registry, recorder, namespace, name),
            "Job": lambda namespace, name: reconcile_job(registry, recorder, namespace, name),
            "schedule": lambda namespace, name: self._schedule(),
            "endpoints": lambda namespace, name: endpoints.refresh(registry, namespace),
            "budgets": lambda namespace, name: budgets.refresh(registry, namespace),
            "taint": lambda namespace, name: self._taint(name),
        }

    def start(self) -> None:
        """Look at everything there is, then at every change."""
        self._stop = self._registry.store.listen(self._heard)
        for table, kind in _OWN.items():
            for stored in self._registry.store.all(table):
                self._add(kind, *stored.key)
        for stored in self._registry.store.all("pods"):
            self._count(None, stored)
        for stored in self._registry.store.all("namespaces"):
            self._add("endpoints", stored.key[1])
            self._add("budgets", stored.key[1])
        self._add("schedule")

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._due.clear()

    def _heard(self, change: Change) -> None:
        table, (namespace, name) = change.table, change.after.key
        if table in _OWN:
            self._add(_OWN[table], namespace, name)
        if table in ("pods", "replicasets.apps"):
            owner = controller_of(change.after.obj)
            if owner is not None and owner[0] in _OWN.values():
                self._add(owner[0], namespace, owner[1])
        if table == "replicasets.apps" or table == "statefulsets.apps":
            self._add("budgets", namespace)
        if table == "pods":
            self._count(change.before, None if change.type == "DELETED" else change.after)
            self._add("endpoints", namespace)
            self._add("budgets", namespace)
        elif table == "services":
            self._add("endpoints", namespace)
        elif table == "poddisruptionbudgets.policy":
            self._add("budgets", namespace)
        elif table == "nodes":
            self._add("schedule")
            self._add("taint", "", name)
            for stored in self._registry.store.all("daemonsets.apps"):
                self._add("DaemonSet", *stored.key)

    def _count(self, before: Stored | None, after: Stored | None) -> None:
        if before is not None:
            self._unbound.pop(before.key, None)
            if before.obj["spec"].get("nodeName"):
                self._on_node[before.obj["spec"]["nodeName"]] -= 1
        if after is not None:
            if after.obj["spec"].get("nodeName"):
                self._on_node[after.obj["spec"]["nodeName"]] += 1
            elif is_active(after.obj):
                self._unbound[after.key] = None
                self._add("schedule")

    def _add(self, what: str, namespace: str = "", name: str = "") -> None:
        self._due[what, namespace, name] = None
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._work)

    def _later_at(self, seconds: float, what: str, namespace: str, name: str) -> None:
        """Look again after that many real seconds."""

        def look() -> None:
            self._timers.discard(timer)
            self._add(what, namespace, name)

        timer = asyncio.get_running_loop().call_later(seconds, look)
        self._timers.add(timer)

    def _work(self) -> None:
        self._woken = False
        due, self._due = self._due, {}
        for what, namespace, name in due:
            try:
                self._acts[what](namespace, name)
            except ApiError as error:
                if error.code not in (404, 409, 403):
                    self.failures.append(error)
            except Exception as error:
                self.failures.append(error)

    # the scheduler

    def _schedule(self) -> None:
        nodes = self._registry.all("Node")
        fit = [node["metadata"]["name"] for node in nodes if _takes_pods(node)]
        for namespace, name in list(self._unbound):
            stored = self._registry.store.get("pods", namespace, name)
            if stored is None:
                continue
            if not fit:
                self._unschedulable(stored.obj, nodes)
                continue
            chosen = min(fit, key=lambda node: (self._on_node[node], node))
            self._registry.update("Pod", namespace, name, _bound_to(chosen), subresource="binding")
            message = f"Successfully assigned {namespace}/{name} to {chosen}"
            self._recorder.record("Pod", stored.obj, "Scheduled", message, source="default-scheduler")

    def _unschedulable(self, pod: Object, nodes: list[Object]) -> None:
        closed = sum(bool(node["spec"].get("unschedulable")) for node in nodes)
        message = f"0/{len(nodes)} nodes are available: "
        message += f"{closed} node(s) were unschedulable." if closed else "no nodes available to schedule pods"

        def change(obj: Object) -> None:
            conditions = obj["status"].setdefault("conditions", [])
            condition(conditions, "PodScheduled", False, timestamp(), reason="Unschedulable", message=message)

        before = self._registry.store.version
        self._registry.set_status("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], change)
        if self._registry.store.version != before:
            self._recorder.record("Pod", pod, "FailedScheduling", message, warning=True, source="default-scheduler")

    def _taint(self, name: str) -> None:
        """What the node lifecycle controller does to a cordoned node."""
        key = "node.kubernetes.io/unschedulable"

        def change(node: Object) -> Object:
            taints = [taint for taint in node["spec"].get("taints") or () if taint["key"] != key]
            if node["spec"].get("unschedulable"):
                taints.append({"key": key, "effect": "NoSchedule"})
            node["spec"].pop("taints", None)
            if taints:
                node["spec"]["taints"] = taints
            return node

        self._registry.update("Node", "", name, change)


def _takes_pods(node: Object) -> bool:
    if node["spec"].get("unschedulable"):
        return False
    conditions = node["status"].get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _bound_to(node: str) -> Callable[[Object], Object]:
    def change(pod: Object) -> Object:
        pod["spec"]["nodeName"] = node
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        condition(conditions, "PodScheduled", True, timestamp())
        return pod

    return change
