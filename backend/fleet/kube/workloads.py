"""What keeps pods alive: Deployments, StatefulSets, DaemonSets, Jobs, bare pods and what else owns some.

Owns the workloads' names and their view, kept change by change. A name is the object's own; where objects of several
kinds have one name, the first kind of `_RANK` has it plain and the others as `statefulset/name`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.fleet import WorkloadSpec
from backend.contract.platform import PlatformWorkload
from backend.fleet.kube.kinds import WORKLOAD_KINDS
from backend.fleet.kube.pods import memory_limit
from backend.fleet.kube.rollouts import rollout_words, wanted
from backend.fleet.kube.shapes import BaseMetadata, Pod, WorkloadObject
from backend.fleet.overlay import declared_for, overlay

_RANK: Final = {kind: rank for rank, kind in enumerate((*WORKLOAD_KINDS, "ReplicaSet", "Pod"))}
_SCALABLE: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})
_MAX_REPLICAS: Final = 10_000
_GRACE_S: Final = 30.0
"""Kubernetes' own default."""
_REVISION: Final = "deployment.kubernetes.io/revision"
_LABEL: Final = "app.kubernetes.io/"
_OURS: Final = "trinity"
"""The chart's own `app.kubernetes.io/name`."""


class Owner(msgspec.Struct, frozen=True, gc=False):
    """The object that keeps a pod alive, in the end."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Workloads:
    """Objects and owners of pods as PlatformWorkloads."""

    def __init__(self) -> None:
        self._objects: dict[Owner, WorkloadObject] = {}
        self._pods: Counter[Owner] = Counter()
        self._samples: dict[Owner, Pod] = {}
        """A pod of each owner of which only pods are seen."""
        self._kinds: dict[str, set[str]] = {}
        """Name -> kinds that have it."""
        self._replica_sets: dict[str, WorkloadObject] = {}
        self._newest: dict[str, tuple[int, str]] = {}
        """Deployment -> revision and pod-template-hash of its newest ReplicaSet."""
        self._made: dict[Owner, PlatformWorkload] = {}
        self._views: tuple[PlatformWorkload, ...] | None = ()
        self._declared: tuple[WorkloadSpec, ...] = ()

    # -- what there is

    def views(self) -> tuple[PlatformWorkload, ...]:
        """All, by name."""
        if self._views is None:
            for owner in self._owners():
                if owner not in self._made:
                    self._made[owner] = self._make(owner)
            self._views = tuple(sorted(self._made.values(), key=lambda made: made.spec.name))
        return self._views

    def objects(self) -> Iterable[tuple[Owner, WorkloadObject]]:
        return self._objects.items()

    def name_of(self, owner: Owner) -> str:
        """What the workload is called here."""
        kinds = self._kinds.get(owner.name)
        if kinds is None or len(kinds) == 1:
            return owner.name
        first = min(kinds, key=lambda kind: (_RANK.get(kind, len(_RANK)), kind))
        return owner.name if owner.kind == first else f"{owner.kind.lower()}/{owner.name}"

    def find(self, name: str) -> Owner | None:
        """The owner behind a workload's name: `llm`, `deployment/llm`, `Deployment/llm`."""
        kind, slash, plain = name.rpartition("/")
        kinds = self._kinds.get(plain, ())
        if slash:
            return next((Owner(found, plain) for found in kinds if found.lower() == kind.lower()), None)
        return next((Owner(found, plain) for found in kinds if self.name_of(Owner(found, plain)) == name), None)

    def object_of(self, owner: Owner) -> WorkloadObject | None:
        return self._objects.get(owner)

    def owner_of(self, pod: Pod) -> Owner:
        """What keeps a pod alive: its controller, or the Deployment above that."""
        controller = pod.metadata.controller
        if controller is None:
            return Owner("Pod", pod.metadata.name)
        if controller.kind != "ReplicaSet":
            return Owner(controller.kind, controller.name)
        digest = pod.metadata.label("pod-template-hash")
        if digest and controller.name.endswith(f"-{digest}"):
            # So a Deployment names its ReplicaSets; no need to see them.
            return Owner("Deployment", controller.name[: -len(digest) - 1])
        return self._above(controller.name)

    def port_of(self, owner: Owner) -> int | None:
        """Where its program is declared to listen; None where nothing is said of it."""
        if not self._declared:
            return None
        said = declared_for(self.name_of(owner), owner.kind, self._declared)
        return said.port or None if said is not None else None

    def routed(self, owner: Owner) -> bool:
        """Whether our edge sends requests to its pods."""
        said = declared_for(self.name_of(owner), owner.kind, self._declared) if self._declared else None
        return said is not None and bool(said.routes)

    # -- changes: each returns the names whose owners are called otherwise now

    def declare(self, specs: Sequence[WorkloadSpec]) -> bool:
        """What trinity.yaml says of some; returns whether that is news."""
        if tuple(specs) == self._declared:
            return False
        self._declared = tuple(specs)
        self._made.clear()
        self._views = None
        return True

    def put(self, owner: Owner, found: WorkloadObject | None) -> Sequence[str]:
        """An object is new, changed or gone (None)."""
        if found is None:
            self._objects.pop(owner, None)
        else:
            self._objects[owner] = found
        return self._changed(owner)

    def put_pod(self, owner: Owner, pod: Pod, count: int) -> Sequence[str]:
        """`count` pods of the owner more (1) or fewer (-1)."""
        self._pods[owner] += count
        if self._pods[owner] <= 0:
            del self._pods[owner]
            self._samples.pop(owner, None)
        elif owner not in self._objects and owner not in self._samples:
            self._samples[owner] = pod
        return self._changed(owner) if owner not in self._objects or owner.name not in self._kinds else ()

    def renew_bare(self, owner: Owner, pod: Pod) -> None:
        """A pod that nothing keeps has changed: one that has completed is not wanted any more."""
        former = self._samples.get(owner)
        if owner.kind == "Pod" and former is not None and former.status.phase != pod.status.phase:
            self._samples[owner] = pod
            self._stale(owner)

    def put_replica_set(self, name: str, found: WorkloadObject | None) -> None:
        """The ReplicaSets behind Deployments: whose pods are of which revision."""
        former = self._replica_sets.pop(name, None)
        if found is not None:
            self._replica_sets[name] = found
        for known in (former, found):
            above = known.metadata.controller if known is not None else None
            if above is not None and above.kind == "Deployment":
                self._renew_newest(above.name)

    def _above(self, replica_set: str) -> Owner:
        known = self._replica_sets.get(replica_set)
        above = known.metadata.controller if known is not None else None
        return Owner(above.kind, above.name) if above is not None else Owner("ReplicaSet", replica_set)

    def _renew_newest(self, deployment: str) -> None:
        newest = max(
            (
                (_revision(found), found.metadata.label("pod-template-hash"))
                for found in self._replica_sets.values()
                if (above := found.metadata.controller) is not None and above.name == deployment
            ),
            default=(0, ""),
        )
        if self._newest.get(deployment) != newest:
            self._newest[deployment] = newest
            self._stale(Owner("Deployment", deployment))

    def _owners(self) -> Iterable[Owner]:
        return (Owner(kind, name) for name, kinds in self._kinds.items() for kind in kinds)

    def _changed(self, owner: Owner) -> Sequence[str]:
        self._stale(owner)
        there = owner in self._objects or owner in self._pods
        kinds = self._kinds.get(owner.name)
        if there == (kinds is not None and owner.kind in kinds):
            return ()
        if there:
            kinds = self._kinds.setdefault(owner.name, set())
            kinds.add(owner.kind)
        elif kinds is not None:
            kinds.discard(owner.kind)
            if not kinds:
                del self._kinds[owner.name]
        others = [Owner(kind, owner.name) for kind in kinds or () if kind != owner.kind]
        for other in others:
            self._stale(other)
        return (owner.name,) if others else ()

    def _stale(self, owner: Owner) -> None:
        self._made.pop(owner, None)
        self._views = None

    # -- views

    def _make(self, owner: Owner) -> PlatformWorkload:
        found = self._objects.get(owner)
        name = self.name_of(owner)
        if found is None:
            sample = self._samples.get(owner)
            spec = sample.spec if sample is not None else None
            meta: BaseMetadata | None = sample.metadata if sample is not None else None
            over = owner.kind == "Pod" and sample is not None and sample.status.phase == "Succeeded"
            replicas = 0 if over else self._pods[owner]
            revision, rollout = "", ""
        else:
            spec, meta = found.spec.template.spec, found.spec.template.metadata
            replicas, rollout = wanted(owner.kind, found), rollout_words(owner.kind, found)
            revision = found.status.update_revision or self._newest.get(owner.name, (0, ""))[1]
        containers = spec.containers or () if spec is not None else ()
        ours = meta is not None and meta.label(f"{_LABEL}name") == _OURS
        grace = spec.termination_grace_period_seconds if spec is not None else None
        seen = WorkloadSpec(
            name=name,
            kind=owner.kind,
            command=(),
            replicas=replicas,
            routes=(),
            memory_limit_bytes=memory_limit(containers),
            stop_grace_s=float(grace) if grace is not None else _GRACE_S,
            max_replicas=_MAX_REPLICAS,
            role=meta.label(f"{_LABEL}component") if ours and meta is not None else "",
            release=meta.label(f"{_LABEL}instance") if ours and meta is not None else "",
            revision=revision,
        )
        return PlatformWorkload(
            spec=overlay(seen, self._declared),
            kind=owner.kind,
            scalable=owner.kind in _SCALABLE and (found is not None or owner.kind == "ReplicaSet"),
            rollout=rollout,
        )


def _revision(found: WorkloadObject) -> int:
    annotations: Mapping[str, str] = found.metadata.annotations or {}
    text = annotations.get(_REVISION, "")
    return int(text) if text.isdigit() else 0
