"""An instant of the past as the panels see it: a state filled from a moment, and a source that knows nothing later.

Owns what may not be done there; asks the real source, never changes anything, never draws.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec

from backend.contract.clock import Clock, SystemClock
from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ExecOrder,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import Refused, UsageError
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, LogRow, Scalar
from console.state.source import ExecSession, FleetSource, LedgerRow
from console.state.store import FleetState

RUNS: Final = 100
DAY_S: Final = 86_400


class HeldClock(SystemClock):
    """Stands at an instant, so that ages in the panels are those of then. The monotonic clock goes on."""

    def __init__(self, ts: float) -> None:
        self.at = ts

    def now(self) -> float:
        return self.at


class PastShown:
    """What the panels read while an instant is held. `take` moves it to another one."""

    def __init__(self, source: FleetSource, moment: Moment, clock: Clock, *, replay: bool = False) -> None:
        self.moment = moment
        self.clock = HeldClock(moment.ts)
        self.replay = replay
        self._real = clock
        self.source: FleetSource = InstantSource(source, moment, self.refusal)
        self.state = self._filled()

    @property
    def ts(self) -> float:
        return self.moment.ts

    def take(self, moment: Moment) -> None:
        """Another instant, in place: the same source object answers for it."""
        self.moment = moment
        self.clock.at = moment.ts
        assert isinstance(self.source, InstantSource)
        self.source.held = moment
        self.state = self._filled()

    def refusal(self) -> str:
        """Why nothing can be done here, and what to press."""
        if self.replay:
            return "This is a recording: nothing can be done in it."
        return f"You are looking at {clock_words(self.ts, self._real.now())}. Press t to go back to live."

    def badge(self) -> str:
        """What the fleet line says, in coarse steps: `PAST 14:03:05 · 2h ago`."""
        now = self._real.now()
        word = "REPLAY" if self.replay else "PAST"
        return f"{word} {time_words(self.ts, now)} · {ago_word(now - self.ts)}"

    def _filled(self) -> FleetState:
        moment = self.moment
        state = FleetState(moment.snapshot)
        state.load_history(moment.points, moment.events, moment.actions)
        state.link, state.past = "live", self.badge()
        return state


class InstantSource:
    """A source that answers as it would have at the moment's instant, and does nothing."""

    def __init__(self, inner: FleetSource, moment: Moment, refusal: Callable[[], str]) -> None:
        self.inner, self.held, self._refusal = inner, moment, refusal

    async def version(self) -> VersionInfo:
        return await self.inner.version()

    async def snapshot(self) -> Snapshot:
        return self.held.snapshot

    async def stream(self, interval_s: float = 1.0) -> AsyncIterator[Frame]:
        """Nothing comes after an instant."""
        yield Frame(seq=1, snapshot=self.held.snapshot)
        await _never()

    async def series(self, seconds: int) -> list[SeriesPoint]:
        return list(self.held.points[-seconds:])

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[LedgerRow]:
        until = self._until(until_ts)
        return await self.inner.rows(table, since_ts=since_ts, until_ts=until, limit=limit, where=where)

    async def logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0, until_ts: float | None = None, limit: int = 500
    ) -> LogWindow:
        return await self.inner.logs(replicas, since_ts=since_ts, until_ts=self._until(until_ts), limit=limit)

    async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator[list[LogChunk]]:
        """The newest lines by then, then nothing."""
        window = await self.logs(replicas, limit=lines * max(1, len(replicas or ())))
        texts: dict[str, list[bytes]] = {}
        for row in window.rows:
            texts.setdefault(row.replica, []).append(stored_line(row))
        yield [LogChunk(replica=name, data=b"".join(found[-lines:])) for name, found in texts.items()]
        await _never()

    async def preview(self, request: ActionRequest) -> ActionPreview:
        raise Refused(self._refusal())

    async def perform(self, request: ActionRequest) -> ActionRow:
        raise Refused(self._refusal())

    async def extent(self) -> RecordExtent:
        return await self.inner.extent()

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        return await self.inner.moment(ts, window_s=window_s)

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        last: dict[str, DrillView] = {}
        for view in reversed(await self.drill_runs(limit=RUNS)):
            last[view.name] = view
        return [self._as_then(info, last) for info in await self.inner.drills(plans=False)]

    async def drill(self, name: str) -> DrillInfo:
        found = next((info for info in await self.drills() if info.name == name), None)
        if found is None:
            raise UsageError(f"There is no drill named `{name}`.", "See `trinity drill list`.")
        return found

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        runs = await self.inner.drill_runs(limit=max(limit, RUNS))
        return [view for view in runs if view.ended_ts is not None and view.ended_ts <= self.held.ts][:limit]

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        return await self.inner.drill_report(run_id)

    async def drill_compare(self, base: str, run_id: str) -> dict[str, Any]:
        return await self.inner.drill_compare(base, run_id)

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        return await self.inner.drill_file(run_id, kind)

    async def raw(self, replica: str) -> dict[str, object]:
        for view in self.held.snapshot.replicas:
            if view.status.name == replica:
                built = msgspec.to_builtins(view)
                assert isinstance(built, dict)
                return built
        raise UsageError(f"There was no replica {replica} then.", "Step to another instant.")

    async def describe(self, name: str) -> Description:
        """Platforms keep no past of this."""
        raise Refused(f"What the platform said of {name} then was not recorded.")

    async def exec(self, order: ExecOrder) -> ExecSession:
        raise Refused(self._refusal())

    async def aclose(self) -> None:
        """The real source belongs to its link."""

    def _until(self, until_ts: float | None) -> float:
        """`until_ts` is exclusive; what happened at the instant itself had happened."""
        held = math.nextafter(self.held.ts, math.inf)
        return held if until_ts is None else min(until_ts, held)

    def _as_then(self, info: DrillInfo, last: dict[str, DrillView]) -> DrillInfo:
        plan = (f"Refused: {self._refusal()}",)
        return msgspec.structs.replace(info, last=last.get(info.name), plan=plan)


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def stored_line(row: LogRow) -> bytes:
    """The line as its file has it."""
    whole = math.floor(row.ts)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    micros = min(999_999, int((row.ts - whole) * 1e6))
    message = row.message.replace("\n", " ")
    return f"{stamp}.{micros:06d}Z {row.stream} F {message}\n".encode()


# -- words ---------------------------------------------------------------------------------------------------------


def time_words(ts: float, now: float) -> str:
    """`14:03:05`, with its date where that was another day."""
    then = time.localtime(ts)
    same_day = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d", time.localtime(now))
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", then)


def clock_words(ts: float, now: float) -> str:
    """`14:03:05 (2 h 3 m ago)`."""
    return f"{time_words(ts, now)} ({ago_words(now - ts)})"


def ago_words(seconds: float) -> str:
    """In steps, since a step is a repaint: `just now`, `20 s ago`, `3 m ago`, `2 h 3 m ago`, `4 d 2 h ago`."""
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{int(seconds // 10) * 10} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} m ago"
    size, unit, smaller, word = (DAY_S, "d", 3600, "h") if seconds >= DAY_S else (3600, "h", 60, "m")
    rest = int(seconds % size // smaller)
    return f"{int(seconds // size)} {unit} {rest} {word} ago" if rest else f"{int(seconds // size)} {unit} ago"


def ago_word(seconds: float) -> str:
    """One unit only: `just now`, `20s ago`, `5m ago`, `2h ago`, `3d ago`."""
    words = ago_words(seconds).split()
    return "just now" if words[0] == "just" else f"{words[0]}{words[1]} ago"
