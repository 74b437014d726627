"""HAProxy processes that a reload replaced and that still finish requests.

Owns one interactive runtime connection per such process, opened before its replacement, because a replaced
process accepts no new ones. A process of which no connection is left (a daemon restarted in between) is counted by
its TCP connections to a replica: `http-reuse never` makes each of them one request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path

import psutil

from backend.contract.edge import SlotAssignment
from backend.contract.errors import Unreachable
from backend.edge.runtime import HeldRuntime


class OldProcesses:
    """The replaced processes this daemon still talks to."""

    def __init__(self) -> None:
        self._held: dict[int, HeldRuntime] = {}

    async def hold(self, pid: int, admin_socket: Path) -> None:
        """Keep a line to a process that is about to be replaced."""
        with contextlib.suppress(Unreachable):  # it is dead or dying: nothing will remain to be asked
            self._held[pid] = await HeldRuntime.open(pid, admin_socket)

    async def tell(self, commands: tuple[str, ...]) -> None:
        """The same change on every replaced process; those that are gone are forgotten."""
        for pid, held in list(self._held.items()):
            try:
                for command in commands:
                    await held.ask(command)
            except Unreachable:
                self._forget(pid)

    async def retire(self) -> None:
        """Let go of processes that have no request left, so that they end."""
        for pid, held in list(self._held.items()):
            try:
                stats = await held.stats()
            except Unreachable:
                self._forget(pid)
                continue
            if not any(s.current or s.queued for s in stats):
                self._forget(pid)

    async def in_flight(self, assignment: SlotAssignment, replaced: Collection[int]) -> int:
        """Requests that replaced processes still have at a replica."""
        count = 0
        asked = set()
        for pid, held in list(self._held.items()):
            try:
                stats = await held.stats()
            except Unreachable:
                self._forget(pid)
                continue
            asked.add(pid)
            name = f"s{assignment.slot}"
            count += sum(s.current + s.queued for s in stats if s.proxy == assignment.workload and s.server == name)
        silent = [pid for pid in replaced if pid not in asked]
        if silent:
            count += await asyncio.to_thread(connections_to, silent, assignment.host, assignment.port)
        return count

    def close(self) -> None:
        """Let go of all of them."""
        for pid in list(self._held):
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        if held := self._held.pop(pid, None):
            held.close()


def connections_to(pids: Collection[int], host: str, port: int) -> int:
    """Established TCP connections of these processes to one address."""
    count = 0
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.Error:
            continue
        count += sum(
            1
            for c in connections
            if c.raddr and c.raddr.port == port and c.raddr.ip == host and c.status == psutil.CONN_ESTABLISHED
        )
    return count
