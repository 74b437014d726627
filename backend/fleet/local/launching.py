"""From a workload's spec to a shim's, and back from a record. Pure.

Owns what is written into ShimSpec.meta so that a new daemon can rebuild a replica.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from backend.config.paths import StatePaths
from backend.contract.shim import ShimSpec
from backend.fleet.supervision.seed import ReplicaSeed, filled_command, program_env
from backend.serving.fault_switch import VARIABLE as SWITCH_VARIABLE
from backend.shim.record import ShimRecord, write_atomic

Argv = tuple[str, ...]
_KIND = "replica"


def shim_spec(
    seed: ReplicaSeed, paths: StatePaths, *, switch: Path | None = None, spoil: Callable[[Argv], Argv] | None = None
) -> ShimSpec:
    """How the shim of this replica is to run; `switch` is its fault switch, `spoil` what a drill does to its start."""
    argv = filled_command(seed)
    spec = seed.workload
    return ShimSpec(
        name=seed.name,
        workload=spec.name,
        argv=argv if spoil is None else spoil(argv),
        env=program_env(seed) | ({} if switch is None else {SWITCH_VARIABLE: str(switch)}),
        cwd=spec.cwd,
        socket_path=str(paths.shim_socket(seed.name)),
        record_path=str(paths.shim_record(seed.name)),
        exit_path=str(paths.exit_record(seed.name)),
        log_dir=str(paths.replica_log_dir(seed.name)),
        memory_limit_bytes=spec.memory_limit_bytes,
        nice=spec.nice,
        meta={"kind": _KIND, "seed": msgspec.json.encode(seed).decode()},
    )


def seed_of(record: ShimRecord, fleet: str) -> ReplicaSeed | None:
    """The replica a shim record belongs to; null when it is none of this fleet."""
    if record.spec.meta.get("kind") != _KIND:
        return None
    try:
        seed = msgspec.json.decode(record.spec.meta.get("seed", ""), type=ReplicaSeed)
    except msgspec.DecodeError:
        return None
    return seed if seed.fleet == fleet else None


def note_exit(record: ShimRecord, seed: ReplicaSeed) -> None:
    """Write into the record that this exit was seen, so that an adopting daemon does not tell it again.

    Raises OSError.
    """
    spec = msgspec.structs.replace(record.spec, meta={**record.spec.meta, "seed": msgspec.json.encode(seed).decode()})
    noted = msgspec.structs.replace(record, pid=None, pid_start=None, spec=spec)
    write_atomic(record.spec.record_path, msgspec.json.encode(noted))
