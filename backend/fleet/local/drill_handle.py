"""What a drill may do to one local replica: faults at its shim, a spoilt start, its fault switch.

Owns what a drill has arranged there, none of which outlives the daemon. Decides nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.fleet.local.process import ShimIncarnation
from backend.fleet.supervision.marks import DrillMarks
from backend.serving import fault_switch
from backend.shim import start_fault

_AFTERMATH_S: Final = 5.0
"""How long after a fault was healed a probe may still fail because of it."""


class DrillHandle(DrillMarks):
    """One replica's. `process` gives the running process, `switch` the path of its fault switch (null: not allowed)."""

    def __init__(
        self, name: str, clock: Clock, process: Callable[[], ShimIncarnation | None], switch: Path | None
    ) -> None:
        super().__init__(clock)
        self._name, self._process, self.switch = name, process, switch
        self._start_fault: StartFault | None = None

    # -- faults at the shim

    def holder(self) -> Holder:
        """Raises TrinityError when there is no process now."""
        record = self._running().client.record
        return Holder(
            kind="shim", socket_path=record.spec.socket_path, pid=record.shim_pid, mark=str(record.shim_start)
        )

    async def fault(self, order: FaultOrder) -> FaultReport:
        """Apply it. Raises TrinityError."""
        process = self._running()
        if order.kind == "exhaust-memory" and process.pid is not None:
            self.expect_death(process.pid, order.ttl_s + 1.0)
        try:
            report = await process.client.fault(order)
        except TrinityError:
            if order.kind == "exhaust-memory":
                self.expect_none()
            raise
        if not report.ended_by:
            self.hold(order.id, order.ttl_s + _AFTERMATH_S)
        return report

    async def heal(self, fault_id: str) -> FaultReport | None:
        """Take it away; null where it is not known, because there was none or its process is gone."""
        process = self._process()
        if process is None:
            return None
        try:
            reports = await process.client.heal(fault_id)
        except Unreachable:
            if process.client.gone:
                return None
            raise
        if self.holds(fault_id):
            self.hold(fault_id, _AFTERMATH_S)
        return reports[0] if reports else None

    async def heal_all(self) -> None:
        """Before an end in order: a program that is stopped or frozen could not say that it is idle."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(TrinityError):  # the shim's own stop heals as well
            await process.client.heal()
        self.forget_faults()

    async def faults(self) -> Sequence[FaultReport]:
        """Those its shim holds, and the last ones it held; none while there is no process."""
        process = self._process()
        return () if process is None else await process.client.faults()

    # -- starts and ends

    def set_start_fault(self, fault: StartFault | None) -> None:
        """Spoil the next starts. Raises UsageError."""
        if fault is not None:
            if fault.delay_s < 0:
                raise UsageError("A start fault's delay_s cannot be negative.", "Give seconds from 0 on.")
            _check_code(fault.exit_code)
        self._start_fault = fault

    def spoil(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """How the program is to be started now: as it is, or behind what spoils its start."""
        fault = self._start_fault
        if fault is None or self._clock.now() >= fault.until_ts:
            return argv
        code = "-" if fault.exit_code is None else str(fault.exit_code)
        script = str(Path(start_fault.__file__).resolve())
        return (sys.executable, "-I", "-S", script, repr(fault.until_ts), repr(fault.delay_s), code, *argv)

    async def exit(self, code: int) -> None:
        """Throw the program's fault switch. Raises Refused, UsageError or TrinityError."""
        _check_code(code)
        if self.switch is None:
            raise Refused(
                "No fault switch may be thrown in this environment.", "Use one that is not production for such drills."
            )
        process = self._running()
        assert process.pid is not None
        if not fault_switch.is_armed(self.switch, process.pid):
            raise Refused(
                f"{self._name} has no fault switch (its program never armed one).",
                "Use another fault, such as process.kill, or wait until it has started.",
            )
        fault_switch.order_exit(self.switch, code)
        self.expect_death(process.pid)
        await process.client.signal(fault_switch.SIGNAL)

    def _running(self) -> ShimIncarnation:
        process = self._process()
        if process is None or process.pid is None:
            raise TrinityError(f"{self._name} has no process now.", "Wait until it is started again.")
        return process


def _check_code(code: int | None) -> None:
    if code is not None and not 0 <= code <= 255:
        raise UsageError(f"An exit code is a number from 0 to 255, not {code}.", "Choose one of those.")
