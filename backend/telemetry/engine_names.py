"""What each engine calls the things Trinity shows: one table per engine, pure functions over it.

Owns the names (and their drift between versions) and how label sets are merged. Never fetches anything. A thing
that an engine does not export is null in the reading, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, Literal

import msgspec

from backend.contract.fleet import EngineKind
from backend.telemetry.exposition import Sample


class EngineMetric(StrEnum):
    """Trinity's names, also the `metric` of sample rows. Counters end in `_total`, ratios lie in 0..1."""

    RUNNING = "engine_running"
    """Requests in a slot."""
    WAITING = "engine_waiting"
    """Requests the engine itself holds back."""
    TOKENS_OUT = "engine_tokens_out_total"
    TOKENS_IN = "engine_tokens_in_total"
    """Prompt tokens computed."""
    TOKENS_CACHED = "engine_tokens_cached_total"
    """Prompt tokens found in a cache."""
    PROGRESS = "engine_progress_total"
    """Rises with each step of work: the heartbeat."""
    PENDING = "engine_pending"
    """Work that no step has finished, where requests in progress do not say it (some may be answered from a cache)."""
    KV_USAGE = "engine_kv_usage_ratio"
    PREEMPTIONS = "engine_preemptions_total"


Merge = Literal["sum", "max"]


class Source(msgspec.Struct, frozen=True):
    """Where a metric comes from: the first of `names` that the engine exports, its label sets merged."""

    names: tuple[str, ...]
    merge: Merge = "sum"


ENGINES: Final[Mapping[EngineKind, Mapping[EngineMetric, Source]]] = {
    "llamacpp": {
        EngineMetric.RUNNING: Source(("llamacpp:requests_processing",)),
        EngineMetric.WAITING: Source(("llamacpp:requests_deferred",)),
        EngineMetric.TOKENS_OUT: Source(("llamacpp:tokens_predicted_total",)),
        EngineMetric.TOKENS_IN: Source(("llamacpp:prompt_tokens_total",)),
        EngineMetric.TOKENS_CACHED: Source(("llamacpp:prompt_tokens_cached_total",)),
        EngineMetric.PROGRESS: Source(("llamacpp:n_decode_total",)),
        EngineMetric.KV_USAGE: Source(("llamacpp:kv_cache_usage_ratio",), "max"),
    },
    "vllm": {
        EngineMetric.RUNNING: Source(("vllm:num_requests_running",)),
        EngineMetric.WAITING: Source(("vllm:num_requests_waiting",)),
        EngineMetric.TOKENS_OUT: Source(("vllm:generation_tokens_total", "vllm:generation_tokens")),
        EngineMetric.TOKENS_IN: Source(("vllm:prompt_tokens_total", "vllm:prompt_tokens")),
        EngineMetric.TOKENS_CACHED: Source(
            ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
        ),
        EngineMetric.PROGRESS: Source(("vllm:iteration_tokens_total_count",)),
        EngineMetric.KV_USAGE: Source(("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), "max"),
        EngineMetric.PREEMPTIONS: Source(("vllm:num_preemptions_total", "vllm:num_preemptions")),
    },
    "embedding": {
        EngineMetric.RUNNING: Source(("trinity_embedding_requests_processing",)),
        EngineMetric.WAITING: Source(("trinity_embedding_queue_depth",)),
        EngineMetric.TOKENS_IN: Source(("trinity_embedding_tokens_computed_total",)),
        EngineMetric.TOKENS_CACHED: Source(("trinity_embedding_tokens_cached_total",)),
        EngineMetric.PROGRESS: Source(("trinity_embedding_steps_total",)),
        EngineMetric.PENDING: Source(("trinity_embedding_texts_pending",)),
    },
    "none": {},
}
"""vLLM's `_perc` values are ratios in 0..1 whatever their name says. llama.cpp dropped its KV gauge in 2025."""


def read_values(engine: EngineKind, samples: Iterable[Sample]) -> dict[EngineMetric, float]:
    """What an engine exported, by our names; NaN and what is missing are left out."""
    table = ENGINES[engine]
    wanted = {name for source in table.values() for name in source.names}
    found: dict[str, list[float]] = {}
    for sample in samples:
        if sample.name in wanted and math.isfinite(sample.value):
            found.setdefault(sample.name, []).append(sample.value)
    values: dict[EngineMetric, float] = {}
    for metric, source in table.items():
        name = next((name for name in source.names if name in found), None)
        if name is not None:
            values[metric] = max(found[name]) if source.merge == "max" else sum(found[name])
    return values
