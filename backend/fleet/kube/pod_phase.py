"""What a pod is at: kubectl's word for it, our phase, and a phrase that says why it is not Ready. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.words import Phase
from backend.fleet.kube.exits import exit_record
from backend.fleet.kube.shapes import Container, ContainerStatus, Pod, Terminated
from backend.fleet.supervision.cause import exit_phrase

_MAX_REASON: Final = 200
_CANNOT_START: Final = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "CreatePodSandboxError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
        "VerifyNonRootError",
        "RunInitContainerError",
        "SignatureValidationFailed",
    }
)
LIVENESS_FRESH_S: Final = 60.0
"""What an event said of a liveness probe counts so long: nobody tells when it passes again."""
_BACKOFF: Final = re.compile(r"back-off (?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)? ?restarting")


class ProbeFailure(msgspec.Struct, frozen=True, gc=False):
    """What an event said of a probe."""

    detail: str
    count: int
    last_ts: float


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where a pod stands."""

    phase: Phase
    reason: str = ""
    next_start_ts: float | None = None


def kubectl_word(pod: Pod) -> str:
    """The STATUS column of `kubectl get pods`."""
    status = pod.status
    word = status.reason or status.phase or "Unknown"
    if any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in status.conditions or ()):
        word = "SchedulingGated"
    begun = _init_word(pod)
    if begun:
        word = begun
    else:
        running = False
        for found in reversed(status.container_statuses or ()):
            state = found.state
            if state is not None and state.waiting is not None and state.waiting.reason:
                word = state.waiting.reason
            elif state is not None and state.terminated is not None:
                word = _ended_word(state.terminated)
            elif found.ready and state is not None and state.running is not None:
                running = True
        if word == "Completed" and running:
            ready = pod.condition("Ready")
            word = "Running" if ready is not None and ready.status == "True" else "NotReady"
    if pod.metadata.deletion_timestamp is not None:
        word = "Unknown" if status.reason == "NodeLost" else "Terminating"
    return word


def standing(pod: Pod, failing: Mapping[str, ProbeFailure]) -> Standing:
    """Phase and reason. `failing` are its probes of which an event told, by name."""
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return Standing(Phase.TERMINATING, "its node is lost" if status.reason == "NodeLost" else "")
    if status.phase == "Succeeded":
        return Standing(Phase.COMPLETED)
    if status.phase == "Failed":
        return Standing(Phase.FAILED, _failed_reason(pod))
    statuses = (*(status.init_container_statuses or ()), *(status.container_statuses or ()))
    found = _stopped(pod, statuses)
    if found is not None:
        return found
    if status.phase in (None, "", "Pending"):
        return _pending(pod)
    if status.phase != "Running":
        return Standing(Phase.NOT_READY, "its node does not answer")
    return _running(pod, failing)


def sidecars(pod: Pod) -> Iterable[Container]:
    """Init containers that run on beside the others."""
    return (c for c in pod.spec.init_containers or () if c.restart_policy == "Always")


def _pending(pod: Pod) -> Standing:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        why = "SchedulingGated" if scheduled.reason == "SchedulingGated" else scheduled.reason or "Unschedulable"
        return Standing(Phase.PENDING, _phrase(why, scheduled.message))
    if not pod.spec.node_name:
        return Standing(Phase.PENDING)
    word = kubectl_word(pod)
    return Standing(Phase.STARTING, "" if word == "Pending" else word)


def _running(pod: Pod, failing: Mapping[str, ProbeFailure]) -> Standing:
    ready = pod.condition("Ready")
    statuses = pod.status.container_statuses or ()
    all_ready = bool(statuses) and all(s.ready for s in statuses)
    if (ready is not None and ready.status == "True") or (ready is None and all_ready):
        return Standing(Phase.READY)
    if any(s.state is not None and s.state.waiting is not None for s in statuses):
        return Standing(Phase.STARTING, kubectl_word(pod))
    if any(s.state is not None and s.state.running is not None and s.started is False for s in statuses):
        return Standing(Phase.STARTING, _probe_reason("startup", failing) or "startup probe has not passed yet")
    if (said := _probe_reason("readiness", failing)) and not all_ready:
        return Standing(Phase.NOT_READY, said)
    names = [s.name for s in statuses if not s.ready]
    if names:
        return Standing(Phase.NOT_READY, _phrase("not ready: " + ", ".join(names), None))
    why = ready.reason if ready is not None and ready.reason else "not ready"
    return Standing(Phase.NOT_READY, _phrase(why, ready.message if ready is not None else None))


