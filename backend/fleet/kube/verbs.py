"""Acting on workloads: scale, rollout, rollback. Each asks the platform and waits until it says how it went.

Owns the requests and the waiting. Decides no counts, and never replaces a pod by itself: the controllers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError
from backend.contract.events import EventRecorder
from backend.contract.platform import Progress
from backend.contract.words import Severity
from backend.fleet.kube.access import MERGE_PATCH, STRATEGIC_PATCH, Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import (
    Object,
    Ref,
    collection_path,
    mapping,
    number,
    part,
    path_of,
    selector_text,
    text,
)
from backend.fleet.kube.revisions import (
    cause_of,
    deployment_patch,
    former_controller_revision,
    former_replica_set,
    revision_of,
    same_template,
    set_patch,
)
from backend.fleet.kube.rollout_status import refusal, status_of, worst_of
from backend.fleet.kube.surroundings import Names
from backend.fleet.kube.watching import read_list, versions_of

T = TypeVar("T")
_JSON_PATCH: Final = "application/json-patch+json"
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
_TRIES: Final = 8
"""Of a write that somebody else's write came before."""
_CONFLICT_PAUSE_S: Final = 0.05
_STALL_S: Final = 600.0
"""A rollout of which the platform says nothing new for so long is given up (Deployments: their own deadline first)."""
_OBSERVED_S: Final = 20.0
_NOT_SCALABLE: Final = {
    "DaemonSet": "it has one pod on each node that it is for",
    "Job": "its count is set when it is made",
    "CronJob": "it only makes jobs",
    "Pod": "it is one pod that nothing keeps",
}


