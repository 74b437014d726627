"""Every view as it looks: four sizes, each dark, light and in sixteen colours.

The pictures stand in `snapshots/` as text. Where a change is wanted: `make snapshots`, then look at the difference.
"""

from __future__ import annotations

import pytest

from tests.unit.console.picture import styles
from tests.unit.console.scenes import LOOKS, SCENES, SIZES, back, compare, lead, settled, standing

pytestmark = pytest.mark.timeout(1200)  # many pictures: minutes where the machine is busy


@pytest.mark.usefixtures("one_place_and_time")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_view_looks_as_it_did(size: tuple[int, int]) -> None:
    wrong = []
    async with standing(size) as (app, pilot, clock):
        for scene in (scene for scene in SCENES if scene.at(size)):
            await lead(app, pilot, clock, scene)
            parts = {"": await settled(app, pilot, scene.shows)}
            for look in LOOKS if scene.taken else ():
                app.theming.show(look)
                await pilot.pause()
                parts[look] = styles(app)
            app.theming.show(LOOKS[0])
            wrong += compare(scene.name, size, parts) if scene.taken else []
            await back(app, pilot)
    assert not wrong, "\n".join(wrong)
