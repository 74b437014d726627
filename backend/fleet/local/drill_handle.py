"""What a drill may do to one replica: faults at its shim, a spoilt start, a splice, its fault switch.

Owns what a drill has arranged, none of which outlives the daemon, and which deaths it answers for. Decides nothing.
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
from backend.fleet.local.process import ReplicaProcess, Splice
from backend.serving import fault_switch
from backend.shim import start_fault

_OWN_SIGNAL_S: Final = 10.0
"""How long after our own signal an exit is put down to it."""
_AFTERMATH_S: Final = 5.0
"""How long after a fault was healed a probe may still fail because of it."""


class DrillHandle:
    """One replica's. `process` gives the running process, `switch` the path of its fault switch (null: not allowed)."""

    def __init__(
        self, name: str, clock: Clock, process: Callable[[], ReplicaProcess | None], switch: Path | None
    ) -> None:
        self._name, self._clock, self._process, self.switch = name, clock, process, switch
        self.splice: Splice | None = None
        self._start_fault: StartFault | None = None
        self._expected: tuple[int, float] | None = None
        self._held: dict[str, float] = {}

    # -- deaths

    def expect_death(self, pid: int, within_s: float = _OWN_SIGNAL_S) -> None:
        """The next end of that process within that time is ours and no crash."""
        self._expected = (pid, self._clock.mono() + within_s)

    def expected(self, pid: int | None) -> bool:
        """Whether the end of that process was announced."""
        return self._expected is not None and self._expected[0] == pid and self._clock.mono() <= self._expected[1]

    def at_work(self) -> bool:
        """Whether a fault or a splice may be why its probes fail now."""
        now_s = self._clock.mono()
        return self.splice is not None or any(until_s > now_s for until_s in self._held.values())

    def forget_process(self) -> None:
        """A new process: what was held at the old one's shim has ended with that."""
        self._expected = None
        self._held.clear()

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
                self._expected = None
            raise
        if not report.ended_by:
            self._held[order.id] = self._clock.mono() + order.ttl_s + _AFTERMATH_S
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
        if fault_id in self._held:
            self._held[fault_id] = self._clock.mono() + _AFTERMATH_S
        return reports[0] if reports else None

    async def heal_all(self) -> None:
        """Before an end in order: a program that is stopped or frozen could not say that it is idle."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(TrinityError):  # the shim's own stop heals as well
            await process.client.heal()
        self._held.clear()

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

    def _running(self) -> ReplicaProcess:
        process = self._process()
        if process is None or process.pid is None:
            raise TrinityError(f"{self._name} has no process now.", "Wait until it is started again.")
        return process


def _check_code(code: int | None) -> None:
    if code is not None and not 0 <= code <= 255:
        raise UsageError(f"An exit code is a number from 0 to 255, not {code}.", "Choose one of those.")
