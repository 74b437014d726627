"""What the control API says of drills and of their finished runs: shipped drills compiled once, reports from files.

Reads the runs' directories, never writes; every file is read in a thread. A finished run's report does not change, so
what was read of it is kept.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.control import DrillView
from backend.contract.errors import TrinityError, UsageError
from backend.contract.words import DrillOutcome
from backend.drills import store
from backend.drills.check import Compiled
from backend.drills.compare import Comparison, compare
from backend.drills.html import html
from backend.drills.library import library, load
from backend.drills.recompute import side_of
from backend.drills.records import FaultStamps, PhaseSpan
from backend.drills.timeline import fault_views, phase_views

FILES: Final = {"json": store.REPORT, "html": store.HTML, "md": store.MARKDOWN, "junit": store.JUNIT}
KEPT: Final = 500
"""Runs told of; the directories of older ones stay."""


class _Record(msgspec.Struct, frozen=True):
    started_mono_s: float = 0.0
    phases: tuple[PhaseSpan, ...] = ()
    faults: tuple[FaultStamps, ...] = ()


class _Kept(msgspec.Struct, frozen=True):
    """What a list of runs needs of a report."""

    run_id: str
    name: str
    outcome: DrillOutcome
    started_ts: float
    title: str = ""
    ended_ts: float | None = None
    reasons: tuple[str, ...] = ()
    record: _Record = _Record()


class DrillShelf:
    """Shipped drills as compiled, and the runs under `drills_dir`."""

    def __init__(self, drills_dir: Path) -> None:
        self._dir = drills_dir
        self._compiled: dict[str, tuple[int, Compiled]] = {}
        self._views: dict[str, DrillView] = {}

    async def drills(self) -> list[Compiled]:
        """Every shipped drill, in order of name; a file is read again only when it changed."""
        return await asyncio.to_thread(self._compile_all)

    async def drill(self, name: str) -> Compiled:
        """Raises UsageError for a name that no shipped drill has."""
        if name not in library():
            raise UsageError(f"There is no drill named `{name}`.", "See `trinity drill list`.")
        return await asyncio.to_thread(self._compile, name, library()[name])

    def _compile_all(self) -> list[Compiled]:
        return [self._compile(name, path) for name, path in library().items()]

    def _compile(self, name: str, path: Path) -> Compiled:
        changed = path.stat().st_mtime_ns
        known = self._compiled.get(name)
        if known is None or known[0] != changed:
            known = self._compiled[name] = (changed, load(name))
        return known[1]

    async def runs(self, limit: int) -> list[DrillView]:
        """Finished runs, newest first, with their faults and phases and without charts. Damaged ones are left out."""
        return await asyncio.to_thread(self._read_runs, min(limit, KEPT))

    def _read_runs(self, limit: int) -> list[DrillView]:
        found: list[DrillView] = []
        for run_dir in reversed(store.runs(self._dir)):
            if len(found) >= limit:
                break
            view = self._views.get(run_dir.name) or _view_of(run_dir)
            if view is not None:
                self._views[run_dir.name] = view
                found.append(view)
        return found

    async def last(self) -> dict[str, DrillView]:
        """The newest finished run of each drill, by the drill's name."""
        newest: dict[str, DrillView] = {}
        for view in await self.runs(KEPT):
            newest.setdefault(view.name, view)
        return newest

    async def file(self, run_id: str, kind: str) -> bytes:
        """A report's file. Raises UsageError where there is no such run, kind or file."""
        if kind not in FILES:
            raise UsageError(f"There is no report kind `{kind}`.", f"Choose one of {', '.join(FILES)}.")
        return await asyncio.to_thread(_file, self._run(run_id), kind)

    async def compare(self, reference: str, run_id: str) -> Comparison:
        """A run against an earlier one, by statistics. Raises UsageError and FileError."""
        before, after = self._run(reference), self._run(run_id)
        return await asyncio.to_thread(lambda: compare(side_of(before), side_of(after)))

    def _run(self, run_id: str) -> Path:
        run_dir = self._dir / run_id
        if not run_id or "/" in run_id or run_id.startswith(".") or not (run_dir / store.SCENARIO).is_file():
            raise UsageError(f"There is no drill run {run_id[:120]}.", "See `trinity drill history`.")
        return run_dir


def _file(run_dir: Path, kind: str) -> bytes:
    """As it was written; a page that the scenario did not ask for is made of the report."""
    path = run_dir / FILES[kind]
    if kind == "html" and not path.is_file() and (run_dir / store.REPORT).is_file():
        return html(store.read_report(run_dir)).encode()
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise UsageError(
            f"The run {path.parent.name} has no {path.name}.",
            "It is still running or was broken off, or its scenario asks for other formats.",
        ) from None


def _view_of(run_dir: Path) -> DrillView | None:
    """A finished run out of its report; None where there is none, or none that can be read."""
    try:
        kept = msgspec.json.decode(_read(run_dir / store.REPORT), type=_Kept)
    except (TrinityError, msgspec.MsgspecError):
        return None
    zero_s = kept.record.started_mono_s
    return DrillView(
        run_id=kept.run_id,
        name=kept.name,
        title=kept.title,
        outcome=kept.outcome,
        phases=len(kept.record.phases),
        started_ts=kept.started_ts,
        ended_ts=kept.ended_ts,
        elapsed_s=0.0 if kept.ended_ts is None else max(0.0, kept.ended_ts - kept.started_ts),
        detail="; ".join(kept.reasons),
        report_path=str(run_dir / store.REPORT),
        timeline=phase_views(kept.record.phases, zero_s),
        faults=fault_views(kept.record.faults, zero_s),
    )
