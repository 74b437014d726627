"""Every view without colour (NO_COLOR), at four sizes: no hue anywhere, and the picture on file."""

from __future__ import annotations

import pytest

from tests.unit.console.picture import styles
from tests.unit.console.scenes import SCENES, SIZES, back, compare, lead, settled, standing

pytestmark = pytest.mark.timeout(1200)  # many pictures: minutes where the machine is busy

MARKS = {"bold", "dim", "reverse", "underline", "italic"}


@pytest.mark.usefixtures("one_place_and_time")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_without_colour_every_view_says_the_same(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    wrong = []
    async with standing(size) as (app, pilot, clock):
        for scene in (scene for scene in SCENES if scene.at(size)):
            await lead(app, pilot, clock, scene)
            text = await settled(app, pilot, scene.shows)
            look = styles(app)
            if scene.taken:
                wrong += compare(f"{scene.name}-no-color", size, {"": text, "no color": look})
            colored = {line[2:] for line in look if " on " in line} - {"default on default"}
            hues = [name for name in colored if not set(name.split()) <= {"default", "on", *MARKS}]
            assert hues == [], scene.name
            await back(app, pilot)
    assert not wrong, "\n".join(wrong)
