"""What each verb would do and does to the pretended fleet. Owns its previews and journal rows; draws nothing."""

from __future__ import annotations

from collections.abc import Callable

from backend.contract.control import ActionPreview, ActionRequest, LoadView
from backend.contract.rows import ActionRow
from backend.contract.words import ActionOutcome, Phase, Risk, Severity, Verb
from console.state.sim_platform_verbs import PLATFORM_VERBS, described, performed, refusal
from console.state.sim_scripts import plan_of, script
from console.state.sim_world import SLOTS, SimWorld

_ON_REPLICAS = (Verb.RESTART, Verb.KILL, Verb.DRAIN, Verb.UNDRAIN)

_Described = tuple[str, tuple[str, ...], Risk, str]


class SimVerbs:
    """Preview and perform over a world."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self._count = 0
        self._before: dict[str, tuple[str, int]] = {}

    def preview(self, request: ActionRequest) -> ActionPreview:
        """Pure: says what would happen now."""
        if why := refusal(request, self.world):
            return self._refused(request, why)
        if request.verb in _ON_REPLICAS and self.world.find(request.target) is None:
            return self._refused(request, f"There is no replica {request.target}.")
        if request.verb in (Verb.SCALE, Verb.ROLLOUT) and request.target not in self.world.wanted:
            return self._refused(request, f"There is no workload {request.target}.")
        if request.verb == Verb.DRILL_RUN and (why := self._drill_refusal(str(request.args.get("name")))):
            return self._refused(request, why)
        summary, effects, risk, undo = self._describe(request)
        return ActionPreview(
            verb=request.verb, target=request.target, summary=summary, effects=effects, risk=risk, undo=undo
        )

    def perform(self, request: ActionRequest, preview: ActionPreview) -> ActionRow:
        """Do it and write the journal row."""
        self._count += 1
        identity = f"a{self._count:05d}"
        if request.verb in PLATFORM_VERBS:
            result = performed(request, identity, self.world)
        else:
            result = self._does[request.verb](self, request, identity) if request.verb in self._does else ""
        target = request.target
        row = ActionRow(
            ts=self.world.now,
            id=identity,
            actor=request.actor,
            verb=request.verb,
            target=target,
            args=request.args,
            reason=request.reason,
            preview=preview.summary,
            outcome=ActionOutcome.OK,
            result=result or preview.summary,
            undoable=bool(preview.undo),
            undo_of=str(request.args["id"]) if request.verb == Verb.UNDO else None,
            duration_s=0.1,
        )
        self.world.actions.append(row)
        return row

    def _refused(self, request: ActionRequest, why: str) -> ActionPreview:
        return ActionPreview(
            verb=request.verb, target=request.target, summary=why, risk=Risk.NONE, allowed=False, refusal=why
        )

    def _describe(self, request: ActionRequest) -> _Described:
        """Summary, effects, risk, how to undo it."""
        target = request.target
        if request.verb in PLATFORM_VERBS:
            return described(request, self.world)
        match request.verb:
            case Verb.SCALE:
                return self._describe_scale(target, int(request.args.get("replicas") or 0))
            case Verb.RESTART | Verb.KILL | Verb.DRAIN:
                return self._describe_outage(request)
            case Verb.ROLLOUT:
                count = self.world.wanted[target]
                return (
                    f"{target}: {count} replicas are replaced one after another, ready count never below {count}",
                    ("Each new replica is Ready before an old one is drained.",),
                    Risk.LOW,
                    "",
                )
            case Verb.AUTOSCALE | Verb.MAINTENANCE:
                return self._describe_switch(request)
            case Verb.LOAD_START:
                rate = request.args.get("rate")
                return (f"demo load begins: {rate} requests/s until stopped", (), Risk.NONE, "stop the load")
            case Verb.DRILL_RUN:
                return self._describe_drill(str(request.args.get("name")))
            case Verb.DRILL_STOP:
                return (_stop_words(request), (), Risk.NONE, "")
            case Verb.UNDO:
                return (f"undo {request.args.get('id')}", (), Risk.LOW, "")
            case _:
                return (f"{request.verb} {target}".strip(), (), Risk.NONE, "")

    def _describe_drill(self, name: str) -> _Described:
        one = script(name)
        assert one is not None, "the others are refused"
        return (f"Drill {name}: {one.title} (about {one.wall_s:.0f} s)", plan_of(one), Risk.LOW, "")

    def _drill_refusal(self, name: str) -> str:
        """Why that drill may not start now; empty when it may."""
        one, drills = script(name), self.world.drills
        if one is None:
            return f"There is no drill named {name}."
        if drills.blocked:
            return f"Drills are blocked: {drills.blocked}."
        return "A drill is running." if drills.running else one.refused

    def _recent(self) -> str:
        p95 = self.world.quantiles(self.world.replicas).p95_s
        return f"p95 TTFT over the last minute {p95 * 1000:.0f} ms" if p95 else "idle now"

    def _describe_scale(self, target: str, then: int) -> _Described:
        now = self.world.wanted[target]
        leaves = then < now
        return (
            f"{target}: {now} → {then} replicas; capacity {now * SLOTS} → {then * SLOTS} slots; {self._recent()}",
            ("Replicas that leave finish their requests first.",)
            if leaves
            else ("New replicas load the model first.",),
            Risk.HIGH if then == 0 else Risk.LOW if leaves else Risk.NONE,
            f"scale {target} back to {now}",
        )

    def _describe_outage(self, request: ActionRequest) -> _Described:
        ready = sum(one.phase == Phase.READY for one in self.world.replicas)
        step, target, recent = f"{ready} → {ready - 1} ready", request.target, self._recent()
        if request.verb == Verb.KILL:
            return (
                f"{target} gets signal {request.args.get('signal', 9)}: {step} until it is back; {recent}",
                (
                    "Requests without a first byte are retried on another replica.",
                    "Streams that have begun end visibly.",
                    "Its supervisor starts it again at once.",
                ),
                Risk.HIGH,
                "",
            )
        if request.verb == Verb.RESTART:
            effects = ("It is drained first; no request is lost.",)
            return (f"{target} restarts in place: {step} for about 3 s; {recent}", effects, Risk.LOW, "")
        effects = ("What it has goes on to its end.",)
        return (f"{target} gets no new requests: {step}; {recent}", effects, Risk.LOW, f"undrain {target}")

    def _describe_switch(self, request: ActionRequest) -> _Described:
        on, target = bool(request.args.get("on")), request.target
        if request.verb == Verb.AUTOSCALE:
            words = f"{target}: autoscaling is switched {'on' if on else 'off'} (policy threshold, 1 to 4 replicas)"
            return (words, (), Risk.LOW, "switch it back")
        effects = ("No autoscaler, no probes acting, no restarts.",) if on else ()
        return (f"{target}: maintenance {'begins' if on else 'ends'}", effects, Risk.LOW, "switch it back")

    # -- doing -----------------------------------------------------------------------------------------------

    def _scale(self, request: ActionRequest, identity: str) -> str:
        self._before[identity] = (request.target, self.world.wanted[request.target])
        self.world.wanted[request.target] = int(request.args["replicas"] or 0)
        return f"{request.target} wants {request.args['replicas']}"

    def _restart(self, request: ActionRequest, identity: str) -> str:
        self.world.restart(request.target)
        return "restarted"

    def _kill(self, request: ActionRequest, identity: str) -> str:
        return f"pid {self.world.kill(request.target, by=request.actor)} ended"

    def _rollout(self, request: ActionRequest, identity: str) -> str:
        for one in self.world.of(request.target):
            self.world.restart(one.name)
        return "rolled"

    def _drain(self, request: ActionRequest, identity: str) -> str:
        self.world.drain(request.target, on=request.verb == Verb.DRAIN)
        return "drained" if request.verb == Verb.DRAIN else "takes requests again"

    def _autoscale(self, request: ActionRequest, identity: str) -> str:
        self.world.autoscale = bool(request.args["on"])
        return "on" if self.world.autoscale else "off"

    def _maintain(self, request: ActionRequest, identity: str) -> str:
        (self.world.maintenance.add if request.args["on"] else self.world.maintenance.discard)(request.target)
        return "on" if request.args["on"] else "off"

    def _load(self, request: ActionRequest, identity: str) -> str:
        if request.verb == Verb.LOAD_STOP:
            self.world.load = LoadView()
            return "stopped"
        self.world.load = LoadView(running=True, rate=float(request.args["rate"] or 0.0), actor=request.actor)
        return f"{request.args['rate']} requests/s"

    def _drill(self, request: ActionRequest, identity: str) -> str:
        self.world.start_drill(f"run-{identity}", str(request.args.get("name")))
        return f"run-{identity}"

    def _stop_drill(self, request: ActionRequest, identity: str) -> str:
        if request.args.get("allow"):
            self.world.drills.blocked = ""
            return "Drills may run again."
        reason = f"{request.actor}: {request.reason or 'stopped'}"
        return self.world.stop_drills(reason, panic=bool(request.args.get("panic")))

    def _note(self, request: ActionRequest, identity: str) -> str:
        self.world.event("note", Severity.INFO, "local", str(request.args["text"]))
        return "noted"

    def _undo(self, request: ActionRequest, identity: str) -> str:
        before = self._before.get(str(request.args["id"]))
        if before is not None:
            self.world.wanted[before[0]] = before[1]
        return f"undone {request.args['id']}"

    _does: dict[Verb, Callable[[SimVerbs, ActionRequest, str], str]] = {
        Verb.SCALE: _scale,
        Verb.RESTART: _restart,
        Verb.KILL: _kill,
        Verb.ROLLOUT: _rollout,
        Verb.DRAIN: _drain,
        Verb.UNDRAIN: _drain,
        Verb.AUTOSCALE: _autoscale,
        Verb.MAINTENANCE: _maintain,
        Verb.LOAD_START: _load,
        Verb.LOAD_STOP: _load,
        Verb.DRILL_RUN: _drill,
        Verb.DRILL_STOP: _stop_drill,
        Verb.NOTE: _note,
        Verb.UNDO: _undo,
    }


def _stop_words(request: ActionRequest) -> str:
    if request.args.get("allow"):
        return "Let drills run again"
    return f"Stop the drill and undo its faults{' and block new ones' if request.args.get('panic') else ''}"
