"""Whether a run is measurably worse than an earlier one: effect sizes with intervals, never eyeballing. Pure.

Two runs are comparable when scenario, sample target and class of host are the same; else nothing is said. Of runs on
different drivers the differences are shown side by side, and none is called better or worse.
A time has regressed when its quantile rose by more than max(20 %, 50 ms) **and** the 95 % bootstrap interval of the
difference lies above zero. Failures have regressed by Fisher's exact test at 5 %, shared among all tests made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from backend.drills.records import DrillRow, PhaseSpan, RunRecord
from backend.quantiles import nearest_rank

EFFECT_RATIO: Final = 0.2
EFFECT_S: Final = 0.05
LEVEL: Final = 0.95
ALPHA: Final = 0.05
RESAMPLES: Final = 2000
MIN_SAMPLE: Final = 20
"""Fewer answers give no interval worth naming."""
QUANTILES: Final = (("p50", 0.5), ("p95", 0.95))
SERIES: Final[tuple[tuple[str, Callable[[DrillRow], float | None]], ...]] = (
    ("latency", lambda row: row.latency_s),
    ("ttft", lambda row: row.ttft_s),
)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs."""

    record: RunRecord
    rows: Sequence[DrillRow]
    ledger_digest: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of both runs. Times are seconds; failures are counts of `count` requests."""

    phase: str
    load: str
    measure: str
    """`p95 latency`, `p50 ttft`, `failures`, `detection`, ..."""
    reference: float
    current: float
    reference_count: int
    current_count: int
    low: float | None = None
    """95 % interval of current - reference; null where one sample a run gives none."""
    high: float | None = None
    p_value: float | None = None
    regression: bool = False
    improvement: bool = False


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """This run against its reference."""

    reference: str
    """Run id."""
    reference_digest: str
    """SHA-256 of the reference's ledger, so that it can be told whether it is still the same."""
    not_comparable: str = ""
    """Why nothing is said; empty when both can be laid side by side."""
    across: str = ""
    """The two drivers, where they differ: then no difference is judged."""
    differences: tuple[Difference, ...] = ()

    @property
    def regressions(self) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if one.regression)


def compare(reference: Side, current: Side) -> Comparison:
    """What changed from the reference to the current run."""
    before, after = reference.record, current.record
    why = why_not_side_by_side(before, after)
    across = f"{before.driver} and {after.driver}" if before.driver != after.driver and not why else ""
    differences = [] if why else _differences(reference, current)
    if across:
        differences = [msgspec.structs.replace(one, regression=False, improvement=False) for one in differences]
    return Comparison(
        reference=before.run_id,
        reference_digest=reference.ledger_digest,
        not_comparable=why,
        across=across,
        differences=tuple(differences),
    )


def why_not_comparable(before: RunRecord, after: RunRecord) -> str:
    """Empty when one of two runs may be called better or worse than the other."""
    if before.driver != after.driver:
        return f"the drivers differ ({before.driver} and {after.driver})"
    return why_not_side_by_side(before, after)


def why_not_side_by_side(before: RunRecord, after: RunRecord) -> str:
    """Empty when the measures of two runs mean the same."""
    if before.scenario_digest != after.scenario_digest:
        return f"the scenarios differ ({before.scenario_digest[:12]} and {after.scenario_digest[:12]})"
    if before.confidence != after.confidence:
        return "their samples were cut to different sizes (--confidence)"
    mine, theirs = host_class(after), host_class(before)
    if mine != theirs:
        return f"the hosts differ ({theirs} and {mine})"
    return ""


def host_class(record: RunRecord) -> str:
    """What must be equal of two hosts: system, architecture, cores, memory in GiB."""
    host = record.host
    memory = host.get("memory_bytes")
    gib = f"{round(float(memory) / 2**30)} GiB" if isinstance(memory, int | float) else "? GiB"
    return f"{host.get('system', '?')} {host.get('machine', '?')}, {host.get('cpus', '?')} cores, {gib}"


def sentence(one: Difference) -> str:
    """A difference in words."""
    where = " ".join(part for part in (one.phase, one.load) if part)
    if one.measure == "failures":
        shown = f"{one.reference:g} of {one.reference_count} -> {one.current:g} of {one.current_count}"
    else:
        shown = f"{one.reference * 1000:.0f} ms -> {one.current * 1000:.0f} ms"
    proof = ""
    if one.low is not None and one.high is not None:
        proof = f" (difference {one.low * 1000:+.0f} to {one.high * 1000:+.0f} ms at 95 %)"
    elif one.p_value is not None:
        proof = f" (Fisher p = {one.p_value:.2g})"
    return f"{where}: {one.measure} {shown}{proof}"


def fisher_more(failed: int, count: int, reference_failed: int, reference_count: int) -> float:
    """One-sided Fisher's exact test: how likely at least `failed` of `count`, if both ratios were equal."""
    total, bad = count + reference_count, failed + reference_failed
    most = min(count, bad)
    whole = _log_comb(total, bad)
    terms = (
        math.exp(_log_comb(count, k) + _log_comb(reference_count, bad - k) - whole)
        for k in range(failed, most + 1)
        if bad - k <= reference_count
    )
    return min(1.0, math.fsum(terms))


