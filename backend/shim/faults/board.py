"""The faults a shim holds now: applied once, healed by request or by their own time limit, verified both ways.

Owns their timers and the answers that wait until the kernel shows what was asked for. Knows no kind of fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

from backend.contract.faults import FaultOrder, FaultReport
from backend.shim.faults.held import FaultError, HeldFault

Reply = Callable[[tuple[FaultReport, ...], str], None]
"""Called once, with what the holder saw or with a sentence that says why nothing was changed."""
EndedBy = Literal["", "heal", "ttl", "gone"]

MAX_TTL_S: Final = 86_400.0
_LOOK_S: Final = 0.005
"""Between two looks at a fault that does not show yet."""
_LAST_LOOKS: Final = 20
"""After that time, before it is said not to show: a shim that itself was stopped meanwhile has not looked."""
_UNDO_SETTLE_S: Final = 3.0
_RETRY_S: Final = 0.25
"""Between two attempts to undo what did not go within that time."""
_REMEMBERED: Final = 32


class _Stage(Enum):
    SETTLING = 1
    HELD = 2
    UNDOING = 3
    ENDED = 4


class _Entry:
    """One order and how far it is."""

    def __init__(self, order: FaultOrder, fault: HeldFault, now_s: float) -> None:
        self.order, self.fault = order, fault
        self.until_s = now_s + order.ttl_s
        self.stage = _Stage.SETTLING
        self.settle_by_s = now_s + fault.settle_s
        self.looks_left = _LAST_LOOKS
        self.ending: EndedBy = ""
        """What its undoing is put down to, once that has begun."""

    def open(self, now_s: float) -> bool:
        """Whether an answer about it has to wait."""
        return self.stage in (_Stage.SETTLING, _Stage.UNDOING) and self.hopeful(now_s)

    def hopeful(self, now_s: float) -> bool:
        """Whether it may yet show, or be gone."""
        return now_s < self.settle_by_s or self.looks_left > 0

    def report(self, now_s: float) -> FaultReport:
        ended = self.stage is _Stage.ENDED
        return FaultReport(
            id=self.order.id,
            kind=self.order.kind,
            active=not ended and self.fault.active(),
            affected=self.fault.affected,
            detail=self.fault.detail,
            left_s=0.0 if ended else max(0.0, self.until_s - now_s),
            ended_by=self.ending if ended else "",
        )


class FaultBoard:
    """All faults of one shim. `make` raises FaultError for an order that no fault of ours is for."""

    def __init__(self, make: Callable[[FaultOrder], HeldFault], mono: Callable[[], float]) -> None:
        self._make, self._mono = make, mono
        self._entries: dict[str, _Entry] = {}
        self._waiting: list[tuple[tuple[_Entry, ...], Reply]] = []

    def apply(self, order: FaultOrder, reply: Reply) -> None:
        """Answers once the kernel shows it, or when it should have: `active` says which."""
        known = self._entries.get(order.id)
        if known is None:
            try:
                known = self._begin(order)
            except (FaultError, OSError) as error:
                reply((), _sentence(error))
                return
        self._waiting.append(((known,), reply))
        self.run()

    def heal(self, fault_id: str, reply: Reply) -> None:
        """Answers once the kernel shows that it is gone. Empty: all of them, the last one first."""
        wanted = [entry for entry in self._entries.values() if fault_id in ("", entry.order.id)]
        for entry in reversed(wanted):
            self._begin_undo(entry, "heal")
        self._waiting.append((tuple(wanted), reply))
        self.run()

    def heal_all(self) -> None:
        """Begin to take everything away, the last one first."""
        self.heal("", lambda _reports, _error: None)

    def reports(self) -> tuple[FaultReport, ...]:
        """Every fault it holds, and the last ones it held."""
        now_s = self._mono()
        return tuple(entry.report(now_s) for entry in self._entries.values())

    def program_ended(self, pid: int) -> None:
        """What was for that program has ended with it."""
        for entry in self._entries.values():
            if entry.fault.pid == pid and entry.stage is not _Stage.ENDED:
                entry.fault.undo()
                entry.stage, entry.ending = _Stage.ENDED, "gone"
        self.run()

    def thread_stopped(self, tid: int, status: int) -> None:
        """The kernel reports that a thread under trace has come to a stop."""
        for entry in self._entries.values():
            entry.fault.stopped(tid, status)
        self.run()

    def due_s(self) -> float | None:
        """The monotonic instant at which `run` has something to do."""
        now_s, due = self._mono(), []
        for entry in self._entries.values():
            if entry.stage is _Stage.HELD:
                due.append(entry.until_s)
            elif entry.stage is not _Stage.ENDED:
                due.append(now_s + (_LOOK_S if entry.open(now_s) else _RETRY_S))
        return min(due, default=None)

    def run(self) -> None:
        """Look at what is under way, keep time limits, give the answers that are ready."""
        for entry in list(self._entries.values()):
            self._advance(entry)
        now_s, still = self._mono(), []
        for entries, reply in self._waiting:
            if any(entry.open(now_s) for entry in entries):
                still.append((entries, reply))
            else:
                reply(tuple(entry.report(now_s) for entry in entries), "")
        self._waiting = still

    def _begin(self, order: FaultOrder) -> _Entry:
        if not (math.isfinite(order.ttl_s) and 0 < order.ttl_s <= MAX_TTL_S):
            raise FaultError(f"ttl_s is {order.ttl_s:g}, it must be more than 0 and at most {MAX_TTL_S:g}.")
        if not order.id:
            raise FaultError("The order has no id.")
        fault = self._make(order)
        for other in self._entries.values():
            if other.stage is not _Stage.ENDED and other.order.kind == order.kind and fault.alone:
                raise FaultError(f"There is a fault {order.kind} already ({other.order.id}); heal that first.")
        try:
            fault.inject()
        except BaseException:
            fault.undo()
            raise
        self._forget_old()
        entry = self._entries[order.id] = _Entry(order, fault, self._mono())
        return entry

    def _advance(self, entry: _Entry) -> None:
        if self._mono() >= entry.settle_by_s:
            entry.looks_left -= 1
        if entry.stage is _Stage.SETTLING:
            self._settle(entry)
        if entry.stage in (_Stage.SETTLING, _Stage.HELD) and self._mono() >= entry.until_s:
            self._begin_undo(entry, "ttl")
        if entry.stage is _Stage.UNDOING:
            if not entry.fault.undone():
                entry.fault.undo()
            if entry.fault.undone():
                entry.stage = _Stage.ENDED

    def _settle(self, entry: _Entry) -> None:
        try:
            entry.fault.step()
        except (FaultError, OSError) as error:
            entry.fault.undo()
            del self._entries[entry.order.id]
            for waiting in [waiting for waiting in self._waiting if entry in waiting[0]]:
                self._waiting.remove(waiting)
                waiting[1]((), _sentence(error))
            return
        if entry.fault.active() or not entry.hopeful(self._mono()):
            entry.stage = _Stage.HELD

    def _begin_undo(self, entry: _Entry, why: EndedBy) -> None:
        if entry.stage is _Stage.ENDED:
            return
        if entry.stage is not _Stage.UNDOING:
            entry.stage, entry.ending = _Stage.UNDOING, why
        entry.settle_by_s, entry.looks_left = self._mono() + _UNDO_SETTLE_S, _LAST_LOOKS
        entry.fault.undo()

    def _forget_old(self) -> None:
        ended = [key for key, entry in self._entries.items() if entry.stage is _Stage.ENDED]
        for key in ended[: max(0, len(ended) - _REMEMBERED + 1)]:
            del self._entries[key]


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, FaultError) else f"It could not be applied: {error}."
