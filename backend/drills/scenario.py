"""A drill's YAML file as frozen structs: reading it strictly, its digest and its JSON Schema.

Owns the file format (version 1). Says nothing about whether names in it refer to something: that is `check`.
Durations are seconds.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

from backend.config.strict_yaml import ByteSize, Duration, decode
from backend.contract.faults import Direction

FORMAT_VERSION: Final = 1

Role = Literal["inference", "embedding"]
Pick = Literal["first", "busiest", "random"]
FaultName = Literal[
    "process.kill",
    "process.stop",
    "process.exit",
    "process.slow-start",
    "process.crash-loop",
    "memory.exhaust",
    "memory.fill",
    "cpu.burn",
    "files.exhaust",
    "disk.fill",
    "net.latency",
    "net.bandwidth",
    "net.reset",
    "net.cut",
    "net.blackhole",
    "net.partition",
    "http.error",
    "http.garbage",
    "http.truncate",
    "http.slow-tokens",
    "health.lie",
    "request.poison",
    "edge.kill",
    "edge.reload",
    "daemon.kill",
    "workload.restart",
    "workload.scale",
    "node.drain",
]
SignalName = Literal["KILL", "TERM", "INT", "ABRT", "SEGV"]
Respawn = Literal["natural", "held"]
Scope = Literal["replica", "engine"]
VerifyName = Literal[
    "pid_gone",
    "port_closed",
    "respawned",
    "proc_state_T",
    "thread_stopped",
    "api_still_200",
    "no_progress",
    "exit_recorded",
    "not_ready",
    "crash_loop",
    "holder_active",
    "requests_affected",
    "edge_replaced",
    "daemon_replaced",
    "action_done",
]
"""See `backend.drills.catalogue` for which of them proves which fault."""
LoadKind = Literal["chat-stream", "chat-plain", "chat-mixed", "embeddings"]
ReportFormat = Literal["json", "junit", "html", "md"]


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool (all replicas of a workload) or one replica out of a pool (`from`)."""

    workload: str | None = None
    role: Role | None = None
    replicas: int | None = None
    """Replicas of the pool that must be Ready before anything starts."""
    source: str | None = msgspec.field(default=None, name="from")
    index: int | None = None
    pick: Pick | None = None
    """How the replica is chosen at the moment of the injection, when no index is given."""

    @property
    def is_pool(self) -> bool:
        return self.source is None


