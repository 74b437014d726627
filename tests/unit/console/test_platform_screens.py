"""Fleets on Docker and Kubernetes on the screen, by their keys: no empty panels, limits said, trouble that passes."""

from __future__ import annotations

import pytest

from backend.contract.platform import Trouble
from backend.contract.words import Phase, Verb
from console.state.simulator import SimulatorSource
from console.tui.dialogs import ConfirmDialog, PickDialog
from console.tui.expose import ExposeDialog
from tests.unit.console.sample import FixedClock
from tests.unit.console.test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)


def row_of(screen: Screen, phase: Phase) -> str:
    """The name of a replica in that phase."""
    return next(view.status.name for view in screen.app.state.replicas if view.status.phase == phase)


async def test_a_kubernetes_fleet_without_an_edge() -> None:
    async with console(replicas=30, driver="kubernetes", edge=False) as screen:
        await screen.shows("Worth a look")
        for words in ("Workloads", "Nodes", "MemoryPressure", "CrashLoopBackOff", "HTTP 503", "READY"):
            await screen.shows(words)
        for words in ("TTFT", "Queue", "Scaling", "at the edge", "req/s"):
            assert words not in screen.text, words

        await screen.press("7")
        await screen.until(lambda: screen.app.view_name == "charts", "the charts")
        await screen.shows("Memory")
        assert "TTFT" not in screen.text
        await screen.press("H")
        await screen.until(lambda: "no TTFT to map" in screen.message, "says why there is no heat map")
        await screen.press("tab", "1")

        await screen.press("colon", *"workloads", "enter")
        await screen.until(
            lambda: screen.app.view_name == "fleet" and screen.app.view.tables()[0].has_focus, "workloads"
        )  # type: ignore[attr-defined]
        await screen.shows("ROLLOUT")
        await screen.press("down", "d")
        await screen.shows("Deployment embed")
        await screen.shows("Template")
        await screen.press("K")
        await screen.until(lambda: "Choose a replica first" in screen.message, "none that is out of sight is killed")
        assert len(screen.app.screen_stack) == 1
        await screen.press("y")
        await screen.shows("kind: Deployment")

        await screen.app.show_replica(row_of(screen, Phase.NOT_READY))
        await screen.shows("ContainersReady: False")
        for words in ("1 of 2 ready", "readiness probe fails", "kept by Deployment/chat"):
            await screen.shows(words)
        assert "no streamed answer" not in screen.text
        await screen.press("y")
        await screen.shows("apiVersion: v1")


async def test_what_may_not_be_done_is_said_before_anything_is_asked() -> None:
    why = "needs the verb delete on pods"
    keys = {"r": Verb.RESTART, "K": Verb.KILL, "s": Verb.SCALE, "g": Verb.LOAD_START, "a": Verb.AUTOSCALE}
    keys |= {"p": Verb.FORWARD, "e": Verb.EVICT, "B": Verb.ROLLBACK, "z": Verb.PAUSE}
    async with console(replicas=6, driver="kubernetes") as screen:
        platform = screen.source.world.platform
        assert platform is not None
        platform.limits = dict.fromkeys((*Verb,), why)
        await screen.until(lambda: screen.app.state.limit(Verb.KILL), "the console knows")
        for key, verb in keys.items():
            await screen.press(key)
            await screen.until(lambda verb=verb: f"⊘ {verb}: {why}" in screen.message, f"{key} says why")
            assert len(screen.app.screen_stack) == 1, f"{key} opens nothing"
        assert screen.verbs_done() == []
        await screen.app.action_view("nodes")
        await screen.press("D")
        await screen.until(lambda: f"⊘ node-drain: {why}" in screen.message, "nodes too")
        await screen.press("8")
        await screen.shows(f"⊘ {why}")
        await screen.press("ctrl+p")
        await screen.until(lambda: isinstance(screen.app.screen, PickDialog), "the palette opens")
        await screen.press(*"evict")
        await screen.shows(f"⊘ {why}")


