"""Tabs follow the daemon's fleets: they come when one is added and go when it is forgotten."""

from __future__ import annotations

import pytest

from console.tui import fleets as tabs
from console.tui.app import TrinityApp
from tests.unit.console.test_daemon_fleets import Daemon, fleets_of
from tests.unit.console.test_tui import Screen


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
