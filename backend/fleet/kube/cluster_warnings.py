"""Warning events of the cluster: what they say of probes, and rows for the ledger, a repeated one by its count.

Owns the event objects' meaning. What goes as it should is never asked for (see kinds.EVENTS).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backend.contract.clock import Clock
from backend.contract.events import EventRecorder
from backend.contract.words import Severity
from backend.fleet.kube.pod_phase import LIVENESS_FRESH_S, ProbeFailure
from backend.fleet.kube.shapes import EventObject, ObjectReference

_PROBE: Final = re.compile(r"(Readiness|Liveness|Startup) probe (?:failed|errored)[^:]*:?\s*(.*)", re.DOTALL)
_MAX_DETAIL: Final = 160
_MAX_MESSAGE: Final = 400
_BURST, _PER_S = 100.0, 10.0
"""Rows at once, and a second: a cluster in trouble has thousands of warnings, which say the same."""
_NONE: Final[Mapping[str, ProbeFailure]] = {}


class Warnings:
    """Fed with changes of Event objects."""

    def __init__(self, recorder: EventRecorder, clock: Clock, subject: Callable[[ObjectReference], str]) -> None:
        self._recorder, self._clock, self._subject = recorder, clock, subject
        self._failing: dict[str, dict[str, ProbeFailure]] = {}
        """Pod's uid -> probe -> what was said last."""
        self._told: dict[str, int] = {}
        """Event's uid -> the count that was told."""
        self._until: dict[str, float] = {}
        """Pod -> when what was said of its liveness probe counts no more."""
        self._since_ts = clock.now()
        self._tokens, self._tokens_mono = _BURST, clock.mono()
        self._untold = 0

    def failing(self, uid: str) -> Mapping[str, ProbeFailure]:
        """Probe -> failure, of a pod."""
        return self._failing.get(uid, _NONE)

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        self._failing.pop(uid, None)

    def stale(self, now: float) -> list[str]:
        """Pods of which something said has stopped to count."""
        over = [name for name, until in self._until.items() if until <= now]
        for name in over:
            del self._until[name]
        return over

    def take(self, changes: Sequence[tuple[EventObject | None, EventObject | None]]) -> set[str]:
        """Returns the names of pods of whose probes something new was said."""
        touched = set()
        for old, new in changes:
            if new is None:
                if old is not None:
                    self._told.pop(old.metadata.uid, None)
                continue
            if new.type != "Warning":
                continue
            if new.involved_object.kind == "Pod" and self._take_probe(new):
                touched.add(new.involved_object.name)
            self._tell(new)
        return touched

    def _take_probe(self, event: EventObject) -> bool:
        found = _PROBE.match(event.message or "") if event.reason in ("Unhealthy", "ProbeWarning") else None
        if found is None:
            return False
        name, detail = found.group(1).lower(), " ".join(found.group(2).split())[:_MAX_DETAIL]
        failure = ProbeFailure(detail or "no answer", count_of(event), last_of(event))
        known = self._failing.setdefault(event.involved_object.uid, {})
        former = known.get(name)
        if former is not None and former.last_ts > failure.last_ts:
            return False
        known[name] = failure
        if name == "liveness":
            self._until[event.involved_object.name] = failure.last_ts + LIVENESS_FRESH_S
        return True

    def _tell(self, event: EventObject) -> None:
        """A row for the first of its kind, then whenever its count has doubled. None for what was before us."""
        count, told = count_of(event), self._told.get(event.metadata.uid, 0)
        if told == 0 and last_of(event) < self._since_ts:
            self._told[event.metadata.uid] = count
            return
        if count < 2 * told or not self._may_tell():
            return
        self._told[event.metadata.uid] = count
        about, reason = event.involved_object, event.reason or "Warning"
        times = f" (x{count})" if count > 1 else ""
        text = " ".join((event.message or "").split())[:_MAX_MESSAGE]
        self._recorder.record(
            "platform.warning",
            Severity.WARNING,
            self._subject(about),
            f"{about.kind} {about.name}: {reason}: {text}{times}",
            reason=reason,
            object=f"{about.kind}/{about.name}",
            count=count,
            untold=self._untold,
        )
        self._untold = 0

    def _may_tell(self) -> bool:
        now = self._clock.mono()
        self._tokens = min(_BURST, self._tokens + _PER_S * (now - self._tokens_mono))
        self._tokens_mono = now
        if self._tokens < 1.0:
            self._untold += 1
            return False
        self._tokens -= 1.0
        return True


def count_of(event: EventObject) -> int:
    """How often it happened."""
    series = event.series.count if event.series is not None else None
    return max(1, series or event.count or 1)


def last_of(event: EventObject) -> float:
    """When it happened last, POSIX seconds; 0 where it does not say."""
    series = event.series.last_observed_time if event.series is not None else None
    when = series or event.last_timestamp or event.event_time or event.first_timestamp
    when = when or event.metadata.creation_timestamp
    return when.timestamp() if when is not None else 0.0
