"""Acting on single pods: restart, kill, evict.

A pod is never started again in place: it is deleted, and its controller makes another one (under a new name, but for
a StatefulSet's). So whatever nobody would make again is left alone. Owns the requests and the waiting for the end.
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from backend.contract.errors import Refused, TrinityError
from backend.contract.platform import ExecStream
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import (
    Object,
    Ref,
    collection_path,
    controller_of,
    mapping,
    name_of,
    number,
    objects,
    part,
    path_of,
    selects,
    text,
    uid_of,
)
from backend.fleet.kube.refusals import budget_words
from backend.fleet.kube.surroundings import Names
from backend.fleet.kube.watching import read_list, versions_of

_SLACK_S: Final = 30.0
"""Beyond a pod's own grace: the kubelet's work around it."""
_ASKED_AGAIN: Final = 3
_LONGEST_WAIT_S: Final = 10.0
"""For a server that asks to wait (429 with Retry-After)."""
_KILLED: Final = 137
"""Of a program in a container whose process 1 ended: the kernel takes all others with it."""
_TOLD_S: Final = 10.0
MIRROR: Final = "kubernetes.io/config.mirror"

Run = Callable[[str, Sequence[str]], Awaitable[ExecStream]]
"""Runs argv in a replica."""


class PodVerbs:
    """Restartable's, Killable's and Evictable's deeds."""

    def __init__(self, access: Access, names: Names, run: Run, *, slack_s: float = _SLACK_S) -> None:
        self._access, self._names, self._run, self._slack_s = access, names, run, slack_s

    async def restart(self, replica: str) -> None:
        """Delete it with its own grace and wait until it is gone; its controller makes the new one. Raises Refused for
        a pod that nothing would make again, TrinityError where it does not go."""
        pod = await self._kept_pod(replica, "restarted")
        await self._delete(self._names.pod(replica), pod)
        await self._gone(self._names.pod(replica), pod)

    async def kill(self, replica: str, number_: int) -> int:
        """SIGKILL: delete it without grace. Any other signal: to process 1 of its first container, from inside, which
        an init that handles no such signal does not feel. Returns the pid it had. Raises Refused, TrinityError."""
        pid = self._names.pid(replica)
        if number_ == signals.SIGKILL:
            pod = await self._kept_pod(replica, "killed")
            await self._delete(self._names.pod(replica), pod, grace_s=0)
            return pid
        ref = self._names.pod(replica)
        pod = await self._access.get_json(path_of(ref))
        if part(pod, "spec", "shareProcessNamespace") is True:
            raise Refused(
                f"Process 1 of {replica} is not its program: its containers share their processes.",
                "Kill it with SIGKILL, or use exec.",
            )
        await self._signal(replica, number_, pod)
        return pid

    async def evict(self, replica: str) -> None:
        """Ask it to leave within the disruption budgets; returns once that is granted. Raises Refused, naming the
        budget and its numbers, where one forbids it now."""
        ref = self._names.pod(replica)
        pod: Object = await self._access.get_json(path_of(ref))
        if part(pod, "metadata", "deletionTimestamp") is not None:
            raise Refused(f"{replica} is leaving already.", "Wait until it is gone.")
        try:
            await evict(self._access, ref)
        except ApiError as error:
            said = budget_words(error)
            if not said:
                raise
            raise await self._by_budget(ref, pod, said) from None

    # -- parts

    async def _kept_pod(self, replica: str, what: str) -> Object:
        """The pod as it is now. Raises Refused where no controller would make another one."""
        ref = self._names.pod(replica)
        pod: Object = await self._access.get_json(path_of(ref))
        owner = controller_of(pod)
        if MIRROR in mapping(pod, "metadata", "annotations") or (owner is not None and owner.get("kind") == "Node"):
            raise Refused(
                f"{replica} cannot be {what} from here: it is a static pod of its node's kubelet.",
                "Move its manifest on the node.",
            )
        if owner is None:
            raise Refused(
                f"{replica} cannot be {what}: it is a bare pod, and nothing would make it again.",
                "Delete and apply it yourself, or let a Deployment keep it.",
            )
        return pod

    async def _delete(self, ref: Ref, pod: Object, grace_s: int | None = None) -> None:
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid_of(pod)}}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await patiently(lambda: self._access.send_json("DELETE", path_of(ref), body=body))
        except ApiError as error:
            if error.status not in (404, 409):  # gone already, or another one of its name came since
                raise

    async def _gone(self, ref: Ref, pod: Object) -> None:
        grace_s = number(pod, "spec", "terminationGracePeriodSeconds", default=30)
        versions = versions_of(self._access, ref)
        try:
            async with asyncio.timeout(grace_s + self._slack_s):
                async for seen in versions:
                    if seen is None or uid_of(seen) != uid_of(pod):
                        return
        except TimeoutError:
            node = text(pod, "spec", "nodeName") or "none"
            raise TrinityError(
                f"{ref.name} was asked to end and is still there {grace_s + self._slack_s:.0f} s later.",
                f"See whether its node ({node}) answers and whether a finalizer holds it.",
            ) from None
        finally:
            await versions.aclose()

    async def _signal(self, replica: str, number_: int, pod: Object) -> None:
        try:
            name = signals.Signals(number_).name.removeprefix("SIG")
        except ValueError:
            raise Refused(f"There is no signal {number_}.", "Use 9, 15, 1, 2 or another that there is.") from None
        said = b""
        for argv in (("/bin/sh", "-c", f"kill -s {name} 1"), ("kill", "-s", name, "1")):
            stream = await self._run(replica, argv)
            try:
                said = b"".join([part async for part in _all(stream)])
                code = await stream.exit_code()
            except TrinityError:
                # Process 1 may be so quick to end that the shell that sent the signal ends with it, unheard.
                if await self._ended(replica, pod):
                    return
                raise
            finally:
                await stream.close()
            if code == 0 or (code == _KILLED and await self._ended(replica, pod)):
                return
            if code not in (126, 127):
                break
        words = " ".join(said.decode("utf-8", "replace").split())[:200]
        raise TrinityError(
            f"SIG{name} could not be sent in {replica}: {words or 'it has neither a shell nor `kill`'}.",
            "SIGKILL needs neither: it deletes the pod.",
        )

    async def _ended(self, replica: str, before: Object) -> bool:
        """Whether its first container is no longer the one it was; the kubelet tells of that within moments."""
        ref, was = self._names.pod(replica), _first_start(before)
        versions = versions_of(self._access, ref)
        try:
            async with asyncio.timeout(_TOLD_S):
                async for seen in versions:
                    if seen is None or uid_of(seen) != uid_of(before) or _first_start(seen) != was:
                        return True
        except TimeoutError:
            return False
        finally:
            await versions.aclose()
        return True

    async def _by_budget(self, ref: Ref, pod: Object, said: str) -> Refused:
        next_step = "Wait until more of them are Ready, or scale up first."
        try:
            found = await read_list(self._access, collection_path("PodDisruptionBudget", ref.namespace))
        except TrinityError:
            return Refused(f"{ref.name} may not leave now: {said.rstrip('.')}.", next_step)
        labels = mapping(pod, "metadata", "labels")
        numbers = [budget_numbers(one) for one in found if selects(part(one, "spec", "selector"), labels)]
        if not numbers:
            return Refused(f"{ref.name} may not leave now: {said.rstrip('.')}.", next_step)
        return Refused(f"{ref.name} may not leave now: {' and '.join(numbers)}.", next_step)


