"""What the daemon hands to an observer process on its standard input. Data only."""

from __future__ import annotations

import msgspec

from backend.contract.fleet import WorkloadSpec


class ObserverOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an observer needs that it cannot ask a dead daemon for. Never written to disk: it holds the key."""

    state_dir: str
    actor: str
    yaml: str
    source: str
    seed: int | None = None
    confidence: float | None = None
    max_generator_lag_s: float | None = None
    environment: str
    fleet: str
    driver: str
    versions: dict[str, str]
    api_key: str
    workloads: tuple[WorkloadSpec, ...]
    auto_port: bool


class Started(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The observer's one line of answer: the run's id, or why there is none."""

    run_id: str = ""
    kind: str = ""
    message: str = ""
    next_step: str = ""
