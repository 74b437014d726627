"""Ten minutes of real operation, driven by keys and recorded: an asciinema cast and the SVGs that the README shows.

Starts a real fleet in a state directory of its own, opens the console on it as a user does, then loads, looks around,
kills, drills, scales, and travels back to the kill; ends the fleet at the end. The keys are pressed when the screen
shows what they wait for, so that the recording is what a person would have seen.

Run: python tests/bench/record_operation.py FOLDER
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.console_pty import Console

SIZE = (120, 40)
RATE = "0.6"
"""Requests a second of the load: about half of what two cores can answer, so that a drill beside it has room."""
PROGRAM = "from console.cli import main; main(['--auto-port', '--theme', 'minimalist'])"


class Recorder(Console):
    """A console whose every byte is kept with its time."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.cast = (folder / "operation.cast").open("w", encoding="utf-8")
        width, height = SIZE
        head = {"version": 2, "width": width, "height": height, "title": "Trinity: ten minutes of operation"}
        self.cast.write(json.dumps(head | {"env": {"TERM": "xterm-256color"}}) + "\n")
        self.killed = ""
        """When llm-0 was killed, as the console's clock says it."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        super().__init__(PROGRAM, size=SIZE, env=env)

    def pump(self, seconds: float = 0.05) -> bytes:
        data = super().pump(seconds)
        text = self._decoder.decode(data)
        if text:
            self.cast.write(json.dumps([round(time.monotonic() - self.started, 3), "o", text]) + "\n")
        return data

    def rest(self, seconds: float) -> None:
        """Look at the screen for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump()

    def type(self, keys: str, pause: float = 0.25) -> None:
        """One key after another, as fingers do."""
        for key in keys:
            self.press(key)
            self.rest(pause)

    def command(self, words: str) -> None:
        """Through the command line."""
        self.type(":", 0.5)
        self.type(words, 0.06)
        self.rest(0.4)
        self.press("\r")
        self.rest(1.0)

    def sees(self, words: str, timeout: float = 60.0) -> None:
        self.until(lambda: self.shows(words), words, timeout)

    def picture(self, name: str) -> None:
        """The view as it is, exported by the console itself."""
        path = self.folder / f"{name}.svg"
        path.unlink(missing_ok=True)
        self.command(f"export {name}.svg")
        self.until(path.exists, f"{name}.svg")
        self.rest(1.0)

    def rows_of(self, prefix: str) -> int:
        """Rows of the replica list (the overview's first dozen lines) whose name begins so."""
        return sum(line.lstrip(" ▸").startswith(prefix) for line in self.screen.display[:12])

    def at(self) -> float:
        return time.monotonic() - self.started


def begin(screen: Recorder) -> None:
    """The fleet comes up."""
    screen.sees("5/5 ready", 120)
    screen.until(lambda: screen.shows("ready") and not screen.shows("Starting"), "all replicas are ready", 120)
    screen.rest(6)


def load(screen: Recorder) -> None:
    """Load."""
    screen.type("g", 1.0)
    screen.type(RATE, 0.2)
    screen.type("\r", 1.0)
    screen.sees("Cancel", 20)
    screen.rest(2)
    screen.type("y", 0.5)
    screen.rest(35)
    screen.picture("operation-load")


def look_around(screen: Recorder) -> None:
    """Look around."""
    for keys, rest in (("3", 8), ("4", 3), ("0", 6)):
        screen.type(keys, 0.3)
        screen.rest(rest)
    screen.type("/", 0.4)
    screen.type("slot", 0.15)
    screen.press("\r")
    screen.rest(3)
    screen.type("nnN", 1.2)
    screen.rest(1)
    screen.press("\x1b")
    screen.rest(2)
    screen.type("7", 0.5)
    screen.rest(6)
    screen.press("\x1b[D")
    screen.rest(1)
    for _ in range(12):
        screen.press("\x1b[D")
        screen.rest(0.15)
    screen.rest(4)
    screen.picture("operation-charts")
    screen.press("\x1b")
    screen.rest(0.6)  # an escape and a key at once would be one chord
    screen.type("1", 0.5)
    screen.rest(3)


