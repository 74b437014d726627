"""Which fleets get tabs: all that the daemon looks after, but for the one in the first tab."""

from __future__ import annotations

import pytest

from backend.contract.control import FleetInfo
from backend.contract.errors import Unreachable
from console.state.daemon_fleets import DaemonFleets


class Daemon:
    """One of its clients, by the fleet it speaks about."""

    def __init__(self, name: str | None, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known

    async def fleets(self) -> list[FleetInfo]:
        return [FleetInfo(name=name, driver="docker", address=name, health="ok") for name in self.known]


@pytest.mark.parametrize(
    ("known", "shown", "others"),
    [
        (("local", "shop"), None, ["shop"]),
        (("local", "shop"), "shop", ["local"]),
        (("local",), "local", []),
        ((), None, []),
    ],
)
async def test_all_but_the_first_tab(known: tuple[str, ...], shown: str | None, others: list[str]) -> None:
    fleets = DaemonFleets(lambda name: Daemon(name, known))  # type: ignore[arg-type, return-value]
    with pytest.raises(Unreachable):
        await fleets.others()
    fleets.begin(shown)
    assert await fleets.others() == others
    assert fleets.source("shop").name == "shop"  # type: ignore[attr-defined]
