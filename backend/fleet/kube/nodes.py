"""Cordon and drain of nodes, as kubectl does them.

Owns which pods a drain may move, its waiting for disruption budgets and its progress. A drained node stays cordoned.
Never forces: a pod whose data or existence would be lost is named and nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from backend.contract.errors import Refused, TrinityError
from backend.contract.platform import Progress
from backend.fleet.kube.access import MERGE_PATCH, Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import (
    Object,
    Ref,
    collection_path,
    controller_of,
    mapping,
    name_of,
    objects,
    part,
    path_of,
    text,
    uid_of,
)
from backend.fleet.kube.pod_verbs import MIRROR, evict
from backend.fleet.kube.refusals import budget_words, worded
from backend.fleet.kube.watching import read_list, sets_of

_RETRY_S: Final = 5.0
"""Between two tries against a budget, as kubectl waits."""
_AT_ONCE: Final = 16
"""Evictions under way at a time."""
SAFE: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""An annotation by which a pod's owner says that moving it loses nothing."""


class DrainPlan(msgspec.Struct, frozen=True):
    """Which pods of a node a drain moves, leaves, and cannot move."""

    moved: tuple[Ref, ...] = ()
    left: tuple[str, ...] = ()
    """DaemonSets' and the kubelet's own pods: they would be there again at once."""
    held: tuple[tuple[str, str], ...] = ()
    """(why, pod): `bare`, `emptyDir`."""


def plan_drain(pods: Sequence[Object]) -> DrainPlan:
    """What a drain would do with a node's pods."""
    moved, left, held = [], [], []
    for pod in pods:
        ref = Ref("Pod", text(pod, "metadata", "namespace"), name_of(pod))
        owner = controller_of(pod)
        full = f"{ref.namespace}/{ref.name}"
        ended = text(pod, "status", "phase") in ("Succeeded", "Failed")
        annotations = mapping(pod, "metadata", "annotations")
        if part(pod, "metadata", "deletionTimestamp") is not None:
            continue
        if MIRROR in annotations or (owner is not None and owner.get("kind") in ("DaemonSet", "Node")):
            left.append(full)
        elif ended or annotations.get(SAFE) == "true":
            moved.append(ref)
        elif owner is None:
            held.append(("bare", full))
        elif any("emptyDir" in volume for volume in objects(pod, "spec", "volumes")):
            held.append(("emptyDir", full))
        else:
            moved.append(ref)
    return DrainPlan(tuple(moved), tuple(left), tuple(held))


def refusal_of(node: str, plan: DrainPlan) -> Refused | None:
    """Why the node is not drained, as kubectl would not either without being told."""
    bare = [pod for why, pod in plan.held if why == "bare"]
    with_data = [pod for why, pod in plan.held if why == "emptyDir"]
    said = []
    if bare:
        said.append(f"{_listed(bare)} would be gone for good, no controller makes {_it(bare)} again (kubectl: --force)")
    if with_data:
        said.append(f"{_listed(with_data)} would lose local data in emptyDir (kubectl: --delete-emptydir-data)")
    if not said:
        return None
    return Refused(
        f"Node {node} is not drained: {'; '.join(said)}.",
        f"Move them yourself, or annotate pods that may go with {SAFE}=true.",
    )


class NodeVerbs:
    """HasNodes' deeds."""

    def __init__(self, access: Access, *, retry_s: float = _RETRY_S) -> None:
        self._access, self._retry_s = access, retry_s

    async def cordon(self, node: str, *, on: bool) -> None:
        """Whether new pods may be put on it. Idempotent."""
        patch = {"spec": {"unschedulable": True if on else None}}
        await self._access.send_json("PATCH", path_of(Ref("Node", "", node)), body=patch, content_type=MERGE_PATCH)

    async def drain(self, node: str, progress: Progress, *, deadline_s: float, namespace: str = "") -> str:
        """Cordon the node and evict its pods (with `namespace`: only those), again and again while budgets say no.
        Raises Refused before anything is done where kubectl would refuse too, TrinityError at the deadline."""
        query = [("fieldSelector", f"spec.nodeName={node}")]
        path = collection_path("Pod", namespace)
        await self._access.get_json(path_of(Ref("Node", "", node)))
        plan = plan_drain(await read_list(self._access, path, query))
        refused = refusal_of(node, plan)
        if refused is not None:
            raise refused
        await self.cordon(node, on=True)
        progress(f"node {node} cordoned")
        if plan.left:
            progress(f"left where they are: {_listed(plan.left)}")
        drain = _Drain(self._access, node, progress, self._retry_s)
        try:
            async with asyncio.timeout(deadline_s):
                await drain.run(path, query)
        except TimeoutError:
            waiting = drain.waiting_for() or "pods are still leaving"
            raise TrinityError(
                f"Node {node} is not empty after {deadline_s:.0f} s: {waiting}.",
                "It stays cordoned; drain it again when that is mended, or uncordon it.",
            ) from None
        return f"node {node} drained: {drain.count} pod{'' if drain.count == 1 else 's'} moved; it stays cordoned"


