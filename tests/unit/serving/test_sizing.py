"""A replica never gets more than its share of the machine, and every clamp is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.serving.sizing import LlmSizing, memory_needed, read_machine, size_for_machine

GIB = 2**30
SMOL = {"model_bytes": 98_362_432, "kv_bytes_per_token": 23_040, "trained_context": 8192}


def test_two_replicas_on_two_cores_get_a_thread_and_four_slots_of_the_full_context() -> None:
    sizing = size_for_machine(replicas=2, cpu_count=2, memory_bytes=8 * GIB, **SMOL)
    assert (sizing.threads, sizing.slots, sizing.context_per_slot) == (1, 4, 4096)
    assert [clamp.split(" ->")[0] for clamp in sizing.clamps] == ["NUM_THREADS 16", "MAX_BATCH_SIZE 32"]


def test_documented_defaults_stand_on_a_large_machine() -> None:
    sizing = size_for_machine(replicas=2, cpu_count=64, memory_bytes=256 * GIB, **SMOL)
    assert (sizing.threads, sizing.slots, sizing.context_per_slot, sizing.clamps) == (16, 32, 4096, ())


def test_short_memory_costs_context_before_slots_and_a_long_prompt_still_fits() -> None:
    sizing = size_for_machine(replicas=2, cpu_count=2, memory_bytes=int(1.25 * GIB), **SMOL)
    assert sizing.slots == 4
    assert 2_560 <= sizing.context_per_slot < 4096
    smaller = size_for_machine(replicas=2, cpu_count=2, memory_bytes=1 * GIB, **SMOL)
    assert smaller.slots < 4
    assert smaller.context_per_slot == 2_560
    assert any("GiB" in clamp for clamp in smaller.clamps)


def test_context_is_not_above_what_the_model_was_trained_for() -> None:
    sizing = size_for_machine(max_sequence_length=16_384, replicas=1, cpu_count=8, memory_bytes=64 * GIB, **SMOL)
    assert sizing.context_per_slot == 8192
    assert any("trained" in clamp for clamp in sizing.clamps)


def test_a_model_that_does_not_fit_is_said() -> None:
    sizing = size_for_machine(replicas=2, cpu_count=4, memory_bytes=4 * GIB, model_bytes=5 * GIB)
    assert sizing.slots == 1
    assert "The model needs" in sizing.clamps[-1]


@given(
    batch=st.integers(1, 64),
    threads=st.integers(1, 64),
    length=st.integers(64, 32_768),
    replicas=st.integers(1, 20),
    cpus=st.integers(1, 256),
    memory=st.integers(GIB // 2, 512 * GIB),
    model=st.integers(10**6, 40 * GIB),
    kv=st.one_of(st.none(), st.integers(1_000, 500_000)),
)
def test_never_more_than_asked_and_within_memory_or_said(
    batch: int, threads: int, length: int, replicas: int, cpus: int, memory: int, model: int, kv: int | None
) -> None:
    sizing = size_for_machine(
        batch,
        threads,
        length,
        replicas=replicas,
        cpu_count=cpus,
        memory_bytes=memory,
        model_bytes=model,
        kv_bytes_per_token=kv,
    )
    assert 1 <= sizing.slots <= batch
    assert 1 <= sizing.threads <= threads
    assert 1 <= sizing.context_per_slot <= length
    assert sizing.threads * replicas <= max(cpus, replicas)
    assert _said(sizing, batch, threads, length)
    assert sizing.memory_per_replica_bytes * replicas <= memory or "The model needs" in sizing.clamps[-1]


def _said(sizing: LlmSizing, batch: int, threads: int, length: int) -> bool:
    words = " ".join(sizing.clamps)
    return (
        ("MAX_BATCH_SIZE" in words) == (sizing.slots < batch)
        and ("NUM_THREADS" in words) == (sizing.threads < threads)
        and ("MAX_SEQUENCE_LENGTH" in words) == (sizing.context_per_slot < length)
    )


def test_the_memory_estimate_is_close_to_what_was_measured() -> None:
    # 523 MB resident with 4 slots of 4,096 tokens.
    needed = memory_needed(model_bytes=98_362_432, slots=4, context_per_slot=4096, kv_bytes_per_token=23_040)
    assert 0.95 < needed / 523_244_000 < 1.2


def test_zero_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="NUM_THREADS is 0"):
        size_for_machine(num_threads=0, replicas=1, cpu_count=1, memory_bytes=GIB, model_bytes=1)


def test_container_limits_count(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    machine = read_machine(tmp_path)
    assert (machine.cpu_count, machine.memory_bytes) == (1, 2**30)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert read_machine(tmp_path) == read_machine(tmp_path / "absent")
