"""The closed sets of words: phases, severities, verbs, outcomes. One spelling each, used everywhere."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Life of a replica, as the console shows it."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    NOT_READY = "NotReady"
    DRAINING = "Draining"
    TERMINATING = "Terminating"
    FAILED = "Failed"
    CRASH_LOOP = "CrashLoop"
    COMPLETED = "Completed"
    """It had an end to come to, and did: nothing is wrong with it."""


class Severity(StrEnum):
    """How much an event wants a person's eyes. `error` and `critical` ring the bell."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Vantage(StrEnum):
    """From where a request row was seen."""

    CLIENT = "client"
    EDGE = "edge"
    ATTEMPT = "attempt"


class Verb(StrEnum):
    """Everything the action gateway can do."""

    SCALE = "scale"
    RESTART = "restart"
    ROLLOUT = "rollout"
    KILL = "kill"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    APPLY = "apply"
    AUTOSCALE = "autoscale"
    MAINTENANCE = "maintenance"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EVICT = "evict"
    ROLLBACK = "rollback"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    NODE_DRAIN = "node-drain"
    FORWARD = "forward"
    UNFORWARD = "unforward"
    EXEC = "exec"
    LOAD_START = "load-start"
    LOAD_STOP = "load-stop"
    DRILL_RUN = "drill-run"
    DRILL_STOP = "drill-stop"
    INJECT = "inject"
    HEAL = "heal"
    NOTE = "note"
    ACKNOWLEDGE = "acknowledge"
    UNDO = "undo"
    SHUTDOWN = "shutdown"


class Risk(StrEnum):
    """What a confirmation must ask for: nothing, one key, or the target's name typed."""

    NONE = "none"
    LOW = "low"
    HIGH = "high"


class ActionOutcome(StrEnum):
    """How an action ended (`running` until it did)."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"


class RequestOutcome(StrEnum):
    """What the caller of a request got. Exactly one each."""

    OK = "ok"
    SLOW = "slow"
    WRONG = "wrong"
    SHED = "shed"
    FAILED = "failed"


class SlotState(StrEnum):
    """Administrative state of an edge slot."""

    MAINT = "maint"
    READY = "ready"
    DRAIN = "drain"


class DrillOutcome(StrEnum):
    """How a drill run ended; each has one exit code (see exit_codes)."""

    RUNNING = "running"
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ABORTED_CLEAN = "aborted-clean"
    BASELINE_FAILED = "baseline-failed"
    DIRTY = "dirty"
    REGRESSION = "regression"
    REFUSED = "refused"
