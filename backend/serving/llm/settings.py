"""A replica's settings, read from its environment once. Owns names, defaults and their sentences; starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from backend.contract.errors import UsageError

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
        port=_whole(environ, "PORT", 1, 65_535) or defaults.port,
        health_port=_whole(environ, "HEALTH_PORT", 1, 65_535),
        model_path=environ.get("MODEL_PATH") or None,
        model_alias=environ.get("MODEL_ALIAS") or None,
        slots=_whole(environ, "SLOTS", 1, 1_024),
        threads=_whole(environ, "THREADS", 1, 1_024),
        context=_whole(environ, "CONTEXT", 64, 10_000_000),
        batch=_whole(environ, "BATCH", 8, 8_192) or defaults.batch,
        stop_grace_s=_seconds(environ, "STOP_GRACE", defaults.stop_grace_s),
        max_batch_size=_whole(environ, "MAX_BATCH_SIZE", 1, 1_000_000) or defaults.max_batch_size,
        num_threads=_whole(environ, "NUM_THREADS", 1, 1_000_000) or defaults.num_threads,
        max_sequence_length=_whole(environ, "MAX_SEQUENCE_LENGTH", 64, 10_000_000) or defaults.max_sequence_length,
    )


def _whole(environ: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text!r}, it must be a whole number from {least} to {most}.", f"Correct {name}.")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 86_400.0:
        raise UsageError(f"{name} is {text!r}, it must be seconds from 0 to 86400.", f"Correct {name}.")
    return value
