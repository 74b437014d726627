"""The deeds: how each fault is injected through the host. Effects only; whether it worked is for `proofs` to say."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

from backend.contract.errors import Refused
from backend.contract.faults import StartFault
from backend.contract.rows import ActionRow
from backend.contract.words import Verb
from backend.drills.catalogue import FAULTS
from backend.drills.faults import poison
from backend.drills.faults.orders import order_of
from backend.drills.faults.victims import Setting
from backend.drills.ports import DaemonKiller
from backend.drills.scenario import FaultName


async def inject(setting: Setting) -> None:
    """Do it. Raises TrinityError or OSError where it could not be done, wholly or in part."""
    fault = setting.injection.fault
    if FAULTS[fault].held_by:
        await _hold(setting)
    else:
        await DEEDS[fault](setting)
    setting.injected.set()


async def _hold(setting: Setting) -> None:
    kind = FAULTS[setting.injection.fault].held_by
    orders = {
        v.replica: order_of(setting.injection, setting.run_id, v.replica, ttl_s=setting.ttl_s, seed=setting.seed)
        for v in setting.victims
    }
    ended = await asyncio.gather(
        *(setting.host.fault(setting.run_id, replica, kind, order) for replica, order in orders.items()),
        return_exceptions=True,
    )
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    if setting.injection.fault == "request.poison":
        setting.spawn(asyncio.create_task(poison.send(setting), name=f"poison {setting.injection.id}"))


async def _kill(setting: Setting) -> None:
    host, injection = setting.host, setting.injection
    for victim in setting.victims:
        if injection.respawn == "held":
            await host.hold(setting.run_id, victim.replica, held=True)
        await host.signal(setting.run_id, victim.replica, signal.Signals[f"SIG{injection.signal}"])


async def _exit(setting: Setting) -> None:
    for victim in setting.victims:
        await setting.host.exit(setting.run_id, victim.replica, setting.injection.code or 0)


async def _spoil_starts(setting: Setting) -> None:
    """First the starts are spoilt, then the process is ended: its very next start is the first spoilt one."""
    injection = setting.injection
    spoilt = StartFault(
        until_ts=setting.clock.now() + setting.ttl_s,
        delay_s=injection.delay or 0.0,
        exit_code=injection.code if injection.fault == "process.crash-loop" else None,
    )
    for victim in setting.victims:
        await setting.host.start_fault(setting.run_id, victim.replica, spoilt)
        await setting.host.signal(setting.run_id, victim.replica, signal.SIGKILL)


async def _kill_edge(setting: Setting) -> None:
    await setting.host.kill_edge(setting.run_id)


async def _reload_edge(setting: Setting) -> None:
    await setting.host.reload_edge(setting.run_id)


async def _kill_daemon(setting: Setting) -> None:
    require_outside(setting)
    assert isinstance(setting.host, DaemonKiller)
    await setting.host.kill_daemon(setting.run_id)


def require_outside(setting: Setting) -> None:
    """Raises Refused where a daemon would have to kill itself."""
    if setting.injection.fault == "daemon.kill" and not isinstance(setting.host, DaemonKiller):
        raise Refused("daemon.kill runs outside the daemon.", "Run it with `trinity drill run`, which does so.")


async def _restart(setting: Setting) -> None:
    _act(setting, Verb.ROLLOUT, {})


async def _scale(setting: Setting) -> None:
    assert setting.injection.replicas is not None
    _act(setting, Verb.SCALE, {"replicas": setting.injection.replicas})


async def _drain_node(setting: Setting) -> None:
    _act(setting, Verb.NODE_DRAIN, {}, target=setting.victims[0].node)


def _act(setting: Setting, verb: Verb, args: dict[str, int], *, target: str = "") -> None:
    async def act() -> str:
        began = setting.clock.mono()
        row: ActionRow = await setting.host.act(setting.run_id, verb, target or setting.spec.name, dict(args))
        return f"{verb}: {row.result or 'done'} after {setting.clock.mono() - began:.1f} s"

    setting.spawn(asyncio.create_task(act(), name=f"{verb} {setting.injection.id}"))


DEEDS: Mapping[FaultName, Callable[[Setting], Awaitable[None]]] = {
    "process.kill": _kill,
    "process.exit": _exit,
    "process.slow-start": _spoil_starts,
    "process.crash-loop": _spoil_starts,
    "edge.kill": _kill_edge,
    "edge.reload": _reload_edge,
    "daemon.kill": _kill_daemon,
    "workload.restart": _restart,
    "workload.scale": _scale,
    "node.drain": _drain_node,
}
