"""A gateway over fakes, for the tests of what goes through it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import msgspec

from backend.actions.executor import ActionState, Progress
from backend.actions.fleet_verbs import fleet_executors
from backend.actions.gateway import Gateway
from backend.actions.platform_verbs import platform_executors
from backend.contract.control import ActionRequest, Quantiles, ReplicaView, WorkloadView
from backend.contract.edge import EdgeServer
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.rows import Scalar
from backend.contract.words import Phase, SlotState, Verb
from backend.reconcile.diff import diff
from tests.fakes.clock import FakeClock
from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import MemoryLedger

SPEC = WorkloadSpec(name="llm", command=("serve",), slots=4, revision="r1", max_replicas=8)
DAEMON_VERBS = frozenset(
    {
        Verb.LOAD_START,
        Verb.LOAD_STOP,
        Verb.DRILL_RUN,
        Verb.DRILL_STOP,
        Verb.INJECT,
        Verb.HEAL,
        Verb.NOTE,
        Verb.ACKNOWLEDGE,
        Verb.SHUTDOWN,
        Verb.FORWARD,
        Verb.UNFORWARD,
        Verb.EXEC,
    }
)

PLATFORM_VERBS = frozenset(executor.verb for executor in platform_executors(FakeFleet()))
"""Their tests are in test_platform_verbs."""


def replica_view(name: str, phase: Phase = Phase.READY, in_flight: int = 0) -> ReplicaView:
    status = ReplicaStatus(
        name=name,
        fleet="local",
        workload="llm",
        phase=phase,
        created_ts=0.0,
        pid=100 if phase != Phase.FAILED else None,
    )
    server = EdgeServer(
        workload="llm",
        slot=0,
        replica=name,
        state=SlotState.READY,
        up=True,
        status="UP",
        in_flight=in_flight,
        queued=0,
        sessions_total=0,
        retries_total=0,
        errors_total=0,
    )
    return ReplicaView(status=status, edge=server)


class Desk:
    """A gateway over operations that only note what they were asked."""

    def __init__(self, *, read_only: bool = False, ledger: MemoryLedger | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.ledger, self.clock = ledger or MemoryLedger(), FakeClock()
        self.wanted, self.autoscale, self.maintenance, self.in_flight = 3, False, False, 0
        self.replicas: tuple[ReplicaView, ...] = (replica_view("llm-0", in_flight=3), replica_view("llm-1"))
        self.lease: str | None = None
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None
        ids = itertools.count(1)
        self.gateway = Gateway(
            self.state,
            self.ledger,
            self.ledger,
            self.clock,
            blocker=lambda workload, actor: self.lease,
            executors=fleet_executors(self, set_autoscale=self.set_autoscale, parse=self.parse, diff=diff),
            read_only=read_only,
            new_id=lambda: f"a{next(ids)}",
        )

    def state(self) -> ActionState:
        view = WorkloadView(
            name="llm",
            wanted=self.wanted,
            ready=2,
            total=2,
            slots=4,
            routes=("/",),
            queued=0,
            in_flight=self.in_flight,
            autoscale=self.autoscale,
            maintenance=self.maintenance,
        )
        return ActionState(
            fleet="local",
            specs=(SPEC,),
            replicas=self.replicas,
            workloads=(view,),
            ttft={"llm": Quantiles(count=40, p50_s=0.2, p95_s=0.412, p99_s=0.5, window_s=300)},
        )

    async def _call(self, *call: object) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.fail is not None:
            raise self.fail

    async def set_replicas(self, workload: str, n: int, *, actor: str = "operator") -> int:
        await self._call("scale", workload, n, actor)
        was, self.wanted = self.wanted, n
        return was

    async def rollout(self, workload: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        await self._call("rollout", workload)
        return "2 replicas replaced."

    async def restart_replica(self, replica: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        await self._call("restart", replica)
        return "restarted"

    async def drain(self, replica: str, *, actor: str = "operator") -> int:
        await self._call("drain", replica)
        return 3

    async def undrain(self, replica: str, *, actor: str = "operator") -> None:
        await self._call("undrain", replica)

    async def kill(self, replica: str, signal: int = 9, *, actor: str = "operator") -> int:
        await self._call("kill", replica, signal)
        return 100

    async def set_maintenance(self, workload: str, on: bool, *, actor: str = "operator") -> None:
        await self._call("maintenance", workload, on)
        self.maintenance = on

    async def set_autoscale(self, workload: str, on: bool) -> None:
        await self._call("autoscale", workload, on)
        self.autoscale = on

    async def apply(
        self, specs: Sequence[WorkloadSpec], *, yaml: str = "", source: str = "", actor: str = "operator"
    ) -> tuple[str, ...]:
        await self._call("apply", len(specs))
        return diff((SPEC,), specs)

    def parse(self, yaml: str, source: str) -> tuple[WorkloadSpec, ...]:
        return (msgspec.structs.replace(SPEC, replicas=int(yaml)),)


def ask(verb: Verb, target: str = "", actor: str = "cli:ann", **args: Scalar) -> ActionRequest:
    return ActionRequest(verb=verb, target=target, args=args, actor=actor)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the desk has nothing to wait on
        await asyncio.sleep(0)


REQUESTS: dict[Verb, ActionRequest] = {
    Verb.SCALE: ask(Verb.SCALE, "llm", replicas=2),
    Verb.RESTART: ask(Verb.RESTART, "llm-0"),
    Verb.ROLLOUT: ask(Verb.ROLLOUT, "llm"),
    Verb.KILL: ask(Verb.KILL, "llm-0"),
    Verb.DRAIN: ask(Verb.DRAIN, "llm-0"),
    Verb.UNDRAIN: ask(Verb.UNDRAIN, "llm-0"),
    Verb.APPLY: ask(Verb.APPLY, yaml="1"),
    Verb.AUTOSCALE: ask(Verb.AUTOSCALE, "llm", on=True),
    Verb.MAINTENANCE: ask(Verb.MAINTENANCE, "llm", on=True),
    Verb.UNDO: ask(Verb.UNDO),
}
