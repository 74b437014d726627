"""Which fleets of a daemon a console shows beside the one in its first tab."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backend.contract.control import FleetInfo
from backend.contract.errors import Unreachable
from console.state.daemon_fleets import DaemonFleets
from console.state.simulator import SimulatorSource


class Daemon(SimulatorSource):
    """A made-up fleet whose daemon has more."""

    names: Sequence[str] = ("local",)

    async def fleets(self) -> list[FleetInfo]:
        return [FleetInfo(name=name, driver="docker", address=name, health="ok") for name in self.names]


def fleets_of(daemon: Daemon) -> DaemonFleets:
    return DaemonFleets(lambda name: daemon if name is None else Daemon(replicas=2, seed=3))


async def test_those_that_the_first_tab_does_not_show_are_the_others() -> None:
    daemon = Daemon(replicas=1)
    daemon.names = ["local", "docker", "k8s:a/b"]
    fleets = fleets_of(daemon)
    with pytest.raises(Unreachable):
        await fleets.others()
    fleets.begin(None)
    assert await fleets.others() == ["docker", "k8s:a/b"]
    fleets.begin("docker")
    assert await fleets.others() == ["local", "k8s:a/b"]
    daemon.names = []
    fleets.begin(None)
    assert await fleets.others() == []
    assert len((await fleets.source("docker").snapshot()).replicas) == 2
