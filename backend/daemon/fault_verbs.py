"""The verbs `inject` and `heal`: the one way by which a drill's faults reach fleet, proxies and edge.

Owns the spelling of a fault in an action's arguments and its dispatch. Keeps nothing: who holds a fault keeps it, and
the drill's undo log knows of it. Only a drill may ask.
"""

from __future__ import annotations

import os
import signal

import msgspec

from backend.actions.executor import ActionState, Effect, Executor, Progress, Verbal
from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.faults import FaultOrder, FaultReport, HolderAnswer, HolderRequest, StartFault
from backend.contract.fleet import Faultable, Fleet, Holdable, Killable
from backend.contract.words import Risk, Verb
from backend.daemon.splices import Splices
from backend.edge.absent import AbsentEdge
from backend.edge.haproxy import HaproxyEdge
from backend.shim.holders import ask_holder


class FaultVerbs:
    """Builds the two executors. Exactly one of these arguments says what is done: `signal`, `hold`, `order` (a
    FaultOrder as JSON, with `via`), `fault_id` (with `via`), `start_fault` (JSON or empty), `exit`, `edge` (`kill` or
    `reload`), `unsplice`."""

    def __init__(self, fleet: Fleet, splices: Splices, edge: HaproxyEdge | AbsentEdge) -> None:
        self._fleet, self._splices, self._edge = fleet, splices, edge

    def executors(self) -> list[Executor]:
        return [
            Verbal(Verb.INJECT, _preview, self._do, why_irreversible="its drill heals it"),
            Verbal(Verb.HEAL, _preview, self._do, why_irreversible="it mends"),
        ]

    async def _do(self, request: ActionRequest, progress: Progress) -> str:
        args, target = request.args, request.target
        if "hold" in args:
            if not isinstance(self._fleet, Holdable):
                raise _unable("keep a replica from restarting")
            await self._fleet.hold(target, held=bool(args["hold"]))
            return "held" if args["hold"] else "released"
        if "order" in args:
            order = msgspec.json.decode(str(args["order"]), type=FaultOrder)
            return _words(await self._order(target, str(args.get("via")), order))
        if "fault_id" in args:
            return _words(await self._heal(target, str(args.get("via")), str(args["fault_id"])))
        if "start_fault" in args:
            text = str(args["start_fault"])
            spoiled = msgspec.json.decode(text, type=StartFault) if text else None
            await self._faultable().set_start_fault(target, spoiled)
            return "the next starts are spoiled" if spoiled else "the next starts are good"
        if "exit" in args:
            await self._faultable().exit(target, int(args["exit"] or 0))
            return f"told to exit with {args['exit']}"
        if "edge" in args:
            return str(await self._on_edge(str(args["edge"])))
        if "unsplice" in args:
            await self._splices.unsplice(target)
            return f"{target} is straight behind the edge"
        number = args.get("signal", signal.SIGKILL)
        if not isinstance(number, int):
            raise UsageError(f"A signal is a number, not {number!r}.", "Mend the argument.")
        if not isinstance(self._fleet, Killable):
            raise _unable("send signals")
        return str(await self._fleet.kill(target, signal=number))

    def _faultable(self) -> Faultable:
        if not isinstance(self._fleet, Faultable):
            raise _unable("hold faults")
        return self._fleet

    async def _order(self, replica: str, via: str, order: FaultOrder) -> FaultReport | None:
        if via == "shim":
            return await self._faultable().fault(replica, order)
        holder = await self._splices.splice(replica)
        answer = await ask_holder(holder.socket_path, HolderRequest(id=1, op="fault", order=order))
        return _one(answer, order.id)

    async def _heal(self, replica: str, via: str, fault_id: str) -> FaultReport | None:
        if via == "shim":
            return await self._faultable().heal(replica, fault_id)
        holder = self._splices.holder(replica)
        if holder is None:
            return None
        answer = await ask_holder(holder.socket_path, HolderRequest(id=1, op="heal", fault_id=fault_id))
        return _one(answer, fault_id)

    async def _on_edge(self, deed: str) -> int:
        if isinstance(self._edge, AbsentEdge):
            raise self._edge.refusal()
        if deed == "reload":
            return await self._edge.reload()
        pid = self._edge.observe().pid
        if pid is None:
            raise TrinityError("The edge has no process now.", "Wait until it is up.")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError as error:
            raise TrinityError(f"The edge's process {pid} has just ended by itself.", "Run the drill again.") from error
        return pid


def _one(answer: HolderAnswer, fault_id: str) -> FaultReport | None:
    return next((report for report in answer.faults if report.id == fault_id), None)


def _words(report: FaultReport | None) -> str:
    """A report as the result of an action: JSON, which the drill's host reads again."""
    return msgspec.json.encode(report).decode()


def _unable(what: str) -> Refused:
    return Refused(f"This fleet cannot {what}.", "Choose another fault.")


def _preview(state: ActionState, request: ActionRequest) -> Effect:
    refusal = "" if request.actor.startswith("drill:") else "Faults are injected and healed by drills only."
    what = ", ".join(f"{name}={value}" for name, value in request.args.items()) or "signal=9"
    return Effect(summary=f"{request.verb} {request.target}: {what}", risk=Risk.LOW, refusal=refusal)
