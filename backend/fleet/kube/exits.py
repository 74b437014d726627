"""How a container ended, as an ExitRecord. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from backend.contract.fleet import ExitRecord
from backend.fleet.kube.shapes import ContainerStatus, Pod, Terminated

_LAST_SIGNAL: Final = 64
_MAX_LINES: Final = 20
_SAID_BY_THE_RUNTIME: Final = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})


def number_of(container_id: str | None) -> int | None:
    """A positive number for a container's ID, another one for each start; None where there is none."""
    return (zlib.crc32(container_id.encode()) & 0x7FFFFFFF) or 1 if container_id else None


def exit_record(ended: Terminated) -> ExitRecord:
    """Kubernetes tells of most signals only by exit codes above 128, as a shell does."""
    code, signal = ended.exit_code, ended.signal or None
    if signal is None and code is not None and 128 < code <= 128 + _LAST_SIGNAL:
        signal = code - 128
    if ended.reason == "ContainerStatusUnknown":
        code, signal, reason = None, None, "Unknown"
    elif ended.reason == "OOMKilled":
        reason, signal = "OOMKilled", signal or 9
    elif signal is not None:
        reason = "Killed" if signal == 9 else "Error"
    elif code == 0:
        reason = "Completed"
    else:
        reason = "Error" if code is not None else "Unknown"
    lines = tuple((ended.message or "").strip().splitlines()[-_MAX_LINES:])
    if not lines and ended.reason in _SAID_BY_THE_RUNTIME:
        lines = (ended.reason,)
    when = ended.finished_at or ended.started_at
    return ExitRecord(
        ts=when.timestamp() if when else 0.0,
        code=None if signal is not None else code,
        signal=signal,
        reason=reason,
        pid=number_of(ended.container_id),
        last_lines=lines,
    )


def last_exit(pod: Pod) -> ExitRecord | None:
    """The latest end of one of its containers; of init containers, only ends that failed."""
    found: Terminated | None = None
    for ended in _ends(pod):
        if found is None or _when(ended) >= _when(found):
            found = ended
    return None if found is None else exit_record(found)


def _ends(pod: Pod) -> Iterable[Terminated]:
    for status in pod.status.init_container_statuses or ():
        yield from (ended for ended in _of(status) if ended.exit_code)
    for status in pod.status.container_statuses or ():
        yield from _of(status)


def _of(status: ContainerStatus) -> Iterable[Terminated]:
    for state in (status.last_state, status.state):
        if state is not None and state.terminated is not None:
            yield state.terminated


def _when(ended: Terminated) -> float:
    return ended.finished_at.timestamp() if ended.finished_at else 0.0
