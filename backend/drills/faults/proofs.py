"""The verify steps: each waits for one proof that a fault took effect, as seen from outside of who injected it.

What only the holder says is taken for a proof where nothing else can be seen; where the kernel, the edge or the
fleet shows the effect, that counts.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence

from backend.contract.errors import TrinityError
from backend.contract.faults import FaultReport
from backend.contract.fleet import ProbeSpec, ReplicaStatus
from backend.contract.words import Phase
from backend.drills import processes
from backend.drills.catalogue import FAULTS
from backend.drills.faults import poison
from backend.drills.faults.orders import order_id
from backend.drills.faults.victims import Proof, Setting, Victim, has_ended, replica_of
from backend.drills.faults.waiting import until
from backend.drills.ports import DaemonKiller
from backend.drills.scenario import VerifyName

VERIFY_TIMEOUT_S = 3.0
SLOW_TIMEOUT_S = 15.0
"""For what the fleet does at its own pace: a respawn, an exit on record, a first request touched, an action begun."""
CANARY_TIMEOUT_S = 1.0
"""A request sent straight to a frozen engine gets nothing for so long."""


async def verify(step: VerifyName, setting: Setting) -> Proof:
    """Wait for the proof; not ok when it does not come in time."""
    try:
        if step in AS_A_WHOLE:
            return await AS_A_WHOLE[step](setting)
        each = await asyncio.gather(*(PER_VICTIM[step](setting, victim) for victim in setting.victims))
        return _joined(step, each, setting)
    except (TrinityError, OSError) as error:
        return Proof(step, False, setting.clock.mono(), str(error) or type(error).__name__)


def _joined(step: VerifyName, each: Sequence[Proof], setting: Setting) -> Proof:
    """The effect on a pool is there once it is there on every victim."""
    bad = [proof for proof in each if not proof.ok]
    at = max((proof.at_s for proof in each), default=setting.clock.mono())
    return Proof(step, bool(each) and not bad, at, "; ".join(proof.text for proof in bad or each) or "no victim")


def _proof(step: VerifyName, at: float | None, setting: Setting, good: str, bad: str) -> Proof:
    return Proof(step, at is not None, setting.clock.mono() if at is None else at, bad if at is None else good)


def _patience(setting: Setting, timeout_s: float) -> Callable[[], bool]:
    """Whether a proof has been waited for long enough. The time begins with the deed, which a busy fleet may take
    longer to do than its effect takes to show; that effect is looked for from the start, to know its instant."""
    end: float | None = None

    def over() -> bool:
        nonlocal end
        if end is None and setting.injected.is_set():
            end = setting.clock.mono() + timeout_s
        return end is not None and setting.clock.mono() >= end

    return over


async def _seen(setting: Setting, timeout_s: float, period_s: float, true: Callable[[], bool]) -> float | None:
    """The instant `true` first held, or None when it did not within that time after the deed."""
    over = _patience(setting, timeout_s)
    while not true():
        if over():
            return None
        await asyncio.sleep(period_s)
    return setting.clock.mono()


def _replica(setting: Setting, victim: Victim) -> ReplicaStatus | None:
    return replica_of(setting.host, victim)


async def _pid_gone(setting: Setting, victim: Victim) -> Proof:
    slow = setting.injection.fault in ("memory.exhaust", "process.exit", "node.drain")
    timeout = SLOW_TIMEOUT_S if slow else VERIFY_TIMEOUT_S
    at = await _seen(setting, timeout, 0.001, lambda: has_ended(setting.host, victim))
    what = f"process {victim.pid}" if victim.mark else victim.replica
    good, bad = f"{what} has ended", f"{what} still runs"
    return _proof("pid_gone", at, setting, good, bad)


async def _port_closed(setting: Setting, victim: Victim) -> Proof:
    over, late = _patience(setting, VERIFY_TIMEOUT_S), False
    where = f"{victim.host}:{victim.port}"
    while victim.port is not None and not late:
        late = over()  # the last look is after the end: this process may have stood still
        try:
            async with asyncio.timeout(0.5):
                _, writer = await asyncio.open_connection(victim.host, victim.port)
        except ConnectionRefusedError:
            return Proof("port_closed", True, setting.clock.mono(), f"{where} refuses connections")
        except (OSError, TimeoutError) as error:
            nobody = isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
            if nobody or not victim.mark:  # an address that nobody has any more need not refuse
                said = str(error) or "no answer"
                return Proof("port_closed", True, setting.clock.mono(), f"{where} takes no connection: {said}")
        else:
            writer.close()
        await asyncio.sleep(0.005)
    return Proof("port_closed", False, setting.clock.mono(), f"{where} never refused a connection")


async def _respawned(setting: Setting, victim: Victim) -> Proof:
    heir = ""

    def replaced() -> bool:
        nonlocal heir
        replica = _replica(setting, victim)
        if replica is not None:
            return replica.pid is not None and replica.pid != victim.pid
        others = setting.host.replicas(victim.workload)
        heir = next((r.name for r in others if r.name not in setting.before and r.pid is not None), "")
        return bool(heir)

    at = await _seen(setting, SLOW_TIMEOUT_S, 0.01, replaced)
    name = victim.replica
    good = f"{heir} stands in place of {name}" if heir else f"{name} has a new process"
    return _proof("respawned", at, setting, good, f"{name} got no new process")


async def _proc_state_t(setting: Setting, victim: Victim) -> Proof:
    at = await _seen(setting, VERIFY_TIMEOUT_S, 0.001, lambda: processes.is_stopped(victim.pid, victim.mark))
    seen = processes.state(victim.pid)
    good = f"process {victim.pid} is in state T"
    return _proof("proc_state_T", at, setting, good, f"process {victim.pid} is in state {seen}")


async def _thread_stopped(setting: Setting, victim: Victim) -> Proof:
    """Some thread is stopped and another is not: the process as a whole still runs."""

    def frozen() -> bool:
        stopped, known = processes.stopped_threads(victim.pid)
        return 0 < stopped < known and not has_ended(setting.host, victim)

    at = await _seen(setting, VERIFY_TIMEOUT_S, 0.002, frozen)
    stopped, known = processes.stopped_threads(victim.pid)
    text = f"{stopped} of {known} threads of process {victim.pid} are stopped"
    return _proof("thread_stopped", at, setting, text, text)


async def _api_still_200(setting: Setting, victim: Victim) -> Proof:
    """Its health endpoint answers 200 while the holder says that the fault is in place."""
    held = await _holder_active(setting, victim)
    if not held.ok:
        return Proof("api_still_200", False, held.at_s, held.text)
    probes = setting.spec.probes
    probe = probes.liveness or probes.readiness or probes.startup or ProbeSpec(path="/health")
    port = victim.health_port if probe.port == "health" and victim.health_port is not None else victim.port
    status = -1
    if port is not None:
        status = (await poison.ask(victim.host, port, poison.get(probe.path), CANARY_TIMEOUT_S)).seen.status
    text = f"{probe.path} of {victim.replica} answers {status if status > 0 else 'nothing'}"
    return Proof("api_still_200", status == 200, setting.clock.mono(), text)


async def _no_progress(setting: Setting, victim: Victim) -> Proof:
    """A request sent straight to the replica's port gets no answer while the holder says the fault is in place."""
    held = await _holder_active(setting, victim)
    if not held.ok or victim.port is None:
        return Proof("no_progress", False, held.at_s, held.text)
    request = poison.post(setting.spec, {"X-Request-ID": f"{setting.run_id}:canary"})
    exchange = await poison.ask(victim.host, victim.port, request, CANARY_TIMEOUT_S)
    frozen = exchange.seen.error == "timeout"
    what = f"got nothing for {CANARY_TIMEOUT_S:g} s" if frozen else f"got {exchange.seen.status or exchange.seen.error}"
    return Proof("no_progress", frozen, setting.clock.mono(), f"a request sent to {victim.replica} {what}")


