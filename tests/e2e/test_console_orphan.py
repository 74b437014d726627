"""A console whose terminal goes away without a signal ends by itself."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.e2e.harness import wait_for


def test_console_ends_when_its_terminal_is_gone() -> None:
    controller, terminal = pty.openpty()
    # No controlling terminal: nobody sends SIGHUP when the pty closes.
    console = subprocess.Popen(
        [sys.executable, "-m", "console.cli", "--simulate", "3"],
        env=os.environ | {"TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        painted = b""
        while b"llm-0" not in painted:
            painted += os.read(controller, 65536)
        os.close(controller)
        wait_for(lambda: console.poll() is not None, 15.0, "the console's end")
    finally:
        console.kill()
        console.wait()
    assert console.returncode == 129
