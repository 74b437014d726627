"""The running program of a replica: its incarnation and its probes.

Owns what exists once per start. Reports to its replica by callbacks and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from backend.contract.clock import Clock
from backend.contract.faults import PROXY_HOST
from backend.contract.fleet import ExitRecord
from backend.fleet.supervision.incarnation import Incarnation
from backend.fleet.supervision.marks import Splice
from backend.fleet.supervision.seed import ReplicaSeed, program_env
from backend.probes.ask import ProbeTarget
from backend.probes.lifecycle import Verdict
from backend.probes.runner import ProbeRunner


class ReplicaProcess:
    """One start of a replica's program, probed."""

    def __init__(
        self,
        incarnation: Incarnation,
        seed: ReplicaSeed,
        clock: Clock,
        *,
        splice: Splice | None = None,
        on_death: Callable[[], None],
        on_exit: Callable[[ExitRecord], None],
        on_verdict: Callable[[Verdict], None],
    ) -> None:
        self.incarnation = incarnation
        self.ready_since_s: float | None = None
        self._seed, self._clock, self._on_verdict = seed, clock, on_verdict
        self._splice = splice
        self._on_death, self._on_exit = on_death, on_exit
        self.probes = self._new_probes()

    @property
    def pid(self) -> int | None:
        return self.incarnation.pid

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.incarnation.host or self._seed.workload.host

    @property
    def started_ts(self) -> float:
        return self.incarnation.started_ts

    def watch(self) -> None:
        """Begin probing and watching for death."""
        self.probes.start()
        self.incarnation.watch(self._died, self._on_exit)

    def watch_again(self) -> None:
        """It could not be ended: probe from the beginning, and watch as before."""
        self.probes = self._new_probes()
        self.watch()

    def probe_anew(self) -> None:
        """Forget what the probes said and begin again."""
        self.probes.stop()
        self.probes = self._new_probes()
        self.probes.start()

    def lead(self, splice: Splice | None) -> None:
        """Probe through a fault proxy from now on, or straight again; what the probes said stays."""
        self._splice = splice
        self.probes.retarget(self._target())

    def unwatch(self) -> None:
        """Stop probing and watching; nothing is called from here on."""
        self.probes.stop()
        self.incarnation.unwatch()

    async def release(self) -> None:
        """Let go of a program that has ended."""
        self.unwatch()
        await self.incarnation.release()

    async def detach(self) -> None:
        """Let go of a program that goes on."""
        self.unwatch()
        await self.incarnation.detach()

    def _new_probes(self) -> ProbeRunner:
        return ProbeRunner(self._seed.workload.probes, self._target(), self._on_verdict, self._clock)

    def _target(self) -> ProbeTarget:
        seed, splice = self._seed, self._splice
        host, port, health_port = self.host, seed.port, seed.health_port
        if splice is not None:
            host = PROXY_HOST
            shared = health_port == port
            port = splice.port
            health_port = splice.health_port or (port if shared else health_port)
        return ProbeTarget(
            host=host,
            port=port,
            health_port=health_port,
            env=program_env(seed),
            published=bool(seed.workload.image) and self.incarnation.host is None,
        )

    def _died(self) -> None:
        self.probes.stop()
        self._on_death()
