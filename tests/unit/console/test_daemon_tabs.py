"""Tabs follow the daemon's fleets: they come when one is added and go when it is forgotten."""

from __future__ import annotations

import pytest
from textual import events

from backend.contract.platform import Neighbours
from console.state.daemon_fleets import DaemonFleets
from console.tui import fleets as tabs
from console.tui.app import TrinityApp
from tests.unit.console.test_daemon_fleets import Daemon, fleets_of
from tests.unit.console.test_tui import Screen

pytestmark = pytest.mark.timeout(600)


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


async def test_another_namespace_is_two_letters_and_its_name_away() -> None:
    class Cluster(Daemon):
        around = Neighbours(address="k8s:prod/shop", contexts=("prod", "test"), parts=("shop", "staging"))

    daemon = Cluster(replicas=4, driver="kubernetes", seed=1)
    daemon.names = ["k8s:prod/shop"]
    fleets = DaemonFleets(lambda name: Cluster(replicas=2, driver="kubernetes", seed=3) if name else daemon)
    fleets.begin(None)
    app = TrinityApp(daemon, fleets=fleets, user="ada", interval_s=0.05)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = Screen(app, daemon, pilot)
        await screen.until(lambda: app.link.state.link == "live", "live")
        await screen.press("colon")
        await screen.press(*"ns ")
        await screen.until(lambda: "staging" in screen.text, "namespaces are offered")
        for key in ("s", "t", "tab"):  # faster than they are taken
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await screen.until(lambda: "staging" in screen.text, "it is offered")
        await screen.press("enter")
        await screen.until(lambda: app.link.name == "k8s:prod/staging", "it is in its own tab")
        assert [order.address for order in daemon.ordered] == ["k8s:prod/staging"]
        await app.action_on("fleets", "context", "test")
        await screen.until(lambda: app.link.name == "k8s:test", "so is another context")
        await app.action_on("fleets", "namespace", "shop")
        await screen.until(lambda: app.link is app.links[0], "what is there already is gone to")
        await app.action_on("fleets", "forget", "k8s:test")
        await screen.until(lambda: [link.name for link in app.links[1:]] == ["k8s:prod/staging"], "and left for good")


async def test_a_console_that_only_looks_forgets_no_fleet_and_adds_only_to_look() -> None:
    daemon = Daemon(replicas=1, seed=1)
    fleets = fleets_of(daemon)
    fleets.begin(None)
    app = TrinityApp(daemon, fleets=fleets, user="ada", interval_s=0.05, read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = Screen(app, daemon, pilot)
        await screen.until(lambda: app.link.state.link == "live", "live")
        await app.action_on("fleets", "open", "docker:x/y")
        await screen.until(lambda: app.link.name == "docker:x/y", "shown")
        assert daemon.ordered[0].read_only
        await app.action_on("fleets", "forget", "docker:x/y")
        await screen.shows("only looks")
        await app.action_on("fleets", "namespace", "x")
        await screen.until(lambda: "not on Kubernetes" in screen.text, "why there are no namespaces")


async def test_what_is_gone_says_what_became_of_it_and_nothing_is_no_replica() -> None:
    daemon = Daemon(replicas=2, seed=1)
    app = TrinityApp(daemon, user="ada", interval_s=0.05)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = Screen(app, daemon, pilot)
        await screen.press("d")
        await screen.until(
            lambda: "nothing here to describe yet" in screen.text or "llm-0" in screen.text, "a sentence"
        )
        await screen.until(lambda: app.link.state.link == "live", "live")
        await app.show_replica("llm-9")
        await screen.until(lambda: "llm-9 is gone" in screen.text and "esc back" in screen.text, "where to go on")
