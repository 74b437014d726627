"""The plain mode as a program: lines for changes, ends on signals, on a closed pipe, and for TERM=dumb."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.e2e.console_pty import Console

PROGRAM = "from console.cli import main; main({arguments})"


def started(*arguments: str, **env: str) -> subprocess.Popen[str]:
    code = PROGRAM.format(arguments=list(arguments))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def test_plain_tells_how_things_stand_and_ends_on_a_signal() -> None:
    program = started("--plain", "--simulate", "3")
    assert program.stdout is not None
    assert "Fleet local is ok." in program.stdout.readline()
    program.send_signal(signal.SIGINT)
    rest, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors == ""
    assert "\x1b" not in rest


def test_plain_ends_quietly_when_nobody_reads_any_more() -> None:
    code = (
        "import sys; from console.plain import run_plain; from console.state.simulator import SimulatorSource\n"
        "class Dying(SimulatorSource):\n"  # whenever the reader goes, there is more to say
        "    async def stream(self, interval_s=1.0):\n"
        "        async for frame in super().stream(interval_s):\n"
        "            if self.world.find('llm-1').phase == 'Ready': self.world.kill('llm-1', by='test')\n"
        "            yield frame\n"
        "sys.exit(run_plain(lambda: Dying(replicas=2), interval_s=0.05))"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.wait(timeout=60) == 0
    assert program.stderr.read() == b""
    program.stderr.close()


def test_a_dumb_terminal_gets_lines_and_enter_tells_how_things_stand() -> None:
    console = Console(PROGRAM.format(arguments=["--simulate", "2"]), size=(80, 24), env={"TERM": "dumb"})
    try:
        console.until(lambda: console.raw.count(b"Workload llm: 2 of 2 ready") == 1, "how things stand", 60)
        console.press("\n")
        console.until(lambda: console.raw.count(b"Workload llm: 2 of 2 ready") == 2, "again on enter", 60)
        assert b"\x1b" not in console.raw
        console.process.send_signal(signal.SIGINT)
        assert console.wait(60) == 130
    finally:
        console.close()


def test_lines_tell_of_one_fleet_and_say_so() -> None:
    program = started("--plain", "--simulate", "2", "--simulate", "3")
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 64
    assert "Lines tell of one fleet" in errors
