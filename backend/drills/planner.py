"""What a run would do, before it does it: resolved targets, undo list, proof that samples give, wall time, refusals.

Pure: a compiled scenario and a view of the fleet in, a Plan out. `--dry-run` prints it and stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backend.contract.errors import Refused
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.drills import faults, guards
from backend.drills.bounds import success_at_least
from backend.drills.catalogue import FAULTS, KEYS
from backend.drills.check import Compiled, needs_capacity
from backend.drills.evaluate import Facts, evaluate
from backend.drills.scenario import Injection, PhaseSpec, Target
from backend.drills.undo_log import UndoKind

CALIBRATION_S = 6.0
ENDING_S = 3.0


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """What planning needs of a fleet."""

    environment: str
    fleet: str
    workloads: tuple[WorkloadSpec, ...]
    replicas: dict[str, tuple[ReplicaStatus, ...]]
    """Per workload."""
    unheld: frozenset[str] = frozenset()
    """Workloads whose platform restarts what dies: `respawn: held` is `natural` there."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A planned run. `refusals` empty means it may start."""

    name: str
    title: str
    digest: str
    lines: tuple[str, ...]
    refusals: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    pools: dict[str, str] = {}
    """Pool -> workload."""
    sizes: dict[str, int] = {}
    wall_s: float = 0.0
    natural: frozenset[str] = frozenset()
    """Injections that ask for `respawn: held` where the platform restarts what dies: they run as `natural`."""

    def require(self) -> None:
        """Raises Refused with every reason when the run may not start."""
        if self.refusals:
            raise Refused(" ".join(self.refusals), " ".join(dict.fromkeys(self.next_steps)))


def plan(compiled: Compiled, view: FleetView, *, confidence: float = 0.95) -> Plan:
    """The plan of one run against this fleet. Never raises for what guards refuse: it is listed."""
    planning = _Planning(compiled, view, confidence)
    planning.environment()
    planning.targets()
    planning.load()
    planning.phases()
    return planning.result()