def _first_start(pod: Object) -> object:
    """Changes when its first container ends or starts: whether it runs, and since when."""
    first = next(iter(objects(pod, "status", "containerStatuses")), {})
    return part(first, "state", "running", "startedAt"), text(first, "containerID")


def budget_numbers(budget: Object) -> str:
    """`PodDisruptionBudget web wants 2 healthy pods and 2 of 2 are (0 may go)`."""
    status = mapping(budget, "status")
    return (
        f"PodDisruptionBudget {name_of(budget)} wants {number(status, 'desiredHealthy')} healthy pods and "
        f"{number(status, 'currentHealthy')} of {number(status, 'expectedPods')} are "
        f"({number(status, 'disruptionsAllowed')} may go)"
    )


async def evict(access: Access, ref: Ref) -> None:
    """Once, but for a server that asks to wait. Raises ApiError."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
    }
    await patiently(lambda: access.send_json("POST", path_of(ref, "eviction"), body=body))


async def patiently(once: Callable[[], Awaitable[Any]]) -> Any:
    """Again after as long as the server asks to wait, a few times; a disruption budget's no is an answer."""
    for _ in range(_ASKED_AGAIN):
        try:
            return await once()
        except ApiError as error:
            if error.status not in (429, 503) or error.retry_after_s is None or budget_words(error):
                raise
            await asyncio.sleep(min(_LONGEST_WAIT_S, error.retry_after_s))
    return await once()


async def _all(stream: ExecStream) -> Any:
    while data := await stream.read():
        yield data
