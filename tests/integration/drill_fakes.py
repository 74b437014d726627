"""A tiny fleet of real processes with a pretended edge and load, for drill tests that need no engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal as signals
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from backend.contract.clock import SystemClock
from backend.contract.edge import EdgeObservation, EdgeServer
from backend.contract.errors import LeaseHeld
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ExitRecord, ReplicaStatus, WorkloadSpec
from backend.contract.rows import ActionRow, EventRow, RequestRow, Row, Scalar
from backend.contract.words import ActionOutcome, Phase, RequestOutcome, Severity, SlotState, Vantage, Verb
from backend.drills import processes
from backend.drills.catalogue import HeldBy
from backend.drills.ports import LoadOrder
from backend.drills.records import DrillRow, LoadSummary

SPEC = WorkloadSpec(name="llm", command=("sleep", "1000"), replicas=2, slots=4, engine="llamacpp", model_alias="m")


async def until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.002)


class FakeReplica:
    """One replica: a `sleep` process that a keeper task starts again, with what a drill did to it."""

    def __init__(self, name: str) -> None:
        self.name, self.restarts, self.phase = name, 0, Phase.PENDING
        self.node = f"node-of-{name}"
        self.process: asyncio.subprocess.Process | None = None
        self.held = False
        self.up = False
        self.struck: int | None = None
        """The pid a drill has just killed: it serves nothing more, whenever its keeper learns of its end."""
        self.in_flight = 0
        self.last_exit: ExitRecord | None = None
        self.exit_as: int | None = None
        """The code its next end is recorded with (a program that ends itself)."""
        self.start_fault: StartFault | None = None
        self.removed = False

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None


class FakeHost:
    """DrillHost over `sleep` processes that are really killed, stopped and started again."""

    def __init__(self, replicas: int = 2, *, environment: str = "dev", retries: bool = True) -> None:
        self.environment, self.fleet, self.api_key = environment, "local", ""
        self.driver, self.held_back = "local", True
        self.versions = {"trinity": "test"}
        self.retries = retries
        self.members = [FakeReplica(f"llm-{i}") for i in range(replicas)]
        self.rows: list[Row] = []
        self.listeners: list[Callable[[EventRow], None]] = []
        self.respawn_s, self.ready_s = 0.05, 0.1
        self.deaf = False
        """Signals do nothing (a fault that does not take effect)."""
        self.leased_by = ""
        self.orders: dict[tuple[str, str], dict[str, FaultOrder]] = {}
        """(replica, holder kind) -> what it holds now."""
        self.ended: dict[str, Literal["ttl", "gone"]] = {}
        """Fault id -> why it ended before anybody healed it."""
        self.heal_delay_s: dict[str, float] = {}
        """Replica -> how long its holder takes to heal."""
        self.heals: list[str] = []
        self.unspliced: list[str] = []
        self.acts: list[tuple[Verb, dict[str, Scalar]]] = []
        self.edge_process: asyncio.subprocess.Process | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self.edge_log: list[RequestRow] = []

    async def __aenter__(self) -> FakeHost:
        self.edge_process = await asyncio.create_subprocess_exec("sleep", "1000")
        self._keepers = [asyncio.create_task(self._keep(member)) for member in self.members]
        await until(lambda: all(member.phase == Phase.READY for member in self.members))
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in (self.edge_process, *(member.process for member in self.members)):
            if process and process.returncode is None:
                process.kill()
                await process.wait()

    async def _keep(self, member: FakeReplica) -> None:
        while not member.removed:
            spoilt = member.start_fault
            if spoilt is not None:
                await asyncio.sleep(spoilt.delay_s)
            end_at_once = spoilt is not None and spoilt.exit_code is not None
            argv = ("sh", "-c", f"exit {spoilt.exit_code}") if spoilt and end_at_once else ("sleep", "1000")
            member.process = await asyncio.create_subprocess_exec(*argv)
            member.phase = Phase.STARTING
            if not end_at_once:
                pid = member.process.pid
                await asyncio.sleep(self.ready_s)
                # It sleeps, so it has loaded what it needs: without descriptors it could not begin.
                await until(lambda p=pid: processes.state(p) not in ("R", "D"))  # type: ignore[misc]
                member.phase, member.up = Phase.READY, True
            code = await member.process.wait()
            signalled = code < 0 and member.exit_as is None
            member.last_exit = ExitRecord(
                ts=time.time(),
                code=None if signalled else (code if member.exit_as is None else member.exit_as),
                signal=-code if signalled else None,
                pid=member.process.pid,
            )
            member.exit_as = None
            member.phase, member.up = Phase.FAILED, False
            self._tell("edge.marked-down", member.name)
            await until(lambda: not member.held, timeout_s=60.0)
            await asyncio.sleep(self.respawn_s)
            self._respawn(member)

    def _respawn(self, member: FakeReplica) -> None:
        member.restarts += 1

    def _tell(self, kind: str, subject: str) -> None:
        event = EventRow(
            ts=time.time(), mono_s=time.monotonic(), kind=kind, severity=Severity.INFO, subject=subject, message=kind
        )
        for listener in list(self.listeners):
            listener(event)

    def holds(self, workload: str) -> bool:
        return self.held_back

    def workloads(self) -> Sequence[WorkloadSpec]:
        return [SPEC]

    def replicas(self, workload: str) -> Sequence[ReplicaStatus]:
        return [
            ReplicaStatus(
                name=m.name,
                fleet="local",
                workload="llm",
                phase=m.phase,
                restarts=m.restarts,
                created_ts=0.0,
                pid=m.pid,
                last_exit=m.last_exit,
                node=m.node,
            )
            for m in self.members
            if not m.removed
        ]

    def edge(self) -> EdgeObservation:
        servers = tuple(
            EdgeServer(
                workload="llm",
                slot=i,
                replica=m.name,
                state=SlotState.READY,
                up=m.up,
                status="UP" if m.up else "DOWN",
                in_flight=m.in_flight,
                queued=0,
                sessions_total=0,
                retries_total=0,
                errors_total=0,
            )
            for i, m in enumerate(self.members)
        )
        pid = self.edge_process.pid if self.edge_process and self.edge_process.returncode is None else None
        return EdgeObservation(
            ts=time.time(), up=pid is not None, pid=pid, servers=servers, public_url="http://127.0.0.1:1"
        )

    async def in_flight(self, workload: str, replica: str) -> int:
        return self.member(replica).in_flight

    def on_event(self, listener: Callable[[EventRow], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def append(self, row: Row) -> None:
        self.rows.append(row)

    async def signal(self, run_id: str, replica: str, signal: int) -> int:
        process = self.member(replica).process
        assert process is not None
        if not self.deaf:
            process.send_signal(signals.Signals(signal))
            if signal == signals.SIGKILL:
                self.member(replica).struck, self.member(replica).up = process.pid, False
        return process.pid

    async def hold(self, run_id: str, replica: str, *, held: bool) -> None:
        self.member(replica).held = held

    @asynccontextmanager
    async def lease(self, workload: str, holder: str) -> AsyncIterator[None]:
        if self.leased_by:
            raise LeaseHeld(workload, self.leased_by)
        self.leased_by = holder
        try:
            yield
        finally:
            self.leased_by = ""

    async def holder(self, replica: str, kind: HeldBy) -> Holder:
        assert kind != ""
        return Holder(kind=kind, socket_path="/none", pid=os.getpid(), mark=processes.start_mark(os.getpid()) or "")

    async def fault(self, run_id: str, replica: str, kind: HeldBy, order: FaultOrder) -> FaultReport:
        if not self.deaf:
            self.orders.setdefault((replica, kind), {})[order.id] = order
            pid = self.member(replica).pid
            if pid is not None and order.kind == "stop":
                os.kill(pid, signals.SIGSTOP)
            elif pid is not None and order.kind == "exhaust-descriptors":
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
            elif pid is not None and order.kind == "exhaust-memory":
                os.kill(pid, signals.SIGKILL)
        return FaultReport(id=order.id, kind=order.kind, active=not self.deaf)

    async def heal(self, run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
        self.heals.append(fault_id)
        await asyncio.sleep(self.heal_delay_s.get(replica, 0.0))
        order = self.orders.get((replica, kind), {}).pop(fault_id, None)
        pid = self.member(replica).pid
        if order is None:
            return None
        if pid is not None and order.kind == "stop":
            os.kill(pid, signals.SIGCONT)
        elif pid is not None and order.kind == "exhaust-descriptors":
            hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        return FaultReport(id=order.id, kind=order.kind, active=False, ended_by=self.ended.get(fault_id, "heal"))

    async def fault_reports(self, replica: str, kind: HeldBy) -> Sequence[FaultReport]:
        held = self.orders.get((replica, kind), {})
        return [FaultReport(id=o.id, kind=o.kind, active=True, affected=1) for o in held.values()]

    async def unsplice(self, run_id: str, workload: str) -> None:
        self.unspliced.append(workload)

    async def start_fault(self, run_id: str, replica: str, fault: StartFault | None) -> None:
        self.member(replica).start_fault = None if self.deaf else fault

    async def exit(self, run_id: str, replica: str, code: int) -> None:
        member = self.member(replica)
        if not self.deaf and member.process is not None:
            member.exit_as = code
            member.process.kill()

    async def act(self, run_id: str, verb: Verb, workload: str, args: dict[str, Scalar]) -> ActionRow:
        self.acts.append((verb, args))
        if not self.deaf and verb == Verb.SCALE:
            for index, member in enumerate(self.members):
                member.removed = index >= int(args["replicas"] or 0)
        if not self.deaf and verb == Verb.NODE_DRAIN:
            for member in self.members:
                if member.node == workload and member.process is not None:
                    member.process.kill()
        if not self.deaf and verb == Verb.ROLLOUT:
            for member in self.members:
                before = member.pid
                assert member.process is not None
                member.process.kill()
                await until(lambda m=member, b=before: m.pid not in (None, b) and m.phase == Phase.READY)  # type: ignore[misc]
        return ActionRow(
            ts=time.time(), id="a", actor=f"drill:{run_id}", verb=verb, target=workload, outcome=ActionOutcome.OK
        )

    async def kill_edge(self, run_id: str) -> int:
        assert self.edge_process is not None
        old = self.edge_process
        if not self.deaf:
            old.kill()
            await old.wait()
            self.edge_process = await asyncio.create_subprocess_exec("sleep", "1000")
        return old.pid

    async def reload_edge(self, run_id: str) -> int:
        return await self.kill_edge(run_id)

    async def edge_rows(self, since_ts: float, until_ts: float) -> Sequence[RequestRow]:
        return self.edge_log

    def member(self, name: str) -> FakeReplica:
        return next(member for member in self.members if member.name == name)

    def kinds(self) -> list[str]:
        return [row.kind for row in self.rows if isinstance(row, EventRow)]


class FakeLoad:
    """Open-loop requests of fixed service time, each held by the least busy replica that is up."""

    def __init__(self, host: FakeHost, order: LoadOrder, on_row: Callable[[DrillRow], None], service_s: float) -> None:
        self._host, self._order, self._on_row, self._service_s = host, order, on_row, service_s
        source = random.Random(order.seed)
        at, self._offsets = 0.0, list[float]()
        while at < order.horizon_s:
            at += source.expovariate(order.rate)
            self._offsets.append(at)
        self._zero = time.monotonic()
        self._rows = 0
        self._sent = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        for index, offset in enumerate(self._offsets):
            intended = self._zero + offset
            await asyncio.sleep(max(0.0, intended - time.monotonic()))
            self._sent += 1
            task = asyncio.create_task(self._one(index, intended))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, index: int, intended: float) -> None:
        sent, retries = time.monotonic(), 0
        while True:
            up = [member for member in self._host.members if member.up]
            if not up:
                ok = False
                break
            member = min(up, key=lambda m: m.in_flight)
            ok = await self._held_by(member)
            if ok or not self._host.retries:
                break
            retries += 1
        now = time.monotonic()
        outcome = RequestOutcome.OK if ok else RequestOutcome.FAILED
        row = RequestRow(
            ts=time.time() - (now - sent),
            mono_s=sent,
            intended_ts=time.time() - (now - intended),
            vantage=Vantage.CLIENT,
            request_id=f"{self._order.run_id}-{self._order.name}-{index}",
            fleet="local",
            workload="llm",
            route="/",
            stream=self._order.kind == "chat-stream",
            status=200 if ok else 502,
            outcome=outcome,
            ttft_s=(now - sent) / 2 if ok else None,
            total_s=now - sent,
            retries=retries,
            bytes_out=100 if ok else 0,
        )
        self._rows += 1
        self._on_row(DrillRow(load=self._order.name, request=row, intended_s=intended, sent_s=sent, ended_s=now))

    async def _held_by(self, member: FakeReplica) -> bool:
        member.in_flight += 1
        end = time.monotonic() + self._service_s
        pid = member.pid
        try:
            while time.monotonic() < end:
                await asyncio.sleep(0.005)
                if member.pid != pid or pid in (None, member.struck):
                    return False
            return True
        finally:
            member.in_flight -= 1

    def due(self, until_s: float) -> int:
        return sum(self._zero + offset < until_s for offset in self._offsets)

    async def stop(self) -> LoadSummary:
        await self.kill()
        if self._tasks:
            await asyncio.wait(self._tasks)
        return LoadSummary(
            name=self._order.name,
            rate=self._order.rate,
            arrivals=self._sent,
            rows=self._rows,
            lag_p50_s=0.001,
            lag_p99_s=0.002,
            lag_max_s=0.003,
        )

    async def kill(self) -> None:
        self._sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sender


class FakeLoads:
    def __init__(self, host: FakeHost, service_s: float = 0.1) -> None:
        self._host, self._service_s = host, service_s

    async def start(self, order: LoadOrder, on_row: Callable[[DrillRow], None]) -> FakeLoad:
        return FakeLoad(self._host, order, on_row, self._service_s)

    async def calibrate(self, order: LoadOrder, concurrency: int) -> float:
        return concurrency / self._service_s


CLOCK = SystemClock()

KILL = """
drill: 1
name: short-kill
title: a short kill
seed: 7
targets:
  pool: {workload: llm, replicas: 2}
  victim: {from: pool, pick: busiest}
safety: {max_runtime: 100s, max_generator_lag: 100ms, lease: {heartbeat: 250ms, expires: 60s}}
load:
  chat:
    kind: chat-plain
    arrival: {rate: "0.5 * capacity(pool, replicas=1)"}
abort:
  - {expr: "healthy(pool) < 1", for: 100ms}
hypothesis:
  - {id: ok, expr: "failed(chat) == 0"}
phases:
  - name: baseline
    hold: {for: 300ms, min_requests: {chat: 5}}
    gate: true
    expect: ["ok_ratio(chat) == 1.0"]
  - name: kill
    inject:
      - {id: kill, fault: process.kill, target: victim, when: "in_flight(victim) >= 1", verify: [pid_gone]}
    hold: {for: 700ms, min_requests: {chat: 5}}
    expect: ["failed_before_first_byte(chat) == 0", "recovery(kill) <= 60s", "detect(kill) <= 60s"]
  - name: recovery
    until: {expr: "healthy(pool) == size(pool)", within: 60s}
    hold: {for: 200ms, min_requests: {chat: 3}}
    expect: ["ok_ratio(chat) == 1.0"]
"""