class _Planning:
    def __init__(self, compiled: Compiled, view: FleetView, confidence: float) -> None:
        self._compiled, self._view, self._confidence = compiled, view, confidence
        self._lines: list[str] = []
        self._refusals: list[str] = []
        self._steps: list[str] = []
        self._pools: dict[str, WorkloadSpec] = {}
        self._natural: set[str] = set()
        self._wall_s = ENDING_S
        self._ttl_s = compiled.scenario.safety.fault_ttl

    def environment(self) -> None:
        scenario = self._compiled.scenario
        self._lines.append(f"{scenario.name}: {scenario.title}")
        self._lines.append(f"fleet {self._view.fleet}, environment {self._view.environment}, seed {scenario.seed}")
        try:
            guards.check_environment(scenario, self._view.environment)
        except Refused as refusal:
            self._refuse(refusal)

    def targets(self) -> None:
        for name, target in self._compiled.scenario.targets.items():
            if target.is_pool:
                self._pool(name, target)
        for name, target in self._compiled.scenario.targets.items():
            spec = None if target.source is None else self._pools.get(target.source)
            if spec is None:
                continue
            if target.index is not None:
                replicas = self._replicas(spec)
                known = target.index < len(replicas)
                which = replicas[target.index].name if known else f"index {target.index}, which is not there"
                if not known:
                    self._refuse(Refused(f"Target `{name}` is {which}.", f"{spec.name} has {len(replicas)} replicas."))
            else:
                which = f"the {target.pick or 'first'} Ready replica of {spec.name} when the fault is injected"
            self._lines.append(f"target {name}: {which}")

    def _pool(self, name: str, target: Target) -> None:
        try:
            spec = guards.resolve_pool(name, target, self._view.workloads)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._pools[name] = spec
        replicas = self._replicas(spec)
        ready = guards.healthy(replicas)
        self._lines.append(f"target {name}: workload {spec.name}, {ready} of {len(replicas)} replicas Ready")
        wanted = target.replicas or len(replicas)
        if ready < max(wanted, 1):
            self._refuse(
                Refused(
                    f"{spec.name} has {ready} Ready replicas, {max(wanted, 1)} are wanted.",
                    "Wait until they are Ready (`trinity wait --for ready`) or scale up.",
                )
            )

    def load(self) -> None:
        for name, load in self._compiled.scenario.load.items():
            text = f"{load.arrival.rate} ({load.arrival.model}, open loop)"
            fixed = None if needs_capacity(self._compiled) else self._fixed_rate(name)
            if fixed is not None:
                text = f"{fixed:.2f}/s ({load.arrival.model}, open loop)"
            self._lines.append(f"load {name}: {load.kind} at {text}")
        if needs_capacity(self._compiled):
            self._lines.append(f"capacity is calibrated first (about {CALIBRATION_S:.0f} s), then the rate is frozen")
            self._wall_s += CALIBRATION_S

    def _fixed_rate(self, load: str) -> float | None:
        facts = Facts(rows={}, sizes={name: len(self._replicas(spec)) for name, spec in self._pools.items()})
        value = evaluate(self._compiled.rates[load], facts).value
        return None if value is None else float(value)

    def phases(self) -> None:
        down: dict[str, set[str]] = {}
        active: dict[str, tuple[str, set[str]]] = {}
        for phase in self._compiled.scenario.phases:
            for healed in phase.heal:
                workload, names = active.pop(healed, ("", set()))
                down.get(workload, set()).difference_update(names)
            self._phase(phase)
            for injection in phase.inject:
                self._injection(injection, down, active)

    def _phase(self, phase: PhaseSpec) -> None:
        # Half of an `until` is a guess; it bounds the estimate from neither side, max_runtime does.
        self._wall_s += phase.hold.duration + (phase.until.within / 4 if phase.until is not None else 0.0)
        proofs = [
            f"{load} {count} requests without a failure prove "
            f">= {100 * success_at_least(count, count, self._confidence):.2f} %"
            for load, count in phase.hold.min_requests.items()
            if count
        ]
        gate = " (gate: if it fails nothing is injected)" if phase.gate else ""
        self._lines.append(f"phase {phase.name}{gate}: {phase.hold.duration:g} s; {'; '.join(proofs) or 'no sample'}")
        self._lines.extend(f"  expect {text}" for text in phase.expect)

    def _injection(
        self, injection: Injection, down: dict[str, set[str]], active: dict[str, tuple[str, set[str]]]
    ) -> None:
        target = self._compiled.scenario.targets[injection.target]
        spec = self._pools.get(target.source or injection.target)
        if injection.respawn == "held" and spec is not None and spec.name in self._view.unheld:
            self._natural.add(injection.id)
            injection = msgspec.structs.replace(injection, respawn="natural")
        when = f" when {injection.when} (at most {injection.within:g} s)" if injection.when else ""
        keys = f" ({_keys_text(injection)})" if _keys_text(injection) else ""
        self._lines.append(f"  inject {injection.id}: {injection.fault}{keys} on {injection.target}{when}")
        self._lines.append(f"    {FAULTS[injection.fault].about}")
        if injection.id in self._natural:
            self._lines.append(f"    respawn natural: {self._view.fleet} starts what dies again by itself")
        self._lines.append(f"    verified by {', '.join(injection.verify)}; undo: {_undo_text(injection, self._ttl_s)}")
        if injection.when:
            # How long a condition takes is a guess; a quarter of its limit is rarely too little.
            self._wall_s += injection.within / 4
        self._wall_s += injection.delay or 0.0
        if spec is None:
            return
        gone, replicas = down.setdefault(spec.name, set()), self._replicas(spec)
        if injection.fault == "node.drain" and replicas and not any(replica.node for replica in replicas):
            words = f"{injection.id} drains a node, and fleet {self._view.fleet} has none."
            self._refuse(Refused(words, "Run this drill on Kubernetes or on Swarm."))
        names = {replica.name for replica in replicas} - gone
        if not target.is_pool:
            # Which one it will be is only known then; one that is not down already stands for it.
            index = target.index
            there = index is not None and index < len(replicas)
            names = {replicas[index or 0].name} if there else set(sorted(names)[:1])
        taking = faults.takes(injection, len(names), guards.healthy(replicas) - len(gone))
        try:
            guards.check_blast(self._compiled.scenario, spec, replicas, taking=taking, down=gone)
        except Refused as refusal:
            self._refuse(refusal)
        if taking and not faults.undo_kind(injection).startswith("await-"):
            gone.update(names)
            active[injection.id] = (spec.name, names)

    def _replicas(self, spec: WorkloadSpec) -> Sequence[ReplicaStatus]:
        return self._view.replicas.get(spec.name, ())

    def _refuse(self, refusal: Refused) -> None:
        if refusal.message not in self._refusals:
            self._refusals.append(refusal.message)
            self._steps.append(refusal.next_step)

    def result(self) -> Plan:
        scenario = self._compiled.scenario
        self._lines.append(
            f"about {self._wall_s:.0f} s, at most {scenario.safety.max_runtime:g} s; "
            f"scenario {self._compiled.digest[:12]}"
        )
        self._lines.extend(f"refused: {text}" for text in self._refusals)
        return Plan(
            name=scenario.name,
            title=scenario.title,
            digest=self._compiled.digest,
            lines=tuple(self._lines),
            refusals=tuple(self._refusals),
            next_steps=tuple(self._steps),
            pools={name: spec.name for name, spec in self._pools.items()},
            sizes={name: len(self._replicas(spec)) for name, spec in self._pools.items()},
            wall_s=self._wall_s,
            natural=frozenset(self._natural),
        )


