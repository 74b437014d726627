"""The console on a real terminal: whatever ends it, the terminal is as it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.console_pty import PATIENCE_S, RUN, Console, Start


def assert_terminal_is_back(console: Console) -> None:
    tail = console.raw[console.raw.rindex(b"\x1b[?1049h") :]
    for mode in (b"?1049", b"?1000", b"?1003", b"?2004"):
        assert b"\x1b[" + mode + b"l" in tail, f"{mode!r} was left on"
    assert b"\x1b[?25h" in tail, "the cursor was left hidden"
    assert console.modes_restored(), "the terminal driver was left in raw mode"


def test_quitting_restores_the_terminal_and_says_that_the_fleet_goes_on(start: Start) -> None:
    console = start()
    console.press("q")
    assert console.wait() == 0
    assert_terminal_is_back(console)
    assert b"The fleet goes on running. Stop it with: trinity down" in console.raw


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=["term", "hup", "int"]
)
def test_signals_restore_the_terminal(start: Start, number: signal.Signals, code: int) -> None:
    console = start()
    os.kill(console.process.pid, number)
    assert console.wait() == code
    assert_terminal_is_back(console)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["term", "hup", "int"])
def test_signals_before_the_app_runs_restore_the_terminal(number: signal.Signals) -> None:
    """The first frame is painted before the screen library is loaded: that time is covered too."""
    slow = "import sys, time\nclass Slow:\n    def find_spec(self, name, *rest):\n"
    slow += "        time.sleep(600 if name == 'console.tui.terminal_app' else 0)\nsys.meta_path.insert(0, Slow())"
    console = Console(RUN.format(before=slow, log="/dev/null", extra=""))
    try:
        console.until(lambda: console.shows("connecting") and console.shows("Replicas"), "the first frame")
        os.kill(console.process.pid, number)
        assert console.wait() == 128 + number
        assert_terminal_is_back(console)
    finally:
        console.close()


def test_a_crash_restores_the_terminal_and_is_one_sentence(start: Start, tmp_path: Path) -> None:
    console = start(
        before="from console.tui.app import TrinityApp\n"
        "def broken(self):\n    raise RuntimeError('the moon fell down')\n"
        "TrinityApp.action_redraw = broken"
    )
    console.press("\x0c")
    assert console.wait() == 70
    assert_terminal_is_back(console)
    after = console.raw[console.raw.rindex(b"\x1b[?1049l") :]
    assert b"RuntimeError: the moon fell down" in after
    assert b"Traceback" not in after
    assert "the moon fell down" in (tmp_path / "console.log").read_text()
    assert "Traceback" in (tmp_path / "console.log").read_text()


def test_a_busy_loop_cannot_keep_the_terminal(start: Start) -> None:
    """SIGTERM while the event loop hangs: the last resort restores and ends it."""
    console = start(
        before="import time\nfrom console.tui.app import TrinityApp\n"
        "async def hang(*args):\n    time.sleep(600)\n"
        "TrinityApp._shutdown = hang"
    )
    os.kill(console.process.pid, signal.SIGTERM)
    assert console.wait() == 143
    assert_terminal_is_back(console)


def test_suspend_and_continue_draw_the_screen_again(start: Start) -> None:
    console = start()
    os.kill(console.process.pid, signal.SIGTSTP)

    def stopped() -> bool:
        status = Path(f"/proc/{console.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return status == "T"

    console.until(stopped, "the process is stopped")
    while console.pump():
        pass
    assert_terminal_is_back(console)
    console.screen.reset()
    os.kill(console.process.pid, signal.SIGCONT)
    console.until(lambda: console.shows("llm-1") and console.shows("Overview"), "everything is drawn again")
    console.press("q")
    assert console.wait() == 0


def test_a_terminal_that_goes_without_a_signal_ends_the_console(start: Start) -> None:
    """It is not the controlling terminal here, so no SIGHUP is sent; reading its end of file would go on forever."""
    console = start()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (console.master, console.slave):
        os.dup2(null, fd)
    os.close(null)
    assert console.process.wait(PATIENCE_S) == 129
