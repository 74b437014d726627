"""HAProxy's runtime API: commands over the admin socket, and `show stat` / `show info` as structs.

Owns the words sent to a running HAProxy. Decides nothing: callers say what should be, this module says it.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.edge import EdgeServer, EdgeWorkload, SlotAssignment
from backend.contract.errors import TrinityError, Unreachable
from backend.contract.words import SlotState
from backend.edge.config import EMPTY, inner_name
from backend.edge.slots import SlotTable

BACKENDS_AND_SERVERS: Final = "show stat -1 6 -1"
_ANSWER_S: Final = 5.0
"""A HAProxy that lives answers in a millisecond, and one that has died at once: only a stopped machine takes longer."""
_LIMIT: Final = 16 * 1024 * 1024
_BENIGN: Final = ("no need to change", "nothing changed")


class ServerStat(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `show stat` about a server, or a backend's total (`server` is `BACKEND`)."""

    proxy: str
    server: str
    status: str
    current: int
    queued: int
    total: int
    errors: int
    retries: int
    redispatched: int
    weight: int
    check: str
    address: str
    maxconn: int | None
    last_change_s: float | None
    aborted: int


class RuntimeApi:
    """One-shot commands to a running HAProxy. Every failure to reach it is Unreachable."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path

    async def ask(self, *commands: str) -> str:
        """The answer to one or more commands, unparsed. Raises Unreachable."""
        line = ";".join(commands) + "\n"
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(str(self.socket_path), limit=_LIMIT)
                try:
                    writer.write(line.encode())
                    return (await reader.read(-1)).decode("utf-8", "replace")
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                "HAProxy does not answer on its admin socket.", "See `trinity edge stat` and the edge's log."
            ) from error

    async def tell(self, *commands: str) -> None:
        """Commands that answer nothing when they succeed. Raises TrinityError with HAProxy's words otherwise."""
        for start in range(0, len(commands), 24):
            answer = await self.ask(*commands[start : start + 24])
            wrong = [line for line in answer.splitlines() if line.strip() and not _benign(line)]
            if wrong:
                raise TrinityError(f"HAProxy refused a change: {' '.join(wrong)}", "See `trinity edge stat`.")

    async def info(self) -> Mapping[str, str]:
        """`show info` as a mapping, e.g. `Pid`, `Uptime_sec`, `DroppedLogs`."""
        return parse_info(await self.ask("show info"))

    async def stats(self) -> tuple[ServerStat, ...]:
        """All servers and backend totals."""
        return parse_stat(await self.ask(BACKENDS_AND_SERVERS))


class HeldRuntime:
    """An interactive connection to a process that is being replaced: its socket takes no new ones afterwards.

    HAProxy prints a prompt after each answer, which frames it. The process lives at least as long as this does.
    """

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader, self._writer = reader, writer
        self._lock = asyncio.Lock()
        self._owed = 0
        """Answers not read yet: a question given up half-way leaves its own."""

    @classmethod
    async def open(cls, pid: int, socket_path: Path) -> HeldRuntime:
        """Raises Unreachable."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(str(socket_path), limit=_LIMIT)
                writer.write(b"prompt\n")
                await reader.readuntil(b"\n> ")
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unreachable("HAProxy does not answer on its admin socket.") from error
        return cls(pid, reader, writer)

    async def ask(self, command: str) -> str:
        """The answer to one command. Raises Unreachable when the process is gone."""
        async with self._lock:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    self._writer.write(command.encode() + b"\n")
                    self._owed, answer = self._owed + 1, b""
                    while self._owed:
                        answer = await self._reader.readuntil(b"\n> ")
                        self._owed -= 1
                    return answer.decode("utf-8", "replace")[:-2]
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                raise Unreachable("The replaced HAProxy process is gone.") from error

    async def stats(self) -> tuple[ServerStat, ...]:
        return parse_stat(await self.ask(BACKENDS_AND_SERVERS))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()


def parse_info(text: str) -> Mapping[str, str]:
    """`show info` as a mapping."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {key: value for key, colon, value in pairs if colon}


