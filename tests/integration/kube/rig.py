"""A Kubernetes fleet over an emulated cluster, and waiting for what it will see."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.config.fleet_file import KubernetesFile
from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import ReplicaStatus
from backend.fleet.kube import KubeFleet, observing
from tests.fakes.ledger import MemoryLedger
from tests.kube_emulator import Emulator
from tests.kube_emulator.scenes import running_pod

KINDS = (
    "pods",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "events",
    "services",
    "ingresses.networking.k8s.io",
    "nodes",
    "poddisruptionbudgets.policy",
)
"""What is watched, as the emulator counts it."""


async def until(true: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Wait until it is so. Raises AssertionError, naming it."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


@dataclass
class Watched:
    """A fleet that watches a cluster; every status that its listener heard of."""

    fleet: KubeFleet
    cluster: Emulator
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    heard: list[ReplicaStatus] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [found.name for found in self.fleet.observe()]

    def replica(self, name: str) -> ReplicaStatus:
        return next(found for found in self.fleet.observe() if found.name == name)

    async def all_watching(self) -> None:
        await until(lambda: self.cluster.watches.open() >= len(KINDS), "every kind is watched")

    async def sees(self, *names: str) -> None:
        await until(lambda: sorted(self.names) == sorted(names), f"{names} are seen, not {self.names}")

    def lists(self) -> dict[str, int]:
        """How often each kind was listed."""
        return {kind: self.cluster.counts.of("list", kind) for kind in KINDS}

    def set_ready(self, name: str, ready: bool) -> None:
        """A pod's readiness, as its kubelet would write it."""

        def change(obj: dict[str, Any]) -> None:
            for condition in obj["status"]["conditions"]:
                if condition["type"] in ("Ready", "ContainersReady"):
                    condition["status"] = "True" if ready else "False"
            obj["status"]["containerStatuses"][0]["ready"] = ready

        self.cluster.registry.set_status("Pod", "default", name, change)

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """At once, without a grace."""
        self.cluster.registry.delete(kind, namespace, name, {"gracePeriodSeconds": 0})


@contextlib.asynccontextmanager
async def watching(
    cluster: Emulator, place: Path, *, adopt: bool = True, patient: bool = True, **settings: Any
) -> AsyncIterator[Watched]:
    """A fleet on the cluster's namespace `default` (or what `settings` say), adopted unless told not to. `patient`:
    whatever the machine does meanwhile, the pods were listed then, or it is known why they cannot be."""
    if "kubeconfig" not in settings:
        settings["kubeconfig"] = str(cluster.write_kubeconfig(place / "kubeconfig"))
    ledger = MemoryLedger()
    file = msgspec.convert(settings, KubernetesFile)
    fleet = KubeFleet(StatePaths(place / "state"), ledger, SystemClock(), "shop", file)
    rig = Watched(fleet, cluster, ledger)
    fleet.on_change(rig.heard.append)
    try:
        if adopt:
            with pytest.MonkeyPatch.context() as patched:
                if patient:
                    patched.setattr(observing, "_FIRST_LIST_S", 60.0)
                await fleet.adopt()
        yield rig
    finally:
        await fleet.close()


def add_pods(cluster: Emulator, count: int, *, prefix: str = "web") -> list[str]:
    """Running pods; returns their names."""
    names = [f"{prefix}-{number:04}" for number in range(count)]
    for name in names:
        cluster.add("Pod", running_pod(name))
    return names
