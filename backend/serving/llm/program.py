"""The replica program: check the model, load it, serve, and leave without losing a request.

Owns the order of a replica's life and its last words. Configured by environment only (see settings). Exit codes:
0 stopped as asked, 1 the engine did not start, 64 a wrong setting or model file.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from typing import Final, NoReturn

from backend.contract import exit_codes
from backend.contract.errors import TrinityError
from backend.serving import fault_switch
from backend.serving.health import HealthLoop, ServingState
from backend.serving.life import Replica, bind_replica_health
from backend.serving.llm.engine import Engine, EngineError, EngineSettings
from backend.serving.llm.settings import LlmSettings, read_settings
from backend.serving.models import ResolvedModel, resolve_model
from backend.serving.sizing import LlmSizing, read_machine, size_for_machine
from backend.serving.startup import StartupCompanion

POLL_S: Final = 0.05
SETTLE_S: Final = 0.3
"""How long the engine must have reported no work: the last bytes of an answer are written after its slot is free."""


def main() -> NoReturn:
    """Run the replica; returns to nobody."""
    replica = Replica()
    fault_switch.install()
    try:
        settings = read_settings(os.environ)
        listener = bind_replica_health(settings.host, settings.health_port)
        model = resolve_model(settings.model_path, settings.model_alias)
        replica.model = model.alias
        sizing = resolve_sizing(settings, model)
    except TrinityError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        sys.exit(error.exit_code)
    replica.say(model.note)
    for clamp in sizing.clamps:
        replica.say(clamp, "W")
    engine, companion = _load(replica, listener, settings, model, sizing)
    wakeup = _listen_for_signals()
    if listener is not None:
        threading.Thread(target=HealthLoop(listener, replica.answer).run, name="health", daemon=True).start()
    replica.state = ServingState.SERVING
    companion.wait()
    replica.say(
        f"Ready: {model.alias} on {settings.host}:{settings.port}, {sizing.slots} slots of "
        f"{sizing.context_per_slot} tokens, {sizing.threads} thread(s)."
    )
    while os.read(wakeup, 1)[0] == fault_switch.SIGNAL:
        continue  # a switch that asked for nothing
    replica.state = ServingState.DRAINING
    left = _finish(engine, wakeup, settings.stop_grace_s)
    if left:
        replica.say(f"Stopped with {left} request(s) unfinished after {settings.stop_grace_s:g} s.", "W")
    else:
        replica.say("Stopped, no request was running.")
    os._exit(exit_codes.OK)


def resolve_sizing(settings: LlmSettings, model: ResolvedModel) -> LlmSizing:
    """What the daemon resolved, or where it left something out, what this machine gives one replica."""
    machine = read_machine()
    sizing = size_for_machine(
        settings.slots or settings.max_batch_size,
        settings.threads or settings.num_threads,
        settings.context or settings.max_sequence_length,
        replicas=1,
        cpu_count=machine.cpu_count,
        memory_bytes=machine.memory_bytes,
        model_bytes=model.info.size_bytes,
        kv_bytes_per_token=model.info.kv_bytes_per_token,
        trained_context=model.info.context_length,
    )
    if settings.slots and settings.threads and settings.context:
        return LlmSizing(
            slots=settings.slots,
            threads=settings.threads,
            context_per_slot=settings.context,
            memory_per_replica_bytes=sizing.memory_per_replica_bytes,
        )
    return sizing


def _load(
    replica: Replica, listener: socket.socket | None, settings: LlmSettings, model: ResolvedModel, sizing: LlmSizing
) -> tuple[Engine, StartupCompanion]:
    """Build the engine with a companion beside it. Exits with 1, the cause on stderr's last line, if it fails."""
    # Until the engine is up a stop signal simply ends the process: there is no request to wait for.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    companion = StartupCompanion(lambda: HealthLoop(listener, replica.answer))
    try:
        engine = Engine(
            EngineSettings(
                model_path=model.path,
                alias=model.alias,
                host=settings.host,
                port=settings.port,
                slots=sizing.slots,
                threads=sizing.threads,
                context_per_slot=sizing.context_per_slot,
                batch=settings.batch,
            )
        )
    except (EngineError, ImportError) as error:
        replica.say(f"The engine did not start: {error}", "W")
        companion.engine_failed()
        os._exit(exit_codes.FAILED)
    companion.engine_is_up()
    return engine, companion


def _listen_for_signals() -> int:
    """A descriptor that becomes readable at SIGTERM or SIGINT."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _finish(engine: Engine, wakeup: int, grace_s: float) -> int:
    """Wait until the engine has had no work for SETTLE_S, at most `grace_s`. Returns requests still running."""
    os.set_blocking(wakeup, False)
    deadline = time.monotonic() + grace_s
    idle_since: float | None = None
    while True:
        running = engine.requests_in_progress()
        now = time.monotonic()
        idle_since = None if running else (idle_since if idle_since is not None else now)
        if idle_since is not None and now - idle_since >= SETTLE_S:
            return 0
        if now >= deadline and (running or grace_s > SETTLE_S or now >= deadline + SETTLE_S):
            return running
        time.sleep(POLL_S)
