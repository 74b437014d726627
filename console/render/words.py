"""Glyph, word and style for each closed set of words: a state is readable without its colour."""

from __future__ import annotations

from typing import Final

from backend.contract.words import ActionOutcome, DrillOutcome, Phase, RequestOutcome, Severity

PHASES: Final[dict[Phase, tuple[str, str]]] = {
    Phase.PENDING: ("○", "muted"),
    Phase.STARTING: ("◔", "accent"),
    Phase.READY: ("●", "ok"),
    Phase.NOT_READY: ("◑", "warn"),
    Phase.DRAINING: ("◒", "warn"),
    Phase.TERMINATING: ("◌", "muted"),
    Phase.FAILED: ("✗", "error b"),
    Phase.CRASH_LOOP: ("↻", "error b"),
    Phase.COMPLETED: ("✓", "muted"),
}
SHORT_KINDS: Final = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "ReplicaSet": "rs",
    "CronJob": "cj",
}
"""Kinds of objects as kubectl shortens them; the others are short."""
SEVERITIES: Final[dict[Severity, tuple[str, str]]] = {
    Severity.DEBUG: ("·", "faint"),
    Severity.INFO: ("•", "muted"),
    Severity.WARNING: ("▲", "warn"),
    Severity.ERROR: ("✗", "error"),
    Severity.CRITICAL: ("‼", "error b"),
}
ACTIONS: Final[dict[ActionOutcome, tuple[str, str]]] = {
    ActionOutcome.RUNNING: ("◔", "accent"),
    ActionOutcome.OK: ("✓", "ok"),
    ActionOutcome.FAILED: ("✗", "error"),
    ActionOutcome.REFUSED: ("⊘", "warn"),
}
REQUESTS: Final[dict[RequestOutcome, tuple[str, str]]] = {
    RequestOutcome.OK: ("✓", "ok"),
    RequestOutcome.SLOW: ("◷", "warn"),
    RequestOutcome.WRONG: ("≠", "error"),
    RequestOutcome.SHED: ("⊘", "warn"),
    RequestOutcome.FAILED: ("✗", "error"),
}
DRILLS: Final[dict[DrillOutcome, tuple[str, str]]] = {
    DrillOutcome.RUNNING: ("◔", "accent"),
    DrillOutcome.PASS: ("✓", "ok"),
    DrillOutcome.FAIL: ("✗", "error b"),
    DrillOutcome.INCONCLUSIVE: ("?", "warn"),
    DrillOutcome.ABORTED_CLEAN: ("⊘", "warn"),
    DrillOutcome.BASELINE_FAILED: ("✗", "error"),
    DrillOutcome.DIRTY: ("‼", "error b"),
    DrillOutcome.REGRESSION: ("↘", "error"),
    DrillOutcome.REFUSED: ("⊘", "warn"),
}
HEALTH: Final[dict[str, tuple[str, str]]] = {
    "ok": ("●", "ok b"),
    "degraded": ("◑", "warn b"),
    "down": ("✗", "error b"),
    "starting": ("◔", "accent b"),
}
UNKNOWN: Final = ("?", "muted")
_DRIVERS: Final = {"kubernetes": "k8s"}


def driver_word(driver: str) -> str:
    """What a fleet runs on, in a few letters: `local`, `docker`, `k8s`."""
    return _DRIVERS.get(driver, driver)
