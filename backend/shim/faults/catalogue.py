"""From an order to the fault of a shim that carries it out. Owns the table of kinds."""

from __future__ import annotations

from backend.contract.faults import FaultOrder
from backend.shim.faults.frozen_engine import FrozenEngine
from backend.shim.faults.full_disk import FullDisk
from backend.shim.faults.held import FaultError, HeldFault, Surroundings
from backend.shim.faults.whole_program import NoDescriptors, StoppedProgram
from backend.shim.faults.workers import BusyProcessors, ExhaustedMemory, FilledMemory


def fault_for(order: FaultOrder, around: Surroundings) -> HeldFault:
    """The fault, not yet applied. Raises FaultError for a kind that only a fault proxy can hold."""
    match order.kind:
        case "stop":
            return StoppedProgram(around)
        case "freeze-engine":
            return FrozenEngine(around)
        case "burn-cpu":
            return BusyProcessors(around, order.cores)
        case "fill-memory":
            return FilledMemory(around, order.size_bytes)
        case "exhaust-memory":
            return ExhaustedMemory(around)
        case "exhaust-descriptors":
            return NoDescriptors(around)
        case "fill-disk":
            return FullDisk(around)
        case _:
            raise FaultError(f"A shim cannot hold {order.kind}; a fault proxy does.")
