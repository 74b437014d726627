"""Three times the load that the fleet can carry: refused with Retry-After, answered in turn, and nobody ejected."""

from __future__ import annotations

import pytest

from tests.certify.overload import FLEET, run
from tests.e2e.harness import RealFleet

pytestmark = pytest.mark.alone


@pytest.mark.timeout(600)
def test_overload_is_refused_honestly_and_ejects_nobody() -> None:
    with RealFleet() as fleet:
        fleet.state.mkdir()
        (fleet.root / "trinity.yaml").write_text(FLEET.format(queue=4, deadline=300))
        fleet.up()
        assert run(fleet, seconds=60.0, factor=3.0, tokens=0) == 0
