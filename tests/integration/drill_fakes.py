"""A tiny fleet of real processes with a pretended edge and load, for drill tests that need no engine."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal as signals
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from backend.contract.clock import SystemClock
from backend.contract.edge import EdgeObservation, EdgeServer
from backend.contract.errors import LeaseHeld
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.rows import EventRow, RequestRow, Row
from backend.contract.words import Phase, RequestOutcome, Severity, SlotState, Vantage
from backend.drills.ports import LoadOrder
from backend.drills.records import DrillRow, LoadSummary

SPEC = WorkloadSpec(name="llm", command=("sleep", "1000"), replicas=2, slots=4, engine="llamacpp", model_alias="m")


async def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.002)


class FakeReplica:
    def __init__(self, name: str) -> None:
        self.name, self.restarts, self.phase = name, 0, Phase.PENDING
        self.process: asyncio.subprocess.Process | None = None
        self.held = False
        self.up = False
        self.in_flight = 0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None


class FakeHost:
    """DrillHost over `sleep` processes that are really killed, stopped and started again."""

    def __init__(self, replicas: int = 2, *, environment: str = "dev", retries: bool = True) -> None:
        self.environment, self.fleet, self.api_key = environment, "local", ""
        self.versions = {"trinity": "test"}
        self.retries = retries
        self.members = [FakeReplica(f"llm-{i}") for i in range(replicas)]
        self.rows: list[Row] = []
        self.listeners: list[Callable[[EventRow], None]] = []
        self.respawn_s, self.ready_s = 0.05, 0.1
        self.deaf = False
        """Signals do nothing (a fault that does not take effect)."""
        self.leased_by = ""
        self._keepers: list[asyncio.Task[None]] = []
        self.edge_log: list[RequestRow] = []

    async def __aenter__(self) -> FakeHost:
        self._keepers = [asyncio.create_task(self._keep(member)) for member in self.members]
        await until(lambda: all(member.phase == Phase.READY for member in self.members))
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for member in self.members:
            if member.process and member.process.returncode is None:
                member.process.kill()
                await member.process.wait()

    async def _keep(self, member: FakeReplica) -> None:
        while True:
            member.process = await asyncio.create_subprocess_exec("sleep", "1000")
            member.phase = Phase.STARTING
            await asyncio.sleep(self.ready_s)
            member.phase, member.up = Phase.READY, True
            await member.process.wait()
            member.phase, member.up = Phase.FAILED, False
            self._tell("edge.marked-down", member.name)
            await until(lambda: not member.held, timeout_s=60.0)
            await asyncio.sleep(self.respawn_s)
            member.restarts += 1

    def _tell(self, kind: str, subject: str) -> None:
        event = EventRow(
            ts=time.time(), mono_s=time.monotonic(), kind=kind, severity=Severity.INFO, subject=subject, message=kind
        )
        for listener in list(self.listeners):
            listener(event)

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
            )
            for m in self.members
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
        return EdgeObservation(ts=time.time(), up=True, servers=servers, public_url="http://127.0.0.1:1")

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
                if member.pid != pid:
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
safety: {max_runtime: 30s, max_generator_lag: 100ms}
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
    expect: ["failed_before_first_byte(chat) == 0", "recovery(kill) <= 3s", "detect(kill) <= 500ms"]
  - name: recovery
    until: {expr: "healthy(pool) == size(pool)", within: 5s}
    hold: {for: 200ms, min_requests: {chat: 3}}
    expect: ["ok_ratio(chat) == 1.0"]
"""