async def _exit_recorded(setting: Setting, victim: Victim) -> Proof:
    wanted = setting.injection.code

    def recorded() -> bool:
        replica = _replica(setting, victim)
        last = None if replica is None else replica.last_exit
        if last is None or last.pid not in (victim.pid, None) or not has_ended(setting.host, victim):
            return False
        return last.code == wanted if wanted is not None else last.signal == 9 or last.reason == "OOMKilled"

    at = await _seen(setting, SLOW_TIMEOUT_S, 0.01, recorded)
    replica = _replica(setting, victim)
    last = None if replica is None else replica.last_exit
    ended = "no exit is on record" if last is None else f"ended with code {last.code}, signal {last.signal}"
    reason = f" ({last.reason})" if last is not None else ""
    return _proof("exit_recorded", at, setting, f"{victim.replica} {ended}{reason}", f"{victim.replica}: {ended}")


async def _not_ready(setting: Setting, victim: Victim) -> Proof:
    """Its process has ended and it stays not Ready for at least the delay that was asked for."""
    clock = setting.clock
    gone = await _seen(setting, VERIFY_TIMEOUT_S, 0.001, lambda: has_ended(setting.host, victim))
    if gone is None:
        return Proof("not_ready", False, clock.mono(), f"process {victim.pid} still runs")

    def ready_again() -> bool:
        replica = _replica(setting, victim)
        return replica is not None and replica.phase == Phase.READY and replica.pid not in (None, victim.pid)

    delay = setting.injection.delay or 0.0
    early = await until(clock, max(0.0, gone + delay - clock.mono()), 0.01, ready_again)
    if early is not None:
        text = f"{victim.replica} was Ready again {early - gone:.2f} s after its end, before the delay was over"
        return Proof("not_ready", False, early, text)
    return Proof("not_ready", True, gone, f"{victim.replica} was not Ready for {delay:g} s after its end")


