"""Which fleets of a daemon a console shows beside the one in its first tab."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backend.contract.control import FleetInfo, FleetOrder
from backend.contract.errors import Unreachable
from backend.contract.platform import Neighbours
from console.state.daemon_fleets import DaemonFleets
from console.state.simulator import SimulatorSource


class Daemon(SimulatorSource):
    """A made-up fleet whose daemon has more."""

    names: Sequence[str] = ("local",)
    ordered: tuple[FleetOrder, ...] = ()
    around = Neighbours()

    async def fleets(self) -> list[FleetInfo]:
        return [FleetInfo(name=name, driver="docker", address=name, health="ok") for name in self.names]

    async def add_fleet(self, order: FleetOrder) -> FleetInfo:
        self.ordered = (*self.ordered, order)
        self.names = [*self.names, order.address]
        return (await self.fleets())[-1]

    async def forget_fleet(self, name: str, *, down: bool = False) -> None:
        assert not down
        self.names = [known for known in self.names if known != name]

    async def neighbours(self) -> Neighbours:
        return self.around


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


async def test_a_fleet_that_is_looked_after_already_is_shown_and_not_added_again() -> None:
    daemon = Daemon(replicas=1)
    daemon.names = ["k8s:a/b", "k8s:a/c"]
    fleets = fleets_of(daemon)
    fleets.begin(None)
    assert (await fleets.open("k8s:a/b", read_only=False))[0] is None
    assert (await fleets.open("kubernetes:a/c", read_only=False))[0] == "k8s:a/c"
    assert daemon.ordered == ()
    assert (await fleets.open("k8s:a/d", read_only=True))[0] == "k8s:a/d"
    assert daemon.ordered == (FleetOrder(address="k8s:a/d", read_only=True),)
    await fleets.forget("k8s:a/d")
    assert await fleets.others() == ["k8s:a/c"]


async def test_neighbours_are_those_of_the_fleet_that_is_asked_about() -> None:
    daemon, other = Daemon(replicas=1), Daemon(replicas=1, seed=4)
    daemon.around, other.around = Neighbours(contexts=("here",)), Neighbours(contexts=("there",))
    fleets = DaemonFleets(lambda name: other if name == "k8s:a/b" else daemon)
    fleets.begin(None)
    assert (await fleets.neighbours(None)).contexts == ("here",)
    assert (await fleets.neighbours("k8s:a/b")).contexts == ("there",)
    fleets.begin("k8s:a/b")
    assert (await fleets.neighbours(None)).contexts == ("there",)
