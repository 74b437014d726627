"""HaproxyEdge: the `Edge` of backend.contract, over one HAProxy process under a shim.

Owns the slot table and makes three things equal it: haproxy.cfg, the running HAProxy, and (after a respawn) the
HAProxy that came up. Never starts or stops a replica, never chooses one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.edge import EdgeObservation, SlotAssignment
from backend.contract.errors import TrinityError, Unreachable
from backend.contract.fleet import WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.words import SlotState
from backend.edge import slots
from backend.edge.events import EdgeEvents
from backend.edge.haproxy_process import HaproxyProcess
from backend.edge.process import EdgeMemory, EdgeStore
from backend.edge.reader import POLL_S, LogReader
from backend.edge.runtime import (
    BACKENDS_AND_SERVERS,
    clear_commands,
    down_commands,
    eject_commands,
    fill_commands,
    mend_commands,
    move_commands,
    observed_servers,
    observed_workloads,
    parse_info,
    parse_stat,
    state_commands,
)
from backend.edge.settings import EdgeSettings, HaproxyBinary, require_safe
from backend.edge.slots import SlotTable
from backend.shim.client import ShimClient

OBSERVE_S: Final = 0.25
_STEP_S: Final = 0.01
_SETTLE_S: Final = 0.5
"""How often to ask whether replaced processes with open requests still live: a walk through /proc."""


class HaproxyEdge:
    """The load balancer. `await start()` adopts a running one or launches it; `close()` leaves it running."""

    def __init__(
        self,
        paths: StatePaths,
        settings: EdgeSettings,
        sink: RowSink,
        clock: Clock,
        fleet_name: str,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`flush`: see `LogReader`."""
        require_safe(settings)
        self._paths, self._settings, self._clock = paths, settings, clock
        self._store = EdgeStore(paths, settings)
        self._memory = EdgeMemory()
        self._snippet = ""
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._verify = True
        self._pid_seen: int | None = None
        self._settle = True
        self._down: set[tuple[str, str]] = set()
        """Workload and replica of the slots marked down, until they are filled again or emptied."""
        self._poke = asyncio.Event()
        self._events = EdgeEvents(sink, clock)
        self._process = HaproxyProcess(
            paths, settings, self._store, self._events, clock, died=self._died, started=self._started
        )
        self._api, self._old = self._process.api, self._process.old
        self._settled_at = 0.0
        self._observation = EdgeObservation(ts=clock.now(), up=False)
        self.reader = LogReader(
            paths.edge_dir, sink=sink, clock=clock, fleet=fleet_name, replica_of=self._replica_of, flush=flush
        )
        self.adopted = False

    # -- life

    async def start(self) -> None:
        """Adopt the edge of this state directory, or launch one.

        Raises PortTaken, FileError, UsageError or Unreachable; then nothing of ours is left running.
        """
        self._memory = self._store.recall()
        self._snippet = await asyncio.to_thread(self._store.snippet)
        await self._process.find_binary()
        shim = await self._process.adoptable()
        self.adopted = shim is not None
        if shim is None:
            shim = await self._launch()
        try:
            await self._process.use(shim)
        except TrinityError:
            self._process.stopping = True
            raise
        if self.adopted:
            self._process.tell_missed(self._memory)
        self._tasks = [
            asyncio.create_task(self._observe_loop(), name="edge-observe"),
            asyncio.create_task(self._read_loop(), name="edge-read"),
        ]

    async def close(self) -> None:
        """Stop watching; HAProxy goes on."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self.reader.read_all()
        await self.reader.save()
        await self._process.close()

    async def stop(self, grace_s: float = 2.0) -> None:
        """End HAProxy and its shim; the ports are free afterwards."""
        await self._process.stop(grace_s)
        await self.reader.settle(_none_lives, 1 << 62)
        await self.close()
        self._store.remember(EdgeMemory())

    # -- the protocol of backend.contract.edge

    def observe(self) -> EdgeObservation:
        """The newest observation, at most 250 ms old while HAProxy answers."""
        return self._observation

    def slots(self) -> Sequence[SlotAssignment]:
        """Filled slots as we last asked for them."""
        return self._memory.table.filled

    async def settled(self) -> None:
        """Whoever changes the table holds the lock until HAProxy was told."""
        async with self._lock:
            return

    async def configure(self, workloads: Sequence[WorkloadSpec]) -> bool:
        """Declare workloads and routes. Raises FileError where HAProxy rejects them; then nothing has changed."""
        async with self._lock:
            snippet = await asyncio.to_thread(self._store.snippet)
            table = slots.declare(self._memory.table, workloads)
            structure = self._store.structure(table.backends, snippet)
            if structure == self._memory.structure and table == self._memory.table:
                return False
            await self._store.check(self._process.need_binary(), table, snippet)
            self._snippet = snippet
            before = self._memory
            await self._remember(msgspec.structs.replace(before, table=table, structure=structure))
            try:
                await self._reload()
            except TrinityError:
                await self._remember(before)
                raise
        return True

    async def fill(
        self, workload: str, replica: str, *, host: str, port: int, check_port: int, maxconn: int
    ) -> SlotAssignment:
        """Put a replica into a free slot and make it ready. Raises Refused where no slot is free."""
        async with self._lock:
            table, made = slots.fill(
                self._memory.table,
                workload,
                replica,
                host=host,
                port=port,
                check_port=check_port,
                maxconn=maxconn,
            )
            before = self._memory.table.find(workload, replica)
            down = (workload, replica) in self._down
            if before == made and not (down or self._verify):
                return made
            ejected = before is not None and before.state is SlotState.MAINT
            if down and before is not None and not ejected:
                # HAProxy's own check may have found it before us: what it serves already must not be cut.
                await self._change(table, (*move_commands(made), *state_commands(made)))
            elif before is not None and not ejected and msgspec.structs.replace(before, state=made.state) == made:
                await self._change(table, state_commands(made))
            elif before is not None and before.state is SlotState.READY:
                await self._change(table, move_commands(made))
            else:
                await self._change(table, fill_commands(made, self._store.files.slots_map))
            self._down.discard((workload, replica))
            self._events.slot(workload, replica, made.slot, "ready")
            return made

    async def drain(self, workload: str, replica: str) -> None:
        """No new work for it, on old processes too."""
        await self._set_state(workload, replica, SlotState.DRAIN)

    async def undrain(self, workload: str, replica: str) -> None:
        """New work for it again."""
        await self._set_state(workload, replica, SlotState.READY)

    async def in_flight(self, workload: str, replica: str) -> int:
        """Requests it still has, those of processes replaced by a reload included. Raises Unreachable."""
        assignment = self._memory.table.find(workload, replica)
        if assignment is None:
            return 0
        stats = await self._api.stats()
        name = f"s{assignment.slot}"
        now = sum(s.current + s.queued for s in stats if s.proxy == workload and s.server == name)
        return now + await self._old.in_flight(assignment, await self._process.replaced())

    async def mark_down(self, workload: str, replica: str) -> None:
        """Stop choosing it now; its requests without a first byte are tried elsewhere."""
        assignment = self._memory.table.find(workload, replica)
        if assignment is None:
            return
        self._down.add((workload, replica))
        commands = down_commands(workload, assignment.slot)
        with contextlib.suppress(Unreachable):  # a dead HAProxy chooses nobody, and its successor checks first
            await self._api.tell(*commands)
        await self._old.tell(commands)

    async def eject(self, workload: str, replica: str) -> None:
        """Stop choosing it whatever its health check says, until it is filled again; its requests without a first
        byte are tried elsewhere, the others are cut. Returns once no process of ours chooses it."""
        async with self._lock:
            table = slots.set_state(self._memory.table, workload, replica, SlotState.MAINT)
            made = table.find(workload, replica)
            if made is None or table == self._memory.table:
                return
            commands = eject_commands(workload, made.slot)
            # The one change whose order is the other way round: each file written first is time in which requests
            # still go to a replica that hangs. A HAProxy that dies in between comes up choosing it once more, and
            # whoever ejected it finds out in the same way as the first time.
            try:
                await self._api.tell(*commands)
            except Unreachable:
                self._verify = True
            await self._old.tell(commands)
            await self._remember(msgspec.structs.replace(self._memory, table=table))
            self._poke.set()
            self._events.slot(workload, replica, made.slot, SlotState.MAINT.value)

    async def clear(self, workload: str, replica: str) -> None:
        """Empty its slot."""
        async with self._lock:
            assignment = self._memory.table.find(workload, replica)
            if assignment is None:
                return
            self._down.discard((workload, replica))
            commands = clear_commands(workload, assignment.slot, self._store.files.slots_map)
            await self._change(slots.clear(self._memory.table, workload, replica), commands)
            self._events.slot(workload, replica, assignment.slot, "empty")

    async def set_retries(self, *, on: bool, workload: str | None = None) -> None:
        """The operator's switch, or (with `workload`) the budget's for one workload: retries happen where both are
        on. Applies to requests that arrive from now on, without a reload."""
        async with self._lock:
            before = self._memory.table
            table = slots.set_retries(before, on=on, workload=workload)
            if table == before:
                return
            switches = self._store.files.switches_map
            changed = [
                b.workload for b in table.backends if table.retries_of(b.workload) != before.retries_of(b.workload)
            ]
            commands = (f"set map {switches} {name} {'on' if table.retries_of(name) else 'off'}" for name in changed)
            await self._change(table, tuple(commands))
        if workload is None:
            self._events.retries(on=on)

    # -- HAProxy's own words, for the CLI

    async def stat_text(self) -> str:
        """`show info` and `show stat` as HAProxy prints them. Raises Unreachable."""
        return await self._api.ask("show info", "show stat")

    async def errors_text(self) -> str:
        """`show errors`: the last invalid request and answer. Raises Unreachable."""
        return await self._api.ask("show errors")

    def config_text(self) -> str:
        """haproxy.cfg with digests of secrets blanked."""
        return self._store.redacted()

    @property
    def haproxy(self) -> HaproxyBinary | None:
        """The binary in use, once started."""
        return self._process.binary

    @property
    def public_url(self) -> str:
        """Base URL of the public port."""
        return self._process.url(0)

    @property
    def stats_url(self) -> str:
        """URL of the statistics page."""
        return self._process.url(1)

    # -- inside

    async def _launch(self) -> ShimClient:
        # Nothing of ours runs, so old slots say nothing true; the structure is declared by `configure`.
        table = SlotTable(backends=self._memory.table.backends)
        structure = self._store.structure(table.backends, self._snippet)
        await self._store.check(self._process.need_binary(), table, self._snippet)
        await self.reader.settle(_none_lives, 1 << 62)
        await self._remember(EdgeMemory(table=table, structure=structure))
        return await self._process.launch()

    async def _replace_lost_shim(self) -> None:
        """Another shim on the same ports, with the same slots. Tried again by the caller until it works."""
        try:
            async with self._lock:
                await self.reader.settle(_none_lives, 1 << 62)
                await self._process.replace_lost_shim()
        except TrinityError as error:
            self._events.trouble("edge.not_started", f"The edge could not be started again: {error}")
            await asyncio.sleep(1.0)

    async def reload(self) -> int:
        """A new process with the present files; the old one finishes what it has. Returns the old one's pid."""
        async with self._lock:
            before = self._observation.pid
            await self._reload()
        return before or 0

    async def _reload(self) -> None:
        await self._process.reload()
        self._verify = True
        self._poke.set()

    async def _set_state(self, workload: str, replica: str, state: SlotState) -> None:
        async with self._lock:
            table = slots.set_state(self._memory.table, workload, replica, state)
            made = table.find(workload, replica)
            if made is None or table == self._memory.table:
                return
            await self._change(table, state_commands(made))
            self._events.slot(workload, replica, made.slot, state.value)

    async def _change(self, table: SlotTable, commands: tuple[str, ...]) -> None:
        """Files first, so that a HAProxy that dies in between comes up right; then the running ones."""
        await self._remember(msgspec.structs.replace(self._memory, table=table))
        try:
            await self._api.tell(*commands)
        except Unreachable:
            self._verify = True
        await self._old.tell(commands)
        self._poke.set()

    async def _remember(self, memory: EdgeMemory) -> None:
        self._memory = memory
        await asyncio.to_thread(self._store.write, memory, self._snippet)

    async def _observe_loop(self) -> None:
        while True:
            try:
                await self._old.retire()
                await self._observe_once()
            except Unreachable:
                self._observation = msgspec.structs.replace(self._observation, ts=self._clock.now(), up=False)
                self._verify = True
            except Exception as error:  # the loop must outlive any answer it cannot read; told once as an event
                self._events.trouble("edge.trouble", f"The edge could not be observed: {error!r}")
            self._poke.clear()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that meets a set event.
                async with asyncio.timeout(OBSERVE_S if self._observation.up else 2 * _STEP_S):
                    await self._poke.wait()

    async def _observe_once(self) -> None:
        answer = await self._api.ask("show info", BACKENDS_AND_SERVERS)
        head, mark, table_text = answer.partition("# pxname")
        info, stats = parse_info(head), parse_stat(mark + table_text)
        pid = int(info.get("Pid", "0"))
        if self._verify or pid != self._pid_seen:
            await self._mend(pid)
        table, record = self._memory.table, self._process.record
        self._observation = EdgeObservation(
            ts=self._clock.now(),
            up=True,
            pid=pid,
            # While a reload takes over, the old process may have answered: its count, not the new one's.
            starts=record.starts if record.pid == pid else self._observation.starts,
            uptime_s=float(info.get("Uptime_sec", "0")),
            servers=observed_servers(table, stats),
            workloads=observed_workloads(table, stats),
            retries_on=table.retries_on and self._settings.retries,
            public_url=self.public_url,
            stats_url=self.stats_url,
        )

    async def _mend(self, pid: int) -> None:
        """Compare a HAProxy that came up with the table, and tell it what differs."""
        async with self._lock:
            commands = mend_commands(self._memory.table, await self._api.stats(), self._store.files.slots_map)
            if commands:
                await self._api.tell(*commands)
                self._events.mended(len(commands))
            self._pid_seen, self._verify = pid, False
            await asyncio.to_thread(self._store.remember, self._with_process(pid))

    def _with_process(self, pid: int | None) -> EdgeMemory:
        self._memory = msgspec.structs.replace(self._memory, pid=pid, starts=self._process.record.starts)
        return self._memory

    async def _read_loop(self) -> None:
        while True:
            try:
                if self._process.is_lost:
                    await self._replace_lost_shim()
                await self.reader.read_all()
                await self._settle_ended()
                if self.reader.needs_new_file() and not self._process.reloading:
                    async with self._lock:
                        await self._reload()
            except Exception as error:  # a full disk or one bad file must not end the reading for good
                self._events.trouble("edge.log_trouble", f"The access log could not be read: {error!r}")
                await asyncio.sleep(1.0)
            await asyncio.sleep(POLL_S)

    async def _settle_ended(self) -> None:
        """Look after requests and logs of processes that may have ended: at once after a start, else now and then."""
        if not self._settle and self._clock.mono() - self._settled_at < _SETTLE_S:
            return
        self._settled_at = self._clock.mono()
        start = self._process.record.start_number
        others = self.reader.open_pids - {self._pid_seen or 0}
        if self._settle or others or self.reader.has_old_files(start):
            self._settle = False
            await self.reader.settle(self._process.living, start)

    def _died(self) -> int:
        """HAProxy ended; returns about how many requests it had."""
        last = self._observation
        self._observation = msgspec.structs.replace(last, ts=self._clock.now(), up=False)
        self._verify = True
        return max(self.reader.open_count, sum(w.in_flight + w.queued for w in last.workloads))

    def _started(self) -> None:
        self._settle = True

    def _replica_of(self, workload: str, slot: int) -> str | None:
        # Only a daemon changes slots, so an unread record never predates more than what this daemon just did.
        return next((a.replica for a in self._memory.table.filled if a.workload == workload and a.slot == slot), None)


async def _none_lives() -> set[int]:
    return set()
