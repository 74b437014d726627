"""Workloads that a platform keeps: taken over as they are seen, and the verbs on them handed to the driver.

Owns how they enter what is declared and wanted (the platform's count is the wanted one), and what stands around a
verb: lease, drain at the edge, waiting until the replicas serve. Creates and removes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from backend.contract.errors import Refused, TrinityError
from backend.contract.fleet import Restartable, WorkloadSpec
from backend.contract.platform import PlatformOwned, PlatformWorkload
from backend.contract.words import Phase, Severity
from backend.reconcile.core import Core
from backend.reconcile.wanted import WantedState, WorkloadWanted

Progress = Callable[[str], None]


class Follower:
    """Brings `core.specs` and `core.wanted` in line with the platform; remembers what it saw last."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seen: Sequence[PlatformWorkload] = ()

    def follow(self) -> bool:
        """Whether routes came, went or changed, so that the edge has to be configured anew."""
        core = self._core
        if not isinstance(core.fleet, PlatformOwned):
            return False
        found = core.fleet.workloads()
        if found is self._seen:
            return False
        self._seen = found
        ours = {name: spec for name, spec in core.specs.items() if not spec.kind}
        theirs = {workload.spec.name: workload.spec for workload in found if workload.spec.name not in ours}
        before = {name: _at_edge(spec) for name, spec in core.specs.items() if spec.routes}
        core.specs = {**ours, **theirs}
        core.wanted = _with_counts(core.wanted, theirs)
        return before != {name: _at_edge(spec) for name, spec in core.specs.items() if spec.routes}


def _at_edge(spec: WorkloadSpec) -> WorkloadSpec:
    """Without what the edge does not look at: the count changes all the time."""
    return msgspec.structs.replace(spec, replicas=0, revision="")


def _with_counts(wanted: WantedState, theirs: dict[str, WorkloadSpec]) -> WantedState:
    """The platform's counts, in memory only; what an operator wrote down of them (drained, maintenance) stays."""
    workloads = dict(wanted.workloads)
    for name, spec in theirs.items():
        known = workloads.get(name) or WorkloadWanted(replicas=spec.replicas, declared=spec.replicas)
        workloads[name] = msgspec.structs.replace(known, replicas=spec.replicas, declared=spec.replicas)
    return msgspec.structs.replace(wanted, workloads=workloads)


def platform_of(core: Core, spec: WorkloadSpec) -> PlatformOwned | None:
    """The driver, for a workload that its platform keeps; null for one of ours."""
    return core.fleet if spec.kind and isinstance(core.fleet, PlatformOwned) else None


async def restart_on_platform(
    core: Core, replica: str, *, actor: str, ready_deadline_s: float, progress: Progress
) -> str:
    """Take a replica out of rotation where it is in one, have the platform replace or restart it, and wait until as
    many are Ready as before. Raises Refused where the driver cannot, LeaseHeld, TrinityError at the deadline."""
    status, fleet = core.get(replica), core.fleet
    workload, spec = status.workload, core.spec(status.workload)
    if not isinstance(fleet, Restartable):
        raise Refused(f"Replicas of fleet {fleet.name} cannot be restarted one by one.", "Use a rollout instead.")
    async with core.leases.hold(workload, f"restart of {replica} by {actor}", actor=actor):
        wanted = max(1, core.wanted.of(workload).replicas)
        core.busy.add(replica)
        try:
            if core.slot(replica) is not None:
                progress(f"{replica} is drained")
                await core.drain_until_idle(workload, replica, spec.drain_deadline_s)
            progress(f"{replica} is restarted")
            await fleet.restart(replica, reason="restarted by an action")
        finally:
            core.busy.discard(replica)
            core.wake.set()

        def back() -> bool:
            ready = [one for one in core.alive(workload) if one.phase == Phase.READY]
            again = core.find(replica)
            changed = again is None or again.pid != status.pid or again.started_ts != status.started_ts
            return changed and len(ready) >= wanted

        if not await core.until(back, ready_deadline_s):
            ready = sum(one.phase == Phase.READY for one in core.alive(workload))
            raise TrinityError(
                f"{workload} has {ready} of {wanted} Ready {ready_deadline_s:.0f} s after the restart of {replica}.",
                "See `trinity ps` for the cause.",
            )
    new = "" if core.find(replica) is not None else "; the platform made a new one in its place"
    return f"{replica} was restarted{new}."


async def roll_out_on_platform(
    core: Core, platform: PlatformOwned, workload: str, *, actor: str, progress: Progress
) -> str:
    """The platform's own rollout, to its end."""
    async with core.leases.hold(workload, f"rollout by {actor}", actor=actor):
        core.event("rollout.started", Severity.INFO, workload, f"{workload}: the platform replaces its replicas.")
        try:
            said = await platform.rollout(workload, progress)
        except TrinityError as exc:
            core.event("rollout.aborted", Severity.ERROR, workload, str(exc))
            raise
        core.event("rollout.done", Severity.INFO, workload, said)
        return said
