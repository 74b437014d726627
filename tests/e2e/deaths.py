"""Sudden deaths on a real fleet, and what is seen meanwhile: shared by the end-to-end tests and the benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

from backend.contract.words import Phase
from tests.e2e.harness import PATIENCE_S, RealFleet, wait_for


def kill_replica(fleet: RealFleet, victim: str) -> float:
    """kill -9 its process, as an accident would; seconds until the edge would choose it again."""
    pid = fleet.pids()[victim]
    assert pid is not None
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        view = next(v for v in fleet.snapshot().replicas if v.status.name == victim)
        # A new process, Ready: for a moment the edge's last observation is still of the old one.
        status, edge = view.status, view.edge
        return status.pid not in (None, pid) and status.phase == Phase.READY and edge is not None and edge.up

    wait_for(back, 60.0, f"{victim} after its death")
    return time.monotonic() - began


def haproxy_pid(fleet: RealFleet) -> int:
    """The process that carries the requests now."""
    return next(p.pid for p in fleet.processes() if p.name() == "haproxy")


def streams_begun(fleet: RealFleet) -> int:
    """First bytes that the edge saw and whose ends it has not."""
    rows = fleet.requests()
    ended = {row.request_id for row in rows if row.vantage == "edge"}
    return sum(1 for row in rows if row.vantage == "attempt" and row.request_id not in ended)


class Knocker:
    """Connects to the public port again and again, in a thread; counts how often, and keeps what was refused."""

    def __init__(self, fleet: RealFleet) -> None:
        self.connects = 0
        self.refused: list[OSError] = []
        self._port = int(fleet.env["INFERENCE_PORT"])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self._thread.start()

    def _knock(self) -> None:
        while not self._stop.is_set():
            with socket.socket() as probe:
                probe.settimeout(PATIENCE_S)
                try:
                    probe.connect(("127.0.0.1", self._port))
                    self.connects += 1
                except OSError as error:
                    self.refused.append(error)
            time.sleep(0.005)  # all of them, and who asks meanwhile, have room in the queue of a socket nobody serves

    def finish(self) -> list[OSError]:
        """Stop; what was refused."""
        self._stop.set()
        self._thread.join()
        return self.refused
