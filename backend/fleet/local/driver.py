"""The local fleet: replicas as processes of this machine, each under its shim.

Owns their adoption and the sampling of CPU and memory. What is true of all supervised replicas is `supervision`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import Unreachable
from backend.contract.faults import FaultOrder, FaultReport, Holder, StartFault
from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.ledger import RowSink
from backend.contract.platform import ByteStream, ExecStream
from backend.fleet.local import exec_stream, launching
from backend.fleet.local.starter import ShimStarter
from backend.fleet.local.usage import UsageMeter
from backend.fleet.supervision.fleet import SupervisedFleet
from backend.fleet.supervision.incarnation import Usage
from backend.fleet.supervision.replica import Replica
from backend.fleet.supervision.seed import ReplicaSeed, program_env
from backend.fleet.tcp_stream import connect
from backend.shim.client import ShimClient, wait_gone
from backend.shim.record import ShimRecord, read_exit, shim_alive
from backend.shim.stop_all import recorded_shims

_ADOPT_ANSWER_S: Final = 1.0
"""How long adoption waits for a replica's first readiness answer."""


class LocalFleet(SupervisedFleet[ShimStarter]):
    """A Fleet that is also Killable, Restartable, Holdable, Maintainable, Spliceable, Faultable, Forwardable
    and Executable.

    `fault_switches` lets programs arm theirs: never in production.
    Call `adopt` once before anything else; end with `close` (replicas go on) or `stop_all` (they end).
    """

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str = "local",
        *,
        rng: random.Random | None = None,
        fault_switches: bool = False,
    ) -> None:
        super().__init__(sink, clock, name, rng=rng)
        self._paths, self._fault_switches = paths, fault_switches
        self._meter = UsageMeter()

    async def holder(self, replica: str) -> Holder:
        """Its present shim. Raises TrinityError while it has no process, UsageError for an unknown one."""
        return self._get(replica).starter.marks.holder()

    async def fault(self, replica: str, order: FaultOrder) -> FaultReport:
        """Let its shim apply a fault. Raises TrinityError where that cannot be."""
        return await self._get(replica).starter.marks.fault(order)

    async def heal(self, replica: str, fault_id: str) -> FaultReport | None:
        """Let its shim take a fault away; null where there is none (any more)."""
        found = self._replicas.get(replica)
        return None if found is None else await found.starter.marks.heal(fault_id)

    async def faults(self, replica: str) -> Sequence[FaultReport]:
        """What its present shim holds, and the last it held."""
        return await self._get(replica).starter.marks.faults()

    async def set_start_fault(self, replica: str, fault: StartFault | None) -> None:
        """Spoil its next starts, or stop doing so. Raises UsageError for values that cannot be."""
        self._get(replica).starter.marks.set_start_fault(fault)

    async def exit(self, replica: str, code: int) -> None:
        """Throw its program's fault switch. Raises Refused where that is not allowed or there is none."""
        await self._get(replica).starter.marks.exit(code)

    async def dial(self, replica: str, port: int) -> ByteStream:
        """To its main port (0 means it too) or its health port. Raises Unreachable."""
        status = self._get(replica).status()
        known = {each for each in (status.port, status.health_port) if each}
        if port and port not in known:
            listed = " and ".join(map(str, sorted(known)))
            raise Unreachable(f"{replica} has port {listed}, not {port}.", "Leave the port away for its main one.")
        return await connect(replica, status.host, port or status.port or 0)

    async def exec(
        self, replica: str, argv: Sequence[str], *, tty: bool, columns: int = 80, rows: int = 24, container: str = ""
    ) -> ExecStream:
        """Beside its process: as the daemon's user, in the replica's environment and directory. Raises UsageError for
        an unknown replica or program."""
        seed = self._get(replica).seed
        env = {**os.environ, **program_env(seed)}
        return await exec_stream.start(argv, env, seed.workload.cwd, tty=tty, columns=columns, rows=rows)

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Take over what a former daemon left: running replicas keep their pids, others are started again."""
        found = []
        for record in await asyncio.to_thread(recorded_shims, self._paths.run_dir):
            seed = launching.seed_of(record, self._name)
            if seed is not None and seed.name not in self._replicas:
                found.append((self._add(seed), record))
        await asyncio.gather(*(self._adopt_one(replica, record) for replica, record in found))
        self._ensure_sampling()
        return [replica.status() for replica, _ in found]

    async def close(self) -> None:
        """Detach: replicas go on under their shims."""
        await self._detach_all()

    async def stop_all(self, *, reason: str = "shutdown") -> None:
        """End every replica; none of their processes is left on return."""
        await self._remove_all(reason)

    def _starter(self, seed: ReplicaSeed) -> ShimStarter:
        return ShimStarter(seed.name, self._paths, self._clock, fault_switch=self._fault_switches)

    async def _measure(self) -> Mapping[str, Usage]:
        """CPU and memory of the process trees, off the loop."""
        pids = {replica.pid: replica.seed.name for replica in self._living() if replica.pid is not None}
        usage = await asyncio.to_thread(self._meter.measure, list(pids))
        return {name: usage[pid] for pid, name in pids.items() if pid in usage}

    async def _adopt_one(self, replica: Replica[ShimStarter], record: ShimRecord) -> None:
        exit_record = read_exit(record.spec.exit_path)
        try:
            client = await ShimClient.adopt(self._paths.shim_record(replica.seed.name), clock=self._clock)
        except Unreachable:
            # A shim that does not answer cannot be supervised: it is ended, which ends its program too.
            if shim_alive(record):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.shim_pid, signal.SIGKILL)
                await wait_gone(record.shim_pid, record.shim_start, 5.0)
            client = None
        if client is not None and client.record.pid is not None:
            await replica.begin_adopted(replica.starter.adopt(client), answer_s=_ADOPT_ANSWER_S)
            return
        noted = replica.seed.last_exit if record.pid is None else None
        told = noted is not None and exit_record in (None, noted)
        missed = exit_record or ExitRecord(ts=self._clock.now(), reason="Unknown", pid=record.pid)
        replica.begin_missed(None if told else missed, lambda seed: launching.note_exit(record, seed))
