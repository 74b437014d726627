"""What the console reads of a run's `report.json`, leniently, so that a newer daemon's report still shows.

Pure; owns no number: everything is as the report says it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from backend.contract.errors import InternalError
from backend.contract.rows import Scalar

T = TypeVar("T")


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles in seconds; null where nothing was measured."""

    count: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class PhaseLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One load in one phase."""

    load: str = ""
    arrivals: int = 0
    ok: int = 0
    slow: int = 0
    wrong: int = 0
    shed: int = 0
    failed: int = 0
    success_at_least: float | None = None
    success_at_most: float | None = None
    latency: Times = Times()
    ttft: Times = Times()


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    seconds: float | None = None
    loads: tuple[PhaseLoad, ...] = ()


class Stamps(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    fault: str = ""
    target: str = ""
    replica: str = ""
    t_command: float | None = None
    t_effective: float | None = None
    verified: bool = False
    evidence: tuple[str, ...] = ()
    problem: str = ""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals in seconds, made of the stamps by the report."""

    stamps: Stamps = Stamps()
    detection_s: float | None = None
    exposure_s: float | None = None
    failover_s: float | None = None
    recovery_s: float | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    kind: str = ""
    phase: str = ""
    text: str = ""
    result: str = ""
    measured: dict[str, float | None] = {}
    note: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    checks: tuple[Check, ...] = ()


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    what: str = ""
    done: bool = False
    verified: bool = False
    by: str = ""
    detail: str = ""


class LoadEnd(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    rate: float = 0.0
    arrivals: int = 0
    rows: int = 0
    lag_p99_s: float | None = None
    problem: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    undo: tuple[Undo, ...] = ()
    loads: tuple[LoadEnd, ...] = ()


class FailedRequest(msgspec.Struct, frozen=True, kw_only=True):
    phase: str = ""
    request_id: str = ""
    outcome: str = ""
    status: int = 0
    error: str | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of two runs: seconds, or failures as counts. The interval is of current minus reference."""

    phase: str = ""
    load: str = ""
    measure: str = ""
    reference: float = 0.0
    current: float = 0.0
    reference_count: int = 0
    current_count: int = 0
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    regression: bool = False
    improvement: bool = False


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A run against an earlier one, by statistics."""

    reference: str = ""
    not_comparable: str = ""
    across: str = ""
    differences: tuple[Difference, ...] = ()


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """`report.json`; fields that the screen does not show are left out."""

    run_id: str
    name: str = ""
    title: str = ""
    outcome: str = ""
    exit_code: int | None = None
    reasons: tuple[str, ...] = ()
    seed: int | None = None
    scenario_digest: str = ""
    actor: str = ""
    fleet: str = ""
    environment: str = ""
    durability: str = ""
    started_ts: float = 0.0
    ended_ts: float | None = None
    rates: dict[str, Scalar] = {}
    verdict: Verdict = Verdict()
    phases: tuple[Phase, ...] = ()
    faults: tuple[Fault, ...] = ()
    record: Record = Record()
    failed: tuple[FailedRequest, ...] = ()
    comparison: Comparison | None = None
    """With the last run that passed, where the daemon made one."""


def read_report(data: dict[str, Any]) -> DrillReport:
    """The report in an answer of the daemon. Raises InternalError where it is none."""
    return _read(data, DrillReport, "report")


def read_comparison(data: dict[str, Any]) -> Comparison:
    """The comparison in an answer of the daemon. Raises InternalError where it is none."""
    return _read(data, Comparison, "comparison")


def _read(data: dict[str, Any], kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InternalError(
            f"The run's {what} was not understood: {error}.",
            "Daemon and console may be of different versions: `trinity version`.",
        ) from None
