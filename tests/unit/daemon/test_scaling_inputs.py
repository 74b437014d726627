"""Whose CPU the autoscaler looks at: of the machines its replicas run on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from backend.contract.edge import EdgeObservation
from backend.contract.platform import NodeStatus
from backend.daemon.parts import Parts
from backend.daemon.scaling_inputs import ScalingInputs
from tests.fakes.platform import FakePlatform

HERE = 91.0


class Nodes(FakePlatform):
    """A platform whose two nodes are measured, or not."""

    cpu: tuple[float | None, float | None] = (10.0, 30.0)

    def nodes(self) -> list[NodeStatus]:
        return [NodeStatus(name=str(n), ready=True, cpu_percent=cpu) for n, cpu in enumerate(self.cpu)]

    async def cordon(self, node: str, *, on: bool) -> None: ...

    async def drain_node(self, node: str, progress: Any, *, deadline_s: float = 600.0) -> str:
        return ""


def parts(fleet: FakePlatform, driver: str) -> Parts:
    """As much of a daemon's parts as is asked."""
    machine = SimpleNamespace(cpu_percent=HERE, memory_available_bytes=0, ts=0.0)
    wanted = SimpleNamespace(replicas=2, maintenance=False)
    return cast(
        "Parts",
        SimpleNamespace(
            fleet=fleet,
            clock=SimpleNamespace(now=lambda: 0.0, mono=lambda: 0.0),
            config=SimpleNamespace(file=SimpleNamespace(driver=driver), replica_memory_bytes={}),
            edge=SimpleNamespace(observe=lambda: EdgeObservation(ts=0.0, up=True)),
            leases=SimpleNamespace(holder=lambda _: None),
            meters=SimpleNamespace(
                machine=SimpleNamespace(read=lambda: machine),
                traffic=SimpleNamespace(workload=lambda _: SimpleNamespace(ttft=SimpleNamespace(p99_s=None))),
            ),
            reconciler=SimpleNamespace(wanted=SimpleNamespace(of=lambda _: wanted), serving=lambda _: ()),
        ),
    )


@pytest.mark.parametrize(
    ("driver", "cpu", "seen"),
    [
        ("kubernetes", (10.0, 30.0), 20.0),
        ("kubernetes", (None, None), None),
        ("docker", (None, None), HERE),
        ("local", (10.0, 30.0), HERE),
    ],
)
async def test_cpu_is_of_where_replicas_run(
    driver: str, cpu: tuple[float | None, float | None], seen: float | None
) -> None:
    fleet = Nodes()
    fleet.cpu = cpu
    fleet.put("web", 2)
    assert ScalingInputs(parts(fleet, driver), "web").observe().cpu_percent == seen
