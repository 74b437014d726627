"""What rows add up to. Pure: a fold over rows, in any order, with the same result."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome
from backend.load.messages import Latency, LoadSummary, had_first_byte
from backend.load.outcome import CANCELLED, CAP
from backend.quantiles import nearest_rank

GOOD = (RequestOutcome.OK, RequestOutcome.SLOW)


class Tally:
    """The fold's state: counts, and eight bytes for each measured time."""

    def __init__(self) -> None:
        self.outcomes: Counter[RequestOutcome] = Counter()
        self.terminations: Counter[str] = Counter()
        self.refused_by_cap = self.cancelled = self.resends = 0
        self.failed_before_first_byte = 0
        self.tokens_in = self.tokens_out = self.tokens_counted = 0
        self.ttft, self.ttft_intended = array("d"), array("d")
        self.service, self.latency, self.lag = array("d"), array("d"), array("d")

    def add(self, row: RequestRow) -> None:
        """Take one row of a client."""
        self.resends += row.attempt > 1
        # Both are our own doing: the row says so, and no count of failures may include it.
        if row.termination == CAP:
            self.refused_by_cap += 1
            return
        if row.termination == CANCELLED:
            self.cancelled += 1
            return
        self.outcomes[row.outcome] += 1
        if row.termination:
            self.terminations[row.termination] += 1
        if row.outcome is RequestOutcome.FAILED and not had_first_byte(row):
            self.failed_before_first_byte += 1
        late = max(0.0, row.ts - row.intended_ts) if row.intended_ts is not None else 0.0
        if row.attempt == 1:  # what is sent again has no time of its own in the schedule
            self.lag.append(late)
        if row.outcome in GOOD:
            if row.total_s is not None:
                self.service.append(row.total_s)
                self.latency.append(row.total_s + late)
            if row.ttft_s is not None:
                self.ttft.append(row.ttft_s)
                self.ttft_intended.append(row.ttft_s + late)
        if row.tokens_out is not None:
            self.tokens_counted += 1
            self.tokens_out += row.tokens_out
            self.tokens_in += row.tokens_in or 0

    def summary(
        self,
        *,
        duration_s: float,
        max_in_flight: int = 0,
        interrupted: bool = False,
        seed: int = 0,
        run_id: str = "",
    ) -> LoadSummary:
        """Everything so far as one struct."""
        good = sum(self.outcomes[outcome] for outcome in GOOD)
        counted = self.tokens_counted > 0
        return LoadSummary(
            total=sum(self.outcomes.values()) + self.refused_by_cap + self.cancelled,
            resends=self.resends,
            ok=self.outcomes[RequestOutcome.OK],
            slow=self.outcomes[RequestOutcome.SLOW],
            wrong=self.outcomes[RequestOutcome.WRONG],
            shed=self.outcomes[RequestOutcome.SHED],
            failed=self.outcomes[RequestOutcome.FAILED],
            refused_by_cap=self.refused_by_cap,
            cancelled=self.cancelled,
            overloaded=self.refused_by_cap > 0,
            interrupted=interrupted,
            failed_before_first_byte=self.failed_before_first_byte,
            terminations=dict(sorted(self.terminations.items())),
            duration_s=duration_s,
            requests_per_s=good / duration_s if duration_s > 0 else 0.0,
            tokens_in=self.tokens_in if counted else None,
            tokens_out=self.tokens_out if counted else None,
            tokens_counted=self.tokens_counted,
            tokens_per_s=self.tokens_out / duration_s if counted and duration_s > 0 else None,
            ttft=latency_of(self.ttft),
            ttft_intended=latency_of(self.ttft_intended),
            service=latency_of(self.service),
            latency=latency_of(self.latency),
            lag=latency_of(self.lag),
            max_in_flight=max_in_flight,
            seed=seed,
            run_id=run_id,
        )


def summarize(rows: Iterable[RequestRow], *, duration_s: float | None = None) -> LoadSummary:
    """The summary of a client's rows. `duration_s` defaults to the span from the first send to the last end."""
    tally = Tally()
    start, end = float("inf"), float("-inf")
    for row in rows:
        tally.add(row)
        start = min(start, row.intended_ts if row.intended_ts is not None else row.ts)
        end = max(end, row.ts + (row.total_s or 0.0))
    span = max(0.0, end - start) if end >= start else 0.0
    return tally.summary(duration_s=span if duration_s is None else duration_s)


def latency_of(values: Iterable[float]) -> Latency:
    """Quantiles of times in any order."""
    ordered = sorted(values)
    return Latency(
        count=len(ordered),
        p50_s=nearest_rank(ordered, 0.5),
        p95_s=nearest_rank(ordered, 0.95),
        p99_s=nearest_rank(ordered, 0.99),
        max_s=ordered[-1] if ordered else None,
    )
