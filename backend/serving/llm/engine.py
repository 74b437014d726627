"""llama.cpp's server inside this process: its parameters, and whether it has work.

Owns the translation from our settings to the engine's. Never calls the server's destructor: it waits for clients
that are still connected, so a replica leaves with `os._exit`.
"""

from __future__ import annotations

import os
from typing import Any, Final

import msgspec

HTTP_THREADS_BESIDE_SLOTS: Final = 12
"""Each open connection holds a thread: health checks, scrapes and idle keep-alive connections beside the slots."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the engine is told."""

    model_path: str
    alias: str
    host: str
    port: int
    slots: int
    threads: int
    context_per_slot: int
    batch: int


class EngineError(Exception):
    """The engine could not be built. Its own cause is on stderr."""


class Engine:
    """A listening engine. Building it loads the model and holds the interpreter's lock meanwhile."""

    def __init__(self, settings: EngineSettings) -> None:
        """Raises EngineError."""
        # The engine's OpenMP threads spin while they wait for each other. Where another replica wants the core, that
        # costs nine tenths of the speed (measured: 5 instead of 67 tokens/s); a sleeping wait costs a third alone.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import xllamacpp  # loads 40 MB of shared objects; only a replica pays for it

        parameters = engine_parameters(xllamacpp.CommonParams(), settings)
        try:
            self._server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise EngineError(str(error)) from None

    def requests_in_progress(self) -> int:
        """Requests it is computing or holds back for a free slot. Answers at once, whatever the engine is doing."""
        return count_in_progress(str(self._server.handle_metrics()))


def engine_parameters(parameters: Any, settings: EngineSettings) -> Any:
    """Fill in the engine's own parameter object (untyped: it comes from a compiled module)."""
    parameters.model.path = settings.model_path
    parameters.model_alias = {settings.alias}
    parameters.hostnames = [settings.host]
    parameters.port = settings.port
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.slots * settings.context_per_slot
    parameters.n_batch = parameters.n_ubatch = settings.batch
    for pool in (parameters.cpuparams, parameters.cpuparams_batch):
        pool.n_threads = settings.threads
    parameters.n_threads_http = 2 * settings.slots + HTTP_THREADS_BESIDE_SLOTS
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = True
    # A ping frame would count as the first byte at the edge and hide a replica that dies before its first token.
    parameters.sse_ping_interval = -1
    # Its prompt cache in memory grows to gigabytes by default; the slots' own caches stay.
    parameters.cache_ram_mib = 0
    # Sizes are decided by us; the engine's own fitting would load the model twice.
    parameters.fit_params = False
    parameters.ui = False
    return parameters


def count_in_progress(metrics: str) -> int:
    """`requests_processing` plus `requests_deferred` of a Prometheus text. Raises ValueError where both are absent."""
    total, seen = 0, False
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name in ("llamacpp:requests_processing", "llamacpp:requests_deferred"):
            total += int(float(value))
            seen = True
    if not seen:
        raise ValueError("the engine's metrics do not say what it is doing")
    return total
