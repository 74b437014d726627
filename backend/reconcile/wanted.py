"""What was asked for, written down: the wanted-state file and how it is read back.

Owns `wanted.json` and its meaning. Never looks at the fleet, never decides a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from backend.config.atomic_file import write_atomically
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.events import EventRecorder
from backend.contract.fleet import WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.words import Severity

FORMAT: Final = 1


class WorkloadWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one workload.

    `declared` is the replica count its specification named when it was last seen: while that stands, the
    operator's `replicas` wins; when the file changes its mind, the file wins.
    """

    replicas: int
    declared: int
    maintenance: bool = False
    autoscale: bool = False
    drained: tuple[str, ...] = ()
    """Replicas an operator (or a drill) took out of rotation by name."""


class WantedState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a restarted daemon must return to."""

    format: int = FORMAT
    workloads: dict[str, WorkloadWanted] = {}
    retries_on: bool = True
    applied_yaml: str = ""
    """The file last given to `apply`, verbatim; empty while the start-up configuration stands."""
    applied_source: str = ""

    def of(self, workload: str) -> WorkloadWanted:
        """What is wanted of `workload`; nothing at all where it is unknown."""
        return self.workloads.get(workload) or WorkloadWanted(replicas=0, declared=0)

    def with_workload(self, workload: str, wanted: WorkloadWanted) -> WantedState:
        return msgspec.structs.replace(self, workloads={**self.workloads, workload: wanted})


def merge(state: WantedState, specs: Iterable[WorkloadSpec]) -> WantedState:
    """The wanted state once `specs` are what is declared: new workloads get their declared count, a changed
    declaration replaces the count, workloads no longer declared are forgotten."""
    workloads: dict[str, WorkloadWanted] = {}
    for spec in specs:
        known = state.workloads.get(spec.name)
        if known is None:
            workloads[spec.name] = WorkloadWanted(replicas=spec.replicas, declared=spec.replicas)
            continue
        count = known.replicas if known.declared == spec.replicas else spec.replicas
        workloads[spec.name] = msgspec.structs.replace(
            known, replicas=min(count, spec.max_replicas), declared=spec.replicas
        )
    return msgspec.structs.replace(state, workloads=workloads)


class WantedStore:
    """Loads and saves the wanted-state file; every save is atomic and fsynced, in a thread."""

    def __init__(self, path: Path, sink: RowSink, clock: Clock, *, fleet: str = "local") -> None:
        self._path, self._clock, self._fleet = path, clock, fleet
        self._events = EventRecorder(sink, clock)
        self._lock = asyncio.Lock()

    @property
    def path(self) -> Path:
        return self._path

    async def load(self) -> WantedState:
        """The saved state, or an empty one where there is none. A file that cannot be understood is kept aside
        under a new name, with an event that says so. Raises TrinityError where the file cannot be read."""
        try:
            raw = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            return WantedState()
        except OSError as exc:
            raise TrinityError(
                f"{self._path} cannot be read: {exc.strerror}.", "Mend its permissions, then start again."
            ) from exc
        try:
            state = msgspec.json.decode(raw, type=WantedState)
            _check(state)
        except (msgspec.MsgspecError, ValueError) as exc:
            await self._keep_aside(str(exc))
            return WantedState()
        return state

    async def save(self, state: WantedState) -> None:
        """Return once `state` is on disk. Raises TrinityError, with the old file intact, where it cannot be."""
        raw = msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
        async with self._lock:
            try:
                await asyncio.to_thread(write_atomically, self._path, raw)
            except OSError as exc:
                raise TrinityError(
                    f"The wanted state could not be written to {self._path}: {exc.strerror}.",
                    "Nothing was changed. Free some space or mend the permissions, then try again.",
                ) from exc

    async def _keep_aside(self, problem: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(self._clock.now() * 1000)}")
        try:
            await asyncio.to_thread(self._path.replace, aside)
            where = f"it is kept as {aside.name}"
        except OSError as exc:
            where = f"it could not be kept aside ({exc.strerror})"
        self._events.record(
            "wanted.corrupt",
            Severity.ERROR,
            self._fleet,
            f"{self._path.name} cannot be understood ({problem}); {where}, declared counts are used.",
            path=str(aside),
            problem=problem,
        )


def _check(state: WantedState) -> None:
    """Raise ValueError for a well-formed file whose meaning is not ours."""
    if state.format != FORMAT:
        raise ValueError(f"format {state.format} is not {FORMAT}")
    for name, wanted in state.workloads.items():
        if wanted.replicas < 0:
            raise ValueError(f"{name} wants {wanted.replicas} replicas")
