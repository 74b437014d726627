"""Why a replica is not well, in one line: its reason, the probe that fails, how it ended, what it said last. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backend.contract.control import ReplicaView
from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.words import Phase
from console.render import units
from console.render.spans import Line, clean, fit_line
from console.render.words import PHASES

QUIET: Final = ("Completed", "Stopped")
"""Ends that are nothing to look at."""
WELL: Final = (Phase.READY, Phase.TERMINATING, Phase.COMPLETED)
MANY_RESTARTS: Final = 3
"""A replica that is Ready now and has started as often again is worth a look."""


def exit_words(record: ExitRecord | None) -> str | None:
    """`OOMKilled`, `OOMKilled 137`, `Error 3`, `Killed signal 9`."""
    if record is None:
        return None
    if record.code is not None:
        return f"{record.reason} {record.code}"
    how = f" signal {record.signal}" if record.signal and record.reason != "OOMKilled" else ""  # that one is always 9
    return f"{record.reason}{how}"


def cause_words(status: ReplicaStatus) -> str:
    """`readiness probe fails: HTTP 503`, `CrashLoopBackOff: exit code 1 · last exit Error 1 · "connection refused"`.

    Of one that is Ready: how it ended before, where that was no good end."""
    last = status.last_exit
    if last is not None and (last.reason in QUIET or (last.reason == "Unknown" and last.code is last.signal is None)):
        last = None  # a good end, or one of which nothing is known
    if status.phase in WELL:
        return f"last exit {exit_words(last)}" if last is not None and not status.reason else status.reason
    parts = [status.reason]
    parts += [
        f"{probe.name} probe fails: {probe.detail}".removesuffix(": ")
        for probe in status.probes
        if probe.ok is False and (not probe.detail or probe.detail not in status.reason)
    ]
    if last is not None:
        told = last.code is not None and f"exit code {last.code}" in status.reason
        told = told or last.reason in status.reason or f"killed by signal {last.signal}" in status.reason
        parts += [] if told else [f"last exit {exit_words(last)}"]
        said = last.last_lines[-1].strip() if last.last_lines else ""
        parts += [f'"{said}"'] if said and said not in status.reason else []
    return " · ".join(part for part in parts if part)


def at_rest(status: ReplicaStatus) -> bool:
    """It did its work, or somebody stopped it: it is not missed."""
    over = status.last_exit is not None and status.last_exit.reason in QUIET
    return over and status.phase in (Phase.NOT_READY, Phase.COMPLETED) and status.pid is None


def worth_a_look(views: Sequence[ReplicaView]) -> list[ReplicaView]:
    """Replicas that are not well, the worst first; then those that have started often."""
    worst = (Phase.CRASH_LOOP, Phase.FAILED, Phase.NOT_READY, Phase.PENDING)
    odd = [view for view in views if view.status.phase not in WELL and not at_rest(view.status)]
    odd.sort(key=lambda view: worst.index(view.status.phase) if view.status.phase in worst else len(worst))
    often = [v for v in views if v.status.phase == Phase.READY and v.status.restarts >= MANY_RESTARTS]
    return odd + sorted(often, key=lambda view: -view.status.restarts)


def cause_lines(views: Sequence[ReplicaView], width: int, height: int, now: float) -> list[Line]:
    """What is worth a look, two lines each where there is room: who and since when, and why."""
    found = worth_a_look(views)
    if not found:
        resting = sum(at_rest(view.status) for view in views)
        words = f"{units.plural(resting, 'replica')} at rest, all others ready" if resting else "every replica is ready"
        return [fit_line(((words, "ok") if views else ("no replicas", "faint"),), width)]
    each = 2 if len(found) * 2 <= height or height >= 6 else 1
    room = max(1, height // each)
    shown = found if len(found) <= room else found[: max(1, (height - 1) // each)]
    lines: list[Line] = []
    for view in shown:
        status = view.status
        glyph, style = PHASES[status.phase]
        why = clean(cause_words(status)) or str(status.phase)
        tone = "muted" if status.phase in WELL else "warn"
        head: Line = ((f"{glyph} ", style), (clean(status.name), "text b"))
        ready = f" {status.containers_ready}/{status.containers}" if status.containers > 1 else ""
        if each == 1:
            lines.append(fit_line((*head, (f"  {why}", tone)), width))
            continue
        more = [f"{units.plural(status.restarts, 'restart')}"] if status.restarts else []
        if status.last_exit is not None:
            more.append(f"last exit {units.age(now - status.last_exit.ts)} ago")
        lines.append(fit_line((*head, (ready, "warn"), (f"  {'   '.join(more)}", "muted")), width))
        lines.append(fit_line((("  ", "text"), (why, tone)), width))
    left = len(found) - len(shown)
    if left and len(lines) < height:
        lines.append(fit_line(((f"… {left} more", "muted"),), width))
    return lines[:height]
