"""The two long procedures on running replicas: replace them all one at a time, and restart one in place.

Owns their order and how they give up. The steps themselves are the plan's: a rollout only says which replicas
are to be replaced and watches; so one that dies with its daemon leaves a situation the next daemon plans from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from backend.contract.errors import Refused, TrinityError
from backend.contract.fleet import ReplicaStatus, Restartable, WorkloadSpec
from backend.contract.words import Phase, Severity
from backend.reconcile.core import Core
from backend.reconcile.plan import surge_room

Progress = Callable[[str], None]
GIVEN_UP: Final = frozenset({Phase.FAILED, Phase.CRASH_LOOP})


async def roll_out(core: Core, workload: str, *, actor: str, ready_deadline_s: float, progress: Progress) -> str:
    """Replace every replica of a workload, surge first, one at a time; returns a sentence about it.

    Raises LeaseHeld, or TrinityError where a new replica does not get Ready in `ready_deadline_s`: it is removed,
    the old ones stay, and this revision is not tried again by itself.
    """
    spec = core.spec(workload)
    async with core.leases.hold(workload, f"rollout by {actor}", actor=actor):
        targets = {status.name for status in core.alive(workload)}
        if not targets:
            return f"{workload} has no replicas to replace."
        total = len(targets)
        core.rolling[workload] = set(targets)
        core.blocked.pop(workload, None)
        if not surge_room(spec, core.wanted.of(workload).replicas):
            progress(f"{workload} has no room for one replica more: capacity drops by one while it is replaced.")
        core.event("rollout.started", Severity.INFO, workload, f"{workload}: {total} replicas are replaced.")
        core.wake.set()
        try:
            await _watch(core, spec, targets, ready_deadline_s, progress)
        except TrinityError as exc:
            core.event("rollout.aborted", Severity.ERROR, workload, str(exc), revision=spec.revision)
            raise
        finally:
            core.rolling.pop(workload, None)
            core.wake.set()
        core.event("rollout.done", Severity.INFO, workload, f"{workload}: {total} replicas were replaced.")
        return f"{total} replicas replaced."


async def _watch(core: Core, spec: WorkloadSpec, targets: set[str], deadline_s: float, progress: Progress) -> None:
    """Until no replica of `targets` is left and the new ones serve."""
    left, moved = len(targets), core.clock.mono()
    waiting_since: dict[str, float] = {}
    while True:
        alive = core.alive(spec.name)
        remaining = core.rolling[spec.name]
        fresh = [status for status in alive if status.name not in remaining]
        idle = [status for status in fresh if not core.serves(status) and not _drained(core, status)]
        now = core.clock.mono()
        if len(remaining) < left:
            left, moved = len(remaining), now
            progress(f"{spec.name}: {len(targets) - left} of {len(targets)} replaced")
        if not remaining and not idle and len(alive) >= core.wanted.of(spec.name).replicas:
            return
        for status in idle:
            since = waiting_since.setdefault(status.name, now)
            if status.phase in GIVEN_UP or now - since > deadline_s:
                await _abort(core, spec, status, now - since)
        waiting_since = {name: since for name, since in waiting_since.items() if any(s.name == name for s in idle)}
        if fresh or core.leaving:
            moved = now
        elif now - moved > deadline_s:
            why = core.last_failure.get(spec.name, "the driver started none")
            core.blocked[spec.name] = spec.revision
            raise TrinityError(
                f"The rollout of {spec.name} stopped: no new replica could be started ({why}).",
                "The old replicas keep serving. See `trinity events`.",
            )
        await core.until(lambda: False, 0.05)


def _drained(core: Core, status: ReplicaStatus) -> bool:
    return status.name in core.wanted.of(status.workload).drained and status.phase == Phase.READY


async def _abort(core: Core, spec: WorkloadSpec, culprit: ReplicaStatus, waited_s: float) -> None:
    """Remove the new replica that would not serve, keep what is old; always raises TrinityError."""
    core.blocked[spec.name] = spec.revision
    core.rolling.pop(spec.name, None)
    kept = "It stays, since its old replica had to go first."
    alive = core.alive(spec.name)
    if len(alive) > core.wanted.of(spec.name).replicas:
        removal = core.start_removal(spec.name, culprit.name, "its rollout was aborted")
        others = ", ".join(status.name for status in alive if core.serves(status) and status.name != culprit.name)
        kept = f"It was removed; {others or 'the old replicas'} keep serving."
        await removal
    raise TrinityError(
        f"The rollout of {spec.name} stopped: {culprit.name} did not get Ready in {waited_s:.0f} s ({why(culprit)}).",
        f"{kept} See `trinity logs {culprit.name}`.",
    )


def why(status: ReplicaStatus) -> str:
    """Why a replica is not Ready, in one short phrase."""
    if status.reason:
        return f"{status.phase}: {status.reason}"
    for probe in status.probes:
        if probe.ok is False:
            return f"{probe.name} probe: {probe.detail or 'fails'}"
    if status.last_exit is not None and status.phase in GIVEN_UP:
        last = status.last_exit
        how = f"signal {last.signal}" if last.signal is not None else f"exit code {last.code}"
        return f"{status.phase}: {last.reason}, {how}"
    return str(status.phase)


async def restart_in_place(core: Core, replica: str, *, actor: str, ready_deadline_s: float, progress: Progress) -> str:
    """Drain a replica, restart its process under its name, wait until it serves again.

    Where no other replica of its workload serves, one more is started first and removed afterwards. Raises
    UsageError for an unknown name, Refused where the driver cannot, LeaseHeld, TrinityError at the deadline.
    """
    status = core.get(replica)
    fleet, workload, spec = core.fleet, status.workload, core.spec(status.workload)
    if not isinstance(fleet, Restartable):
        raise Refused(f"Replicas of fleet {fleet.name} cannot be restarted in place.", "Use a rollout instead.")
    async with core.leases.hold(workload, f"restart of {replica} by {actor}", actor=actor):
        before = {status.name for status in core.alive(workload)}
        alone = core.serves(status) and not any(
            core.serves(other) for other in core.alive(workload) if other.name != replica
        )
        try:
            if alone and surge_room(spec, core.wanted.of(workload).replicas):
                progress(f"{replica} is the only one that serves: another is started first")
                await _surge(core, workload, before, ready_deadline_s)
            await _restart(core, fleet, replica, spec, progress)
            wants_traffic = replica not in core.wanted.of(workload).drained
            await core.until(lambda: _is_settled(core, replica, wants_traffic), ready_deadline_s)
            if not _is_back(core, replica, wants_traffic):
                raise TrinityError(
                    f"{replica} did not get Ready after its restart ({why(core.get(replica))}).",
                    f"See `trinity logs {replica}`.",
                )
        finally:
            extra = [status.name for status in core.alive(workload) if status.name not in before]
            if core.surge.pop(workload, None) and _is_back(core, replica, False):
                for name in extra:
                    core.start_removal(workload, name, f"stood in for {replica}")
            core.wake.set()
        return f"{replica} was restarted{' behind a stand-in' if extra else ''}."


async def _surge(core: Core, workload: str, before: set[str], ready_deadline_s: float) -> None:
    core.surge[workload] = 1
    core.wake.set()

    def stands() -> bool:
        return any(core.serves(status) for status in core.alive(workload) if status.name not in before)

    if not await core.until(stands, ready_deadline_s):
        new = [status for status in core.alive(workload) if status.name not in before]
        cause = why(new[0]) if new else core.last_failure.get(workload, "the driver started none")
        for status in new:
            core.start_removal(workload, status.name, "its stand-in was not Ready in time")
        raise TrinityError(
            f"No stand-in got Ready in {ready_deadline_s:.0f} s ({cause}), so nothing was restarted.",
            "The replica keeps serving. See `trinity events`.",
        )


async def _restart(core: Core, fleet: Restartable, replica: str, spec: WorkloadSpec, progress: Progress) -> None:
    core.busy.add(replica)
    try:
        progress(f"{replica} is drained")
        await core.drain_until_idle(spec.name, replica, spec.drain_deadline_s)
        progress(f"{replica} is restarted")
        await fleet.restart(replica, reason="restarted by an action")
        async with core.lock(replica):
            await core.edge.clear(spec.name, replica)
            core.down.discard(replica)
            core.filled.pop(replica, None)
    finally:
        core.busy.discard(replica)
        core.wake.set()


def _is_back(core: Core, replica: str, wants_traffic: bool) -> bool:
    status = core.find(replica)
    if status is None:
        return False
    return core.serves(status) if wants_traffic else status.phase == Phase.READY


def _is_settled(core: Core, replica: str, wants_traffic: bool) -> bool:
    """Back, or given up by its driver."""
    status = core.find(replica)
    return status is None or status.phase in GIVEN_UP or _is_back(core, replica, wants_traffic)
