"""What the console writes to a terminal: every size, no colour where none is wanted, nothing where all is still."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.e2e.console_pty import RUN, Console, Start


def test_nothing_changes_nothing_is_sent(start: Start) -> None:
    """A still fleet costs no byte: no clock, no blinking, ages in coarse steps."""
    console = start(
        before="from console.state import sim_world\n"
        "from console.state.simulator import SimulatorSource\n"
        "SimulatorSource._advance = lambda self: None"
    )
    console.until(lambda: console.shows("llm-1"), "replicas are shown")
    console.until_quiet(3.0)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60), (20, 5)])
def test_every_size_draws(start: Start, size: tuple[int, int]) -> None:
    console = Console(
        RUN.format(before="", log="/dev/null", extra=""),
        size=size,
    )
    try:
        console.until(lambda: console.shows("local ok"), "health is shown at every size")
        console.press("q")
        assert console.wait() == 0
    finally:
        console.close()


def test_the_terminal_says_its_size_not_a_variable(start: Start) -> None:
    console = start(size=(60, 20), COLUMNS="200", LINES="60")
    assert console.screen.display[-1].rstrip().endswith("help"), "the last line is the footer, whole"


def test_no_color_sends_no_colour(start: Start) -> None:
    console = start(NO_COLOR="1")
    console.until(lambda: console.shows("● Ready"), "phases are words and glyphs")
    console.press("q")
    console.wait()
    codes = {code for found in re.findall(rb"\x1b\[([0-9;]*)m", console.raw) for code in found.split(b";")}
    assert codes <= {b"", b"0", b"1", b"2", b"4", b"7", b"22", b"24", b"27", b"39", b"49"}, codes


def test_without_a_terminal_it_says_so() -> None:
    code = RUN.format(before="", log="/dev/null", extra="")
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "needs a terminal" in done.stderr


def test_keys_typed_ahead_of_the_first_frame_are_taken() -> None:
    console = Console("from console.cli import main; main(['--simulate', '2'])", size=(80, 24))
    try:
        console.press("2")
        console.until(lambda: console.shows("Workloads"), "the view that was asked for")
    finally:
        console.close()
