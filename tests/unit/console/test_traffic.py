"""What a second of the dashboard costs the link, in bytes: little, and nothing where nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rich.color import ColorSystem
from textual.pilot import Pilot

from backend.contract.control import Frame
from console.render.theme import DEFAULT_THEME
from console.state.simulator import SimulatorSource
from console.tui.app import TrinityApp
from console.tui.log_pane import LogPane
from tests.unit.console.sample import FixedClock
from tests.unit.console.waiting import comes

pytestmark = pytest.mark.timeout(600)

REPLICAS = 1000
CURSOR_BACK = len("\x1b[1;1H")


class Counted(TrinityApp):
    """Counts what its frames would be on a terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.console._color_system = ColorSystem.TRUECOLOR
        self.sent: list[str] = []

    def _display(self, screen: Any, renderable: Any) -> None:
        if renderable is not None:
            assert self.frames._take(renderable)
            data = self.frames.differ.encode(self.frames.color_system())
            if data:
                self.sent.append(data + " " * CURSOR_BACK)
        super()._display(screen, renderable)

    def bytes_since(self, at: int) -> int:
        return sum(len(data.encode()) for data in self.sent[at:])


class Dashboard:
    """A console whose fleet lives only when told to."""

    def __init__(self, app: Counted, clock: FixedClock, pilot: Pilot[int]) -> None:
        self.app, self.clock, self.pilot = app, clock, pilot

    async def seconds(self, count: int, every: int = 1) -> int:
        """Bytes of so many seconds, with news every so many."""
        at = len(self.app.sent)
        for _ in range(count // every):
            self.clock.at += every
            assert await comes(lambda: (self.app.state.last_ts or 0.0) >= self.clock.at, self.pilot, 0.01)
            await self.pilot.pause(0.04)
        return self.app.bytes_since(at)


@asynccontextmanager
async def dashboard(*, low_bandwidth: bool = False, rate: float | None = None) -> AsyncIterator[Dashboard]:
    clock = FixedClock()
    source = SimulatorSource(replicas=REPLICAS, clock=clock, rate=rate, warm_s=60)
    app = Counted(source, clock=clock, interval_s=0.01, bell=False, theme=DEFAULT_THEME, low_bandwidth=low_bandwidth)
    async with app.run_test(size=(120, 40)) as pilot:
        board = Dashboard(app, clock, pilot)
        await board.seconds(4)
        logs = app.query_one(LogPane)
        assert await comes(lambda: not logs.waiting and logs._timer is None, pilot), "the first lines are painted"
        yield board


async def test_a_second_of_a_thousand_replicas_is_less_than_two_kilobytes():
    async with dashboard() as board:
        assert 100 <= await board.seconds(12) / 12 <= 2000


async def test_low_bandwidth_is_less_than_600_bytes_a_second_and_short_colors():
    async with dashboard(low_bandwidth=True) as board:
        assert 20 <= await board.seconds(24, every=3) / 24 <= 600
        assert "38;2;" not in "".join(board.app.sent)


async def test_nothing_is_sent_where_nothing_changes():
    async with dashboard() as board:
        at = len(board.app.sent)
        snapshot = board.app.state.snapshot
        for _ in range(3):
            board.app.state.apply(Frame(seq=1, snapshot=snapshot))
            board.app.refresh_panels()
            await board.pilot.pause(0.05)
        assert board.app.bytes_since(at) == 0


async def test_an_idle_fleet_sends_next_to_nothing_and_a_cursor_key_its_two_rows():
    async with dashboard(rate=0.0) as board:
        await board.seconds(4)
        assert await board.seconds(12) / 12 <= 30  # ages and the time axis go on in coarse steps
        await board.pilot.press("j")
        await board.pilot.pause(0.5)
        at = len(board.app.sent)
        await board.pilot.press("k")
        await board.pilot.pause(0.05)
        assert 50 <= board.app.bytes_since(at) <= 1500


@pytest.mark.parametrize(("low", "system"), [(False, ColorSystem.TRUECOLOR), (True, ColorSystem.EIGHT_BIT)])
async def test_low_bandwidth_has_the_fixed_colors(low, system):
    app = Counted(SimulatorSource(replicas=1, warm_s=1), low_bandwidth=low)
    assert app.frames.color_system() == system
