from __future__ import annotations

from pathlib import Path

import msgspec

from backend.config.paths import StatePaths
from backend.contract.fleet import ExitRecord, ProbeSpec, ProbesSpec, WorkloadSpec
from backend.fleet.local.launching import note_exit, seed_of, shim_spec
from backend.fleet.supervision.seed import ReplicaSeed
from backend.shim.record import ShimRecord, read_record


def make_seed() -> ReplicaSeed:
    workload = WorkloadSpec(
        name="llm",
        command=("serve", "--port={port}", "--health", "{health_port}", "--name", "{replica}", '{"json": {x}}'),
        env={"A": "1", "PORT": "wrong"},
        probes=ProbesSpec(readiness=ProbeSpec(path="/ready")),
        memory_limit_bytes=1 << 30,
        revision="r1",
    )
    return ReplicaSeed(name="llm-1", fleet="local", workload=workload, port=20001, health_port=20002, created_ts=5.0)


def record_of(seed: ReplicaSeed, paths: StatePaths) -> ShimRecord:
    return ShimRecord(
        shim_pid=1,
        shim_start=2,
        pid=3,
        pid_start=4,
        starts=1,
        start_number=1,
        started_ts=6.0,
        started_mono=7.0,
        spec=shim_spec(seed, paths),
    )


def test_only_the_three_places_are_filled(tmp_path: Path) -> None:
    spec = shim_spec(make_seed(), StatePaths(tmp_path))
    assert spec.argv == ("serve", "--port=20001", "--health", "20002", "--name", "llm-1", '{"json": {x}}')
    assert spec.env == {
        "A": "1",
        "PORT": "20001",
        "HEALTH_PORT": "20002",
        "TRINITY_REPLICA": "llm-1",
        "TRINITY_WORKLOAD": "llm",
    }
    assert spec.memory_limit_bytes == 1 << 30


def test_a_replica_is_rebuilt_from_its_record(tmp_path: Path) -> None:
    seed = make_seed()
    record = record_of(seed, StatePaths(tmp_path))
    assert seed_of(record, "local") == seed
    assert seed_of(record, "docker:default") is None
    edge = msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, meta={}))
    assert seed_of(edge, "local") is None


def test_a_told_exit_is_noted_in_the_record(tmp_path: Path) -> None:
    seed = make_seed()
    spec = msgspec.structs.replace(shim_spec(seed, StatePaths(tmp_path)), record_path=str(tmp_path / "r.json"))
    record = msgspec.structs.replace(record_of(seed, StatePaths(tmp_path)), spec=spec)
    told = msgspec.structs.replace(seed, last_exit=ExitRecord(ts=9.0, code=1), restarts=4, crashes=2)
    note_exit(record, told)
    read = read_record(tmp_path / "r.json")
    assert read is not None
    assert read.pid is None
    assert seed_of(read, "local") == told
