"""One frame is under way and the newest is next; a failing differ costs bytes, never the screen."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.geometry import Offset, Region, Size
from textual.strip import Strip

from console.state.pace import FASTEST_GAP_S
from console.tui import governor
from console.tui.governor import SYNC_FROM, ConsoleDriver, FrameGovernor

WIDTH, HEIGHT = 30, 4
RED = Style(color="red")


@pytest.fixture(autouse=True)
def time_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap between frames is none of the machine's: it is over when a test says so."""
    monkeypatch.setattr(governor, "time", SimpleNamespace(monotonic=lambda: Desk.now))


class Link(ConsoleDriver):
    """A driver whose link takes a write when the test says so."""

    def __init__(self) -> None:
        self.wrote: list[str] = []
        self.under_way = False

    @property
    def busy(self) -> bool:
        return self.under_way

    def write(self, data: str) -> None:
        assert not self.under_way, "a second write behind the first"
        self.wrote.append(data)
        self.under_way = True


class Desk:
    """A governor with as much of an app as it looks at, and its clock."""

    now = 1000.0

    def __init__(self) -> None:
        self.link = Link()
        self.repaints = 0
        self.app: Any = SimpleNamespace(
            _driver=self.link,
            _running=True,
            _closed=False,
            _batch_count=0,
            _sync_available=True,
            console=SimpleNamespace(_color_system=ColorSystem.TRUECOLOR),
            screen=SimpleNamespace(outer_size=Size(WIDTH, HEIGHT), refresh=self._refresh),
            cursor_position=Offset(0, 0),
        )
        self.frames = FrameGovernor(self.app)
        self.frames.resized(WIDTH, HEIGHT)

    def _refresh(self, *, layout: bool) -> None:
        self.repaints += layout

    def show(self, *lines: str) -> bool:
        strips = [[Strip([Segment(line.ljust(WIDTH), RED)])] for line in lines]
        return self.frames.display(LayoutUpdate(strips, Region(0, 0, WIDTH, len(lines))))  # type: ignore[arg-type]

    def leaves(self, took_s: float = 0.001) -> None:
        """What is under way has left."""
        self.link.under_way = False
        self.frames.left(len(self.link.wrote[-1]), took_s, took_s)

    async def wrote(self, count: int, *, after_s: float) -> list[str]:
        """All that was written, so much later."""
        Desk.now += after_s
        for _ in range(5000):
            if len(self.link.wrote) >= count:
                break
            await asyncio.sleep(FASTEST_GAP_S / 10)
        return self.link.wrote


async def test_while_a_frame_is_under_way_the_others_become_one():
    desk = Desk()
    for text in ("one", "two", "three", "four"):
        assert desk.show(text)
    assert len(desk.link.wrote) == 1
    desk.leaves(took_s=60.0)
    wrote = await desk.wrote(2, after_s=2.0)
    assert len(wrote) == 2
    assert "four" in wrote[1]
    assert not any("two" in data or "three" in data for data in wrote)
    assert "link slow, 2+ frames merged" in "".join(text for text, _ in desk.frames.meter_words()[0])


async def test_frames_of_data_wait_for_the_pace_and_answers_to_keys_do_not():
    desk = Desk()
    desk.show("one")
    desk.leaves()
    desk.show("two")
    assert len(desk.link.wrote) == 1
    assert "two" in (await desk.wrote(2, after_s=1.0))[1]
    desk.leaves()
    desk.frames.key()
    desk.show("six")
    assert "six" in desk.link.wrote[2]


async def test_the_same_again_is_not_sent_but_a_moved_cursor_is():
    desk = Desk()
    desk.frames.key()
    desk.show("one")
    desk.leaves()
    desk.show("one")
    assert len(desk.link.wrote) == 1
    desk.app.cursor_position = Offset(3, 1)
    desk.show("one")
    assert desk.link.wrote[1] == "\x1b[2;4H"


async def test_large_frames_are_shown_at_once_and_small_ones_are_small():
    desk = Desk()
    desk.frames.key()
    desk.show("small")
    assert "\x1b[?2026h" not in desk.link.wrote[0]
    desk.leaves()
    desk.frames.key()
    desk.show(*[chr(ord("a") + row % 3) * 29 + str(row) for row in range(HEIGHT * SYNC_FROM // 100)])
    assert desk.link.wrote[1].startswith("\x1b[?2026h")
    assert desk.link.wrote[1].endswith("\x1b[?2026l")


async def test_fragments_are_put_where_they_belong_and_a_redraw_sends_all():
    desk = Desk()
    desk.frames.key()
    desk.show("." * WIDTH, "." * WIDTH)
    desk.leaves()
    piece = Strip([Segment("XY", RED)])
    assert desk.frames.display(ChopsUpdate([{}, {4: piece}], [(1, 4, 6)], [[], [6]]))
    assert desk.link.wrote[1].startswith("\x1b[2;5H")
    desk.leaves()
    desk.frames.redraw()
    desk.frames.display(ChopsUpdate([{}, {4: piece}], [(1, 4, 6)], [[], [6]]))
    assert "." * WIDTH in desk.link.wrote[2]
    assert "....XY...." in desk.link.wrote[2]


async def test_another_size_forgets_what_was():
    desk = Desk()
    desk.frames.key()
    desk.show("wide")
    desk.leaves()
    desk.frames.resized(WIDTH + 1, HEIGHT)
    assert not desk.frames.differ.pending
    desk.frames.resized(WIDTH + 1, HEIGHT)
    desk.show("wide")
    assert "wide" in desk.link.wrote[1]


async def test_what_it_does_not_know_goes_the_apps_own_way():
    desk = Desk()
    assert not desk.frames.display(InlineUpdate([]))
    assert not desk.frames.display(None)
    desk.app._batch_count = 1
    assert not desk.show("one")


async def test_a_failing_differ_is_left_out_and_a_stalled_link_still_gets_one_frame():
    desk = Desk()
    desk.frames.differ.put = None  # type: ignore[assignment,method-assign]
    assert not desk.show("one"), "the app sends it in its own way"
    assert not desk.frames.enabled
    assert desk.repaints == 1
    desk.link.write("whole frame")
    assert desk.show("two"), "held back while something is under way"
    desk.leaves()
    assert desk.repaints == 2, "then everything is painted anew"
    assert not desk.show("three")
