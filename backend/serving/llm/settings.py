"""A replica's settings, read from its environment once. Owns names, defaults and their sentences; starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from backend.serving.environment import seconds, whole

DEFAULT_BATCH: Final = 64
"""Prompt tokens an engine step takes: small, so that steps (the progress heartbeat) are frequent and a long prompt
does not hold up the tokens of others."""


class LlmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon tells a replica. Sizes it leaves out are computed here from the machine, for one replica."""

    host: str = "127.0.0.1"
    port: int = 8080
    health_port: int | None = None
    """Null: no health endpoints."""
    model_path: str | None = None
    model_alias: str | None = None
    slots: int | None = None
    threads: int | None = None
    context: int | None = None
    """Tokens a slot."""
    batch: int = DEFAULT_BATCH
    stop_grace_s: float = 8.0
    """From SIGTERM until requests still running are cut."""
    max_batch_size: int = 32
    num_threads: int = 16
    max_sequence_length: int = 4096


def read_settings(environ: Mapping[str, str]) -> LlmSettings:
    """Settings from PORT, HEALTH_PORT, HOST, MODEL_PATH, MODEL_ALIAS, SLOTS, THREADS, CONTEXT, BATCH, STOP_GRACE,
    MAX_BATCH_SIZE, NUM_THREADS and MAX_SEQUENCE_LENGTH. Empty counts as unset. Raises UsageError."""
    defaults = LlmSettings()
    return LlmSettings(
        host=environ.get("HOST") or defaults.host,
        port=whole(environ, "PORT", 1, 65_535) or defaults.port,
        health_port=whole(environ, "HEALTH_PORT", 1, 65_535),
        model_path=environ.get("MODEL_PATH") or None,
        model_alias=environ.get("MODEL_ALIAS") or None,
        slots=whole(environ, "SLOTS", 1, 1_024),
        threads=whole(environ, "THREADS", 1, 1_024),
        context=whole(environ, "CONTEXT", 64, 10_000_000),
        batch=whole(environ, "BATCH", 8, 8_192) or defaults.batch,
        stop_grace_s=seconds(environ, "STOP_GRACE", defaults.stop_grace_s),
        max_batch_size=whole(environ, "MAX_BATCH_SIZE", 1, 1_000_000) or defaults.max_batch_size,
        num_threads=whole(environ, "NUM_THREADS", 1, 1_000_000) or defaults.num_threads,
        max_sequence_length=whole(environ, "MAX_SEQUENCE_LENGTH", 64, 10_000_000) or defaults.max_sequence_length,
    )