async def _crash_loop(setting: Setting, victim: Victim) -> Proof:
    """The fleet itself calls it a crash loop, or its restarted process has ended with the code that was asked for."""

    def looping() -> bool:
        replica = _replica(setting, victim)
        if replica is None or not has_ended(setting.host, victim):
            return False
        last = replica.last_exit
        again = last is not None and last.pid != victim.pid and last.code == setting.injection.code
        return replica.phase == Phase.CRASH_LOOP or again

    at = await _seen(setting, SLOW_TIMEOUT_S, 0.01, looping)
    replica = _replica(setting, victim)
    phase = "gone" if replica is None else replica.phase.value
    return _proof("crash_loop", at, setting, f"{victim.replica}'s next start failed", f"{victim.replica} is {phase}")


async def _report(setting: Setting, victim: Victim) -> FaultReport | None:
    wanted = order_id(setting.run_id, setting.injection.id, victim.replica)
    reports = await setting.host.fault_reports(victim.replica, FAULTS[setting.injection.fault].held_by)
    return next((report for report in reports if report.id == wanted), None)


async def _holder_active(setting: Setting, victim: Victim) -> Proof:
    """The holder has read back that the fault is in place; where the kernel shows it too, it must."""
    clock = setting.clock
    await setting.injected.wait()
    end, report, late = clock.mono() + VERIFY_TIMEOUT_S, None, False
    while not late:
        late = clock.mono() >= end  # the last look is after the end: this process may have stood still
        report = await _report(setting, victim)
        if report is not None and report.active and _kernel_agrees(report, victim):
            text = f"the holder of {victim.replica} has it in place{f': {report.detail}' if report.detail else ''}"
            return Proof("holder_active", True, clock.mono(), text)
        await asyncio.sleep(0.01)
    if report is not None and report.active:
        return Proof("holder_active", False, clock.mono(), f"process {victim.pid} shows nothing of it")
    return Proof("holder_active", False, clock.mono(), f"the holder of {victim.replica} does not have it in place")


def _kernel_agrees(report: FaultReport, victim: Victim) -> bool:
    if report.kind == "stop":
        return processes.is_stopped(victim.pid, victim.mark)
    if report.kind == "exhaust-descriptors":
        return processes.lacks_descriptors(victim.pid) is not False
    return True