def parse_stat(text: str) -> tuple[ServerStat, ...]:
    """`show stat` CSV into structs. Raises TrinityError when it is not one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("# pxname"):
        raise TrinityError("HAProxy's statistics could not be read.", "See `trinity edge stat`.")
    rows = csv.reader([lines[0].removeprefix("# "), *lines[1:]])
    column = {name: index for index, name in enumerate(next(rows))}
    try:
        return tuple(_stat(row, column) for row in rows)
    except (KeyError, IndexError, ValueError) as error:
        raise TrinityError(
            f"HAProxy's statistics could not be read ({error!r}).", "See `trinity edge stat`."
        ) from error


def observed_servers(table: SlotTable, stats: tuple[ServerStat, ...]) -> tuple[EdgeServer, ...]:
    """The filled slots of `table` with what HAProxy says of them."""
    outer = {(s.proxy, s.server): s for s in stats}
    return tuple(_server(a, outer) for a in table.filled)


def observed_workloads(table: SlotTable, stats: tuple[ServerStat, ...]) -> tuple[EdgeWorkload, ...]:
    """Edge backend totals; the queue counts both requests without a server and those waiting for one."""
    made = []
    for backend in table.backends:
        total = next((s for s in stats if s.proxy == backend.workload and s.server == "BACKEND"), None)
        servers = [s for s in stats if s.proxy == backend.workload and s.server != "BACKEND"]
        if total is None:
            continue
        made.append(
            EdgeWorkload(
                workload=backend.workload,
                in_flight=sum(s.current for s in servers),
                queued=total.queued,
                sessions_total=total.total,
                retries_total=total.retries,
                errors_total=total.errors,
                retries_on=table.retries_of(backend.workload),
            )
        )
    return tuple(made)


def fill_commands(assignment: SlotAssignment, slots_map: str) -> tuple[str, ...]:
    """What makes a slot carry `assignment`: in maintenance while it changes, ready (or draining) last."""
    inner = inner_name(assignment.workload, assignment.slot)
    outer = f"{assignment.workload}/s{assignment.slot}"
    commands = (
        f"set server {inner}/s state maint",
        f"set map {slots_map} {inner} {assignment.replica}",
        f"set server {inner}/s addr {assignment.host} port {assignment.port}",
        f"set server {inner}/s check-port {assignment.check_port}",
        f"set maxconn server {outer} {assignment.maxconn}",
        f"set server {outer} weight 1",
        f"set server {outer} state {'drain' if assignment.state is SlotState.DRAIN else 'ready'}",
    )
    return commands if assignment.state is SlotState.MAINT else (*commands, f"set server {inner}/s state ready")


def move_commands(assignment: SlotAssignment) -> tuple[str, ...]:
    """What leads a ready slot to another address of its replica: never in maintenance, so that nothing is cut and no
    request finds the slot gone; up, because the replica's own probe has passed."""
    inner = inner_name(assignment.workload, assignment.slot)
    return (
        f"set server {inner}/s addr {assignment.host} port {assignment.port}",
        f"set server {inner}/s check-port {assignment.check_port}",
        f"set server {inner}/s health up",
        f"set maxconn server {assignment.workload}/s{assignment.slot} {assignment.maxconn}",
    )


def state_commands(assignment: SlotAssignment) -> tuple[str, ...]:
    """What makes a filled slot drain or ready; the health of the outer server is never set."""
    outer = f"{assignment.workload}/s{assignment.slot}"
    if assignment.state is SlotState.DRAIN:
        return (f"set server {outer} state drain",)
    return (f"set server {outer} weight 1", f"set server {outer} state ready")


