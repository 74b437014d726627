"""An injection as orders to its holders and as records of its undo. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from backend.contract.faults import FaultKind, FaultOrder, Holder
from backend.drills.catalogue import FAULTS
from backend.drills.faults.victims import Victim
from backend.drills.scenario import FaultName, Injection
from backend.drills.undo_log import Undo, UndoKind

_UNDO_KINDS: Mapping[FaultName, UndoKind] = {
    "process.exit": "await-ready",
    "process.slow-start": "start-fault",
    "process.crash-loop": "start-fault",
    "edge.kill": "await-edge",
    "edge.reload": "await-edge",
    "daemon.kill": "await-daemon",
    "workload.restart": "nothing",
    "workload.scale": "rescale",
    "node.drain": "uncordon",
}
_CUTTING = frozenset[FaultName]({"net.reset", "net.blackhole", "net.partition", "http.error", "http.garbage"})
"""Proxied faults that leave a replica useless when they touch every request."""


def undo_kind(injection: Injection) -> UndoKind:
    """How the fault is taken away."""
    if FAULTS[injection.fault].held_by:
        return "holder"
    if injection.fault == "process.kill":
        return "release-hold" if injection.respawn == "held" else "await-ready"
    return _UNDO_KINDS[injection.fault]


def takes(injection: Injection, victims: int, healthy: int) -> int:
    """How many replicas count as down while the fault lasts, out of `victims`; `healthy` Ready ones of the pool."""
    if injection.fault == "workload.scale":
        return max(0, healthy - (injection.replicas or 0))
    lies_dead = injection.fault == "health.lie" and (injection.status or 0) >= 300
    cuts_all = injection.fault in _CUTTING and (injection.share is None or injection.share >= 1.0)
    return victims if FAULTS[injection.fault].takes_down or lies_dead or cuts_all else 0


def fault_kind(injection: Injection) -> FaultKind | None:
    """What the holder is ordered to do; None where nobody holds the fault."""
    if injection.fault == "process.stop" and injection.scope == "engine":
        return "freeze-engine"
    return FAULTS[injection.fault].kind


def order_id(run_id: str, injection: str, replica: str) -> str:
    """Unique to run, injection and replica: applying it twice changes nothing."""
    return f"{run_id}:{injection}:{replica}"


def seed_of(seed: int, injection: str, replica: str) -> int:
    """The holder's own seed: the same run again touches the same requests, two holders not the same ones."""
    return zlib.crc32(f"{seed}:{injection}:{replica}".encode())


def order_of(injection: Injection, run_id: str, replica: str, *, ttl_s: float, seed: int) -> FaultOrder:
    """The order for one replica's holder."""
    kind = fault_kind(injection)
    assert kind is not None
    return FaultOrder(
        id=order_id(run_id, injection.id, replica),
        kind=kind,
        ttl_s=ttl_s,
        latency_s=injection.latency or 0.0,
        jitter_s=injection.jitter or 0.0,
        bytes_per_s=float(injection.rate or 0),
        after_bytes=injection.after or 0,
        status=injection.status or 0,
        direction=injection.direction or "both",
        share=1.0 if injection.share is None else injection.share,
        seed=seed_of(seed, injection.id, replica),
        marker=marker_of(run_id, injection.id) if kind == "poison" else "",
        cores=injection.cores or 0.0,
        size_bytes=injection.size or 0,
    )


def marker_of(run_id: str, injection: str) -> str:
    """The value of the poison header: no other run's poison kills anybody."""
    return f"{run_id}:{injection}"


def undo_of(
    injection: Injection,
    victim: Victim,
    *,
    undo_id: str,
    written_ts: float,
    ttl_s: float,
    holder: Holder | None = None,
    replicas: int | None = None,
) -> Undo:
    """The record of one victim's undo. `replicas`: the count before (workload.scale)."""
    return Undo(
        id=undo_id,
        kind=undo_kind(injection),
        run_id=victim.run_id,
        workload=victim.workload,
        replica=victim.replica,
        node=victim.node if injection.fault == "node.drain" else "",
        pid=victim.pid,
        mark=victim.mark,
        written_ts=written_ts,
        ttl_s=ttl_s,
        holder=holder,
        fault_id="" if holder is None else order_id(victim.run_id, injection.id, victim.replica),
        fault_kind=None if holder is None else fault_kind(injection),
        replicas=replicas,
    )
