"""The load generator (`backend.load`) as a drill's LoadRunner: one child process per named load.

Owns the translation of a scenario's load into a LoadSpec and of its rows into drill rows. Judges nothing.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import zlib
from collections.abc import Callable, Mapping

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import InternalError, Refused, TrinityError, Unreachable
from backend.contract.rows import RequestRow
from backend.drills.ports import LoadOrder
from backend.drills.records import DrillRow, LoadSummary
from backend.drills.scenario import LoadKind
from backend.load import LoadProcess, LoadSpec, ProgressMessage, RowMessage, schedule
from backend.load.outcome import is_sent_again
from backend.load.spec import RequestKind

CALIBRATION_ROUNDS = 3
CALIBRATION_RATE = 500.0
GRACE_MARGIN_S = 2.0

_KINDS: Mapping[LoadKind, RequestKind] = {
    "chat-stream": "chat",
    "chat-plain": "chat",
    "chat-mixed": "chat",
    "embeddings": "embeddings",
}


def spec_of(order: LoadOrder) -> LoadSpec:
    """The generator's spec of an order: a bounded schedule, so that what is due can be known."""
    mix = order.request
    share = {"chat-stream": 1.0, "chat-plain": 0.0, "chat-mixed": mix.stream_share, "embeddings": 0.0}[order.kind]
    return LoadSpec(
        url=order.url,
        kind=_KINDS[order.kind],
        rate=order.rate,
        arrival=order.arrival.model,
        duration_s=order.horizon_s,
        prompt_tokens_min=mix.prompt_tokens_min,
        prompt_tokens_max=mix.prompt_tokens_max,
        model=order.model,
        max_tokens=mix.max_tokens,
        temperature=mix.temperature,
        stream_fraction=share,
        deadline_s=mix.deadline,
        slow_over_s=mix.slow_over,
        retries=mix.retries,
        golden=order.check.golden is not None,
        cosine_min=order.check.cosine_min,
        grace_s=mix.deadline * (1 + mix.retries) + GRACE_MARGIN_S,
        # Loads of one scenario must not arrive in step with each other.
        seed=order.seed + zlib.crc32(order.name.encode()),
        api_key=order.api_key or None,
        run_id=f"{order.run_id}-{order.name}",
        fleet=order.fleet,
        workload=order.workload,
        drill_run=order.run_id,
    )


def drill_row(load: str, row: RequestRow, retries: int = 0) -> DrillRow:
    """A generator's row with its monotonic instants; its client sends what failed again up to `retries` times."""
    if row.mono_s is None or row.intended_ts is None:
        raise InternalError(f"The load generator's row {row.request_id} has no monotonic or intended time.")
    # Both stamps of a row carry the same wall offset, so their difference is exact.
    intended = row.mono_s - (row.ts - row.intended_ts)
    return DrillRow(
        load=load,
        request=row,
        intended_s=intended,
        sent_s=row.mono_s,
        ended_s=row.mono_s + (row.total_s or 0.0),
        resent=is_sent_again(row, retries),
    )


class GeneratedLoad:
    """One running generator."""

    def __init__(self, order: LoadOrder, spec: LoadSpec, on_row: Callable[[DrillRow], None], clock: Clock) -> None:
        self._order, self._spec, self._on_row, self._clock = order, spec, on_row, clock
        self._offsets = schedule(spec)
        self._zero: float | None = None
        self._rows = 0
        self._started = asyncio.Event()
        self._process: LoadProcess | None = None
        self._reader: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the child and wait until its schedule's zero is known. Raises TrinityError when it fails."""
        self._process = await LoadProcess.start(self._spec)
        self._reader = asyncio.create_task(self._read(self._process))
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._zero is None:
            await self._process.wait()
            raise InternalError(f"Load {self._order.name} ended before it began.")

    async def _read(self, process: LoadProcess) -> None:
        """Until its last message. A failed generator is told by `begin` and `stop`, which wait for its end too."""
        with contextlib.suppress(TrinityError):
            await self._messages(process)

    async def _messages(self, process: LoadProcess) -> None:
        async for message in process:
            if isinstance(message, RowMessage):
                row = drill_row(self._order.name, message.row, self._spec.retries)
                self._rows += 1
                self._begun(row.intended_s - self._offsets[_index(message.row)])
                self._on_row(row)
            elif isinstance(message, ProgressMessage) and message.start_mono_s is not None:
                # Told, not reckoned from what two clocks show: whoever reads them one after the other may be stopped
                # in between, and every arrival would be due at another time than it is sent.
                self._begun(message.start_mono_s)

    def _begun(self, zero: float) -> None:
        if self._zero is None:
            self._zero = zero
            self._started.set()

    def due(self, until_s: float) -> int:
        """Arrivals of the schedule before that monotonic instant."""
        return 0 if self._zero is None else bisect.bisect_left(self._offsets, until_s - self._zero)

    async def stop(self) -> LoadSummary:
        """No more arrivals; the generator's own account once everything in flight has ended."""
        assert self._process is not None
        assert self._reader is not None
        summary = await self._process.stop()
        await asyncio.wait({self._reader})
        problem = "the generator reached its cap of requests in flight" if summary.overloaded else ""
        if not summary.interrupted:
            problem = "its schedule ended before the drill did"
        return LoadSummary(
            name=self._order.name,
            rate=self._order.rate,
            arrivals=summary.total - summary.resends,
            resends=summary.resends,
            rows=self._rows,
            lag_p50_s=summary.lag.p50_s,
            lag_p99_s=summary.lag.p99_s,
            lag_max_s=summary.lag.max_s,
            problem=problem,
        )

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()
        if self._reader is not None:
            await asyncio.wait({self._reader})


def _index(row: RequestRow) -> int:
    return int(row.request_id.rpartition("-")[2].partition(".")[0])


class GeneratorLoads:
    """LoadRunner over real generator processes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def start(self, order: LoadOrder, on_row: Callable[[DrillRow], None]) -> GeneratedLoad:
        run = GeneratedLoad(order, spec_of(order), on_row, self._clock)
        try:
            await run.begin()
        except BaseException:
            await run.kill()
            raise
        return run

    async def calibrate(self, order: LoadOrder, concurrency: int) -> float:
        """Requests/s of a burst that fills every slot some rounds long; queueing is at the edge, as in real life."""
        spec = spec_of(order)
        count = max(1, concurrency) * CALIBRATION_ROUNDS
        burst = msgspec.structs.replace(
            spec,
            rate=CALIBRATION_RATE,
            arrival="constant",
            count=count,
            duration_s=None,
            slow_over_s=None,
            retries=0,
            run_id=f"{order.run_id}-calibrate-{order.name}",
        )
        process = await LoadProcess.start(burst)
        try:
            summary = await process.wait()
        finally:
            await process.kill()
        if summary.ok != count:
            said = ", ".join(f"{count} {name}" for name, count in summary.terminations.items())
            raise Refused(
                f"Calibration of {order.name}: {summary.ok} of {count} requests were answered ({said or 'no reason'}).",
                "The fleet is not healthy under load; look at `trinity status` and its logs.",
            )
        if summary.duration_s <= 0:
            raise Unreachable("Calibration took no time at all.", "Check the public URL.")
        return summary.ok / summary.duration_s
