"""The control API's messages, version 1: JSON over HTTP on a unix socket. See backend/daemon for the routes."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.edge import EdgeServer
from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import ForwardView, NodeStatus, PortView, Trouble
from backend.contract.rows import ActionRow, EventRow, LogRow, Scalar
from backend.contract.words import DrillOutcome, Risk, Verb

PROTOCOL: Final = 1


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/version."""

    version: str
    protocol: int
    pid: int
    started_ts: float
    state_dir: str


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer with status >= 400."""

    kind: str
    message: str
    next_step: str = ""


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Exact quantiles over a window; all null when `count` is 0."""

    count: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    window_s: float = 60.0


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as the console shows it: its driver's view joined with the edge's and the ledger's."""

    status: ReplicaStatus
    edge: EdgeServer | None = None
    ttft: Quantiles = Quantiles()
    requests_per_s: float = 0.0
    tokens_per_s: float | None = None
    engine_running: int | None = None
    engine_waiting: int | None = None


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's totals."""

    name: str
    wanted: int
    ready: int
    total: int
    slots: int
    """Requests that its ready replicas work on at once, all together."""
    routes: tuple[str, ...]
    queued: int
    in_flight: int
    lease: str | None = None
    """Who is working on it now."""
    maintenance: bool = False
    autoscale: bool = False
    kind: str = ""
    """What the platform calls it (`Deployment`, `StatefulSet`, `service`); empty for our own."""
    rollout: str = ""
    """How its rollout stands, in a phrase; empty when none is under way."""


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One second of the fleet (or a workload), for charts."""

    ts: float
    ttft: Quantiles
    """Over the last 60 s."""
    queued: int
    in_flight: int
    requests_per_s: float
    tokens_per_s: float
    errors_per_s: float
    ready: int
    wanted: int
    cpu_percent: float
    """Of the whole machine."""
    memory_percent: float


class ScalingView(msgspec.Struct, frozen=True, kw_only=True):
    """The autoscaler as it stands."""

    workload: str
    policy: str
    enabled: bool
    current: int
    minimum: int
    maximum: int
    maximum_note: str = ""
    """Why the maximum is lower than asked for, e.g. what memory holds."""
    cooldown_left_s: float = 0.0
    last_decision: str = ""
    last_decision_ts: float | None = None
    inputs: dict[str, Scalar] = {}
    """cpu_percent, queue_depth, ttft_p99_ms (null when idle), and each one's target."""


class LoadView(msgspec.Struct, frozen=True, kw_only=True):
    """The demo load, if any."""

    running: bool = False
    rate: float = 0.0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    actor: str = ""


class DrillPhaseView(msgspec.Struct, frozen=True, kw_only=True):
    """One phase that began; seconds since the run's start."""

    name: str
    start_s: float
    end_s: float | None = None
    gate: bool = False


class DrillPhasePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of the scenario, begun or not, and the seconds that the plan gives it."""

    name: str
    seconds: float


class DrillFaultView(msgspec.Struct, frozen=True, kw_only=True):
    """One fault and its stamps; seconds since the run's start, null while unknown."""

    id: str
    fault: str
    victims: tuple[str, ...] = ()
    command_s: float | None = None
    effective_s: float | None = None
    suspect_s: float | None = None
    detected_s: float | None = None
    failover_s: float | None = None
    """First answer of another replica; known after the run only."""
    healed_s: float | None = None
    ready_s: float | None = None
    undone_s: float | None = None
    verified: bool = False
    problem: str = ""


