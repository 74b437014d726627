"""From a container's facts to a replica's status: its phase and the reason for it, its ports, its probe. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.fleet import ExitRecord, ProbeStatus, ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.docker_engine.facts import ContainerFacts, Published, exit_record
from backend.fleet.docker_engine.usage import Rates

STEADY_S: Final = 10.0
"""A container that has run this long is not in a crash loop: the engine's own rule for its back-off."""
CRASHES: Final = 2
"""From this many deaths in a row on it is in one."""
_WILD: Final = ("", "0.0.0.0", "::")  # noqa: S104 - how the engine writes "every address"; nothing is bound here


class Beyond(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a container beyond the engine's own description of it."""

    crashes: int = 0
    """Deaths in a row, none of them wished for, with less than STEADY_S between start and end."""
    leaving: str = ""
    """What we are doing to it: `stopping`, `restarting`; empty for nothing."""
    last_exit: ExitRecord | None = None
    restarts: int = 0
    """All starts after its first that we know of: the engine's own count begins anew at each start by hand."""
    rates: Rates | None = None
    with_engine: bool = False
    """It was stopped as its engine went: nobody wished that."""


def phase_of(facts: ContainerFacts, now: float, beyond: Beyond) -> tuple[Phase, str]:
    """Its phase, and one short phrase for people that says why it is not Ready."""
    if facts.status == "removing":
        return Phase.TERMINATING, "being removed"
    if beyond.leaving and facts.running:
        return Phase.TERMINATING, beyond.leaving
    if facts.status == "dead":
        return Phase.FAILED, "dead: the engine could not remove it"
    if facts.status == "created":
        if facts.error:
            return Phase.FAILED, f"could not start: {_short(facts.error)}"
        return Phase.PENDING, "created, not started"
    if facts.restarting or facts.status == "restarting":
        times = beyond.crashes or facts.restarts
        looping = times >= CRASHES
        return (Phase.CRASH_LOOP if looping else Phase.PENDING), _over_and_over(max(1, times), facts, beyond)
    if facts.paused:
        return Phase.NOT_READY, "paused"
    if facts.running:
        return _running(facts, now, beyond)
    if facts.status == "exited":
        return _over(facts, beyond)
    return Phase.PENDING, facts.status or "unknown state"


def _running(facts: ContainerFacts, now: float, beyond: Beyond) -> tuple[Phase, str]:
    up_s = now - facts.started_ts if facts.started_ts is not None else STEADY_S
    if beyond.crashes >= CRASHES and up_s < STEADY_S and facts.health != "healthy":
        return Phase.CRASH_LOOP, _over_and_over(beyond.crashes, facts, beyond)
    if facts.health == "starting":
        last = facts.health_log[-1] if facts.health_log else None
        failed = f", last said: {_short(last.output)}" if last is not None and not last.ok and last.output else ""
        return Phase.STARTING, f"health check has not passed yet{failed}"
    if facts.health == "unhealthy":
        last = facts.health_log[-1] if facts.health_log else None
        return Phase.NOT_READY, f"unhealthy: {_short(last.output)}" if last is not None and last.output else "unhealthy"
    return Phase.READY, ""


def _over(facts: ContainerFacts, beyond: Beyond) -> tuple[Phase, str]:
    """It did its work, or somebody stopped it: then nothing failed."""
    last = last_exit_of(facts, beyond)
    words = _ended(facts, beyond)
    if facts.error or beyond.with_engine or last is None:
        return Phase.FAILED, words
    if last.reason == "Completed":
        return Phase.COMPLETED, ""
    return (Phase.NOT_READY if last.reason == "Stopped" else Phase.FAILED), words


def _over_and_over(times: int, facts: ContainerFacts, beyond: Beyond) -> str:
    """`exit code 3, 4 times in a row: cannot reach db`: the cause first, what it said last where there is room."""
    how, _, said = exit_words(last_exit_of(facts, beyond)).partition(": ")
    count = f", {times} times in a row" if times > 1 else ""
    return f"{how}{count}{': ' if said else ''}{said}"


def _ended(facts: ContainerFacts, beyond: Beyond) -> str:
    if facts.error:
        return f"could not start: {_short(facts.error)}"
    return "stopped with its engine" if beyond.with_engine else exit_words(last_exit_of(facts, beyond))


def exit_words(record: ExitRecord | None) -> str:
    """`Completed`, `OOMKilled`, `stopped`, `killed by signal 9`, `exit code 3: <its last line>`."""
    if record is None:
        return "ended"
    if record.reason in ("OOMKilled", "Completed"):
        return record.reason
    said = next((line for line in reversed(record.last_lines) if line.strip()), "")
    if record.reason == "Stopped":
        return "stopped"
    if record.signal is not None:
        return f"killed by signal {record.signal}"
    if record.code is None:
        return "ended"
    return f"exit code {record.code}" + (f": {_short(said)}" if said else "")


def last_exit_of(facts: ContainerFacts, beyond: Beyond) -> ExitRecord | None:
    """How its last life ended: what we saw, else what the engine remembers."""
    seen = beyond.last_exit
    if facts.finished_ts is None:
        return seen
    if seen is not None and seen.ts >= facts.finished_ts - 1.0:
        return seen
    if facts.running and (facts.started_ts or 0.0) >= facts.finished_ts and facts.restarts == 0:
        # The engine sets the exit code back at a start: of an end before we looked only the instant is left.
        return seen or ExitRecord(ts=facts.finished_ts, reason="Unknown")
    return exit_record(facts.finished_ts, facts.exit_code, oom=facts.oom_killed)


def readiness(facts: ContainerFacts) -> tuple[ProbeStatus, ...]:
    """Its health check as a readiness probe; empty without one."""
    if not facts.health:
        return ()
    last = facts.health_log[-1] if facts.health_log else None
    return (
        ProbeStatus(
            name="readiness",
            ok={"healthy": True, "unhealthy": False}.get(facts.health),
            detail=last.output if last is not None else "",
            last_ts=last.ts if last is not None else None,
            failures=facts.health_failures,
            latency_s=last.took_s if last is not None else None,
        ),
    )


class Reach(msgspec.Struct, frozen=True):
    """How a container's port can be connected to from here."""

    host: str
    port: int


def reach_of(facts: ContainerFacts, port: int | None, *, engine: str, direct: bool) -> Reach | None:
    """Where its port `port` (null: its first) answers: published on `engine` (its machine's address), or, where
    containers' own addresses can be reached (`direct`), there. Null where it can't be reached."""
    tcp = [published for published in facts.ports if published.protocol == "tcp"]
    if port is not None:
        tcp = [published for published in tcp if published.port == port] or [Published(port)]
    for published in tcp:
        if published.host_port is not None:
            local = published.host_ip in _WILD
            return Reach(engine if local else published.host_ip, published.host_port)
    if not tcp or not facts.running:
        return None
    if facts.host_network:
        return Reach(engine, tcp[0].port)
    if direct and facts.addresses:
        return Reach(next(iter(facts.addresses.values())), tcp[0].port)
    return None


def replica_status(
    facts: ContainerFacts,
    *,
    fleet: str,
    workload: str,
    owner: str,
    now: float,
    beyond: Beyond,
    reach: Reach | None,
    node: str = "",
) -> ReplicaStatus:
    """The replica that a container is."""
    phase, reason = phase_of(facts, now, beyond)
    rates = beyond.rates if facts.running else None
    return ReplicaStatus(
        name=facts.name,
        fleet=fleet,
        workload=workload,
        phase=phase,
        revision=facts.image_id.removeprefix("sha256:")[:12],
        reason=reason,
        restarts=max(facts.restarts, beyond.restarts),
        created_ts=facts.created_ts,
        started_ts=facts.started_ts if facts.running else None,
        pid=facts.pid if facts.running else None,
        host=reach.host if reach is not None else "127.0.0.1",
        port=reach.port if reach is not None else None,
        cpu_percent=rates.cpu_percent if rates is not None else None,
        memory_bytes=rates.memory_bytes if rates is not None else None,
        memory_limit_bytes=facts.memory_limit_bytes,
        net_rx_bytes_per_s=rates.rx_bytes_per_s if rates is not None else None,
        net_tx_bytes_per_s=rates.tx_bytes_per_s if rates is not None else None,
        last_exit=last_exit_of(facts, beyond),
        probes=readiness(facts) if facts.running else (),  # what was said in a life that is over
        node=node,
        image=facts.image,
        owner=owner,
        containers_ready=1 if phase == Phase.READY else 0,
        addresses=tuple(facts.addresses.values()) if facts.running else (),
    )


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= 160 else words[:159] + "…"
