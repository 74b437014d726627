"""The replica program: load the model, serve, and leave without losing a request.

Owns the order of a replica's life and its last words. Configured by environment only (see settings). Health is
answered by a thread of its own from the first moment on. Exit codes: 0 stopped as asked, 1 the model cannot be loaded
or a port is taken, 64 a wrong setting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from backend.contract import exit_codes
from backend.contract.errors import PortTaken, TrinityError
from backend.serving import fault_switch
from backend.serving.embedding.model import ALIAS, Model, bundled_files
from backend.serving.embedding.settings import EmbeddingSettings, read_settings
from backend.serving.health import HealthLoop, ServingState
from backend.serving.life import Replica, bind_replica_health

POLL_S: Final = 0.02
SETTLE_S: Final = 0.3
"""How long no request must have been there: the edge may still have sent one when it was told to stop."""
BACKLOG: Final = 1_024


def main() -> NoReturn:
    """Run the replica; returns to nobody."""
    replica = Replica()
    replica.model = ALIAS
    fault_switch.install()
    try:
        settings = read_settings(os.environ)
        health = bind_replica_health(settings.host, settings.health_port)
        listener = _bind(settings)
        files = bundled_files()
    except TrinityError as error:
        _leave(error)
    if health is not None:
        threading.Thread(target=HealthLoop(health, replica.answer).run, name="health", daemon=True).start()
    try:
        # Until the model is there a stop signal simply ends the process: there is no request to wait for.
        model = Model(files, threads=settings.threads)
        model.embed([model.tokenize("The first inference is the slowest: no client waits for it.").ids])
    except TrinityError as error:
        replica.say(f"The engine did not start: {error}", "E")
        os._exit(exit_codes.FAILED)
    import uvloop

    uvloop.run(_serve(replica, settings, model, listener))
    # Not `sys.exit`: a client that is still connected, or a hanging engine, must not hold the process.
    sys.stderr.flush()
    os._exit(exit_codes.OK)


def _leave(error: TrinityError) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    sys.exit(error.exit_code)


def _bind(settings: EmbeddingSettings) -> socket.socket:
    """The main port, taken but not listened on: nobody connects before there is an answer."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            settings.host, settings.port, f"another program ({error.strerror})", "embedding replica"
        ) from None
    return listener


async def _serve(replica: Replica, settings: EmbeddingSettings, model: Model, listener: socket.socket) -> None:
    import uvicorn

    from backend.serving.embedding.app import EmbeddingApp
    from backend.serving.embedding.counters import Counters
    from backend.serving.embedding.engine import EmbeddingEngine
    from backend.serving.embedding.whole_answers import WholeAnswers

    class Guest(uvicorn.Server):
        """uvicorn without its signal handlers: how a replica stops is decided here."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    counters = Counters()
    engine = EmbeddingEngine(
        model,
        counters,
        max_batch=settings.max_batch,
        max_waiting=settings.max_waiting,
        cache_texts=settings.cache_texts,
    )
    engine.start()
    app = EmbeddingApp(engine, replica.answer, max_body_bytes=settings.max_body_bytes, max_texts=settings.max_texts)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    guest = Guest(
        uvicorn.Config(
            app,
            http=WholeAnswers,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(guest.serve(sockets=[listener]), name="http")
    while not guest.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.002)
    replica.state = ServingState.SERVING
    replica.say(
        f"Ready: {ALIAS} on {settings.host}:{settings.port}, {settings.threads} thread(s), batches of up to "
        f"{settings.max_batch}, {settings.cache_texts} texts cached."
    )
    await stop.wait()
    replica.state = ServingState.DRAINING
    left = await _finish(lambda: counters.in_progress, settings.stop_grace_s)
    guest.should_exit = True
    await serving
    engine.close()
    if left:
        replica.say(f"Stopped with {left} request(s) unfinished after {settings.stop_grace_s:g} s.", "W")
    else:
        replica.say("Stopped, no request was running.")


async def _finish(in_progress: Callable[[], int], grace_s: float) -> int:
    """Wait until no request has been there for SETTLE_S, at most `grace_s`. Returns requests still running."""
    deadline = time.monotonic() + grace_s
    idle_since: float | None = None
    while True:
        running, now = in_progress(), time.monotonic()
        idle_since = None if running else (idle_since if idle_since is not None else now)
        if (idle_since is not None and now - idle_since >= SETTLE_S) or now >= deadline:
            return running
        await asyncio.sleep(POLL_S)
