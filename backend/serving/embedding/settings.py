"""An embedding replica's settings, read from its environment once. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from backend.serving.environment import seconds, whole


class EmbeddingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon tells a replica."""

    host: str = "127.0.0.1"
    port: int = 8080
    health_port: int | None = None
    """Null: health only on the main port."""
    threads: int = 1
    """Of one inference."""
    cache_texts: int = 10_000
    """Texts whose vectors are kept; 0 keeps none."""
    max_batch: int = 32
    """Texts of one inference."""
    max_waiting: int = 1_024
    """Texts that may wait for an inference; a request that does not fit gets a 429."""
    max_texts: int = 512
    """Texts of one request."""
    max_body_bytes: int = 1024 * 1024
    stop_grace_s: float = 8.0
    """From SIGTERM until requests still running are cut."""


def read_settings(environ: Mapping[str, str]) -> EmbeddingSettings:
    """Settings from HOST, PORT, HEALTH_PORT, THREADS, CACHE_TEXTS, MAX_BATCH, MAX_WAITING, MAX_TEXTS, MAX_BODY and
    STOP_GRACE. Empty counts as unset. Raises UsageError."""
    defaults = EmbeddingSettings()
    cache = whole(environ, "CACHE_TEXTS", 0, 10_000_000)
    return EmbeddingSettings(
        host=environ.get("HOST") or defaults.host,
        port=whole(environ, "PORT", 1, 65_535) or defaults.port,
        health_port=whole(environ, "HEALTH_PORT", 1, 65_535),
        threads=whole(environ, "THREADS", 1, 1_024) or defaults.threads,
        cache_texts=defaults.cache_texts if cache is None else cache,
        max_batch=whole(environ, "MAX_BATCH", 1, 1_024) or defaults.max_batch,
        max_waiting=whole(environ, "MAX_WAITING", 1, 1_000_000) or defaults.max_waiting,
        max_texts=whole(environ, "MAX_TEXTS", 1, 100_000) or defaults.max_texts,
        max_body_bytes=whole(environ, "MAX_BODY", 1_024, 100_000_000) or defaults.max_body_bytes,
        stop_grace_s=seconds(environ, "STOP_GRACE", defaults.stop_grace_s),
    )
