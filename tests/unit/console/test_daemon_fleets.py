"""Tabs follow the daemon's fleets: they come when one is added and go when it is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backend.contract.control import FleetInfo
from backend.contract.errors import Unreachable
from console.state.daemon_fleets import DaemonFleets
from console.state.simulator import SimulatorSource
from console.tui import fleets as tabs
from console.tui.app import TrinityApp
from tests.unit.console.test_tui import Screen


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


async def test_tabs_come_and_go_with_the_daemons_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabs, "ASK_S", 0.1)
    monkeypatch.setattr(tabs, "GLANCE_S", 0.05)
    daemon = Daemon(replicas=2, seed=1)
    fleets = fleets_of(daemon)
    fleets.begin(None)
    app = TrinityApp(daemon, fleets=fleets, user="ada", interval_s=0.05)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = Screen(app, daemon, pilot)
        await screen.until(lambda: app.link.state.link == "live", "live")
        assert "k8s:a/b" not in screen.text
        daemon.names = ["local", "k8s:a/b"]
        await screen.until(lambda: "k8s:a/b" in screen.text.splitlines()[0], "a tab for the new one")
        await screen.press("greater_than_sign")
        await screen.until(lambda: app.link.name == "k8s:a/b" and app.link.state.link == "live", "it is shown")
        daemon.names = ["local"]
        await screen.until(lambda: app.link is app.links[0] and len(app.links) == 1, "back on the first")
        await screen.until(lambda: "k8s:a/b" not in screen.text, "its tab is gone")