class BlastRadius(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a drill may take away at once; checked when planned and again before each injection."""

    max_down: int = 1
    max_percent: float = 100.0
    keep_healthy: int = 1
    never_roles: tuple[Role, ...] = ()


class Lease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The warden's lease: it undoes everything when heartbeats stop for `expires`."""

    heartbeat: Duration = 0.25
    expires: Duration = 1.0
    on_controller_loss: Literal["rollback"] = "rollback"


class Safety(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Guard rails of a run."""

    environments: tuple[str, ...] = ("dev", "staging")
    blast_radius: BlastRadius = msgspec.field(default_factory=BlastRadius)
    max_runtime: Duration = 300.0
    fault_ttl: Duration = 60.0
    lease: Lease = msgspec.field(default_factory=Lease)
    max_generator_lag: Duration = 0.01
    """A load whose lateness (p99 over the run) is above this makes the run inconclusive."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When requests arrive: open loop, from one seeded schedule. `rate` is an expression (requests/s)."""

    model: Literal["poisson", "constant"] = "poisson"
    rate: str


class RequestMix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked. `stream_share` is the part that streams (chat-mixed only)."""

    max_tokens: int = 32
    stream_share: float = 0.5
    deadline: Duration = 20.0
    slow_over: Duration | None = None
    temperature: float = 0.0
    prompt_tokens_min: int = 10
    prompt_tokens_max: int = 60
    """Seeded prompts have log-uniform lengths in this range."""
    retries: int = 0
    """How often the client itself sends a failed request again (a retry storm needs clients that do). Each is a request
    of its own in the ledger."""


class AnswerCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How answers are checked: an answer that differs is `wrong`."""

    golden: Literal["first-answer"] | None = None
    """Embeddings: the vector of a text must stay what the fleet answered for it during the gate."""
    cosine_min: float = 0.9999


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named open-loop load against a pool."""

    kind: LoadKind
    target: str = "pool"
    arrival: Arrival
    request: RequestMix = msgspec.field(default_factory=RequestMix)
    check: AnswerCheck = msgspec.field(default_factory=AnswerCheck)


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that must hold in each phase after the gate; requests within `grace` of an injection don't count."""

    id: str
    expr: str
    grace: Duration = 0.0


class AbortRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends the run with a rollback when it has been true for `for`."""

    expr: str
    sustained: Duration = msgspec.field(default=0.0, name="for")
    do: Literal["rollback"] = "rollback"


class Injection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. `when` is awaited (at most `within`) before the deed; every step of `verify` must prove it.

    Which of the other keys a fault takes, and which it needs, stands in `backend.drills.catalogue`; a key that does
    not belong to the fault is an error. `target` is a replica, or a pool for faults of a whole pool, edge or daemon.
    """

    id: str
    fault: FaultName
    target: str
    signal: SignalName = "KILL"
    respawn: Respawn = "natural"
    scope: Scope = "replica"
    """process.stop: the whole replica, or only the thread that decodes, behind an API that still answers."""
    code: int | None = None
    """Exit code (process.exit, process.crash-loop)."""
    delay: Duration | None = None
    """How much later each start happens (process.slow-start)."""
    latency: Duration | None = None
    jitter: Duration | None = None
    rate: ByteSize | None = None
    """Bytes/s of an answer (net.bandwidth)."""
    after: ByteSize | None = None
    """Bytes of the answer that still arrive (net.cut, http.truncate)."""
    status: int | None = None
    """HTTP status (http.error, health.lie)."""
    direction: Direction | None = None
    share: float | None = None
    """Part of the requests that is touched, 0..1, chosen by the scenario's seed. All without it."""
    cores: float | None = None
    size: ByteSize | None = None
    replicas: int | None = None
    """The wanted count (workload.scale)."""
    when: str | None = None
    within: Duration = 20.0
    verify: tuple[VerifyName, ...] = ()


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a phase lasts: until both the time is over and each load has its sample."""

    duration: Duration = msgspec.field(name="for")
    min_requests: dict[str, int] = {}


class Until(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition the phase waits for before it holds; not met in time is a failed expectation."""

    expr: str
    within: Duration


class PhaseSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One phase: heal, inject, wait, hold, then its expectations."""

    name: str
    inject: tuple[Injection, ...] = ()
    heal: tuple[str, ...] = ()
    until: Until | None = None
    hold: Hold
    gate: bool = False
    expect: tuple[str, ...] = ()


class Compare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which earlier run of the same scenario, driver and host class a run is compared with, and what follows."""

    reference: Literal["last-pass"] | None = msgspec.field(default=None, name="with")
    fail_on: Literal["regression", "nothing"] = "regression"
    """`regression`: a pass that is measurably worse ends as `regression`, exit code 6."""


class ReportSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which files are written beside the ledger (`json` always is)."""

    formats: tuple[ReportFormat, ...] = ("json", "junit", "html", "md")
    compare: Compare = msgspec.field(default_factory=Compare)


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole drill."""

    drill: Literal[1]
    name: str
    title: str
    about: str = ""
    """What it proves and what a failure usually means."""
    tags: tuple[str, ...] = ()
    seed: int = 1
    repeat: dict[str, int] = {}
    targets: dict[str, Target]
    safety: Safety = msgspec.field(default_factory=Safety)
    load: dict[str, Load]
    hypothesis: tuple[Hypothesis, ...] = ()
    abort: tuple[AbortRule, ...] = ()
    phases: tuple[PhaseSpec, ...]
    report: ReportSpec = msgspec.field(default_factory=ReportSpec)

    def injections(self) -> tuple[Injection, ...]:
        """All faults, in file order."""
        return tuple(injection for phase in self.phases for injection in phase.inject)


def read(text: str, source: str) -> Scenario:
    """The scenario in `text`, its shape checked but not its references. Raises FileError with line and column."""
    return decode(text, source, Scenario)


def scenario_digest(scenario: Scenario) -> str:
    """SHA-256 (hex) of the scenario's meaning: comments, order and quoting of the file do not matter.

    Keys at their defaults are left out, so that a key that is new to the format leaves older digests as they were. A
    default that changes its value changes what files mean: that takes a new FORMAT_VERSION.
    """
    return hashlib.sha256(msgspec.json.encode(_beyond_defaults(scenario), order="deterministic")).hexdigest()


def _beyond_defaults(value: Any) -> Any:
    """Plain values of what differs from the defaults, to any depth."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: _beyond_defaults(own)
            for field in msgspec.structs.fields(value)
            if (own := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, dict):
        return {key: _beyond_defaults(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_beyond_defaults(item) for item in value]
    return value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """NODEFAULT, which equals nothing else, where the key is required."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario file, for editors."""
    shape: dict[str, Any] = msgspec.json.schema(Scenario)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Trinity drill", **shape}
