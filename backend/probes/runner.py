"""Asking on schedule: a task that keeps one process's probes going and tells what changed.

Owns the timing between questions. Never restarts or removes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from backend.contract.clock import Clock
from backend.contract.fleet import ProbeSpec, ProbesSpec
from backend.probes.ask import ProbeAnswer, ProbeTarget, ask
from backend.probes.lifecycle import ProbeLifecycle, ProbeName, Verdict

Ask = Callable[[ProbeSpec, ProbeTarget], Awaitable[ProbeAnswer]]


class ProbeRunner:
    """Probes one process from `start` to `stop`; `on_verdict` runs on the loop."""

    def __init__(
        self,
        spec: ProbesSpec,
        target: ProbeTarget,
        on_verdict: Callable[[Verdict], None],
        clock: Clock,
        *,
        asker: Ask = ask,
    ) -> None:
        self.lifecycle = ProbeLifecycle(spec)
        self._target, self._on_verdict, self._clock, self._ask = target, on_verdict, clock, asker
        self._loop_task: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._answered = asyncio.Event()

    def start(self) -> None:
        """Begin asking at once."""
        self._loop_task = asyncio.create_task(self._run(), name="probes")

    def stop(self) -> None:
        """No further question, no further verdict. May be called from a verdict."""
        if self._loop_task is not None:
            self._loop_task.cancel()
        for task in self._asking:
            if task is not asyncio.current_task():
                task.cancel()

    def retarget(self, target: ProbeTarget) -> None:
        """Ask there from the next question on; what was said so far stays."""
        self._target = target

    async def _run(self) -> None:
        while True:
            self._answered.clear()
            for name, spec in self.lifecycle.due(self._clock.mono()):
                task = asyncio.create_task(self._ask_once(name, spec))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            due_s = self.lifecycle.next_due_s()
            wait_s = None if due_s is None else max(0.0, due_s - self._clock.mono())
            try:
                async with asyncio.timeout(wait_s):
                    await self._answered.wait()
            except TimeoutError:
                continue

    async def _ask_once(self, name: ProbeName, spec: ProbeSpec) -> None:
        answer = await self._ask(spec, self._target)
        for verdict in self.lifecycle.record(name, answer, self._clock.mono(), self._clock.now()):
            self._on_verdict(verdict)
        self._answered.set()