def difference_interval(
    reference: Sequence[float], current: Sequence[float], q: float, rng: random.Random
) -> tuple[float, float]:
    """95 % bootstrap interval of the difference of two samples' `q` quantiles (both sorted, not empty).

    The r-th smallest of n draws with replacement is value number floor(n * B) with B ~ Beta(r, n - r + 1): drawing B
    is an exact resample of the quantile without drawing n values.
    """
    deltas = sorted(_resampled(current, q, rng) - _resampled(reference, q, rng) for _ in range(RESAMPLES))
    tail = (1.0 - LEVEL) / 2.0
    return deltas[int(tail * RESAMPLES)], deltas[int((1.0 - tail) * RESAMPLES) - 1]


def _resampled(ordered: Sequence[float], q: float, rng: random.Random) -> float:
    count = len(ordered)
    rank = min(max(math.ceil(round(q * count, 9)), 1), count)
    return ordered[min(int(count * rng.betavariate(rank, count - rank + 1)), count - 1)]


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _differences(reference: Side, current: Side) -> list[Difference]:
    found: list[Difference] = []
    pairs = _pairs(reference, current)
    for phase, load, before, after in pairs:
        found.append(_failures(phase, load, before, after, ALPHA / len(pairs)))
        for name, value_of in SERIES:
            found.extend(_times(phase, load, name, _values(before, value_of), _values(after, value_of)))
    return [*found, *_fault_times(reference.record, current.record)]


def _pairs(reference: Side, current: Side) -> list[tuple[str, str, list[DrillRow], list[DrillRow]]]:
    """Rows of both runs for each phase and load that both have."""
    spans = {span.name: span for span in reference.record.phases}
    pairs = []
    for span in current.record.phases:
        if span.name not in spans:
            continue
        for load in sorted({row.load for row in current.rows} & {row.load for row in reference.rows}):
            before, after = _inside(reference.rows, spans[span.name], load), _inside(current.rows, span, load)
            if before and after:
                pairs.append((span.name, load, before, after))
    return pairs


def _inside(rows: Sequence[DrillRow], span: PhaseSpan, load: str) -> list[DrillRow]:
    end = math.inf if span.end_s is None else span.end_s
    return [row for row in rows if row.load == load and span.start_s <= row.intended_s < end]


def _values(rows: Sequence[DrillRow], value_of: Callable[[DrillRow], float | None]) -> list[float]:
    values = (value_of(row) for row in rows if row.answered)
    return sorted(value for value in values if value is not None)


def _failures(phase: str, load: str, before: Sequence[DrillRow], after: Sequence[DrillRow], alpha: float) -> Difference:
    was, now = (sum(not row.answered for row in rows) for rows in (before, after))
    worse = fisher_more(now, len(after), was, len(before))
    better = fisher_more(was, len(before), now, len(after))
    return Difference(
        phase=phase,
        load=load,
        measure="failures",
        reference=float(was),
        current=float(now),
        reference_count=len(before),
        current_count=len(after),
        p_value=worse,
        regression=worse < alpha,
        improvement=better < alpha,
    )


def _times(phase: str, load: str, series: str, before: Sequence[float], after: Sequence[float]) -> list[Difference]:
    if min(len(before), len(after)) < MIN_SAMPLE:
        return []
    found = []
    for name, q in QUANTILES:
        was, now = nearest_rank(before, q), nearest_rank(after, q)
        assert was is not None
        assert now is not None
        # Seeded by what is compared: the same two ledgers give the same interval, in `verify` too.
        rng = random.Random(f"{phase} {load} {series} {name}")  # noqa: S311 - resampling, no secret
        low, high = difference_interval(before, after, q, rng)
        enough = max(EFFECT_RATIO * was, EFFECT_S)
        found.append(
            Difference(
                phase=phase,
                load=load,
                measure=f"{name} {series}",
                reference=was,
                current=now,
                reference_count=len(before),
                current_count=len(after),
                low=low,
                high=high,
                regression=now - was > enough and low > 0,
                improvement=was - now > max(EFFECT_RATIO * now, EFFECT_S) and high < 0,
            )
        )
    return found


def _fault_times(before: RunRecord, after: RunRecord) -> list[Difference]:
    """Detection and recovery: one sample a run, so shown and never claimed. `history` has their distribution."""
    earlier = {fault.id: fault for fault in before.faults}
    found = []
    for fault in after.faults:
        was = earlier.get(fault.id)
        if was is None or was.t_effective is None or fault.t_effective is None:
            continue
        for measure, start, end in (
            ("detection", was.t_detected, fault.t_detected),
            ("back", was.t_ready, fault.t_ready),
        ):
            if start is not None and end is not None:
                found.append(
                    Difference(
                        phase="",
                        load=fault.id,
                        measure=measure,
                        reference=max(0.0, start - was.t_effective),
                        current=max(0.0, end - fault.t_effective),
                        reference_count=1,
                        current_count=1,
                    )
                )
    return found
