"""What of a replica survives the daemon, and what its program is told. Pure."""

from __future__ import annotations

import msgspec

from backend.contract.fleet import ExitRecord, WorkloadSpec


class ReplicaSeed(msgspec.Struct, frozen=True, kw_only=True):
    """A replica without its process: enough to start it, or to recognise what a former daemon left."""

    name: str
    fleet: str
    workload: WorkloadSpec
    port: int
    health_port: int
    created_ts: float
    restarts: int = 0
    crashes: int = 0
    last_exit: ExitRecord | None = None


def program_env(seed: ReplicaSeed) -> dict[str, str]:
    """The environment beyond the inherited one."""
    return {
        **seed.workload.env,
        "PORT": str(seed.port),
        "HEALTH_PORT": str(seed.health_port),
        "TRINITY_REPLICA": seed.name,
        "TRINITY_WORKLOAD": seed.workload.name,
    }


def filled_command(seed: ReplicaSeed) -> tuple[str, ...]:
    """The workload's argv with `{port}`, `{health_port}` and `{replica}` filled in; no other braces are touched."""
    places = {"{port}": str(seed.port), "{health_port}": str(seed.health_port), "{replica}": seed.name}
    return tuple(_fill(word, places) for word in seed.workload.command)


def _fill(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word
