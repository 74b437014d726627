"""Clocks, rows, ledgers and snapshots for the telemetry tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from backend.contract.control import Quantiles, ReplicaView, ScalingView, Snapshot, WorkloadView
from backend.contract.edge import EdgeServer
from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import RequestRow, Row, Scalar, table_of
from backend.contract.words import Phase, RequestOutcome, SlotState, Vantage
from backend.telemetry.engines import ScrapeTarget
from backend.telemetry.series import Levels, build_point

SCRAPES = Path(__file__).parent / "scrapes"
START = 1_800_000_000.0


class SettableClock:
    """A clock that stands where a test puts it."""

    def __init__(self, wall: float = START) -> None:
        self.wall = wall

    def now(self) -> float:
        return self.wall

    def mono(self) -> float:
        return self.wall - START + 100.0


class MemoryLedger:
    """RowSink and RowSource over a list."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._listeners: list[tuple[str, Callable[[Row], None]]] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)
        for table, listener in list(self._listeners):
            if table == table_of(row):
                listener(row)

    async def append_durable(self, row: Row) -> None:
        self.append(row)

    def recent(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[Row]:
        found = [row for row in self.rows if table_of(row) == table and row.ts >= since_ts]
        return sorted(found, key=lambda row: row.ts)[-limit:]

    def subscribe(self, table: str, listener: Callable[[Row], None]) -> Callable[[], None]:
        entry = (table, listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)


def request(
    ended: float = START,
    *,
    ttft_s: float | None = 0.1,
    total_s: float | None = 1.0,
    stream: bool = True,
    status: int = 200,
    outcome: RequestOutcome = RequestOutcome.OK,
    retries: int = 0,
    workload: str = "llm",
    replica: str | None = "llm-0",
    vantage: Vantage = Vantage.EDGE,
    fleet: str = "local",
) -> RequestRow:
    """A request that ended at `ended`."""
    return RequestRow(
        ts=ended - (total_s if total_s is not None else (ttft_s or 0.0)),
        vantage=vantage,
        request_id="r",
        fleet=fleet,
        workload=workload,
        replica=replica,
        route="/v1/completions",
        stream=stream,
        status=status,
        outcome=outcome,
        ttft_s=ttft_s,
        total_s=total_s,
        retries=retries,
    )


def target(name: str = "llm-0", *, port: int = 8100, started_ts: float | None = START) -> ScrapeTarget:
    return ScrapeTarget(
        replica=name, workload="llm", engine="llamacpp", host="127.0.0.1", port=port, started_ts=started_ts
    )


def llama_page(*, predicted: int, prompt: int = 0, decodes: int = 0, running: int = 0, waiting: int = 0) -> str:
    """A `/metrics` answer of llama.cpp."""
    return (
        f"llamacpp:prompt_tokens_total {prompt}\nllamacpp:tokens_predicted_total {predicted}\n"
        f"llamacpp:n_decode_total {decodes}\nllamacpp:requests_processing {running}\n"
        f"llamacpp:requests_deferred {waiting}\n"
    )


def replica(name: str = "llm-0", *, phase: Phase = Phase.READY, edge: bool = True) -> ReplicaView:
    server = EdgeServer(
        workload="llm",
        slot=0,
        replica=name,
        state=SlotState.READY,
        up=True,
        status="UP",
        in_flight=2,
        queued=1,
        sessions_total=9,
        retries_total=0,
        errors_total=0,
    )
    return ReplicaView(
        status=ReplicaStatus(
            name=name, fleet="local", workload="llm", phase=phase, restarts=3, created_ts=START, port=8100
        ),
        edge=server if edge else None,
    )


def snapshot(
    *, replicas: Sequence[ReplicaView] = (), ready: int = 2, wanted: int = 2, edge_up: bool = True, health: str = "ok"
) -> Snapshot:
    """A fleet with one workload, `llm`."""
    return Snapshot(
        seq=1,
        ts=START,
        fleet="local",
        version="0.1.0",
        health=health,
        replicas=tuple(replicas),
        workloads=(
            WorkloadView(
                name="llm",
                wanted=wanted,
                ready=ready,
                total=wanted,
                slots=8,
                routes=("/",),
                queued=5,
                in_flight=4,
            ),
        ),
        scaling=(ScalingView(workload="llm", policy="threshold", enabled=True, current=2, minimum=1, maximum=4),),
        point=build_point(
            int(START),
            ttft=Quantiles(),
            requests=1.5,
            errors=0.0,
            tokens_per_s=None,
            levels=Levels(queued=5, in_flight=4, ready=ready, wanted=wanted),
        ),
        edge_up=edge_up,
        dropped_rows=7,
    )
