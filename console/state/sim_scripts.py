"""The drills of the pretended fleet: names, what they prove, their phases and faults. Data only."""

from __future__ import annotations

from typing import Final

import msgspec


class ScriptPhase(msgspec.Struct, frozen=True):
    name: str
    seconds: float


class ScriptFault(msgspec.Struct, frozen=True, kw_only=True):
    """A pretended injection: seconds after its phase began, and how long each stamp takes after the effect."""

    id: str
    kind: str
    phase: int
    after_s: float = 1.0
    workload: str = "llm"
    kills: bool = False
    """Whether a pretended replica really dies."""
    detected_s: float | None = 0.04
    recovered_s: float = 4.0
    slows: float = 2.0
    """Latency of the load is multiplied by this while it lasts."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    tags: tuple[str, ...]
    about: str
    phases: tuple[ScriptPhase, ...]
    faults: tuple[ScriptFault, ...]
    hypotheses: tuple[str, ...] = ("failed(chat) == 0", "p95(ttft(chat)) <= 3 * baseline.p95(ttft(chat))")
    load: str = "chat"
    rate: float = 12.0
    base_s: float = 0.09
    """Median latency when nothing is wrong."""
    refused: str = ""

    @property
    def wall_s(self) -> float:
        return sum(phase.seconds for phase in self.phases)


def _three(fault_phase: str, seconds: float = 10.0) -> tuple[ScriptPhase, ...]:
    return (ScriptPhase("baseline", 6.0), ScriptPhase(fault_phase, seconds), ScriptPhase("recovery", 8.0))


def _script(
    name: str,
    title: str,
    tags: str,
    phases: tuple[ScriptPhase, ...],
    faults: tuple[ScriptFault, ...],
    *,
    usually: str,
    refused: str = "",
    rate: float = 12.0,
    load: str = "chat",
    base_s: float = 0.09,
) -> Script:
    about = f"Proven under open-loop load from the requests' own ledger. {usually}"
    kinds = ("failed({0}) == 0", "p95(ttft({0})) <= 3 * baseline.p95(ttft({0}))")
    return Script(
        name=name,
        title=title,
        tags=tuple(tags.split()),
        about=about,
        phases=phases,
        faults=faults,
        hypotheses=tuple(text.format(load) for text in kinds),
        load=load,
        rate=rate,
        base_s=base_s,
        refused=refused,
    )


SCRIPTS: Final[tuple[Script, ...]] = (
    _script(
        "llm-replica-kill",
        "A killed replica costs no request that has no byte yet",
        "core llm crash",
        _three("killed"),
        (ScriptFault(id="kill", kind="process.kill", phase=1, kills=True, recovered_s=3.1),),
        usually="A failure usually means that retries are off, or that a death is noticed by probes only.",
    ),
    _script(
        "embedding-failover",
        "One and then two of three embedding replicas die and nobody notices",
        "core embedding crash",
        (
            ScriptPhase("baseline", 6.0),
            ScriptPhase("one-down", 8.0),
            ScriptPhase("two-down", 8.0),
            ScriptPhase("recovery", 8.0),
        ),
        (
            ScriptFault(
                id="kill-1",
                kind="process.kill",
                workload="embedding",
                phase=1,
                detected_s=0.021,
                recovered_s=17.4,
                slows=1.3,
            ),
            ScriptFault(
                id="kill-2",
                kind="process.kill",
                workload="embedding",
                phase=2,
                detected_s=0.034,
                recovered_s=9.6,
                slows=1.7,
            ),
        ),
        usually="A failure usually means that connections to the dead replica are reused once more.",
        rate=380.0,
        load="embed",
        base_s=0.012,
    ),
    _script(
        "llm-engine-hang",
        "A frozen engine behind a live API is routed around",
        "core llm hang",
        _three("hang", 12.0),
        (ScriptFault(id="freeze", kind="engine.freeze", phase=1, detected_s=0.93, recovered_s=8.2, slows=3.2),),
        usually="A failure usually means that only health endpoints are asked, and they still answer.",
    ),
    _script(
        "llm-replica-stop",
        "A stopped process is ejected and its thaw does no harm",
        "core llm hang",
        _three("stopped"),
        (ScriptFault(id="stop", kind="process.stop", phase=1, detected_s=0.31, recovered_s=6.0, slows=2.6),),
        usually="A failure usually means that the probe's timeout is longer than the requests' patience.",
    ),
    _script(
        "edge-kill",
        "The edge dies; new connections wait on a held listener",
        "core edge crash",
        _three("respawn", 8.0),
        (ScriptFault(id="edge", kind="edge.kill", phase=1, workload="edge", detected_s=0.004, recovered_s=0.06),),
        usually="A failure usually means that the listener closed with the process.",
    ),
    _script(
        "daemon-kill",
        "The control daemon dies; requests do not care and faults are undone",
        "core daemon crash",
        _three("no daemon", 8.0),
        (ScriptFault(id="daemon", kind="daemon.kill", phase=1, workload="trinityd", recovered_s=0.6, slows=1.0),),
        usually="A failure usually means that something of the request path leans on the daemon.",
    ),
    _script(
        "network-latency",
        "A slow link to one replica does not slow the others",
        "core network",
        _three("slow", 10.0),
        (ScriptFault(id="lag", kind="net.latency", phase=1, detected_s=None, recovered_s=9.0, slows=2.2),),
        usually="A failure usually means that balancing counts requests and not time.",
    ),
    _script(
        "midstream-cut",
        "A stream cut half way ends visibly, never as success",
        "core network stream",
        _three("cut", 8.0),
        (ScriptFault(id="cut", kind="net.cut", phase=1, detected_s=None, recovered_s=7.0, slows=1.1),),
        usually="A failure usually means that a truncated answer looks like its end.",
    ),
    _script(
        "retry-storm",
        "Retries stay within their budget while a replica refuses",
        "core overload",
        _three("storm", 10.0),
        (ScriptFault(id="storm", kind="http.error", phase=1, detected_s=0.4, recovered_s=8.5, slows=1.4),),
        usually="A failure usually means that retries multiply the load that caused them.",
    ),
    _script(
        "poison-request",
        "A request that kills its replica kills at most two",
        "core overload",
        _three("poison", 9.0),
        (ScriptFault(id="poison", kind="request.poison", phase=1, kills=True, recovered_s=3.4),),
        usually="A failure usually means that nobody counts the attempts of one request.",
    ),
    _script(
        "rolling-restart",
        "A rolling restart under load loses nothing",
        "core operations",
        _three("rolling", 12.0),
        (ScriptFault(id="roll", kind="fleet.rollout", phase=1, detected_s=None, recovered_s=11.0, slows=1.3),),
        usually="A failure usually means that a replica stops before its requests have ended.",
    ),
    _script(
        "two-down",
        "Two of the replicas down: the last one answers or refuses honestly",
        "core llm crash",
        _three("two down", 10.0),
        (),
        usually="A failure usually means that waiting has no limit.",
        refused="this would take the last healthy replica of llm: 2 are Ready, keep_healthy is 1",
    ),
)


def script(name: str) -> Script | None:
    """The drill of that name, or None."""
    return next((one for one in SCRIPTS if one.name == name), None)


def plan_of(one: Script) -> tuple[str, ...]:
    """What would happen now, as the daemon's planner says it."""
    refusals = (f"Refused: {one.refused}",) if one.refused else ()
    lines = [f"target pool: workload {one.load}, 3 of 3 replicas Ready"]
    lines.append(f"load {one.load}: open loop at {one.rate:.2f}/s (poisson)")
    for index, phase in enumerate(one.phases):
        count = round(one.rate * phase.seconds)
        proof = 100 * 0.05 ** (1 / count)
        gate = " (gate: if it fails nothing is injected)" if index == 0 else ""
        sample = f"{one.load} {count} requests without a failure prove >= {proof:.2f} %"
        lines.append(f"phase {phase.name}{gate}: {phase.seconds:g} s; {sample}")
        lines.append(f"  expect failed({one.load}) == 0")
        for fault in one.faults:
            if fault.phase == index:
                lines.append(f"  inject {fault.id}: {fault.kind} on one of {fault.workload}")
                lines.append("    verified by its own evidence; undo: by the run, the warden or its time limit")
    lines.append(f"about {one.wall_s:.0f} s, at most {3 * one.wall_s:.0f} s; scenario 5f2c9a71d0e4")
    return (*refusals, *lines)