def as_planned(compiled: Compiled, plan: Plan) -> Compiled:
    """The scenario as this fleet can run it; text and digest stay those of the file."""
    if not plan.natural:
        return compiled

    def adapted(phase: PhaseSpec) -> PhaseSpec:
        injections = tuple(
            msgspec.structs.replace(one, respawn="natural") if one.id in plan.natural else one for one in phase.inject
        )
        return msgspec.structs.replace(phase, inject=injections)

    phases = tuple(adapted(phase) for phase in compiled.scenario.phases)
    return msgspec.structs.replace(compiled, scenario=msgspec.structs.replace(compiled.scenario, phases=phases))


def _keys_text(injection: Injection) -> str:
    """The keys that belong to this fault, as given or by default."""
    traits = FAULTS[injection.fault]
    own = [key for key in (*traits.needs, *traits.takes) if key in KEYS]
    given = [(key, getattr(injection, key)) for key in own]
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in given
        if value is not None
    )


def _undo_text(injection: Injection, ttl_s: float) -> str:
    kind = faults.undo_kind(injection)
    if kind == "holder":
        held_by = FAULTS[injection.fault].held_by
        return f"its {held_by} takes it away (warden: without the daemon; by itself after {ttl_s:g} s)"
    return _UNDO_TEXTS[kind]


_UNDO_TEXTS: Mapping[UndoKind, str] = {
    "release-hold": "release the hold, wait until it is Ready again",
    "await-ready": "wait until supervision has made it Ready again",
    "start-fault": "let its starts succeed again, wait until it is Ready",
    "rescale": "scale back to the count it had",
    "await-edge": "wait until the edge serves again",
    "await-daemon": "wait until a daemon answers again",
    "uncordon": "uncordon the node, wait until every replica is Ready",
    "nothing": "none needed, wait until every replica is Ready",
}


def rates_of(compiled: Compiled, sizes: Mapping[str, int], capacity: Mapping[str, float]) -> dict[str, float]:
    """The frozen requests/s of each load. `capacity` is calibrated requests/s of one replica, per pool."""
    facts = Facts(rows={}, sizes=sizes, capacity_per_replica=capacity)
    rates: dict[str, float] = {}
    for name, tree in compiled.rates.items():
        value = evaluate(tree, facts).value
        if value is None or value <= 0:
            raise Refused(
                f"The rate of load {name} (`{compiled.scenario.load[name].arrival.rate}`) is not positive.",
                "Mend the expression.",
            )
        rates[name] = float(value)
    return rates
