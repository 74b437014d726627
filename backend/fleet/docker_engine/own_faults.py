"""Faults of process at containers of ours: their holders are started when a drill first asks for one.

Owns the holders' lives (a stopper under a shim for one start of one container) and those that a dead daemon left.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import Refused, TrinityError
from backend.contract.faults import FaultOrder, FaultReport, Holder, HolderRequest
from backend.contract.shim import ShimSpec
from backend.fleet.docker_engine.contexts import DEFAULT
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.fleet.docker_engine.own_process import ContainerIncarnation, runs_here
from backend.fleet.docker_engine.stopper import StopperSpec
from backend.shim.client import ShimClient
from backend.shim.holders import ask_holder
from backend.shim.leftovers import remove_files
from backend.shim.record import ShimRecord, is_same_process, start_ticks
from backend.shim.stop_all import recorded_shims

_KIND: Final = "container-holder"
_STAND_S: Final = 10.0
_STOP_S: Final = 3.0
_STEP_S: Final = 0.01


class _Standing(msgspec.Struct, frozen=True):
    shim: ShimClient
    holder: Holder
    container_pid: int

    def lives(self) -> bool:
        """Whether the holder itself still runs."""
        return is_same_process(self.holder.pid, int(self.holder.mark or 0))


class OwnFaults:
    """The holders of one fleet's containers."""

    def __init__(self, engine: OwnEngine) -> None:
        self._engine, self._paths = engine, engine.paths
        self._standing: dict[str, _Standing] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def holder(self, replica: str, present: ContainerIncarnation | None) -> Holder:
        """Of the present start, started where there is none yet. Raises TrinityError."""
        pid = None if present is None else present.pid
        if present is None or pid is None:
            raise TrinityError(f"{replica} has no process now.", "Wait until it is started again.")
        async with self._locks.setdefault(replica, asyncio.Lock()):
            standing = self._standing.get(replica)
            if standing is not None and standing.container_pid == pid and standing.lives():
                return standing.holder
            if standing is not None:
                await self._end(replica)
            self._standing[replica] = await self._launch(replica, present, pid)
            return self._standing[replica].holder

    async def fault(self, replica: str, present: ContainerIncarnation | None, order: FaultOrder) -> FaultReport:
        """Apply it. Raises TrinityError where it cannot be."""
        holder = await self.holder(replica, present)
        answer = await ask_holder(holder.socket_path, HolderRequest(id=1, op="fault", order=order))
        return answer.faults[0]

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Take it away; null where it is not known (any more)."""
        standing = self._standing.get(replica)
        if standing is None or not standing.lives():
            return None
        try:
            answer = await ask_holder(standing.holder.socket_path, HolderRequest(id=1, op="heal", fault_id=fault_id))
        except TrinityError:
            if not standing.lives():
                return None
            raise
        return next((report for report in answer.faults if fault_id in ("", report.id)), None)

    async def faults(self, replica: str) -> Sequence[FaultReport]:
        """What the present holder says; nothing where there is none."""
        standing = self._standing.get(replica)
        if standing is None or not standing.lives():
            return ()
        return (await ask_holder(standing.holder.socket_path, HolderRequest(id=1, op="faults"))).faults

    async def end(self, replica: str) -> None:
        """Its container goes: so does its holder."""
        async with self._locks.setdefault(replica, asyncio.Lock()):
            await self._end(replica)

    async def end_all(self) -> None:
        """Those of a dead daemon too."""
        await asyncio.gather(*(self.end(replica) for replica in list(self._standing)))
        await self.end_leftovers()

    async def end_leftovers(self) -> None:
        """Holders of a dead daemon heal what they hold, and end."""
        mine = {standing.shim.record.shim_pid for standing in self._standing.values()}
        records = await asyncio.to_thread(recorded_shims, self._paths.run_dir)
        left = [r for r in records if r.spec.meta.get("kind") == _KIND and r.shim_pid not in mine]
        await asyncio.gather(*(self._end_leftover(record) for record in left))

    async def close(self) -> None:
        """Detach: holders keep their time limits by themselves."""
        await asyncio.gather(*(standing.shim.close() for standing in self._standing.values()))
        self._standing.clear()

    async def _launch(self, replica: str, present: ContainerIncarnation, pid: int) -> _Standing:
        ticks = start_ticks(pid)
        if ticks is None or not runs_here(pid, present.facts.id):
            raise Refused(
                f"The process of {replica} is not this machine's: nobody could prove that it is stopped.",
                "Run the daemon on the engine's machine, or choose a fault of the proxy.",
            )
        name, paths = f"{replica}.holder", self._paths
        control = paths.run_dir / f"{name}.ctl"
        control.unlink(missing_ok=True)
        endpoint = self._engine.client.endpoint
        spec = StopperSpec(
            control_path=str(control),
            context=endpoint.context,
            container=present.facts.id,
            pid=pid,
            pid_start=ticks,
        )
        argv = (sys.executable, "-P", "-m", "backend.fleet.docker_engine.stopper", "--spec")
        shim = await ShimClient.launch(
            ShimSpec(
                name=name,
                workload="",
                argv=(*argv, msgspec.json.encode(spec).decode()),
                env={"DOCKER_HOST": endpoint.host} if endpoint.context == DEFAULT else {},
                cwd="/",
                socket_path=str(paths.shim_socket(name)),
                record_path=str(paths.shim_record(name)),
                exit_path=str(paths.exit_record(name)),
                log_dir=str(paths.replica_log_dir(name)),
                nice=0,
                meta={"kind": _KIND, "replica": replica, "control": str(control)},
            ),
            clock=self._engine.clock,
        )
        try:
            await self._until_it_listens(shim, control)
        except BaseException:
            await _stop(shim, 0.0)
            raise
        holder_pid = shim.record.pid or 0
        mark = str(start_ticks(holder_pid) or "")
        return _Standing(shim, Holder(kind="shim", socket_path=str(control), pid=holder_pid, mark=mark), pid)

    async def _until_it_listens(self, shim: ShimClient, control: Path) -> None:
        deadline = self._engine.clock.mono() + _STAND_S
        while True:
            with contextlib.suppress(TrinityError):  # it is bound some time before it listens
                await ask_holder(str(control), HolderRequest(id=1, op="faults"))
                return
            if shim.gone or self._engine.clock.mono() > deadline:
                name = shim.record.spec.name
                raise TrinityError(f"The holder {name} did not start.", f"See `trinity logs {name}`.")
            await asyncio.sleep(_STEP_S)

    async def _end(self, replica: str) -> None:
        standing = self._standing.pop(replica, None)
        if standing is not None:
            await _stop(standing.shim, _STOP_S)

    async def _end_leftover(self, record: ShimRecord) -> None:
        with contextlib.suppress(TrinityError):
            shim = await ShimClient.adopt(Path(record.spec.record_path), clock=self._engine.clock)
            if shim is not None:
                await _stop(shim, _STOP_S)
        _remove_files(record)


async def _stop(shim: ShimClient, grace_s: float) -> None:
    """No file of it is left."""
    await shim.stop(grace_s)
    _remove_files(shim.record)


def _remove_files(record: ShimRecord) -> None:
    remove_files(record)
    Path(record.spec.meta.get("control", record.spec.socket_path)).unlink(missing_ok=True)