def clear_commands(workload: str, slot: int, slots_map: str) -> tuple[str, ...]:
    """What empties a slot."""
    inner = inner_name(workload, slot)
    return (f"set server {inner}/s state maint", f"set map {slots_map} {inner} {EMPTY}")


def down_commands(workload: str, slot: int) -> tuple[str, ...]:
    """What stops HAProxy choosing a dead replica and sends its waiting requests elsewhere."""
    return (f"set server {inner_name(workload, slot)}/s health down",)


def eject_commands(workload: str, slot: int) -> tuple[str, ...]:
    """What stops HAProxy choosing a replica however healthy it says it is, and sends its waiting requests
    elsewhere."""
    return (f"set server {inner_name(workload, slot)}/s state maint",)


def mend_commands(table: SlotTable, stats: tuple[ServerStat, ...], slots_map: str) -> tuple[str, ...]:
    """What a running HAProxy must still be told so that its slots equal the table; nothing when they do."""
    seen = {(s.proxy, s.server): s for s in stats}
    wanted = {(a.workload, a.slot): a for a in table.filled}
    commands: list[str] = []
    for backend in table.backends:
        for slot in range(backend.slots):
            inner = seen.get((inner_name(backend.workload, slot), "s"))
            outer = seen.get((backend.workload, f"s{slot}"))
            if inner is None or outer is None:
                continue
            assignment = wanted.get((backend.workload, slot))
            if assignment is None or assignment.state is SlotState.MAINT:
                if not inner.status.startswith("MAINT"):
                    commands.extend(clear_commands(backend.workload, slot, slots_map))
            elif inner.status.startswith("MAINT") or inner.address != f"{assignment.host}:{assignment.port}":
                commands.extend(fill_commands(assignment, slots_map))
            elif _drains(outer) != (assignment.state is SlotState.DRAIN):
                commands.extend(state_commands(assignment))
    return tuple(commands)


def _drains(outer: ServerStat) -> bool:
    return outer.weight == 0 or outer.status.startswith("DRAIN")


def _server(assignment: SlotAssignment, seen: Mapping[tuple[str, str], ServerStat]) -> EdgeServer:
    outer = seen.get((assignment.workload, f"s{assignment.slot}"))
    inner = seen.get((inner_name(assignment.workload, assignment.slot), "s"))
    status = outer.status if outer else "unknown"
    state = SlotState.MAINT if status.startswith("MAINT") else SlotState.READY
    if outer is not None and state is SlotState.READY and _drains(outer):
        state = SlotState.DRAIN
    return EdgeServer(
        workload=assignment.workload,
        slot=assignment.slot,
        replica=assignment.replica,
        state=state,
        up=status.startswith("UP") and state is SlotState.READY,
        status=status,
        in_flight=outer.current if outer else 0,
        queued=outer.queued if outer else 0,
        sessions_total=outer.total if outer else 0,
        retries_total=outer.retries if outer else 0,
        errors_total=inner.errors if inner else 0,
        check=inner.check if inner else "",
        last_change_s=outer.last_change_s if outer else None,
    )


def _benign(line: str) -> bool:
    return line.startswith(("IP changed", "port changed")) or any(word in line for word in _BENIGN)


def _stat(row: Sequence[str], column: Mapping[str, int]) -> ServerStat:
    def text(name: str) -> str:
        return row[column[name]]

    def number(name: str) -> int:
        return int(text(name) or 0)

    last, limit = text("lastchg"), text("slim")
    return ServerStat(
        proxy=text("pxname"),
        server=text("svname"),
        status=text("status"),
        current=number("scur"),
        queued=number("qcur"),
        total=number("stot"),
        errors=number("econ") + number("eresp"),
        retries=number("wretr"),
        redispatched=number("wredis"),
        weight=number("weight"),
        check=" ".join(word for word in (text("check_status"), text("last_chk")) if word),
        address=text("addr"),
        maxconn=int(limit) if limit else None,
        last_change_s=float(last) if last else None,
        aborted=number("cli_abrt"),
    )
