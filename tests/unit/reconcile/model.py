"""A model of fleet and edge that carries out steps in memory, for properties of the plan."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backend.contract.edge import SlotAssignment
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.words import Phase, SlotState
from backend.reconcile.plan import (
    Clear,
    Create,
    Drain,
    Fill,
    MarkDown,
    Remove,
    Situation,
    StartRollout,
    Step,
    Undrain,
    in_service,
    plan,
)
from backend.reconcile.wanted import WantedState, WorkloadWanted


def spec(name: str = "llm", *, revision: str = "r1", max_replicas: int = 8, port: int = 0) -> WorkloadSpec:
    return WorkloadSpec(name=name, command=("serve",), revision=revision, max_replicas=max_replicas, port=port)


def replica(
    name: str,
    phase: Phase = Phase.READY,
    *,
    revision: str = "r1",
    created: float = 0.0,
    port: int = 20000,
    pid: int = 1,
) -> ReplicaStatus:
    alive = phase in (Phase.READY, Phase.NOT_READY, Phase.STARTING, Phase.TERMINATING)
    return ReplicaStatus(
        name=name,
        fleet="local",
        workload=name.rpartition("-")[0],
        phase=phase,
        revision=revision,
        created_ts=created,
        pid=pid if alive else None,
        port=port if alive else None,
    )


def slot(name: str, state: SlotState = SlotState.READY, *, number: int = 0, port: int = 20000) -> SlotAssignment:
    return SlotAssignment(
        workload=name.rpartition("-")[0],
        slot=number,
        replica=name,
        host="127.0.0.1",
        port=port,
        check_port=port,
        maxconn=4,
        state=state,
    )


def wanted(replicas: int, workload: str = "llm", **more: object) -> WantedState:
    entry = msgspec.convert({"replicas": replicas, "declared": replicas, **more}, WorkloadWanted)
    return WantedState(workloads={workload: entry})


class Model:
    """One workload, `llm`. Each `step` carries out what the plan says now; deaths and readiness are the test's."""

    def __init__(self, replicas: int, *, max_replicas: int = 8) -> None:
        self.spec = spec(max_replicas=max_replicas)
        self.wanted = wanted(replicas)
        self.replicas: dict[str, ReplicaStatus] = {}
        self.slots: dict[str, SlotAssignment] = {}
        self.down: set[str] = set()
        self.filled: dict[str, int] = {}
        self.leaving: set[str] = set()
        self.rolling: set[str] = set()
        self.ticks = 0

    def situation(self) -> Situation:
        return Situation(
            specs=(self.spec,),
            wanted=self.wanted,
            replicas=tuple(self.replicas.values()),
            slots=tuple(self.slots.values()),
            down=frozenset(self.down),
            filled=dict(self.filled),
            leaving=frozenset(self.leaving),
            rolling={"llm": frozenset(self.rolling)} if self.rolling else {},
        )

    def serving(self) -> set[str]:
        """Replicas that get requests."""
        return {
            name
            for name, status in self.replicas.items()
            if in_service(self.spec, status, self.slots.get(name), down=name in self.down)
        }

    def want(self, **changes: object) -> None:
        entry = msgspec.structs.replace(self.wanted.of("llm"), **changes)
        self.wanted = self.wanted.with_workload("llm", entry)

    def step(self) -> tuple[Step, ...]:
        """Ends what was leaving, then carries out the plan."""
        self.ticks += 1
        for name in sorted(self.leaving):
            self.replicas.pop(name, None)
            self.slots.pop(name, None)
            self.down.discard(name)
            self.filled.pop(name, None)
            self.rolling.discard(name)
            self.want(drained=tuple(other for other in self.wanted.of("llm").drained if other != name))
        self.leaving.clear()
        steps = plan(self.situation())
        for step in steps:
            self._carry_out(step)
        return steps

    def settle(self) -> None:
        """What starts gets Ready, what is not ready recovers."""
        for name, status in self.replicas.items():
            if name not in self.leaving and status.phase != Phase.READY:
                self.replicas[name] = replica(
                    name, revision=status.revision, created=status.created_ts, pid=1 + self.ticks
                )

    def daemon_dies(self) -> None:
        """What is only in memory is gone; replicas and slots are as they were."""
        self.leaving.clear()
        self.rolling.clear()
        self.down.clear()
        pids = {name: status.pid for name, status in self.replicas.items() if name in self.slots}
        self.filled = {name: pid for name, pid in pids.items() if pid is not None}

    def _set_slot(self, name: str, state: SlotState) -> None:
        if name in self.slots:
            self.slots[name] = msgspec.structs.replace(self.slots[name], state=state)

    def _carry_out(self, step: Step) -> None:
        match step:
            case Create(_, name):
                assert name not in self.replicas
                self.replicas[name] = replica(
                    name, Phase.STARTING, revision=self.spec.revision, created=float(self.ticks)
                )
            case Remove(_, name, _):
                assert name in self.replicas and name not in self.leaving
                self._set_slot(name, SlotState.DRAIN)
                self.leaving.add(name)
            case Fill(_, name):
                status = self.replicas[name]
                assert status.phase == Phase.READY and status.port is not None, "filled before its probe passed"
                number = self.slots[name].slot if name in self.slots else self._free_slot()
                self.slots[name] = slot(name, number=number, port=status.port)
                self.down.discard(name)
                self.filled[name] = status.pid or 0
            case MarkDown(_, name):
                self._set_slot(name, SlotState.MAINT)
                self.down.add(name)
            case Clear(_, name):
                assert name not in self.replicas
                del self.slots[name]
                self.down.discard(name)
            case Drain(_, name, _):
                self._set_slot(name, SlotState.DRAIN)
            case Undrain(_, name):
                self._set_slot(name, SlotState.READY)
            case StartRollout(_):
                self.rolling = {
                    name
                    for name, status in self.replicas.items()
                    if status.revision != self.spec.revision and name not in self.leaving
                }

    def _free_slot(self) -> int:
        taken = {assignment.slot for assignment in self.slots.values()}
        free = [number for number in range(self.spec.max_replicas) if number not in taken]
        assert free, "no edge slot left"
        return free[0]


def kinds(steps: Iterable[Step]) -> list[str]:
    return [type(step).__name__ for step in steps]