def kill(screen: Recorder) -> None:
    """Kill."""
    screen.command("kill llm-0")
    screen.sees("Cancel", 20)
    screen.rest(3)
    screen.killed = time.strftime("%H:%M:%S")
    if screen.shows("type llm-0"):
        screen.type("llm-0", 0.15)
        screen.press("\r")
    else:
        screen.type("y", 0.2)
    screen.rest(1.0)
    screen.picture("operation-kill")
    screen.until(lambda: screen.shows("llm-0") and not screen.shows("Starting"), "llm-0 is back", 60)
    screen.rest(8)


def drill(screen: Recorder) -> None:
    """Drill."""
    screen.command("drill run embedding-failover")
    screen.sees("Cancel", 30)
    screen.rest(6)
    screen.type("y", 0.5)
    screen.rest(30)
    screen.picture("operation-drill")
    screen.until(lambda: screen.shows("PASS") or screen.shows("pass"), "the drill passed", 300)
    screen.rest(10)
    screen.type("1", 0.5)
    screen.rest(5)


def scale(screen: Recorder) -> None:
    """Scale."""
    screen.command("scale llm 3")
    screen.rest(2)
    if screen.shows("Cancel"):
        screen.type("y", 0.5)
    screen.sees("llm-2", 60)
    screen.rest(10)
    screen.command("scale llm 2")
    screen.sees("Cancel", 20)
    screen.rest(4)
    screen.type("y", 0.5)
    screen.until(lambda: screen.rows_of("llm-") == 2, "one of the three is drained and gone", 120)
    screen.rest(8)


def travel(screen: Recorder) -> None:
    """Travel back to the kill."""
    screen.type("t", 1.0)
    screen.sees("PAST", 20)
    screen.rest(3)
    screen.command(f"at {screen.killed}")
    at = screen.killed[:5]
    screen.until(lambda: any("PAST" in line and at in line for line in screen.screen.display), f"the past of {at}", 20)
    screen.type("..", 1.5)
    screen.rest(5)
    screen.picture("operation-past")
    screen.type("c", 1.0)
    screen.rest(2)
    screen.type("....", 1.0)
    screen.rest(4)
    screen.picture("operation-compare")
    screen.press("\x1b")
    screen.rest(2)
    screen.type("t", 1.0)
    screen.rest(4)
    if screen.shows("PAST"):
        screen.type("t", 1.0)
    screen.type("1", 0.5)


ACTS = (begin, load, look_around, kill, drill, scale, travel)


def operate(screen: Recorder, whole_s: float) -> list[str]:
    """The story, act by act; an act that does not see what it waits for ends, and is named, and the next begins."""
    missed: list[str] = []
    for act in ACTS:
        try:
            act(screen)
        except AssertionError as error:
            missed.append(f"{act.__name__}: {str(error).splitlines()[0]}")
            for _ in range(3):
                screen.press("\x1b")
                screen.rest(0.6)
            screen.type("1", 0.5)
    while screen.at() < whole_s - 4:
        screen.rest(1)
    screen.type("q", 0.2)
    screen.wait(20)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="tri-cast-"))
    root = str(Path(__file__).resolve().parents[2])
    env = {
        "TRINITY_STATE": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_RUNTIME_DIR": str(home),
        "PYTHONPATH": root,
        "USER": "ada",
        "LOGNAME": "ada",
    }
    os.chdir(folder)
    screen = Recorder(folder, env)
    try:
        missed = operate(screen, 60 * given.minutes)
    finally:
        screen.close()
        screen.cast.close()
        subprocess.run(
            [sys.executable, "-c", "from console.cli import main; main(['down'])"],
            env={**os.environ, **env},
            timeout=120,
        )
    minutes, size = screen.at() / 60, (folder / "operation.cast").stat().st_size
    print(f"{minutes:.1f} minutes, {len(screen.raw)} bytes to the terminal, a cast of {size} bytes")
    for words in missed:
        print(f"not seen: {words}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