class WorkloadVerbs:
    """PlatformOwned's and Reversible's deeds."""

    def __init__(
        self, access: Access, names: Names, events: EventRecorder, clock: Clock, *, stall_s: float = _STALL_S
    ) -> None:
        self._access, self._names, self._events, self._clock, self._stall_s = access, names, events, clock, stall_s

    async def scale(self, workload: str, replicas: int) -> int:
        """Want that many; returns how many were wanted before. Raises Refused for a kind that has no counts. An
        autoscaler that will have a say in it is named in a warning."""
        ref = self._names.workload(workload)
        if why := _NOT_SCALABLE.get(ref.kind):
            raise Refused(f"{ref} cannot be scaled: {why}.", "Scale a Deployment or a StatefulSet.")
        before = await self._retried(lambda: self._scale_once(ref, replicas))
        await self._warn_of_autoscalers(workload, ref, replicas)
        return before

    async def rollout(self, workload: str, progress: Progress) -> str:
        """Replace every pod as the workload's own strategy does, to the end. Raises Refused for what has no rollouts,
        TrinityError with the cause where the platform gave up."""
        ref = self._names.workload(workload)
        before = await self._rolling(ref)
        annotations = mapping(before, "spec", "template", "metadata", "annotations")
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if annotations.get(RESTARTED_AT) == stamp:  # twice in one second: the template must differ all the same
            stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}}
        await self._access.send_json("PATCH", path_of(ref), body=patch, content_type=STRATEGIC_PATCH)
        progress(f"{_resource(ref)} restarted")
        return await self._to_the_end(ref, progress)

    async def rollback(self, workload: str, progress: Progress) -> str:
        """Return to the former revision, to the end. Raises Refused where there is none."""
        ref = self._names.workload(workload)
        told = await self._retried(lambda: self._roll_back_once(ref))
        progress(told)
        ended = await self._to_the_end(ref, progress)
        return f"{told}; {ended}"

    # -- one try each

    async def _scale_once(self, ref: Ref, replicas: int) -> int:
        path = path_of(ref, "scale")
        scale = await self._access.get_json(path)
        version = text(scale, "metadata", "resourceVersion")
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        await self._access.send_json("PATCH", path, body=patch, content_type=MERGE_PATCH)
        return number(scale, "spec", "replicas")

    async def _roll_back_once(self, ref: Ref) -> str:
        await self._rolling(ref)
        owner = await self._observed(ref)
        selector = [("labelSelector", selector_text(part(owner, "spec", "selector")))]
        if ref.kind == "Deployment":
            sets = await read_list(self._access, collection_path("ReplicaSet", ref.namespace), selector)
            former = former_replica_set(owner, sets)
            if same_template(part(former, "spec", "template"), part(owner, "spec", "template")):
                raise Refused(
                    f"{ref} has the template of its revision {revision_of(former)} already.", "Nothing is to be done."
                )
            body: Any = deployment_patch(owner, former)
            kind = _JSON_PATCH
        else:
            kept = await read_list(self._access, collection_path("ControllerRevision", ref.namespace), selector)
            former = former_controller_revision(owner, ref.kind, kept)
            body, kind = set_patch(former), STRATEGIC_PATCH
        await self._access.send_json("PATCH", path_of(ref), body=body, content_type=kind)
        cause = f" ({cause_of(former)})" if cause_of(former) else ""
        return f"{_resource(ref)} rolled back to revision {revision_of(former)}{cause}"

    async def _retried(self, once: Callable[[], Awaitable[T]]) -> T:
        """Read and write again where somebody else wrote between (409; 422 for the `test` of a JSON patch)."""
        for tried in range(1, _TRIES + 1):
            try:
                return await once()
            except ApiError as refused:
                if refused.status not in (409, 422) or tried == _TRIES:
                    raise
            await asyncio.sleep(_CONFLICT_PAUSE_S * tried)
        raise AssertionError("the last try returns or raises")

    # -- waiting

    async def _rolling(self, ref: Ref) -> Object:
        if ref.kind in ("Deployment", "StatefulSet", "DaemonSet"):
            found: Object = await self._access.get_json(path_of(ref))
            why = refusal(ref.kind, found)
        else:
            found, why = {}, refusal(ref.kind, {"metadata": {"name": ref.name}})
        if why:
            raise Refused(why, "Restart its replicas one by one instead, or change its strategy.")
        return found

    async def _observed(self, ref: Ref) -> Object:
        """The workload once its controller has seen its newest spec: before, its revisions are those of yesterday."""
        found: Object = {}
        versions = versions_of(self._access, ref)
        try:
            async with asyncio.timeout(_OBSERVED_S):
                async for seen in versions:
                    found = seen or found
                    if seen is None or number(seen, "metadata", "generation") <= number(
                        seen, "status", "observedGeneration"
                    ):
                        break
        except TimeoutError:
            raise TrinityError(
                f"The controller of {ref} has not seen its newest spec in {_OBSERVED_S:.0f} s.",
                "See whether the cluster's controller-manager runs.",
            ) from None
        finally:
            await versions.aclose()
        return found

    async def _to_the_end(self, ref: Ref, progress: Progress) -> str:
        """Tell what the platform tells until it is done. Raises TrinityError with the cause where it gave up."""
        last: Object = {}
        told = ""
        told_mono = self._clock.mono()
        versions = versions_of(self._access, ref)
        try:
            while True:
                patience = max(self._stall_s, number(last, "spec", "progressDeadlineSeconds") + self._stall_s / 10)
                try:
                    async with asyncio.timeout(max(0.0, told_mono + patience - self._clock.mono())):
                        seen = await anext(versions)
                except TimeoutError:
                    raise await self._given_up(ref, last, f"{ref} got no further in {patience:.0f} s") from None
                if seen is None:
                    raise TrinityError(f"{ref} was deleted during its rollout.", "Look who deleted it.")
                last = seen
                status = status_of(ref.kind, seen)
                if status.failed:
                    raise await self._given_up(ref, seen, status.message)
                if status.done:
                    return status.message
                if status.message != told:
                    told, told_mono = status.message, self._clock.mono()
                    progress(told)
        finally:
            await versions.aclose()

    async def _given_up(self, ref: Ref, seen: Object, message: str) -> TrinityError:
        query = [("labelSelector", selector_text(part(seen, "spec", "selector")))]
        try:
            cause = worst_of(await read_list(self._access, collection_path("Pod", ref.namespace), query))
        except TrinityError as error:
            cause = f"why is not known, its pods could not be listed ({error.message.rstrip('.')})"
        tail = f": {cause}" if cause else ""
        return TrinityError(
            f"{message}{tail}.", "Mend the cause, or `rollback` to the former revision; the old pods still serve."
        )

    async def _warn_of_autoscalers(self, workload: str, ref: Ref, replicas: int) -> None:
        try:
            found = await read_list(self._access, collection_path("HorizontalPodAutoscaler", ref.namespace))
        except TrinityError:  # no right to list them, or no such API: nothing is known of any
            return
        for hpa in found:
            target = mapping(hpa, "spec", "scaleTargetRef")
            if target.get("kind") != ref.kind or target.get("name") != ref.name:
                continue
            low, high = number(hpa, "spec", "minReplicas", default=1), number(hpa, "spec", "maxReplicas")
            self._events.record(
                "kube.autoscaler",
                Severity.WARNING,
                workload,
                f"HorizontalPodAutoscaler {text(hpa, 'metadata', 'name')} keeps {ref} between {low} and {high} "
                f"replicas: it may soon want another number than {replicas}",
                autoscaler=text(hpa, "metadata", "name"),
                wanted=replicas,
                least=low,
                most=high,
            )


def _resource(ref: Ref) -> str:
    """As kubectl names it: `deployment.apps/web`."""
    return f"{ref.kind.lower()}.apps/{ref.name}"
