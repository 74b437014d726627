"""After a controller died: finds runs that never finished, takes their faults away, and says so in a report.

A recovered run is aborted or dirty, never passed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import FileError
from backend.contract.rows import EventRow
from backend.contract.words import DrillOutcome, Severity
from backend.drills import faults, outside, store, undo_log
from backend.drills.ports import DrillHost
from backend.drills.recompute import compute
from backend.drills.records import PhaseSpan, RunRecord, UndoSummary
from backend.drills.undo_log import Closed, Entry, Result, Undo


class DirtyRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was never finished, with what is still to undo (last in first)."""

    run_dir: str
    run_id: str
    pending: tuple[Undo, ...]
    damaged: str = ""
    """Why its undo log cannot be read."""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a dirty run."""

    run_id: str
    outcome: DrillOutcome
    undos: tuple[UndoSummary, ...]
    report_path: str | None = None


def scan_dirty(drills_dir: Path) -> list[DirtyRun]:
    """Runs without an end, oldest first. Blocks: use a thread on the loop."""
    found = []
    for run_dir in store.runs(drills_dir):
        try:
            entries = undo_log.read(run_dir)
        except (OSError, msgspec.MsgspecError) as error:
            found.append(DirtyRun(run_dir=str(run_dir), run_id=run_dir.name, pending=(), damaged=str(error)))
            continue
        if not undo_log.is_closed(entries) and not outside.observed(run_dir):
            pending = tuple(undo_log.pending(entries))
            found.append(DirtyRun(run_dir=str(run_dir), run_id=run_dir.name, pending=pending))
    return found


async def recover(host: DrillHost, clock: Clock, drills_dir: Path, *, running: str = "") -> list[Recovered]:
    """Undo what dead controllers left behind, except in the run `running` and in runs outside the daemon whose
    observer lives: those have a controller.

    For the daemon's start and `trinity drill recover`.
    """
    dirty = await asyncio.to_thread(scan_dirty, drills_dir)
    return [await _recover_one(host, clock, run) for run in dirty if run.run_id != running]


async def _recover_one(host: DrillHost, clock: Clock, run: DirtyRun) -> Recovered:
    run_dir = Path(run.run_dir)
    # Straight paths come last: a proxy that is still there may yet have to let go of its fault.
    for undos in (
        [undo for undo in run.pending if undo.kind != "unsplice"],
        [undo for undo in run.pending if undo.kind == "unsplice"],
    ):
        # Begun last in first out, none waits for another: a replica may take a minute to become Ready.
        results = await asyncio.gather(*(_undo(host, clock, undo) for undo in undos))
        await asyncio.to_thread(undo_log.append, run_dir, *results)
    summaries = () if run.damaged else _summaries(await asyncio.to_thread(undo_log.read, run_dir))
    if run.damaged:
        summaries = (UndoSummary(id="?", what="read the undo log", done=False, verified=False, detail=run.damaged),)
    outcome, path = await asyncio.to_thread(_finish, run_dir, summaries, clock)
    if outcome != DrillOutcome.DIRTY:
        await asyncio.to_thread(undo_log.append, run_dir, Closed(ts=clock.now()))
    dirty = outcome == DrillOutcome.DIRTY
    host.append(
        EventRow(
            ts=clock.now(),
            mono_s=clock.mono(),
            kind="drill.recovered",
            severity=Severity.CRITICAL if dirty else Severity.WARNING,
            subject=run.run_id,
            message=f"drill {run.run_id} had lost its controller: {len(summaries)} undos, "
            + ("NOT all are proven gone" if dirty else "all are gone"),
            attributes={"outcome": outcome.value},
        )
    )
    return Recovered(run_id=run.run_id, outcome=outcome, undos=summaries, report_path=path)


async def _undo(host: DrillHost, clock: Clock, undo: Undo) -> Result:
    attempt = await faults.take_away(host, undo, clock)
    verified, detail = attempt.verified, attempt.detail
    if verified and not await faults.wait_ready(host, undo, clock):
        verified, detail = False, f"{undo.replica or undo.workload} did not become Ready again"
    return Result(id=undo.id, done=attempt.issued, verified=verified, by="recovery", detail=detail, ts=clock.now())


def _summaries(entries: list[Entry]) -> tuple[UndoSummary, ...]:
    last = undo_log.standing(entries)
    found = []
    for entry in entries:
        if isinstance(entry, Undo):
            result = last.get(entry.id)
            found.append(
                UndoSummary(
                    id=entry.id,
                    what=entry.describe(),
                    done=result is not None and result.done,
                    verified=result is not None and result.verified,
                    by=result.by if result else "",
                    detail=result.detail if result else "never tried",
                )
            )
    return tuple(found)


def _finish(run_dir: Path, undos: tuple[UndoSummary, ...], clock: Clock) -> tuple[DrillOutcome, str | None]:
    """Write the report of a run that has none; without a readable record only the outcome is known."""
    clean = all(undo.verified for undo in undos)
    fallback = DrillOutcome.ABORTED_CLEAN if clean else DrillOutcome.DIRTY
    try:
        compiled, record = store.read_scenario(run_dir), store.read_record(run_dir)
        if not (run_dir / store.LEDGER).exists():
            store.RowFile(run_dir).close()
        rows = store.read_rows(run_dir)
    except FileError:
        return fallback, None
    record = msgspec.structs.replace(
        record, undo=undos, aborted=record.aborted or "its controller died", ended_ts=clock.now()
    )
    record = _closed_spans(record, max((row.ended_s for row in rows), default=None))
    store.save_record(run_dir, record)
    report = compute(run_dir, compiled, record, rows)
    return DrillOutcome(report.outcome), str(store.write_reports(run_dir, compiled, report))


def _closed_spans(record: RunRecord, end_s: float | None) -> RunRecord:
    def closed(span: PhaseSpan) -> PhaseSpan:
        end = span.end_s if span.end_s is not None else end_s
        return msgspec.structs.replace(span, end_s=end)

    return msgspec.structs.replace(record, phases=tuple(closed(span) for span in record.phases))