class DrillBucket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Requests of all loads that ended within one second (`at_s`: its start, since the run's start).

    Latencies in seconds from the intended send, of answered requests; null where there were none."""

    at_s: float
    ok: int = 0
    """Answered: ok and slow."""
    failed: int = 0
    """Failed, shed and wrong."""
    p50_s: float | None = None
    p95_s: float | None = None
    ttft_p95_s: float | None = None


class HypothesisView(msgspec.Struct, frozen=True, kw_only=True):
    """A hypothesis (or an expectation of the present phase) as it stands now; the verdict is made afterwards."""

    id: str
    expr: str
    state: str
    """`holding`, `violated` or `no data`."""
    measured: dict[str, float | None] = {}


class DrillRollback(msgspec.Struct, frozen=True, kw_only=True):
    """That every undo of a run was issued, and what came of it; the report follows."""

    undos: int = 0
    left: int = 0
    """Not verified gone, so that their faults may still be in place."""
    slow: int = 0
    """Issued, hold no fault in place and take their time: a number of replicas, an edge, a daemon."""
    took_s: float = 0.0
    """From the wish to end until the last fault was verified gone, or given up for now."""


class DrillView(msgspec.Struct, frozen=True, kw_only=True):
    """A drill run, present or last.

    The live timeline: x runs from 0 to `elapsed_s`; `timeline` are the phases as bands, `faults` carry the marks
    injected / effective / detected / recovered, `buckets` (one a second, the newest 300, oldest first, none where
    nothing ended) the charts. All of them stay after the run's end.
    """

    run_id: str
    name: str
    title: str = ""
    outcome: DrillOutcome
    phase: str = ""
    phase_index: int = 0
    phases: int = 0
    started_ts: float
    ended_ts: float | None = None
    detail: str = ""
    report_path: str | None = None
    elapsed_s: float = 0.0
    estimated_s: float = 0.0
    """How long the plan says that it takes in all; 0 where nobody said."""
    planned: tuple[DrillPhasePlan, ...] = ()
    timeline: tuple[DrillPhaseView, ...] = ()
    faults: tuple[DrillFaultView, ...] = ()
    buckets: tuple[DrillBucket, ...] = ()
    hypotheses: tuple[HypothesisView, ...] = ()
    counts: dict[str, int] = {}
    """Requests that ended so far by outcome (`ok`, `slow`, `wrong`, `shed`, `failed`); empty: the buckets' sums."""
    rollback: DrillRollback | None = None
    """Null until every undo was issued."""


class DrillInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A drill one can run. GET /v1/drills."""

    name: str
    title: str
    tags: tuple[str, ...] = ()
    description: str = ""
    path: str = ""
    plan: tuple[str, ...] = ()
    """What would happen now, a sentence each; the first begins with `Refused:` where a guard rail says no."""
    last: DrillView | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a screen needs of one fleet at one instant. GET /v1/snapshot; in the stream once a second."""

    seq: int
    ts: float
    fleet: str
    version: str
    health: str
    """`ok`, `degraded`, `down` or `starting`."""
    health_reason: str = ""
    replicas: tuple[ReplicaView, ...] = ()
    workloads: tuple[WorkloadView, ...] = ()
    point: SeriesPoint
    scaling: tuple[ScalingView, ...] = ()
    load: LoadView = LoadView()
    drill: DrillView | None = None
    drills_blocked: str = ""
    """Who stopped all drills and why, until `drill allow`; empty when drills may start."""
    edge_up: bool = False
    public_url: str = ""
    stats_url: str = ""
    metrics_url: str = ""
    consoles: int = 0
    loop_lag_p99_s: float | None = None
    dropped_rows: int = 0
    """Rows lost since the daemon started; anything but 0 is shown."""
    driver: str = "local"
    """`local`, `docker` or `kubernetes`."""
    has_edge: bool = True
    """Whether requests go through an edge of ours, or one that the platform runs: without one there is no TTFT or queue
    to show."""
    edge_slots: bool = True
    """Whether that edge is the daemon's own, so that each replica's place at it is known. Of one that the platform runs
    only rows and counts of its workloads are."""
    limits: dict[str, str] = {}
    """Verb -> why nobody may do it here (the right that is missing, what the platform lacks). Others may be tried."""
    trouble: Trouble | None = None
    """Why what is shown may be old: the platform does not answer. Null while it does."""
    nodes: tuple[NodeStatus, ...] = ()
    forwards: tuple[ForwardView, ...] = ()
    ports: tuple[PortView, ...] = ()


class FleetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet of a daemon. GET /v1/fleets; all other routes of a fleet stand under /v1/fleets/{name}/ too."""

    name: str
    driver: str
    address: str
    """`local`, `docker:CONTEXT[/PROJECT]` or `k8s:CONTEXT/NAMESPACE`: what `trinity fleet add` takes."""
    health: str
    health_reason: str = ""
    replicas: int = 0


class FleetOrder(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/fleets: have the daemon look after one fleet more. `yaml` (a trinity.yaml) or `address` says which."""

    address: str = ""
    name: str = ""
    """By default the address."""
    yaml: str = ""
    source: str = ""
    read_only: bool = False


class ExecOrder(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/exec: run a program in a replica. The answer names a unix socket that carries it (see
    backend/contract/exec_frames.py)."""

    replica: str
    argv: tuple[str, ...]
    tty: bool = False
    columns: int = 80
    rows: int = 24
    container: str = ""
    actor: str = ""


class ExecTicket(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an ExecOrder: the program runs, and `socket` takes one connection that carries it."""

    session: str
    socket: str


class SnapshotDelta(msgspec.Struct, frozen=True, kw_only=True):
    """The way from the snapshot `base_seq` to the next: its head, and the replicas that differ."""

    base_seq: int
    head: Snapshot
    """The new snapshot without its replicas."""
    changed: tuple[ReplicaView, ...] = ()
    """Replicas that are new or differ; new ones stand after all others, in this order."""
    gone: tuple[str, ...] = ()
    """Names of replicas that are no more."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One line of GET /v1/stream (NDJSON). `seq` rises by one per frame sent to this subscriber.

    Slow subscribers get the newest snapshot and all events (up to 1,000; `missed_events` counts the rest). A
    subscriber that asked for deltas (`?deltas=1`) gets `delta` instead of `snapshot` wherever that says it all.
    """

    seq: int
    snapshot: Snapshot | None = None
    delta: SnapshotDelta | None = None
    events: tuple[EventRow, ...] = ()
    actions: tuple[ActionRow, ...] = ()
    missed_events: int = 0


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/actions (and /v1/actions/preview). `target` is a replica, a workload, a run or empty.

    args by verb: scale {replicas:int} | rollout {} | kill {signal:int} | autoscale {on:bool} |
    maintenance {on:bool} | pause {} | unpause {} | evict {} | rollback {} | node-drain {grace_s:float|null} |
    cordon {} | uncordon {} (these three: target is a node) | exec {argv:str} |
    forward {port:int, local_port:int|null, bind:str} (target: a replica, a workload or a service) |
    unforward {} (target: a forward's id) | load-start {rate:float, duration_s:float|null, max_tokens:int} |
    drill-run {name:str} or {yaml:str, source:str}, both with {seed:int, confidence:float,
    max_generator_lag_s:float} |
    note {text:str} | acknowledge {seq:int} | undo {id:str} |
    apply {yaml:str, source:str} | shutdown {}.
    """

    verb: Verb
    target: str = ""
    args: dict[str, Scalar] = {}
    actor: str
    reason: str = ""


class ActionPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What an action would do, before it is done."""

    verb: Verb
    target: str
    summary: str
    """One sentence with the effect: `llm: 3 -> 2 replicas; capacity 12 -> 8 slots; p95 TTFT last 5 min 0.41 s`."""
    effects: tuple[str, ...] = ()
    risk: Risk
    allowed: bool = True
    refusal: str = ""
    undo: str = ""
    """How it can be undone, or empty."""


class LogWindow(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/logs: lines oldest first, with what was left out."""

    rows: tuple[LogRow, ...] = ()
    truncated: int = 0