async def _requests_affected(setting: Setting) -> Proof:
    """Every holder has it in place and at least one request was touched."""
    held = _joined(
        "requests_affected",
        await asyncio.gather(*(_holder_active(setting, victim) for victim in setting.victims)),
        setting,
    )
    if not held.ok and setting.injection.fault != "request.poison":
        return held
    clock, end = setting.clock, setting.clock.mono() + SLOW_TIMEOUT_S
    while True:
        reports = await asyncio.gather(*(_report(setting, victim) for victim in setting.victims))
        counts = {victim.replica: r.affected if r else 0 for victim, r in zip(setting.victims, reports, strict=True)}
        text = "touched " + ", ".join(f"{count} at {name}" for name, count in counts.items())
        if sum(counts.values()) or clock.mono() >= end:
            return Proof("requests_affected", sum(counts.values()) > 0, clock.mono(), text)
        await asyncio.sleep(0.02)


async def _edge_replaced(setting: Setting) -> Proof:
    """Another process serves than before; the effect began when the old one was gone, or the new one was seen."""
    old, clock = setting.edge, setting.clock
    if old is None or not old.pid:
        return Proof("edge_replaced", False, clock.mono(), "the edge had no process to begin with")
    began: list[float] = []

    def replaced() -> bool:
        seen = setting.host.edge()
        other = seen.up and seen.pid not in (None, old.pid)
        if not began and (other or processes.is_gone(old.pid, old.mark)):
            began.append(clock.mono())
        return other

    at = await _seen(setting, SLOW_TIMEOUT_S, 0.002, replaced)
    now = setting.host.edge().pid
    good = f"the edge's process {old.pid} was replaced by {now}"
    return _proof("edge_replaced", began[0] if at is not None else None, setting, good, f"the edge still is {now}")


async def _daemon_replaced(setting: Setting) -> Proof:
    clock = setting.clock
    await setting.injected.wait()
    old = setting.edge
    if not isinstance(setting.host, DaemonKiller) or old is None:
        return Proof("daemon_replaced", False, clock.mono(), "this drill runs inside the daemon")
    gone = await until(clock, VERIFY_TIMEOUT_S, 0.001, lambda: processes.is_gone(old.pid, old.mark))
    if gone is None:
        return Proof("daemon_replaced", False, clock.mono(), f"daemon {old.pid} still runs")
    pid = await setting.host.await_daemon(SLOW_TIMEOUT_S)
    text = f"daemon {old.pid} ended, daemon {pid} answers after {clock.mono() - gone:.2f} s"
    return Proof("daemon_replaced", pid != old.pid, gone, text)


async def _action_done(setting: Setting) -> Proof:
    """The action has visibly begun: a replica was replaced, came or went. That it ends well is its task's to say."""

    def begun() -> str:
        seen = {r.name: r for r in setting.host.replicas(setting.spec.name)}
        for name in sorted(setting.before.keys() | seen.keys()):
            replica = seen.get(name)
            if name not in setting.before:
                return f"{name} is new"
            if replica is None:
                return f"{name} is gone"
            if replica.pid != setting.before[name] or replica.phase in (Phase.TERMINATING, Phase.DRAINING):
                return f"{name} is being replaced or removed"
        return ""

    at = await _seen(setting, SLOW_TIMEOUT_S, 0.01, lambda: bool(begun()))
    return _proof("action_done", at, setting, f"{setting.spec.name}: {begun()}", "no replica changed")


PER_VICTIM: Mapping[VerifyName, Callable[[Setting, Victim], Awaitable[Proof]]] = {
    "pid_gone": _pid_gone,
    "port_closed": _port_closed,
    "respawned": _respawned,
    "proc_state_T": _proc_state_t,
    "thread_stopped": _thread_stopped,
    "api_still_200": _api_still_200,
    "no_progress": _no_progress,
    "exit_recorded": _exit_recorded,
    "not_ready": _not_ready,
    "crash_loop": _crash_loop,
    "holder_active": _holder_active,
}
AS_A_WHOLE: Mapping[VerifyName, Callable[[Setting], Awaitable[Proof]]] = {
    "requests_affected": _requests_affected,
    "edge_replaced": _edge_replaced,
    "daemon_replaced": _daemon_replaced,
    "action_done": _action_done,
}
