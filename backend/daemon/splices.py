"""The daemon's desk for fault proxies: one under a shim of its own per spliced replica, begun, followed and ended.

Owns which proxies stand, their targets, and the order in which the edge is led through them and straight again. The
faults are the proxies' own. A proxy outlives the daemon; the next daemon ends it once the edge is straight.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.edge import Edge
from backend.contract.errors import Refused, TrinityError
from backend.contract.events import EventRecorder
from backend.contract.faults import Holder, HolderRequest, ProxyTarget
from backend.contract.fleet import ExitRecord, Fleet, ReplicaStatus, Spliceable, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.shim import ShimSpec
from backend.contract.words import Phase, Severity, SlotState
from backend.drills import processes
from backend.drills.proxy.spec import ProxyPorts, ProxySpec
from backend.shim.client import ShimClient
from backend.shim.holders import ask_holder
from backend.shim.leftovers import remove_files
from backend.shim.record import ShimRecord
from backend.shim.stop_all import recorded_shims

KIND: Final = "proxy"
_STAND_S: Final = 5.0
_LED_S: Final = 5.0
_STRAIGHT_S: Final = 10.0
_STOP_S: Final = 2.0
_DRAIN_S: Final = 600.0
_ASK_S: Final = 2.0
_STEP_S: Final = 0.01
_LEFTOVER_STEP_S: Final = 0.1
_NEUTRAL: Final = HolderRequest(id=1, op="heal")
"""Every fault taken away."""


class _Proxy:
    """One that this daemon started."""

    def __init__(self, replica: str, workload: str, shim: ShimClient, ports: ProxyPorts, holder: Holder) -> None:
        self.replica, self.workload, self.shim, self.ports, self.holder = replica, workload, shim, ports, holder
        self.target: ProxyTarget | None = None
        self.ending = False
        self.dead = False


class Splices:
    """`splice` and `unsplice` may be called at any time, from several tasks; those of one replica queue up."""

    def __init__(
        self,
        paths: StatePaths,
        fleet: Fleet,
        edge: Edge,
        sink: RowSink,
        clock: Clock,
        specs: Callable[[], Sequence[WorkloadSpec]],
    ) -> None:
        self._paths, self._fleet, self._edge, self._clock = paths, fleet, edge, clock
        self._events = EventRecorder(sink, clock)
        self._specs = specs
        self._proxies: dict[str, _Proxy] = {}
        self._draining: set[int] = set()
        """Pids of shims whose proxies finish what they have."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe = fleet.on_change(self._changed)

    # -- what is asked

    def holder(self, replica: str) -> Holder | None:
        """Where the faults of a spliced replica are held; null where none is spliced."""
        proxy = self._proxies.get(replica)
        return None if proxy is None else proxy.holder

    async def splice(self, replica: str) -> Holder:
        """Put a neutral proxy in front of the replica; returns once edge and probes go through it. Idempotent.

        Raises Refused where the fleet cannot, TrinityError where the replica has no process or it does not work out;
        then all is as before.
        """
        fleet = self._spliceable()
        async with self._lock(replica):
            present = self._proxies.get(replica)
            if present is not None and not present.dead:
                return present.holder
            if present is not None:
                await self._take_out(present)
            status = self._find(replica)
            target = None if status is None else _target(status)
            if status is None or target is None:
                raise TrinityError(f"{replica} has no process now.", "Wait until it is Ready.")
            await self._end_leftover(replica)
            proxy = await self._launch(status, target)
            self._proxies[replica] = proxy
            try:
                await fleet.splice(replica, port=proxy.ports.port, health_port=proxy.ports.health_port)
                await self._until_led(proxy)
            except BaseException:
                await self._take_out(proxy)
                raise
            proxy.shim.on_exit(lambda record: self._died(proxy, record))
            self._follow(proxy)
        self._events.record("proxy.spliced", Severity.INFO, replica, f"A fault proxy stands in front of {replica}.")
        return proxy.holder

    async def unsplice(self, name: str) -> None:
        """A replica, or every replica of a workload, straight behind the edge again. Idempotent.

        What its proxy still has under way ends in its own time, and the proxy with it. Raises TrinityError where the
        edge did not follow in time (the proxy then stays, neutral)."""
        names = [proxy.replica for proxy in self._proxies.values() if name in (proxy.replica, proxy.workload)]
        left = await asyncio.to_thread(self._leftovers)
        former = {_replica_of(record) for record in left if name in (_replica_of(record), record.spec.workload)}
        work = [*(self._unsplice(replica) for replica in names), *(self._former_in_time(r) for r in former)]
        results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def adopt_leftovers(self) -> None:
        """End the proxies of a dead daemon, each neutral at once and gone once the edge is straight; to be run beside
        a reconciler that has started. Returns when none is left."""
        names = {_replica_of(record) for record in await asyncio.to_thread(self._leftovers)}
        await asyncio.gather(*(self._adopt_leftover(name) for name in names))

    async def close(self) -> None:
        """Detach: proxies go on, their next daemon ends them."""
        await self._stop_following()
        await asyncio.gather(*(proxy.shim.close() for proxy in self._proxies.values()))
        self._proxies.clear()

    async def stop(self) -> None:
        """End every proxy at once: replicas and edge are being taken down."""
        await self._stop_following()
        proxies, self._proxies = list(self._proxies.values()), {}
        self._draining.clear()
        for proxy in proxies:
            proxy.ending = True
        await asyncio.gather(*(_end(proxy.shim, _STOP_S) for proxy in proxies))
        for record in await asyncio.to_thread(self._leftovers):
            await self._stop_leftover(record, _STOP_S)

    # -- one proxy's life

    async def _launch(self, status: ReplicaStatus, target: ProxyTarget) -> _Proxy:
        name = self._free_name(status.name)
        control, ports_path = self._paths.run_dir / f"{name}.ctl", self._paths.run_dir / f"{name}.ports"
        ports_path.unlink(missing_ok=True)
        spec = ProxySpec(
            name=status.name,
            control_path=str(control),
            ports_path=str(ports_path),
            target=target,
            health_paths=self._health_paths(status.workload),
        )
        argv = (sys.executable, "-P", "-m", "backend.drills.proxy", "--spec", msgspec.json.encode(spec).decode())
        shim = await ShimClient.launch(
            ShimSpec(
                name=name,
                workload=status.workload,
                argv=argv,
                cwd="/",
                socket_path=str(self._paths.shim_socket(name)),
                record_path=str(self._paths.shim_record(name)),
                exit_path=str(self._paths.exit_record(name)),
                log_dir=str(self._paths.replica_log_dir(name)),
                nice=0,
                meta={"kind": KIND, "replica": status.name, "control": str(control), "ports": str(ports_path)},
            ),
            clock=self._clock,
        )
        try:
            ports = await self._wait_ports(shim, ports_path)
            holder = Holder(
                kind="proxy",
                socket_path=str(control),
                pid=ports.pid,
                mark=processes.start_mark(ports.pid) or "",
            )
            proxy = _Proxy(status.name, status.workload, shim, ports, holder)
        except BaseException:
            await shim.stop(0.0)
            raise
        proxy.target = target
        return proxy

    async def _wait_ports(self, shim: ShimClient, path: Path) -> ProxyPorts:
        """What the proxy says once it takes connections. Raises TrinityError."""
        deadline = self._clock.mono() + _STAND_S
        while (ports := _read_ports(path)) is None:
            if shim.gone or self._clock.mono() > deadline:
                name = shim.record.spec.name
                raise TrinityError(f"The fault proxy {name} did not start.", f"See `trinity logs {name}`.")
            await asyncio.sleep(_STEP_S)
        return ports

    async def _until_led(self, proxy: _Proxy) -> None:
        """Until the edge goes through it, or has no such slot to lead. Raises TrinityError."""
        deadline = self._clock.mono() + _LED_S
        while True:
            status = self._find(proxy.replica)
            if status is None or proxy.shim.gone:
                raise TrinityError(f"{proxy.replica} or its fault proxy ended while it was spliced.", "Try again.")
            slot = self._slot_port(proxy.replica)
            if slot == proxy.ports.port or slot is None or status.phase != Phase.READY:
                await self._edge.settled()
                return
            if self._clock.mono() > deadline:
                raise TrinityError(
                    f"The edge was not led through the fault proxy of {proxy.replica} in {_LED_S:g} s.",
                    "See `trinity events`.",
                )
            await asyncio.sleep(_STEP_S)

    async def _unsplice(self, replica: str) -> None:
        async with self._lock(replica):
            proxy = self._proxies.get(replica)
            if proxy is not None:
                await self._take_out(proxy)
                self._events.record(
                    "proxy.unspliced", Severity.INFO, replica, f"{replica} is straight behind the edge again."
                )

    async def _take_out(self, proxy: _Proxy) -> None:
        """Edge and probes straight first, then the proxy ends; a proxy the edge still uses is left, neutral."""
        with contextlib.suppress(TrinityError):  # dead or dying: there is nothing to make neutral
            await ask_holder(proxy.holder.socket_path, _NEUTRAL, within_s=_ASK_S)
        await self._spliceable().unsplice(proxy.replica)
        if not proxy.dead and not await self._straight(proxy.replica, proxy.ports.port, _STRAIGHT_S):
            raise TrinityError(
                f"The edge still goes through the fault proxy of {proxy.replica}; it stays, neutral.",
                "See `trinity events`, then unsplice again.",
            )
        proxy.ending = True
        self._proxies.pop(proxy.replica, None)
        self._draining.add(proxy.shim.record.shim_pid)
        self._spawn(self._quietly(proxy, self._drain(proxy)))

    async def _drain(self, proxy: _Proxy) -> None:
        """The proxy ends by itself when its last request has; a new daemon or `trinity down` cuts that short."""
        await _end(proxy.shim, 0.0 if proxy.dead else _DRAIN_S)
        self._draining.discard(proxy.shim.record.shim_pid)

    def _free_name(self, replica: str) -> str:
        """A name no proxy bears, also none that drains."""
        number = 0
        while self._paths.shim_record(f"{replica}.proxy{number or ''}").exists():
            number += 1
        return f"{replica}.proxy{number or ''}"

    async def _straight(self, replica: str, port: int | None, timeout_s: float | None) -> bool:
        """Wait until no slot leads through that port (where it is unknown: until the replica's own is used)."""
        deadline = None if timeout_s is None else self._clock.mono() + timeout_s
        while True:
            slot, status = self._slot_port(replica), self._find(replica)
            own = status.port if status is not None else None
            if slot is None or slot == own or (port is not None and slot != port):
                await self._edge.settled()  # else the proxy would end while the edge still sends it requests
                return True
            if deadline is not None and self._clock.mono() > deadline:
                return False
            await asyncio.sleep(_STEP_S if deadline is not None else _LEFTOVER_STEP_S)

    # -- following

    def _changed(self, status: ReplicaStatus) -> None:
        proxy = self._proxies.get(status.name)
        if proxy is not None:
            self._follow(proxy)

    def _follow(self, proxy: _Proxy) -> None:
        """Tell the proxy of a new process behind it, and take it out once its replica is gone."""
        status = self._find(proxy.replica)
        if status is None:
            self._spawn(self._quietly(proxy, self._unsplice(proxy.replica)))
            return
        target = _target(status)
        if target is not None and target != proxy.target:
            proxy.target = target
            self._spawn(self._quietly(proxy, self._retarget(proxy, target)))

    async def _retarget(self, proxy: _Proxy, target: ProxyTarget) -> None:
        request = HolderRequest(id=1, op="target", target=target)
        await ask_holder(proxy.holder.socket_path, request, within_s=_ASK_S)

    def _died(self, proxy: _Proxy, record: ExitRecord) -> None:
        """Straight at once: until then its replica is not reached."""
        proxy.dead = True
        if proxy.ending:
            return
        how = f"signal {record.signal}" if record.signal is not None else f"code {record.code}"
        self._events.record(
            "proxy.died",
            Severity.ERROR,
            proxy.replica,
            f"The fault proxy of {proxy.replica} died ({how}); the edge goes straight again.",
            pid=record.pid,
        )
        self._spawn(self._quietly(proxy, self._unsplice(proxy.replica)))

    async def _quietly(self, proxy: _Proxy, work: Awaitable[None]) -> None:
        try:
            await work
        except TrinityError as error:
            if not proxy.ending:
                self._events.record("proxy.trouble", Severity.ERROR, proxy.replica, str(error))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop_following(self) -> None:
        self._unsubscribe()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- those of a dead daemon

    def _leftovers(self) -> list[ShimRecord]:
        """Blocks: reads files."""
        mine = {proxy.shim.record.shim_pid for proxy in self._proxies.values()} | self._draining
        records = recorded_shims(self._paths.run_dir)
        return [r for r in records if r.spec.meta.get("kind") == KIND and r.shim_pid not in mine]

    async def _adopt_leftover(self, replica: str) -> None:
        async with self._lock(replica):
            await self._end_leftover(replica)

    async def _former_in_time(self, replica: str) -> None:
        try:
            async with asyncio.timeout(_STRAIGHT_S):
                await self._adopt_leftover(replica)
        except TimeoutError as error:
            raise TrinityError(
                f"The edge still goes through a former daemon's fault proxy of {replica}; it is neutral.",
                "See `trinity events`; it ends once the replica is Ready.",
            ) from error

    async def _end_leftover(self, replica: str) -> None:
        for record in await asyncio.to_thread(self._leftovers):
            if _replica_of(record) != replica:
                continue
            with contextlib.suppress(TrinityError):  # it is gone: then there is nothing to make neutral
                await ask_holder(record.spec.meta.get("control", ""), _NEUTRAL, within_s=_ASK_S)
            ports = _read_ports(Path(record.spec.meta.get("ports", "")))
            await self._straight(replica, ports.port if ports is not None else None, None)
            self._draining.add(record.shim_pid)
            self._spawn(self._drain_leftover(record))
            words = f"A fault proxy of a former daemon before {replica} was ended."
            self._events.record("proxy.leftover-ended", Severity.WARNING, replica, words)

    async def _drain_leftover(self, record: ShimRecord) -> None:
        try:
            await self._stop_leftover(record, _DRAIN_S)
        except TrinityError as error:
            self._events.record("proxy.trouble", Severity.ERROR, _replica_of(record), str(error))
        self._draining.discard(record.shim_pid)

    async def _stop_leftover(self, record: ShimRecord, grace_s: float) -> None:
        shim = await ShimClient.adopt(Path(record.spec.record_path), clock=self._clock)
        if shim is not None:
            await _end(shim, grace_s)

    # -- inside

    def _spliceable(self) -> Spliceable:
        if not isinstance(self._fleet, Spliceable):
            raise Refused(f"Fleet {self._fleet.name} cannot lead requests through a fault proxy.", "Choose a fault.")
        return self._fleet

    def _lock(self, replica: str) -> asyncio.Lock:
        return self._locks.setdefault(replica, asyncio.Lock())

    def _find(self, replica: str) -> ReplicaStatus | None:
        return next((status for status in self._fleet.observe() if status.name == replica), None)

    def _slot_port(self, replica: str) -> int | None:
        """Where the edge reaches it; null where it has no slot in use."""
        slots = (slot for slot in self._edge.slots() if slot.replica == replica and slot.state != SlotState.MAINT)
        return next((slot.port for slot in slots), None)

    def _health_paths(self, workload: str) -> tuple[str, ...]:
        specs = [spec.probes for spec in self._specs() if spec.name == workload]
        probes = [probe for spec in specs for probe in (spec.startup, spec.readiness, spec.liveness)]
        return tuple({probe.path for probe in probes if probe is not None and probe.kind == "http"})


def _target(status: ReplicaStatus) -> ProxyTarget | None:
    """What a proxy in front of it stands for; null while it has no process."""
    if status.pid is None or status.port is None:
        return None
    own_health = status.health_port if status.health_port != status.port else None
    if status.node:  # on another machine, or as good as: its pid is none of ours
        return ProxyTarget(host=status.host, port=status.port, health_port=own_health)
    mark = processes.start_mark(status.pid)
    if mark is None:
        return None
    return ProxyTarget(host=status.host, port=status.port, health_port=own_health, pid=status.pid, mark=mark)


async def _end(shim: ShimClient, grace_s: float) -> None:
    """Stop a proxy and its shim; no file of them is left."""
    await shim.stop(grace_s)
    remove_files(shim.record)


def _replica_of(record: ShimRecord) -> str:
    return record.spec.meta.get("replica", "")


def _read_ports(path: Path) -> ProxyPorts | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProxyPorts)
    except (OSError, msgspec.DecodeError):
        return None
