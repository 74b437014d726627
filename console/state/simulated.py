"""What `--simulate` asks for: `50`, `docker:50`, `k8s:200`, `k8s:200:edge`. Text only; makes no fleet."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from backend.contract.address import Driver
from backend.contract.errors import UsageError

MOST: Final = 20_000
_DRIVERS: Final[dict[str, Driver]] = {"": "local", "local": "local", "docker": "docker", "k8s": "kubernetes"}
_WRITTEN: Final = re.compile(r"(?:(local|docker|k8s):)?([0-9]{1,6})(:edge)?")


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """A pretended fleet: on what, how many replicas, and whether our edge stands in front of it."""

    replicas: int
    driver: Driver = "local"
    edge: bool = True


def parse_simulated(text: str) -> Simulated:
    """Raises UsageError. A local fleet always has an edge, the others where `:edge` says so."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None or not 1 <= int(found[2]) <= MOST:
        raise UsageError(
            f"{text!r} is no fleet to pretend.", f"Write N, docker:N, k8s:N or k8s:N:edge, N from 1 to {MOST}."
        )
    driver = _DRIVERS[found[1] or ""]
    return Simulated(replicas=int(found[2]), driver=driver, edge=driver == "local" or found[3] is not None)
