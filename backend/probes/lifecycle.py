"""What a run of answers means: started, ready, not ready, to be restarted. Pure.

Owns the kubelet's rules (startup gates the others; consecutive successes and failures against thresholds) and
the schedule. Never asks anything and knows no clock but the instants it is given.
"""

from __future__ import annotations

from typing import Final, Literal

from backend.contract.fleet import ProbeSpec, ProbesSpec, ProbeStatus
from backend.probes.ask import ProbeAnswer

ProbeName = Literal["startup", "readiness", "liveness"]
Verdict = Literal["started", "ready", "not-ready", "startup-failed", "liveness-failed"]

EAGER_PERIOD_S: Final = 0.1
"""How often startup, and readiness before its first pass, are asked at least. Failures still count once a period."""


class _Probe:
    """One probe's counters. `passing` is null until a threshold was reached for the first time."""

    def __init__(self, name: ProbeName, spec: ProbeSpec) -> None:
        self.spec = spec
        self.status = ProbeStatus(name=name)
        self.passing: bool | None = None
        self.due_s = 0.0
        self.asking = False
        self._successes = 0
        self._failures = 0
        self._counted_s = float("-inf")

    @property
    def eager(self) -> bool:
        return self.status.name != "liveness" and self.passing is not True

    def begin(self, mono_s: float) -> None:
        self.asking = True
        self.due_s = mono_s + (min(EAGER_PERIOD_S, self.spec.period_s) if self.eager else self.spec.period_s)

    def record(self, answer: ProbeAnswer, mono_s: float, ts: float) -> None:
        self.asking = False
        if answer.ok:
            self._successes, self._failures = self._successes + 1, 0
            self._counted_s = float("-inf")
            if self._successes >= self.spec.success_threshold:
                self.passing = True
        else:
            self._successes = 0
            if mono_s - self._counted_s >= self.spec.period_s * 0.95 or not self.eager:
                self._failures, self._counted_s = self._failures + 1, mono_s
            if self._failures >= self.spec.failure_threshold:
                self.passing = False
        self.status = ProbeStatus(
            name=self.status.name,
            ok=answer.ok,
            detail=answer.detail,
            last_ts=ts,
            failures=self._failures,
            latency_s=answer.latency_s,
        )


class ProbeLifecycle:
    """The three probes of one process, from its start."""

    def __init__(self, spec: ProbesSpec) -> None:
        self._startup = _Probe("startup", spec.startup) if spec.startup else None
        self._readiness = _Probe("readiness", spec.readiness) if spec.readiness else None
        self._liveness = _Probe("liveness", spec.liveness) if spec.liveness else None
        self.started = self._startup is None
        self.ready = self.started and self._readiness is None
        self._given_up = False

    def statuses(self) -> tuple[ProbeStatus, ...]:
        """What each configured probe last said."""
        return tuple(probe.status for probe in (self._startup, self._readiness, self._liveness) if probe)

    def why_not_ready(self) -> str:
        """One short phrase naming the probe in the way and what it said; empty when ready."""
        if self.ready:
            return ""
        probe = self._startup if not self.started else self._readiness
        assert probe is not None
        return f"{probe.status.name} probe: {probe.status.detail or 'not asked yet'}"

    def due(self, mono_s: float) -> list[tuple[ProbeName, ProbeSpec]]:
        """The probes to ask now; each counts as being asked until it is recorded."""
        due = [probe for probe in self._active() if not probe.asking and probe.due_s <= mono_s]
        for probe in due:
            probe.begin(mono_s)
        return [(probe.status.name, probe.spec) for probe in due]

    def next_due_s(self) -> float | None:
        """The monotonic instant of the next question; null while all active ones are being asked."""
        return min((probe.due_s for probe in self._active() if not probe.asking), default=None)

    def record(self, name: ProbeName, answer: ProbeAnswer, mono_s: float, ts: float) -> list[Verdict]:
        """Take an answer; returns what it changed, in order."""
        probe = {"startup": self._startup, "readiness": self._readiness, "liveness": self._liveness}[name]
        assert probe is not None
        probe.record(answer, mono_s, ts)
        if name == "startup":
            return self._after_startup(probe)
        if name == "readiness":
            return self._after_readiness(probe)
        if probe.passing is False and not self._given_up:
            self._given_up = True
            return ["liveness-failed"]
        return []

    def _active(self) -> list[_Probe]:
        if self._given_up:
            return []
        if not self.started:
            return [self._startup] if self._startup else []
        return [probe for probe in (self._readiness, self._liveness) if probe]

    def _after_startup(self, probe: _Probe) -> list[Verdict]:
        if self.started or self._given_up:
            return []
        if probe.passing:
            self.started = True
            if self._readiness is None:
                self.ready = True
                return ["started", "ready"]
            return ["started"]
        if probe.passing is False:
            self._given_up = True
            return ["startup-failed"]
        return []

    def _after_readiness(self, probe: _Probe) -> list[Verdict]:
        now_ready = probe.passing is True
        if now_ready == self.ready:
            return []
        self.ready = now_ready
        return ["ready" if now_ready else "not-ready"]