async def test_trouble_is_a_line_that_comes_and_goes_by_itself() -> None:
    clock = FixedClock()
    staging = SimulatorSource(replicas=2, driver="docker", edge=False, clock=clock)
    async with console(replicas=6, driver="kubernetes", edge=False, clock=clock, others=[("", staging)]) as screen:
        platform = screen.source.world.platform
        assert platform is not None
        since = clock.now() - 100
        platform.trouble = Trouble(
            kind="unreachable", message="The API server does not answer.", next_step="Is the VPN up?", since_ts=since
        )
        await screen.shows("▲ The API server does not answer.  Is the VPN up?")
        await screen.shows("STALE 1m")
        await screen.shows("k8s:demo/chat stale")
        await screen.press("M")
        await screen.shows("✗ stale: k8s:demo/chat")
        platform.trouble = None
        await screen.until(lambda: "STALE" not in screen.text and "stale" not in screen.text, "it is gone by itself")
        for words in (" k8s ", " docker ", "docker:default/shop"):
            await screen.shows(words)
        await screen.press("greater_than_sign")
        await screen.shows("shop-web-1")
        await screen.until(lambda: "IMAGE" in screen.text, "the columns of its driver")


async def test_a_port_is_exposed_to_everybody_after_a_warning_and_stopped() -> None:
    async with console(replicas=6, driver="kubernetes", edge=False) as screen:
        await screen.press("F")
        await screen.shows("ingress chat")
        await screen.press("down", "down", "p")
        await screen.until(lambda: isinstance(screen.app.screen, ExposeDialog), "asks which port")
        await screen.shows("Expose embed")
        await screen.press("tab", *"7070", "tab", "space")
        await screen.shows("Everybody who reaches this machine")
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks once more")
        await screen.press("y")
        await screen.shows("▲ all:7070")
        await screen.shows("http://192.168.1.20:7070/")
        assert screen.source.world.actions[-1].args["bind"] == "0.0.0.0"
        await screen.press("tab", "K")
        await screen.shows("no forwards; p makes one")
        await screen.press("K")
        await screen.until(lambda: "no forward to stop" in screen.message, "there is none left")
        await screen.press("colon", *"expose", "space", *"chat", "space", *"8000", "enter")
        await screen.shows("127.0.0.1:8000")


async def test_a_node_is_cordoned_drained_and_opened_again() -> None:
    async with console(replicas=30, driver="kubernetes", edge=False) as screen:

        async def confirmed(key: str, *answer: str) -> None:
            await screen.press(key)
            await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), "asks first")
            await screen.press(*answer)

        await screen.press("N")
        await screen.shows("On node-1")
        await confirmed("c", "y")
        await screen.until(lambda: not screen.app.state.nodes[0].schedulable, "cordoned")
        await confirmed("c", "y")
        await screen.until(lambda: screen.app.state.nodes[0].schedulable, "open again")
        await confirmed("D")
        await screen.shows("type node-1 to confirm")
        await screen.press(*("minus" if c == "-" else c for c in "node-1"), "enter")
        await screen.until(lambda: Verb.NODE_DRAIN in screen.verbs_done(), "drained")
        await screen.press("down", "tab")
        await screen.until(screen.app.view.replicas, "the replicas of another node have the keys")
        await screen.press("d")
        await screen.shows("Containers")
        await screen.press("escape")
        await screen.app.action_view("nodes")
        await screen.press("enter")
        await screen.shows("Node node-2")


async def test_a_local_fleet_has_no_nodes_and_says_so() -> None:
    async with console() as screen:
        await screen.press("N")
        await screen.shows("no nodes: this fleet runs on one machine")
        await screen.press("c")
        await screen.until(lambda: "⊘ cordon: There are nodes only where" in screen.message, "says why")
        await screen.press("K")
        await screen.until(lambda: "Choose a replica first" in screen.message, "acts on nothing that is not in sight")
