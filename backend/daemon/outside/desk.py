"""The daemon's end of drills outside of it: starts an observer, follows it, stops it; adopts a living one at start.

Owns the leases such a run holds and the way of its events into the ledger. The observer outlives every daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from backend.contract.control import DrillView
from backend.contract.errors import InternalError, LeaseHeld, Refused, from_wire
from backend.contract.rows import Row
from backend.contract.words import DrillOutcome
from backend.daemon.outside.order import ObserverOrder, Started
from backend.drills import outside, store

START_TIMEOUT_S = 20.0
POLL_S = 0.1
_TAKEN = "events.taken"
"""How many bytes of the run's events are in the ledger."""


class OutsideRuns:
    """At most one run outside the daemon.

    `hold` gives a workload's lease, `append` takes events into the ledger, `changed` is called when the view did,
    `lost` when an observer ended without finishing its run (the daemon then finishes it)."""

    def __init__(
        self,
        drills_dir: Path,
        *,
        hold: Callable[[str, str], AbstractAsyncContextManager[None]],
        append: Callable[[Row], None],
        changed: Callable[[], None],
        lost: Callable[[str], Awaitable[object]],
    ) -> None:
        self._dir = drills_dir
        self._hold, self._append, self._changed, self._lost = hold, append, changed, lost
        self._view: DrillView | None = None
        self._run_dir: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._starting = False

    @property
    def busy(self) -> bool:
        """Whether such a run is starting or running."""
        return self._starting or (self._task is not None and not self._task.done())

    def view(self) -> DrillView | None:
        """The present or last run outside the daemon."""
        return self._view

    async def start(self, order: ObserverOrder, workloads: Sequence[str]) -> str:
        """Start an observer and return its run's id. Raises Refused, or what kept it from starting."""
        if self.busy:
            raise Refused("A drill is running.", "Wait for it, or stop it with `trinity drill stop`.")
        self._starting = True
        stack = AsyncExitStack()
        try:
            for workload in workloads:
                await stack.enter_async_context(self._hold(workload, "drill outside the daemon"))
            process, started = await asyncio.to_thread(_spawn, order)
            if not started.run_id:
                raise from_wire(started.kind, started.message, started.next_step)
            self._run_dir = self._dir / started.run_id
            self._view = await asyncio.to_thread(outside.read_view, self._run_dir)
            self._task = asyncio.create_task(self._follow(self._run_dir, stack, process), name="drill outside")
        except BaseException:
            await stack.aclose()
            raise
        finally:
            self._starting = False
        return started.run_id

    async def adopt(self, workloads: Callable[[Path], Sequence[str]]) -> str:
        """At the daemon's start: follow the run whose observer lives. Its id, or empty."""
        for run_dir in reversed(await asyncio.to_thread(store.runs, self._dir)):
            if await asyncio.to_thread(outside.observed, run_dir):
                stack = AsyncExitStack()
                for workload in workloads(run_dir):
                    with contextlib.suppress(LeaseHeld):
                        await stack.enter_async_context(self._hold(workload, "drill outside the daemon"))
                self._run_dir = run_dir
                self._view = await asyncio.to_thread(outside.read_view, run_dir)
                self._task = asyncio.create_task(self._follow(run_dir, stack, None), name="drill outside")
                return run_dir.name
        return ""

    async def stop(self, reason: str) -> DrillView | None:
        """Ask the observer to roll back and wait until its faults are gone, or for its end. None when none runs."""
        task = self._task
        if task is None or task.done() or self._run_dir is None:
            return None
        await asyncio.to_thread(outside.ask_stop, self._run_dir, reason)
        while not task.done() and (self._view is None or self._view.rollback is None):
            await asyncio.wait({task}, timeout=POLL_S)
        return self._view

    async def end(self, reason: str) -> None:
        """Like `stop`, and wait for the observer's end too."""
        if await self.stop(reason) is not None and self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Look no longer; a run that goes on is the next daemon's to show."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, run_dir: Path, stack: AsyncExitStack, process: subprocess.Popen[bytes] | None) -> None:
        async with stack:
            while True:
                alive = await asyncio.to_thread(outside.observed, run_dir)
                view = await asyncio.to_thread(outside.read_view, run_dir)
                await self._take_events(run_dir)
                if view is not None and view != self._view:
                    self._view = view
                    self._changed()
                if process is not None:
                    process.poll()  # or it stays a zombie
                if not alive:
                    break
                await asyncio.sleep(POLL_S)
        if self._view is None or self._view.outcome == DrillOutcome.RUNNING:
            await self._lost(run_dir.name)
            self._view = await asyncio.to_thread(_finished, run_dir, self._view)
            self._changed()

    async def _take_events(self, run_dir: Path) -> None:
        """New events into the ledger. A daemon killed between both repeats at most the last batch."""
        mark = run_dir / _TAKEN
        taken = int(mark.read_text()) if mark.exists() else 0
        events, offset = await asyncio.to_thread(outside.read_events, run_dir, taken)
        for event in events:
            self._append(event)
        if events:
            await asyncio.to_thread(mark.write_text, str(offset))


def _finished(run_dir: Path, view: DrillView | None) -> DrillView | None:
    """The view of a run that another hand finished, from its report."""
    if view is None or not (run_dir / store.REPORT).is_file():
        return view
    report = store.read_report(run_dir)
    return msgspec.structs.replace(
        view,
        outcome=DrillOutcome(report.outcome),
        phase="",
        ended_ts=time.time(),
        detail="; ".join(report.reasons),
        report_path=str(run_dir / store.REPORT),
    )


def _spawn(order: ObserverOrder) -> tuple[subprocess.Popen[bytes], Started]:
    """The observer in a session of its own, and its answer. Blocks up to 20 s. Raises InternalError."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "backend.daemon.outside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env=dict(os.environ) | {"TRINITY_STATE": order.state_dir},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
        line = process.stdout.readline() if ready else b""
    if not line:
        process.kill()
        process.wait()
        raise InternalError("The drill's observer did not start.", "See trinityd.log.")
    return process, msgspec.json.decode(line, type=Started)
