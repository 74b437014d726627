"""The edge of a fleet whose platform runs one of ours, or none: it is looked at, never changed.

Owns who of the fleet is an edge, the wish for its log, the positions in it (`edge/observed.json`), and the newest
counts. An edge is there once a workload of that role is seen; before, and in fleets without one, this is an AbsentEdge.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from backend.config.atomic_file import write_atomically
from backend.config.own_logs import get_logger
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.edge import EdgeObservation, EdgeWorkload
from backend.contract.errors import Refused, TrinityError, Unreachable
from backend.contract.events import EventRecorder
from backend.contract.fleet import Fleet, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import ByteStream, Forwardable, Limited, Loggable, PlatformOwned, PlatformWorkload
from backend.contract.words import Phase, Severity, Verb
from backend.daemon.observed.addresses import AddressBook, Tenant, addresses_of
from backend.daemon.observed.edge_log import EdgeLog, LogMemory, Names
from backend.daemon.observed.page import PORT, Counts, MetricsPage, counts_in, totals
from backend.daemon.observed.stored import Step, read_on, starts_of
from backend.edge.absent import AbsentEdge
from backend.fleet.tcp_stream import connect

_log = get_logger(__name__)
EDGE_ROLE: Final = "edge"
LOOK_S: Final = 1.0
READ_S: Final = 0.2
WISH_S: Final = 5.0
"""A wish is said again this often: others' wishes may drop it, and it then goes on at once."""
SAVE_S: Final = 1.0
GONE_S: Final = 10.0
"""An edge replica that has not run for so long has written its last line, and it was read."""
PATIENCE_S: Final = 15.0
"""A page that does not answer for so long is worth an event; at its edge's start none does."""
_DIRECT_S: Final = 1.0
_AGAIN_S: Final = 30.0
"""After which an edge whose page cannot be had at all is asked again."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """`edge/observed.json`."""

    edges: dict[str, LogMemory] = {}
    tenants: dict[str, tuple[Tenant, ...]] = {}


class _Replica:
    """One edge replica as it is followed."""

    def __init__(self, log: EdgeLog, page: MetricsPage, mono: float) -> None:
        self.log, self.page = log, page
        self.status: ReplicaStatus | None = None
        self.workload = ""
        """Of the edge, as it was seen last."""
        self.ran_mono = mono
        """When it was last seen to run."""
        self.lost = False
        self.counts: dict[str, Counts] | None = None
        self.asking: asyncio.Task[None] | None = None
        self.answered_mono = mono
        self.not_before_mono = 0.0
        self.elsewhere = False
        """Whether somebody else answers at its addresses, as seen from here."""


class ObservedEdge(AbsentEdge):
    """`run` until cancelled, then `close`. `direct`: its replicas' own addresses may be tried for metrics; `forward`: a
    stream through the platform may be opened for them."""

    def __init__(
        self,
        fleet: Fleet,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        *,
        flush: Callable[[], Awaitable[None]],
        direct: bool = False,
        forward: bool = True,
    ) -> None:
        """`flush` returns once every row given to `sink` is in the ledger's files; it raises TrinityError if not."""
        super().__init__(clock)
        self._fleet, self._paths, self._sink = fleet, paths, sink
        self._flush, self._direct, self._forward = flush, direct, forward
        self._file = paths.edge_dir / "observed.json"
        self._events = EventRecorder(sink, clock)
        self._told: dict[str, str] = {}
        memory = _load(self._file.read_bytes() if self._file.exists() else b"")
        self._former: dict[str, LogMemory] = dict(memory.edges)
        """Of edge replicas that are not followed (now)."""
        self._book = AddressBook(memory.tenants)
        self._replicas: dict[str, _Replica] = {}
        self._edges: dict[str, WorkloadSpec] = {}
        self._names: dict[tuple[str, str], str] = {}
        """(release, role) -> workload."""
        self._workloads: object = None
        self._seen: object = None
        self._changed = False
        self._saved_mono = 0.0

    # -- what is known

    @property
    def present(self) -> bool:
        """Whether the platform runs an edge of ours in this fleet."""
        return bool(self._edges)

    def refusal(self) -> Refused:
        if not self.present:
            return super().refusal()
        return Refused(
            f"The platform runs this fleet's edge ({', '.join(sorted(self._edges))}): it is observed only.",
            "Change it where it is deployed, or give workloads `routes` in a trinity.yaml for an edge of our own.",
        )

    def observe(self) -> EdgeObservation:
        """Up: one of its replicas is Ready. Without servers: which slots it has is its own business."""
        up = any(held.status is not None and held.status.phase is Phase.READY for held in self._replicas.values())
        return EdgeObservation(ts=self._clock.now(), up=up, workloads=self._totals())

    def _totals(self) -> tuple[EdgeWorkload, ...]:
        pages = ((held.counts, partial(self._workload, name)) for name, held in self._replicas.items())
        return totals((counts, name_of) for counts, name_of in pages if counts is not None)

    # -- life

    async def run(self) -> None:
        """Look, read, wish and ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(LOOK_S, self._look), name="edge look")
            group.create_task(self._every(WISH_S, self._wish), name="edge log wish")
            group.create_task(self._every(READ_S, self.read_all), name="edge log")

    async def close(self) -> None:
        """Let go; positions are kept."""
        for held in self._replicas.values():
            await _end(held)
        await self.save()

    async def stop(self, grace_s: float = 2.0) -> None:
        """The same: the platform's edge goes on."""
        await self.close()

    async def _every(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await asyncio.sleep(period_s)

    # -- who there is

    async def _look(self) -> None:
        self.look()

    def look(self) -> None:
        """Find edges and addresses anew; judge those that do not run any more."""
        self._renew_workloads()
        if not self.present and not self._replicas and not self._former:
            return
        now, mono = self._clock.now(), self._clock.mono()
        self._renew_addresses(now)
        edges = {status.name: status for status in self._fleet.observe() if status.workload in self._edges}
        for name in edges:
            if name not in self._replicas:
                self._follow(name, mono)
        blind = isinstance(self._fleet, Limited) and self._fleet.trouble() is not None
        for name in [*self._former]:
            # Nobody knows it any more, or it is an edge no more: what it had open is judged like all others.
            if self._former[name].open:
                self._follow(name, mono)
        for name, held in [*self._replicas.items()]:
            held.status = edges.get(name)
            if held.status is not None:
                held.workload = held.status.workload
            running = held.status is not None and held.status.pid is not None
            if running or blind:
                held.ran_mono, held.lost = mono, False
            elif mono - held.ran_mono >= GONE_S:
                self._gone(name, held)
            self._ask(held)

    def _gone(self, name: str, held: _Replica) -> None:
        if not held.lost:
            held.lost = True
            self._changed = held.log.lose() > 0 or self._changed
        if held.status is None:
            del self._replicas[name]
            self._former[name] = held.log.memory()
            self._changed = True

    def _follow(self, name: str, mono: float) -> None:
        names = Names(self._replica_at, partial(self._workload, name), partial(self._edge_of, name))
        log = EdgeLog(name, self._sink, self._fleet.name, names, self._former.pop(name, None))
        self._replicas[name] = _Replica(log, MetricsPage(partial(self._open_page, name)), mono)

    def _renew_workloads(self) -> None:
        found: Sequence[PlatformWorkload] = self._fleet.workloads() if isinstance(self._fleet, PlatformOwned) else ()
        if found is self._workloads:
            return
        self._workloads = found
        self._edges = {held.spec.name: held.spec for held in found if held.spec.role == EDGE_ROLE}
        self._names = {(held.spec.release, held.spec.role): held.spec.name for held in found if held.spec.role}

    def _renew_addresses(self, now: float) -> None:
        seen = self._fleet.observe()
        if seen is not self._seen:
            self._seen = seen
            self._changed = self._book.see(seen, now) or self._changed

    # -- what things are called

    def _replica_at(self, address: str, ts: float) -> str:
        name = self._book.name_of(address, ts)
        if name is None and any(address in addresses_of(status) for status in self._fleet.observe()):
            self._renew_addresses(self._clock.now())  # it came since the last look
            name = self._book.name_of(address, ts)
        return name or address

    def _edge_of(self, replica: str) -> str:
        held = self._replicas.get(replica)
        return (held.workload if held is not None else "") or next(iter(self._edges), EDGE_ROLE)

    def _workload(self, replica: str, backend: str) -> str:
        """Of the edge's own release; by its name alone where nothing here has that role."""
        edge = self._edges.get(self._edge_of(replica))
        return self._names.get((edge.release if edge is not None else "", backend), backend)

    # -- its log

    async def _wish(self) -> None:
        names = [name for name, held in self._replicas.items() if held.status is not None]
        if not names or not isinstance(self._fleet, Loggable):
            return
        try:
            await self._fleet.want_logs(names)
        except TrinityError as error:
            self._tell("edge.log-unread", f"The edge's log cannot be read, so there is no TTFT: {error}")
        else:
            self._told.pop("edge.log-unread", None)

    async def read_all(self) -> None:
        """Read what was stored since, of every edge replica; then keep the positions, now and then."""
        for name, held in [*self._replicas.items()]:
            at_end = False
            while not at_end:
                try:
                    starts, step = await asyncio.to_thread(self._next_step, name, held.log)
                except OSError as error:
                    _log.warning("log of an edge not read", replica=name, error=str(error))
                    break
                at_end = step.at_end
                self._changed = self._changed or step.position != held.log.position
                held.log.take(step, starts)
                await asyncio.sleep(0)
        if self._changed and self._clock.mono() - self._saved_mono >= SAVE_S:
            await self.save()

    def _next_step(self, name: str, log: EdgeLog) -> tuple[list[int], Step]:
        directory = self._paths.replica_log_dir(name)
        starts = starts_of(directory)
        return starts, read_on(directory, log.position)

    async def save(self) -> None:
        """Write positions and addresses, once the rows up to them are in the ledger's files."""
        if not self._changed:
            return
        self._changed = False
        self._saved_mono = self._clock.mono()
        kept = {name: known for name, known in self._former.items() if self._paths.replica_log_dir(name).is_dir()}
        self._former = kept
        followed = {name: held.log.memory() for name, held in self._replicas.items()}
        data = msgspec.json.encode(Memory(edges={**kept, **followed}, tenants=self._book.tenants()))
        try:
            await self._flush()
            await asyncio.to_thread(write_atomically, self._file, data)
        except (TrinityError, OSError) as error:
            _log.warning("positions in the edge's log not kept", error=str(error))
            self._changed = True

    # -- its counts

    def _ask(self, held: _Replica) -> None:
        """Fetch its page beside everything else, unless that is under way."""
        ready = held.status is not None and held.status.phase is Phase.READY
        if not ready:
            held.counts, held.answered_mono = None, self._clock.mono()
        elif (held.asking is None or held.asking.done()) and self._clock.mono() >= held.not_before_mono:
            held.asking = asyncio.get_running_loop().create_task(self._fetch(held))

    async def _fetch(self, held: _Replica) -> None:
        try:
            page = await held.page.fetch()
            if "haproxy_" not in page:
                held.elsewhere = True
                await held.page.close()
                raise Unreachable(f"Port {PORT} is no edge's.", "See who has its address.")
            held.counts = counts_in(page)
        except TrinityError as error:
            held.counts = None
            mono = self._clock.mono()
            if isinstance(error, Refused) or mono - held.answered_mono >= PATIENCE_S:
                held.not_before_mono = mono + _AGAIN_S
                words = f"{held.log.replica}'s metrics cannot be read, so queue and requests in flight lack: {error}"
                self._tell("edge.metrics-unread", words)
        else:
            held.answered_mono = self._clock.mono()
            self._told.pop("edge.metrics-unread", None)

    async def _open_page(self, name: str) -> ByteStream:
        """Its own address first, where that may be: it costs the platform nothing."""
        status = self._replicas[name].status
        if self._direct and status is not None and not self._replicas[name].elsewhere:
            for address in addresses_of(status):
                with contextlib.suppress(TrinityError, TimeoutError):
                    async with asyncio.timeout(_DIRECT_S):
                        return await connect(name, address, PORT)
        limits: Mapping[str, str] = self._fleet.limits() if isinstance(self._fleet, Limited) else {}
        if not self._forward:
            raise Refused("This fleet is read-only, and no port is forwarded.", "Run a daemon in the cluster.")
        if (why := limits.get(str(Verb.FORWARD))) is not None or not isinstance(self._fleet, Forwardable):
            raise Refused(f"Its port {PORT} cannot be forwarded: {why or 'no driver for that'}.", "Allow it.")
        return await self._fleet.dial(name, PORT)

    def _tell(self, kind: str, message: str) -> None:
        """Once, until it is well again."""
        if kind not in self._told:
            self._told[kind] = message
            self._events.record(kind, Severity.WARNING, EDGE_ROLE, message)


async def _end(held: _Replica) -> None:
    if held.asking is not None:
        held.asking.cancel()
        await asyncio.gather(held.asking, return_exceptions=True)
    await held.page.close()


def _load(data: bytes) -> Memory:
    """An unreadable file means reading from the start."""
    try:
        return msgspec.json.decode(data, type=Memory)
    except msgspec.DecodeError:
        return Memory()
