"""How large one llm replica may be on this machine: slots, threads and context, as a pure function.

Owns the clamps and the words that explain them. Reads the machine only in `read_machine`, starts nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import UsageError

SLOTS_PER_THREAD: Final = 4
"""Decoding shares each read of the weights between slots; past about four a thread, first tokens only get later."""
MEMORY_SHARE: Final = 0.75
"""Of the machine's memory all replicas together may take; the rest is the system's, the edge's and the daemon's."""
WORKING_CONTEXT: Final = 2_560
"""A 2,000-token prompt with room to answer: context is not cut below it before slots are."""
SMALLEST_CONTEXT: Final = 256
CONTEXT_STEP: Final = 256
PROCESS_BYTES: Final = 96 * 1024 * 1024
"""Interpreter, engine code and compute buffers of a small model."""
UNKNOWN_KV_BYTES_PER_TOKEN: Final = 128 * 1024
"""Assumed where the model file does not say: what an 8-billion-parameter model with grouped heads takes."""


class LlmSizing(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica gets."""

    slots: int
    threads: int
    context_per_slot: int
    """Tokens, prompt and answer together."""
    memory_per_replica_bytes: int
    """Expected resident size with every slot full."""
    clamps: tuple[str, ...] = ()
    """One sentence for each setting that is smaller than what was asked for."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this process may use, container limits included."""

    cpu_count: int
    memory_bytes: int


def memory_needed(*, model_bytes: int, slots: int, context_per_slot: int, kv_bytes_per_token: int) -> int:
    """Expected resident bytes of a replica: weights, KV cache, buffers that grow with the model, the process."""
    return model_bytes + slots * context_per_slot * kv_bytes_per_token + model_bytes // 16 + PROCESS_BYTES


def size_for_machine(
    max_batch_size: int = 32,
    num_threads: int = 16,
    max_sequence_length: int = 4096,
    *,
    replicas: int,
    cpu_count: int,
    memory_bytes: int,
    model_bytes: int,
    kv_bytes_per_token: int | None = None,
    trained_context: int | None = None,
) -> LlmSizing:
    """Clamp the wanted sizes to the machine. Raises UsageError for sizes below 1.

    Threads: an equal share of the cores. Slots: four a thread. Context: up to what the model was trained for and
    memory holds; when memory is short, context shrinks to 2,560 first, then slots, then context further.
    """
    for name, wanted in (
        ("MAX_BATCH_SIZE", max_batch_size),
        ("NUM_THREADS", num_threads),
        ("MAX_SEQUENCE_LENGTH", max_sequence_length),
        ("replicas", replicas),
    ):
        if wanted < 1:
            raise UsageError(f"{name} is {wanted}, it must be at least 1.", "Correct it in the environment.")
    clamps: list[str] = []
    share = max(1, cpu_count // replicas)
    threads = min(num_threads, share)
    if threads < num_threads:
        clamps.append(
            f"NUM_THREADS {num_threads} -> {threads}: {_count(cpu_count, 'core')} for {_count(replicas, 'replica')}."
        )
    slots = min(max_batch_size, threads * SLOTS_PER_THREAD)
    if slots < max_batch_size:
        clamps.append(f"MAX_BATCH_SIZE {max_batch_size} -> {slots}: {SLOTS_PER_THREAD} slots a thread.")
    context = max_sequence_length
    if trained_context is not None and trained_context < context:
        clamps.append(f"MAX_SEQUENCE_LENGTH {context} -> {trained_context}: the model was trained for no more.")
        context = trained_context
    kv_bytes = kv_bytes_per_token or UNKNOWN_KV_BYTES_PER_TOKEN
    budget = int(memory_bytes * MEMORY_SHARE / replicas)
    fixed = memory_needed(model_bytes=model_bytes, slots=0, context_per_slot=0, kv_bytes_per_token=0)
    fitted_slots, fitted_context = _fit_memory(slots, context, tokens=max(0, budget - fixed) // kv_bytes)
    per_replica = f"{_count(replicas, 'replica')} may take {_gib(budget)} each"
    if fitted_context < context:
        clamps.append(f"MAX_SEQUENCE_LENGTH {context} -> {fitted_context}: {per_replica}.")
    if fitted_slots < slots:
        clamps.append(f"MAX_BATCH_SIZE {slots} -> {fitted_slots}: {per_replica}.")
    needed = memory_needed(
        model_bytes=model_bytes, slots=fitted_slots, context_per_slot=fitted_context, kv_bytes_per_token=kv_bytes
    )
    if needed > budget:
        clamps.append(f"The model needs {_gib(needed)} a replica even at its smallest, but {per_replica}.")
    return LlmSizing(
        slots=fitted_slots,
        threads=threads,
        context_per_slot=fitted_context,
        memory_per_replica_bytes=needed,
        clamps=tuple(clamps),
    )


def _fit_memory(slots: int, context: int, *, tokens: int) -> tuple[int, int]:
    """The largest (slots, context) whose product is at most `tokens`, or the smallest there is."""
    floor = min(context, WORKING_CONTEXT)
    if slots * context <= tokens:
        return slots, context
    if slots * floor <= tokens:
        return slots, max(floor, tokens // slots // CONTEXT_STEP * CONTEXT_STEP)
    if floor <= tokens:
        return tokens // floor, floor
    return 1, min(context, max(SMALLEST_CONTEXT, tokens // CONTEXT_STEP * CONTEXT_STEP))


def read_machine(cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Cores and memory this process may use: the machine's, or a smaller limit of its container (cgroup v2)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    quota = _words(cgroup / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        cpus = min(cpus, max(1, int(quota[0]) // max(1, int(quota[1]))))
    limit = _words(cgroup / "memory.max")
    if limit and limit[0].isdigit():
        memory = min(memory, int(limit[0]))
    return Machine(cpu_count=cpus, memory_bytes=memory)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
