"""Fetching what a description needs: the object, its events and what belongs to it. What may not be read is said so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError, UsageError
from backend.contract.platform import Description
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.describe import Sections, describe_node, describe_pod, describe_workload
from backend.fleet.kube.masking import as_yaml
from backend.fleet.kube.objects import (
    Object,
    Ref,
    api_version,
    collection_path,
    mapping,
    part,
    path_of,
    selector_text,
    selects,
    text,
)
from backend.fleet.kube.revisions import owned_by
from backend.fleet.kube.surroundings import Names
from backend.fleet.kube.watching import read_list


class Describing:
    """Describable's deed."""

    def __init__(self, access: Access, names: Names, clock: Clock) -> None:
        self._access, self._names, self._clock = access, names, clock

    async def describe(self, name: str) -> Description:
        """A replica, a workload or a node of that name, looked for in this order. Raises UsageError for none."""
        ref = self._ref(name)
        try:
            obj: Object = await self._access.get_json(path_of(ref))
        except ApiError as error:
            if error.status != 404:
                raise
            raise UsageError(f"There is nothing that is called {name}.", "Look again: it may be gone.") from None
        obj = {"apiVersion": api_version(ref.kind), "kind": ref.kind, **obj}
        told: list[str] = []
        sections = await self._sections(ref, obj, told)
        if told:
            sections = (*sections, ("Not Shown", tuple(told)))
        return Description(name=name, kind=ref.kind, sections=sections, source=as_yaml(obj))

    def _ref(self, name: str) -> Ref:
        for find in (self._names.pod, self._names.workload):
            try:
                return find(name)
            except UsageError:
                continue
        return Ref("Node", "", name)

    async def _sections(self, ref: Ref, obj: Object, told: list[str]) -> Sections:
        now = self._clock.now()
        if ref.kind == "Pod":
            return describe_pod(obj, await self._events(ref, obj, told), now)
        if ref.kind == "Node":
            query = [("fieldSelector", f"spec.nodeName={ref.name}")]
            pods, events = await asyncio.gather(
                self._those("Pod", "", query, told, "pods of all namespaces"), self._events(ref, obj, told)
            )
            return describe_node(obj, pods, events, now)
        selector = part(obj, "spec", "selector")
        query = (
            [("labelSelector", selector_text(selector))] if selector else [("labelSelector", f"job-name={ref.name}")]
        )
        kept = {"Deployment": "ReplicaSet", "StatefulSet": "ControllerRevision", "DaemonSet": "ControllerRevision"}
        pods, revisions, scalers, budgets, events = await asyncio.gather(
            self._those("Pod", ref.namespace, query, told, "pods"),
            self._those(kept[ref.kind], ref.namespace, query, told, "revisions") if ref.kind in kept else _none(),
            self._those("HorizontalPodAutoscaler", ref.namespace, [], told, "autoscalers"),
            self._those("PodDisruptionBudget", ref.namespace, [], told, "disruption budgets"),
            self._events(ref, obj, told),
        )
        labels = mapping(obj, "spec", "template", "metadata", "labels")
        targets = [mapping(one, "spec", "scaleTargetRef") for one in scalers]
        return describe_workload(
            ref.kind,
            obj,
            pods=pods,
            revisions=owned_by(obj, revisions),
            autoscalers=[
                one
                for one, target in zip(scalers, targets, strict=True)
                if (target.get("kind"), target.get("name")) == (ref.kind, ref.name)
            ],
            budgets=[one for one in budgets if selects(part(one, "spec", "selector"), labels)],
            events=events,
            now_ts=now,
        )

    async def _events(self, ref: Ref, obj: Object, told: list[str]) -> list[Object]:
        wanted = f"involvedObject.kind={ref.kind},involvedObject.name={ref.name}"
        # Events of nodes are kept in `default`, and name the node as its uid.
        namespace = ref.namespace or "default"
        found = await self._those("Event", namespace, [("fieldSelector", wanted)], told, "events")
        uid = text(obj, "metadata", "uid")
        return [one for one in found if text(one, "involvedObject", "uid") in ("", uid, ref.name)]

    async def _those(
        self, kind: str, namespace: str, query: Sequence[tuple[str, object]], told: list[str], what: str
    ) -> list[Object]:
        try:
            return await read_list(self._access, collection_path(kind, namespace), query)
        except TrinityError as error:
            told.append(f"{what}: {error.message.rstrip('.')}")
            return []


async def _none() -> list[Object]:
    return []
