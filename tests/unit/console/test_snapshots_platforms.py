"""Fleets on platforms as they look, at four sizes: one dark theme, nodes in a light one and without colour too."""

from __future__ import annotations

import pytest

from backend.contract.control import ActionRequest
from backend.contract.platform import Trouble
from backend.contract.words import Verb
from console.state.sim_platform_verbs import busy_forward
from console.state.simulator import SimulatorSource
from tests.unit.console.picture import styles
from tests.unit.console.sample import FixedClock
from tests.unit.console.scenes import LOOKS, SIZES, Scene, back, compare, lead, settled, standing

pytestmark = pytest.mark.timeout(1200)  # many pictures: minutes where the machine is busy

DARK, LIGHT = LOOKS[:2]
SCENES = (
    Scene("k8s-overview", (), "Replicas"),
    Scene("nodes", ("N",), "node-1"),
    Scene("ports", ("F",), "ingress chat"),
    Scene("expose", ("F", "p", "<Expose>", "tab", "tab", "space"), "Everybody", over=True),
)


def kubernetes(clock: FixedClock) -> SimulatorSource:
    """With a forward that is in use."""
    source = SimulatorSource(replicas=60, driver="kubernetes", edge=False, clock=clock, warm_s=300)
    platform = source.world.platform
    assert platform is not None
    args = {"port": 8000, "local_port": 18000, "bind": "127.0.0.1"}
    request = ActionRequest(verb=Verb.FORWARD, target="chat", args=args, actor="console:ada")
    source.verbs.perform(request, source.verbs.preview(request))
    busy_forward(platform, platform.forwards[0].id, connections=2, carried=1_400_000, restarts=1)
    return source


def docker(clock: FixedClock) -> SimulatorSource:
    """An engine that does not answer."""
    source = SimulatorSource(replicas=20, driver="docker", edge=False, clock=clock, warm_s=300)
    assert source.world.platform is not None
    source.world.platform.trouble = Trouble(
        kind="unreachable",
        message="The Docker engine at /var/run/docker.sock does not answer.",
        next_step="Start it: systemctl start docker.",
        since_ts=clock.at - 130,
    )
    return source


@pytest.mark.usefixtures("one_place_and_time")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_fleets_on_platforms_look_as_they_did(size: tuple[int, int]) -> None:
    wrong = []
    async with standing(size, kubernetes) as (app, pilot, clock):
        for scene in (scene for scene in SCENES if scene.at(size)):
            await lead(app, pilot, clock, scene)
            parts = {"": await settled(app, pilot, scene.shows)}
            for look in (DARK, LIGHT) if scene.name == "nodes" else (DARK,):
                app.theming.show(look)
                await pilot.pause()
                parts[look] = styles(app)
            app.theming.show(DARK)
            wrong += compare(scene.name, size, parts)
            await back(app, pilot)
    assert not wrong, "\n".join(wrong)


@pytest.mark.usefixtures("one_place_and_time")
async def test_an_engine_that_does_not_answer_looks_calm() -> None:
    async with standing((120, 40), docker) as (app, pilot, _):
        wrong = compare("docker-trouble", (120, 40), {"": await settled(app, pilot, "Replicas"), DARK: styles(app)})
    assert not wrong, "\n".join(wrong)


@pytest.mark.usefixtures("one_place_and_time")
@pytest.mark.parametrize("size", SIZES[1:3], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_nodes_without_colour_say_the_same(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with standing(size, kubernetes) as (app, pilot, clock):
        await lead(app, pilot, clock, SCENES[1])
        wrong = compare("nodes-no-color", size, {"": await settled(app, pilot, "node-1"), "no color": styles(app)})
    assert not wrong, "\n".join(wrong)
