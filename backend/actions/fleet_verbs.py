"""The verbs on workloads and replicas, as executors over the reconciler's operations.

Owns their previews, their refusals and their inverses. The deeds are the reconciler's.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from backend.actions.executor import (
    ActionState,
    Effect,
    Executor,
    Inverse,
    Irreversible,
    Progress,
    TargetKind,
    switch,
    whole_number,
)
from backend.contract.control import ActionRequest, ReplicaView
from backend.contract.errors import UsageError
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import Phase, Risk, SlotState, Verb


class Operations(Protocol):
    """What the reconciler offers; each raises TrinityError, LeaseHeld where another holds the workload."""

    async def set_replicas(self, workload: str, n: int, *, actor: str = ...) -> int: ...
    async def rollout(self, workload: str, progress: Progress | None = ..., *, actor: str = ...) -> str: ...
    async def restart_replica(self, replica: str, progress: Progress | None = ..., *, actor: str = ...) -> str: ...
    async def drain(self, replica: str, *, actor: str = ...) -> int: ...
    async def undrain(self, replica: str, *, actor: str = ...) -> None: ...
    async def kill(self, replica: str, signal: int = ..., *, actor: str = ...) -> int: ...
    async def set_maintenance(self, workload: str, on: bool, *, actor: str = ...) -> None: ...
    async def apply(
        self, specs: Sequence[WorkloadSpec], *, yaml: str = ..., source: str = ..., actor: str = ...
    ) -> tuple[str, ...]: ...


class _FleetVerb:
    """What these verbs have in common."""

    exclusive: bool = True
    in_maintenance: bool = False

    def __init__(self, operations: Operations) -> None:
        self._operations = operations


class Scale(_FleetVerb):
    """`scale {replicas}` of a workload."""

    verb: Final = Verb.SCALE
    target_kind: TargetKind = "workload"

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        view, spec, n = state.workload(request.target), state.spec(request.target), whole_number(request, "replicas")
        limit = 1 if spec.port and not spec.kind else spec.max_replicas
        was, name = view.wanted, view.name
        sentence = f"{name}: {was} → {n} replicas"
        if spec.routes:
            sentence += f"; capacity {was * spec.slots} → {n * spec.slots} slots; {_ttft(state, name)}"
        if not 0 <= n <= limit:
            return Effect(summary=sentence, refusal=f"{name} can have 0 to {limit} replicas, not {n}.")
        effects: list[str] = []
        if spec.kind:
            effects.append(f"the platform is told ({spec.kind})")
        elif n < was:
            effects.append(f"{was - n} drained first, then ended; requests they have are finished")
        if n < was and spec.routes:
            if view.in_flight + view.queued > n * spec.slots:
                effects.append(f"{view.in_flight + view.queued} requests now, {n * spec.slots} slots then: some wait")
        elif n > was and not spec.kind:
            effects.append(f"{n - was} started, each gets requests once it is Ready")
        if n == 0:
            effects.append(f"nothing answers {', '.join(spec.routes) or name} until it is scaled up again")
        if view.autoscale and request.actor != "autoscaler":
            effects.append("the autoscaler is on and may change it again")
        risk = Risk.HIGH if n == 0 and was else Risk.LOW if n < was else Risk.NONE
        return Effect(summary=sentence, effects=tuple(effects), risk=risk)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        was = state.workload(request.target).wanted
        if was == request.args.get("replicas"):
            return Irreversible(why="it changed nothing")
        return Inverse(verb=Verb.SCALE, args={"replicas": was}, words=f"scale back to {was}")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        n = whole_number(request, "replicas")
        was = await self._operations.set_replicas(request.target, n, actor=request.actor)
        return f"{request.target}: {was} → {n} replicas wanted."


class Rollout(_FleetVerb):
    """`rollout`: replace every replica of a workload, one at a time."""

    verb: Final = Verb.ROLLOUT
    target_kind: TargetKind = "workload"

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        view, spec = state.workload(request.target), state.spec(request.target)
        if spec.kind:
            summary = f"{view.name}: {view.total} replicas replaced as its {spec.kind} says"
            return Effect(summary=summary, effects=("it goes on while you look elsewhere",), risk=Risk.LOW)
        if spec.port == 0 and view.wanted < spec.max_replicas:
            how, effects = "a new one serves before an old one goes", ("memory for one replica more is needed",)
        else:
            how, effects = "capacity drops by one replica meanwhile", ("there is no room for one replica more",)
        summary = f"{view.name}: {view.total} replicas replaced one at a time; {how}; {_ttft(state, view.name)}"
        return Effect(summary=summary, effects=effects, risk=Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Irreversible(why="the old processes are gone, the new ones run the same specification")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        return await self._operations.rollout(request.target, progress, actor=request.actor)


class Restart(_FleetVerb):
    """`restart` a replica: drained, then a new process under its name."""

    verb: Final = Verb.RESTART
    target_kind: TargetKind = "replica"

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        replica = state.replica(request.target)
        spec, others = state.spec(replica.status.workload), _others_serving(state, replica)
        if spec.kind:
            summary = (
                f"{replica.status.name}: restarted by its platform ({replica.status.owner}); {others} others serve"
            )
            return Effect(summary=summary, risk=Risk.LOW if others or not _serves(replica) else Risk.HIGH)
        if others or not _serves(replica):
            how = f"{others} other{'' if others == 1 else 's'} serve{'s' if others == 1 else ''} meanwhile"
        elif spec.port == 0:
            how = "it is the only one that serves, so another is started first"
        else:
            how = "it is the only one that serves: requests wait until it is back"
        summary = f"{replica.status.name}: drained ({_in_flight(replica)}), restarted in place; {how}"
        alone = not others and _serves(replica) and spec.port != 0
        return Effect(summary=summary, risk=Risk.HIGH if alone else Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Irreversible(why="the old process is gone")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        return await self._operations.restart_replica(request.target, progress, actor=request.actor)


def _broken_by_death(replica: ReplicaView) -> str:
    if replica.edge is not None:
        return "requests without a first byte are retried elsewhere, begun answers break visibly"
    again = "; its platform starts it again, or does not, by its own policy" if replica.status.owner else ""
    return f"its connections break: no edge of ours retries for it{again}"


class Kill(_FleetVerb):
    """`kill {signal, force}` the process of a replica, abruptly."""

    verb: Final = Verb.KILL
    target_kind: TargetKind = "replica"
    in_maintenance = True

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        replica, number = state.replica(request.target), self._signal(request)
        status, others = replica.status, _others_serving(state, replica)
        summary = (
            f"{status.name}: {_signal_name(number)} to pid {status.pid}; {_in_flight(replica)}; "
            f"{others} other{'' if others == 1 else 's'} of {status.workload} serve{'s' if others == 1 else ''}"
        )
        effects: tuple[str, ...] = (_broken_by_death(replica),)
        if status.pid is None:
            return Effect(summary=summary, refusal=f"{status.name} has no process to kill ({status.phase}).")
        last = not others and status.phase == Phase.READY
        if not last:
            return Effect(summary=summary, effects=effects, risk=Risk.LOW)
        effects = (f"nothing of {status.workload} serves until it is Ready again", *effects)
        words = (
            ""
            if request.args.get("force") is True
            else (
                f"{status.name} is the last healthy replica of {status.workload}. Pass force to kill it all the same."
            )
        )
        return Effect(summary=summary, effects=effects, risk=Risk.HIGH, refusal=words)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Irreversible(why="the process is gone; its driver starts a new one by itself")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        number = self._signal(request)
        pid = await self._operations.kill(request.target, number, actor=request.actor)
        return f"{_signal_name(number)} was sent to pid {pid} of {request.target}."

    def _signal(self, request: ActionRequest) -> int:
        number = whole_number(request, "signal") if "signal" in request.args else int(signals.SIGKILL)
        if number not in {int(known) for known in signals.valid_signals()}:
            raise UsageError(
                f"{number} is not a signal.", "Use 9 (KILL), 15 (TERM), 19 (STOP) or another of `kill -l`."
            )
        return number


class Drain(_FleetVerb):
    """`drain`: no new requests for a replica until `undrain`."""

    verb: Final = Verb.DRAIN
    target_kind: TargetKind = "replica"
    in_maintenance = True

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        replica = state.replica(request.target)
        spec, others = state.spec(replica.status.workload), _others_serving(state, replica)
        serving = others + _serves(replica)
        summary = (
            f"{replica.status.name}: no new requests, {_in_flight(replica)} finish; "
            f"capacity {serving * spec.slots} → {others * spec.slots} slots"
        )
        alone = _serves(replica) and not others
        effects = (f"nothing of {spec.name} serves until it is undrained: requests wait",) if alone else ()
        return Effect(summary=summary, effects=effects, risk=Risk.HIGH if alone else Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.UNDRAIN, words="undrain it")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        left = await self._operations.drain(request.target, actor=request.actor)
        return f"{request.target} gets no new requests; {left} in flight."


class Undrain(_FleetVerb):
    """`undrain`: requests for a drained replica again."""

    verb: Final = Verb.UNDRAIN
    target_kind: TargetKind = "replica"
    in_maintenance = True

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        replica = state.replica(request.target)
        return Effect(summary=f"{replica.status.name}: gets requests again as soon as it is Ready")

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Inverse(verb=Verb.DRAIN, words="drain it again")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        await self._operations.undrain(request.target, actor=request.actor)
        return f"{request.target} gets requests again."


class Maintenance(_FleetVerb):
    """`maintenance {on}` of a workload."""

    verb: Final = Verb.MAINTENANCE
    target_kind: TargetKind = "workload"
    in_maintenance = True

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        view, on = state.workload(request.target), switch(request)
        if view.maintenance == on:
            return Effect(summary=f"{view.name}: maintenance is {'on' if on else 'off'} already")
        what = "no autoscaler, no restarts, no probe acts" if on else "restarts, probes and the autoscaler act again"
        return Effect(summary=f"{view.name}: maintenance {'on' if on else 'off'}; {what}", risk=Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        if state.workload(request.target).maintenance == switch(request):
            return Irreversible(why="it changed nothing")
        return _switched_back(Verb.MAINTENANCE, switch(request))

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        on = switch(request)
        await self._operations.set_maintenance(request.target, on, actor=request.actor)
        return f"{request.target}: maintenance {'on' if on else 'off'}."


class Autoscale:
    """`autoscale {on}` of a workload; `set_on(workload, on)` switches it and writes it down."""

    verb: Final = Verb.AUTOSCALE
    target_kind: TargetKind = "workload"
    exclusive = False
    in_maintenance = True

    def __init__(self, set_on: Callable[[str, bool], Awaitable[None]]) -> None:
        self._set_on = set_on

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        view, on = state.workload(request.target), switch(request)
        if view.autoscale == on:
            return Effect(summary=f"{view.name}: the autoscaler is {'on' if on else 'off'} already")
        what = "its policy changes the replica count from now on" if on else f"the count stays at {view.wanted}"
        effects = ("it waits until maintenance is off",) if on and view.maintenance else ()
        return Effect(
            summary=f"{view.name}: autoscaler {'on' if on else 'off'}; {what}", effects=effects, risk=Risk.LOW
        )

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        if state.workload(request.target).autoscale == switch(request):
            return Irreversible(why="it changed nothing")
        return _switched_back(Verb.AUTOSCALE, switch(request))

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        on = switch(request)
        await self._set_on(request.target, on)
        return f"{request.target}: autoscaler {'on' if on else 'off'}."


class Apply(_FleetVerb):
    """`apply {yaml, source}`: make a file what is declared. `parse(yaml, source)` raises FileError with line and
    column; `diff(old, new)` gives the changes in sentences."""

    verb: Final = Verb.APPLY
    target_kind: TargetKind = "free"
    exclusive = False
    in_maintenance = True

    def __init__(
        self,
        operations: Operations,
        parse: Callable[[str, str], Sequence[WorkloadSpec]],
        diff: Callable[[Sequence[WorkloadSpec], Sequence[WorkloadSpec]], Sequence[str]],
    ) -> None:
        super().__init__(operations)
        self._parse, self._diff = parse, diff

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        changes = tuple(self._diff(state.specs, self._specs(request)))
        removed = any(line.startswith("-") for line in changes)
        source = str(request.args.get("source") or "the file")
        if not changes:
            return Effect(summary=f"{source} changes nothing")
        count = f"{len(changes)} change{'' if len(changes) == 1 else 's'}"
        return Effect(summary=f"{source}: {count}", effects=changes, risk=Risk.HIGH if removed else Risk.LOW)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return Irreversible(why="apply the former file instead")

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        changes = await self._operations.apply(
            self._specs(request),
            yaml=str(request.args.get("yaml") or ""),
            source=str(request.args.get("source") or ""),
            actor=request.actor,
        )
        return "; ".join(changes) or "Nothing changed."

    def _specs(self, request: ActionRequest) -> Sequence[WorkloadSpec]:
        yaml = request.args.get("yaml")
        if not isinstance(yaml, str) or not yaml.strip():
            raise UsageError("apply needs the text of a trinity.yaml.")
        return self._parse(yaml, str(request.args.get("source") or "trinity.yaml"))


def fleet_executors(
    operations: Operations,
    *,
    set_autoscale: Callable[[str, bool], Awaitable[None]],
    parse: Callable[[str, str], Sequence[WorkloadSpec]],
    diff: Callable[[Sequence[WorkloadSpec], Sequence[WorkloadSpec]], Sequence[str]],
) -> tuple[Executor, ...]:
    """All verbs of this module, ready to be registered."""
    return (
        Scale(operations),
        Rollout(operations),
        Restart(operations),
        Kill(operations),
        Drain(operations),
        Undrain(operations),
        Maintenance(operations),
        Autoscale(set_autoscale),
        Apply(operations, parse, diff),
    )


def _switched_back(verb: Verb, on: bool) -> Inverse:
    return Inverse(verb=verb, args={"on": not on}, words=f"switch it {'off' if on else 'on'} again")


def _serves(replica: ReplicaView) -> bool:
    """Whether it gets requests: Ready, and not drained at the edge."""
    return replica.status.phase == Phase.READY and (replica.edge is None or replica.edge.state == SlotState.READY)


def _others_serving(state: ActionState, replica: ReplicaView) -> int:
    return sum(
        _serves(other)
        for other in state.replicas
        if other.status.workload == replica.status.workload and other.status.name != replica.status.name
    )


def _in_flight(replica: ReplicaView) -> str:
    count = replica.edge.in_flight if replica.edge is not None else 0
    return f"{count} request{'' if count == 1 else 's'} in flight"


def _ttft(state: ActionState, workload: str) -> str:
    seen = state.ttft.get(workload)
    if seen is None or seen.p95_s is None:
        return "no streaming request in the last 5 min"
    return f"p95 TTFT over the last 5 min {seen.p95_s:.2f} s"


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
