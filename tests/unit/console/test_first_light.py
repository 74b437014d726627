"""The frame painted before the screen library is loaded is the frame the app draws first."""

from __future__ import annotations

import pyte
import pytest

from console.render.theme_shelf import ThemeShelf
from console.tui.first_light import first_frame

from .sample import replica, snapshot

THEMES = ThemeShelf().all()


def shown(size: tuple[int, int], **parts) -> pyte.Screen:
    screen = pyte.Screen(*size)
    environ = parts.pop("environ", {"COLORTERM": "truecolor"})
    theme = THEMES[parts.pop("theme", "minimalist")]
    pyte.Stream(screen).feed(first_frame(size, theme, environ, 1060.0, **parts))
    return screen


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60), (8, 3)])
def test_it_draws_at_every_size(size):
    screen = shown(size)
    assert "◔" in screen.display[0]
    assert size[0] < 40 or "connecting" in screen.display[0]


def test_titles_stand_where_the_app_puts_them():
    screen = shown((120, 40))
    assert screen.display[1].startswith(" Replicas ───")
    for words in ("TTFT", "Queue", "Throughput", "Scaling", "Logs"):
        assert any(words in line for line in screen.display)


def test_a_fleet_without_an_edge_begins_with_its_own_panels():
    screen = shown((120, 40), snapshot=snapshot(driver="kubernetes", has_edge=False))
    for words in ("Workloads", "CPU and memory", "Ports", "Worth a look", "READY", "llm-0"):
        assert any(words in line for line in screen.display), words
    assert not any("TTFT" in line for line in screen.display)


def test_a_known_snapshot_is_shown_stale():
    assert "STALE 1m" in shown((120, 40), snapshot=snapshot()).display[0]


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60), (8, 3)])
def test_the_replicas_last_seen_are_there(size):
    screen = shown(size, snapshot=snapshot(replicas=tuple(replica(f"llm-{n}") for n in range(1000))))
    assert size[0] < 40 or any(line.strip().startswith("llm-0 ") for line in screen.display)
    assert "llm-999" not in "".join(screen.display)
    assert "REVISION" not in "".join(screen.display), "only columns that show by themselves"


def test_colours_only_where_the_terminal_has_them():
    assert shown((80, 24)).buffer[1][1].bg == "14161a"
    for environ in ({}, {"COLORTERM": "truecolor", "NO_COLOR": "1"}):
        screen = shown((80, 24), environ=environ)
        assert {cell.bg for row in screen.buffer.values() for cell in row.values()} == {"default"}
    assert shown((80, 24), theme="ansi-16").buffer[1][1].bg == "default"
