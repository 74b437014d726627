"""What people connect to replicas with: forwards and exec sessions of one fleet, and their verbs.

Owns their common life. Call `open` once the fleet was adopted.
"""

from __future__ import annotations

from collections.abc import Callable

from backend.actions.executor import Executor
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.fleet import Fleet
from backend.daemon.exec_desk import ExecDesk, Perform
from backend.daemon.forward import Specs
from backend.daemon.forwards import Forwards, Tell


class Connections:
    """`perform` is the gateway's, `tell` writes an event, `changed` hears of what a screen should show."""

    def __init__(
        self,
        fleet: Fleet,
        specs: Specs,
        paths: StatePaths,
        clock: Clock,
        *,
        perform: Perform,
        tell: Tell,
        changed: Callable[[], None],
    ) -> None:
        self.forwards = Forwards(fleet, specs, paths.forwards_file, tell, changed)
        self.exec = ExecDesk(fleet, paths, clock, perform)

    async def open(self) -> None:
        """Forwards of the former daemon listen again; sockets of its sessions, which ended with it, go."""
        self.exec.tidy()
        await self.forwards.open()

    async def close(self) -> None:
        """Forwards end and are kept. Sessions end with the gateway, which stops their deeds."""
        await self.forwards.close()

    def executors(self) -> list[Executor]:
        """`forward`, `unforward` and `exec` for the gateway."""
        return [*self.forwards.executors(), *self.exec.executors()]
