"""What every replica program of ours has: a state that its health endpoints tell, a health socket, lines in one format.

Owns nothing of an engine. The state is set by the program and read by the health thread.
"""

from __future__ import annotations

import socket
import sys
import time

from backend.contract.errors import PortTaken
from backend.serving.health import ServingState, bind_health, health_answer


class Replica:
    """One replica's life."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.state = ServingState.LOADING
        self.model = ""

    def answer(self, path: str) -> tuple[int, bytes]:
        return health_answer(path, self.state, model=self.model, uptime_s=time.monotonic() - self.started)

    def say(self, message: str, level: str = "I") -> None:
        """One line on stderr in the engine's own format: elapsed time, level, words."""
        micros = int((time.monotonic() - self.started) * 1e6)
        stamp = f"{micros // 60_000_000}.{micros // 1_000_000 % 60:02d}.{micros // 1000 % 1000:03d}.{micros % 1000:03d}"
        sys.stderr.write(f"{stamp} {level} replica: {message}\n")
        sys.stderr.flush()


def bind_replica_health(host: str, port: int | None) -> socket.socket | None:
    """The listening socket of the health endpoints; null where none are wanted. Raises PortTaken."""
    if port is None:
        return None
    try:
        return bind_health(host, port)
    except OSError as error:
        raise PortTaken(host, port, f"another program ({error.strerror})", "replica health") from None
