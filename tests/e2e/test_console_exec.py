"""`x` on a real terminal: the screen steps aside for a program in a replica, and comes back as it was."""

from __future__ import annotations

import signal

from tests.e2e.console_pty import Console

START = "from console.cli import main; main(['--simulate', 'k8s:6'])"
OWN_SCREEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
SHELL = b"A pretended shell in chat-"


class Since:
    """What came after an instant: the emulator at the other end has one screen only."""

    def __init__(self, console: Console) -> None:
        self.console, self.at = console, len(console.raw)

    def came(self, *words: bytes) -> bool:
        """Whether they came, in this order."""
        at = self.at
        for word in words:
            found = self.console.raw.find(word, at)
            if found < 0:
                return False
            at = found + len(word)
        return True


def test_a_shell_has_the_terminal_and_gives_it_back() -> None:
    console = Console(START, size=(100, 30))
    try:
        console.until(lambda: console.shows("Worth a look"), "the overview")
        now = Since(console)
        console.press("x")
        console.until(lambda: now.came(BACK, SHELL), "the shell has the terminal")
        console.press("who goes there\r")
        console.until(lambda: now.came(b"who goes there\r\nwho goes there\r\n$ "), "keys go to it, answers come")
        console.press("2\r")
        console.until(lambda: now.came(b"2\r\n2\r\n"), "keys of the console are not the console's now")
        now = Since(console)
        console.press("exit 3\r")
        console.until(lambda: now.came(OWN_SCREEN, b"Worth a look"), "the screen is back")
        console.until(lambda: console.shows("ended with code 3"), "it says how the program ended")
        now = Since(console)
        console.press("x")
        console.until(lambda: now.came(SHELL), "again")
        console.press("\x1d")
        console.until(lambda: console.shows("Left the program in chat-"), "ctrl-] leaves it")
        now = Since(console)
        console.press("x")
        console.until(lambda: now.came(SHELL), "and again")
        console.process.send_signal(signal.SIGTERM)
        assert console.wait() == 128 + signal.SIGTERM, "what ends the console ends the shell first"
        assert console.modes_restored()
    finally:
        console.close()