class _Drain:
    """One drain under way: what was evicted, and what still says no."""

    def __init__(self, access: Access, node: str, progress: Progress, retry_s: float) -> None:
        self._access, self._node, self._progress, self._retry_s = access, node, progress, retry_s
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._refusals: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    @property
    def count(self) -> int:
        """Pods that have left or were asked to."""
        return len(self._asked)

    def waiting_for(self) -> str:
        """`shop/web-1 (The disruption budget web needs 2 healthy pods and has 2 currently)`."""
        said = [f"{pod} ({why})" for pod, why in sorted(self._refusals.items())]
        leaving = sorted(name for uid, name in self._seen.items() if name not in self._refusals and uid in self._asked)
        return "; ".join([*said, *(f"{name} is still leaving" for name in leaving)][:5])

    async def run(self, path: str, query: Sequence[tuple[str, str]]) -> None:
        """Until none is left that a drain moves."""
        sets = sets_of(self._access, path, query)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        step: asyncio.Future[dict[str, Object]] = asyncio.ensure_future(anext(sets))
        try:
            while True:
                waited: set[asyncio.Future[Any]] = {step, failed}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if failed.done():
                    failed.result()
                if self._look(step.result(), failed):
                    return
                step = asyncio.ensure_future(anext(sets))
        finally:
            failed.cancel()
            tasks: list[asyncio.Future[Any]] = [step, *self._asked.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sets.aclose()

    def _look(self, held: Mapping[str, Object], failed: asyncio.Future[None]) -> bool:
        """Ask each new pod to leave; whether all that were asked are gone."""
        present = list(held.values())
        plan = plan_drain(present)
        left = set(plan.left) | {pod for _, pod in plan.held}
        now = {uid_of(pod): f"{text(pod, 'metadata', 'namespace')}/{name_of(pod)}" for pod in present}
        for uid, name in self._seen.items():
            if uid not in now and uid in self._asked:
                self._refusals.pop(name, None)
                self._progress(f"{name} evicted")
        self._seen = {uid: name for uid, name in now.items() if name not in left}
        for pod in present:
            ref = Ref("Pod", text(pod, "metadata", "namespace"), name_of(pod))
            if uid_of(pod) in self._asked or ref not in plan.moved:
                continue
            task = asyncio.get_running_loop().create_task(self._until_granted(ref))
            self._asked[uid_of(pod)] = task
            task.add_done_callback(lambda done: _pass_on(done, failed))
        return not self._seen

    async def _until_granted(self, ref: Ref) -> None:
        full = f"{ref.namespace}/{ref.name}"
        self._progress(f"evicting pod {full}")
        while True:
            try:
                async with self._gate:
                    await evict(self._access, ref)
            except ApiError as error:
                said = budget_words(error).rstrip(".")
                if error.status == 404:
                    return
                if not said and error.status < 500 and error.status != 429:
                    raise worded(error, f"evict {full}") from None
                why = said or error.message.rstrip(".")
                if self._refusals.get(full) != why:
                    self._progress(f"{full} may not leave yet, asked again every {self._retry_s:g} s: {why}")
                self._refusals[full] = why
                await asyncio.sleep(self._retry_s)
            else:
                self._refusals.pop(full, None)
                return


def _pass_on(done: asyncio.Task[None], failed: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None and not failed.done():
        failed.set_exception(error)


def _listed(pods: Sequence[str]) -> str:
    return ", ".join(pods[:5]) + (f" and {len(pods) - 5} more" if len(pods) > 5 else "")


def _it(pods: Sequence[str]) -> str:
    return "it" if len(pods) == 1 else "them"