def _stopped(pod: Pod, statuses: Sequence[ContainerStatus]) -> Standing | None:
    """Where a container neither runs nor is about to for the first time."""
    again = pod.spec.restart_policy not in ("Never",)
    ended: Standing | None = None
    inits = {c.name for c in pod.spec.init_containers or () if c.restart_policy != "Always"}
    for found in statuses:
        state = found.state
        if state is None:
            continue
        before = "Init:" if found.name in inits else ""
        if state.waiting is not None and state.waiting.reason == "CrashLoopBackOff":
            last = found.last_state.terminated if found.last_state is not None else None
            why = f": {exit_phrase(exit_record(last))}" if last is not None else ""
            reason = f"{before}CrashLoopBackOff{why}"[:_MAX_REASON]
            return Standing(Phase.CRASH_LOOP, reason, _next_start(last, state.waiting.message))
        if state.waiting is not None and state.waiting.reason in _CANNOT_START:
            return Standing(Phase.FAILED, _phrase(before + state.waiting.reason, state.waiting.message))
        if state.terminated is not None and ended is None:
            over = state.terminated.exit_code == 0
            if before and over:
                continue
            phrase = before + exit_phrase(exit_record(state.terminated))
            if again and not (over and pod.spec.restart_policy == "OnFailure"):
                ended = Standing(Phase.CRASH_LOOP, phrase[:_MAX_REASON])
            else:
                ended = Standing(Phase.NOT_READY, f"{found.name} ended: {phrase}"[:_MAX_REASON])
    return ended


def _next_start(last: Terminated | None, message: str | None) -> float | None:
    found = _BACKOFF.search(message or "")
    if found is None or last is None or last.finished_at is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return last.finished_at.timestamp() + hours * 3600 + minutes * 60 + seconds


def _failed_reason(pod: Pod) -> str:
    """Why a pod has failed for good: the platform's word (`Evicted`), or how its container ended."""
    if pod.status.reason:
        return _phrase(pod.status.reason, pod.status.message)
    for found in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        ended = found.state.terminated if found.state is not None else None
        if ended is not None and ended.exit_code:
            return exit_phrase(exit_record(ended))[:_MAX_REASON]
    return _phrase("Failed", pod.status.message)


def _probe_reason(name: str, failing: Mapping[str, ProbeFailure]) -> str:
    found = failing.get(name)
    return f"{name} probe failed: {found.detail}"[:_MAX_REASON] if found is not None else ""


def _phrase(word: str, message: str | None) -> str:
    text = " ".join((message or "").split())
    return f"{word}: {text}"[:_MAX_REASON] if text else word


def _init_word(pod: Pod) -> str:
    """`Init:1/3`, `Init:CrashLoopBackOff`, ...; empty once they are through."""
    specs = {c.name: c for c in pod.spec.init_containers or ()}
    for index, found in enumerate(pod.status.init_container_statuses or ()):
        state = found.state
        if state is not None and state.terminated is not None and state.terminated.exit_code == 0:
            continue
        spec = specs.get(found.name)
        if spec is not None and spec.restart_policy == "Always" and found.started:
            continue
        if state is not None and state.terminated is not None:
            return f"Init:{_ended_word(state.terminated)}"
        if state is not None and state.waiting is not None and state.waiting.reason not in (None, "PodInitializing"):
            return f"Init:{state.waiting.reason}"
        return f"Init:{index}/{len(specs)}"
    return ""


def _ended_word(ended: Terminated) -> str:
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"
