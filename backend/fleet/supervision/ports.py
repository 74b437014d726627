"""Loopback ports for replicas.

Owns choosing numbers outside the kernel's ephemeral range, so that no outgoing connection can take one between
our choice and the program's bind, and never one that another of our replicas has.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

from backend.contract.errors import TrinityError

_FIRST: Final = 20000
_LAST: Final = 29999
_DEFAULT_EPHEMERAL: Final = (32768, 60999)


class PortAllocator:
    """Hands out ports and takes them back."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[int] = set()

    def allocate(self, host: str) -> int:
        """A port that is free on `host` now. Raises TrinityError when none is."""
        candidates = [port for port in _range() if port not in self._taken]
        for port in self._rng.sample(candidates, len(candidates)):
            if is_free(host, port):
                self._taken.add(port)
                return port
        raise TrinityError(f"No port is free on {host}.", "End programs that listen, or remove replicas.")

    def claim(self, port: int) -> None:
        """Mark a port as ours (an adopted replica, or one fixed by its workload)."""
        self._taken.add(port)

    def release(self, port: int) -> None:
        self._taken.discard(port)


def is_free(host: str, port: int) -> bool:
    """Whether a program that sets SO_REUSEADDR can listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError:
            return False
    return True


def _range() -> range:
    try:
        low, high = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        low, high = _DEFAULT_EPHEMERAL
    if high < _FIRST or low > _LAST:
        return range(_FIRST, _LAST + 1)
    return range(10000, low) if low > 11000 else range(high + 1, 65536) if high < 64000 else range(_FIRST, _LAST + 1)
