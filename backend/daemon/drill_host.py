"""The daemon's fleet as a drill may see and touch it: implements `backend.drills.ports.DrillHost` over the parts.

Owns the translation only. Every deed goes through the gateway, so that it is journalled.
"""

from __future__ import annotations

import importlib.metadata
import signal as signals
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import msgspec

from backend.contract.control import ActionRequest
from backend.contract.edge import EdgeObservation
from backend.contract.errors import Refused, TrinityError
from backend.contract.faults import FaultOrder, FaultReport, Holder, HolderRequest, StartFault
from backend.contract.fleet import Faultable, Holdable, ReplicaStatus, WorkloadSpec
from backend.contract.rows import ActionRow, EventRow, RequestRow, Row, Scalar
from backend.contract.words import ActionOutcome, Vantage, Verb
from backend.drills.catalogue import HeldBy
from backend.shim.holders import ask_holder
from backend.version import VERSION

if TYPE_CHECKING:
    from backend.daemon.parts import Parts


class DaemonHost:
    """See `DrillHost`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def environment(self) -> str:
        return self._parts.config.settings.trinity_environment

    @property
    def fleet(self) -> str:
        return self._parts.config.name

    @property
    def driver(self) -> str:
        return self._parts.config.file.driver

    def holds(self, workload: str) -> bool:
        ours = any(spec.name == workload and not spec.kind for spec in self._parts.specs)
        return ours and isinstance(self._parts.fleet, Holdable)

    @property
    def api_key(self) -> str:
        return self._parts.config.settings.trinity_api_key

    @property
    def versions(self) -> dict[str, str]:
        binary = self._parts.edge.haproxy
        return {
            "trinity": VERSION,
            "haproxy": binary.version if binary else "",
            "xllamacpp": importlib.metadata.version("xllamacpp"),
            "onnxruntime": importlib.metadata.version("onnxruntime"),
        }

    def workloads(self) -> Sequence[WorkloadSpec]:
        return self._parts.specs

    def replicas(self, workload: str) -> Sequence[ReplicaStatus]:
        return [r for r in self._parts.fleet.observe() if r.workload == workload]

    def edge(self) -> EdgeObservation:
        return self._parts.edge.observe()

    async def in_flight(self, workload: str, replica: str) -> int:
        return await self._parts.edge.in_flight(workload, replica)

    def on_event(self, listener: Callable[[EventRow], None]) -> Callable[[], None]:
        def only_events(row: Row) -> None:
            if isinstance(row, EventRow):
                listener(row)

        return self._parts.ledger.subscribe("events", only_events)

    def append(self, row: Row) -> None:
        self._parts.ledger.append(row)

    def lease(self, workload: str, holder: str) -> AbstractAsyncContextManager[None]:
        return self._parts.leases.hold(workload, holder, owner=holder)

    async def edge_rows(self, since_ts: float, until_ts: float) -> Sequence[RequestRow]:
        ledger = self._parts.ledger
        if ledger.complete_since("requests") > since_ts:
            raise TrinityError("The run made more requests than memory holds.", "Use a shorter drill or a lower rate.")
        rows = ledger.recent("requests", since_ts=since_ts, until_ts=until_ts, limit=200_000)
        return [r for r in rows if isinstance(r, RequestRow) and r.vantage != Vantage.CLIENT]

    # -- deeds

    async def signal(self, run_id: str, replica: str, signal: int) -> int:
        return int(await self._fault(run_id, replica, {"signal": signal}, heal=signal == signals.SIGCONT))

    async def hold(self, run_id: str, replica: str, *, held: bool) -> None:
        await self._fault(run_id, replica, {"hold": held}, heal=not held)
        self._parts.reconciler.protect(replica, held)

    async def holder(self, replica: str, kind: HeldBy) -> Holder:
        if kind == "shim":
            return await self._faultable().holder(replica)
        return await self._parts.splices.splice(replica)

    async def fault(self, run_id: str, replica: str, kind: HeldBy, order: FaultOrder) -> FaultReport:
        args: dict[str, Scalar] = {"order": msgspec.json.encode(order).decode(), "via": kind}
        report = _report(await self._fault(run_id, replica, args, heal=False))
        if report is None:
            raise TrinityError(f"The holder at {replica} took the fault and knows nothing of it.", "Report this.")
        return report

    async def heal(self, run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
        return _report(await self._fault(run_id, replica, {"fault_id": fault_id, "via": kind}, heal=True))

    async def fault_reports(self, replica: str, kind: HeldBy) -> Sequence[FaultReport]:
        if kind == "shim":
            return await self._faultable().faults(replica)
        holder = self._parts.splices.holder(replica)
        if holder is None:
            return ()
        return (await ask_holder(holder.socket_path, HolderRequest(id=1, op="faults"))).faults

    def _faultable(self) -> Faultable:
        fleet = self._parts.fleet
        if not isinstance(fleet, Faultable):
            raise Refused(f"Replicas of fleet {fleet.name} hold no faults themselves.", "Choose a fault of the proxy.")
        return fleet

    async def unsplice(self, run_id: str, workload: str) -> None:
        await self._fault(run_id, workload, {"unsplice": True}, heal=True)

    async def start_fault(self, run_id: str, replica: str, fault: StartFault | None) -> None:
        text = msgspec.json.encode(fault).decode() if fault is not None else ""
        await self._fault(run_id, replica, {"start_fault": text}, heal=fault is None)

    async def exit(self, run_id: str, replica: str, code: int) -> None:
        await self._fault(run_id, replica, {"exit": code}, heal=False)

    async def kill_edge(self, run_id: str) -> int:
        return int(await self._fault(run_id, "edge", {"edge": "kill"}, heal=False))

    async def reload_edge(self, run_id: str) -> int:
        return int(await self._fault(run_id, "edge", {"edge": "reload"}, heal=False))

    async def act(self, run_id: str, verb: Verb, workload: str, args: dict[str, Scalar]) -> ActionRow:
        request = ActionRequest(
            verb=verb, target=workload, args=args, actor=f"drill:{run_id}", reason=f"drill {run_id}"
        )
        row = await self._parts.gateway.perform(request)
        if row.outcome != ActionOutcome.OK:
            raise TrinityError(row.result, "See `trinity actions`.")
        return row

    async def _fault(self, run_id: str, target: str, args: dict[str, Scalar], *, heal: bool) -> str:
        return (await self.act(run_id, Verb.HEAL if heal else Verb.INJECT, target, args)).result


def _report(text: str) -> FaultReport | None:
    return msgspec.json.decode(text, type=FaultReport | None)
