"""What people connect to replicas with, on a real fleet: forwards, programs, descriptions; and what is left of them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from backend.contract.control import ExecOrder
from backend.contract.errors import TrinityError
from backend.contract.rows import ActionRow
from backend.contract.words import ActionOutcome
from backend.control_client import ControlClient
from tests.e2e.harness import PATIENCE_S, TRINITY, is_alive, wait_for
from tests.e2e.light_fleet import LightFleet, light_fleet


@pytest.fixture(scope="module")
def web() -> Iterator[LightFleet]:
    with light_fleet() as running:
        yield running


def forwards(fleet: LightFleet) -> list[Any]:
    return list(fleet.snapshot().forwards)


# -- forwards


def test_a_forward_is_left_with_the_daemon_survives_its_death_and_is_ended(web: LightFleet) -> None:
    (shown,) = json.loads(web.trinity("expose", "web", "--detach", "--json").stdout)
    url = shown["urls"][0]
    assert httpx.get(f"{url}/web/index.html", timeout=PATIENCE_S).text == "hello"
    assert shown["id"] in web.trinity("expose", "--list").stdout
    assert f"forward {shown['id']}" in web.trinity("ports").stdout
    web.kill_daemon()
    web.trinity("up", "--no-wait")

    def leads() -> bool:
        return [(view.id, view.state) for view in forwards(web)] == [(shown["id"], "listening")]

    wait_for(leads, 60.0, "the forward again")
    assert httpx.get(f"{url}/web/index.html", timeout=PATIENCE_S).text == "hello"
    assert "has ended" in web.trinity("expose", "--stop", shown["id"]).stdout
    assert forwards(web) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    verbs = [row.verb for row in web.actions() if row.outcome == "ok"]
    assert verbs.count("forward") == verbs.count("unforward") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_what_one_looked_on_at(web: LightFleet, number: signal.Signals) -> None:
    process = web.start("expose", "web-0", "web-1", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: len(forwards(web)) == 2, 60.0, "two forwards")
    for view in forwards(web):
        assert httpx.get(f"{view.urls[0]}/web/index.html", timeout=PATIENCE_S).text == "hello"
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.splitlines()[0].split()[:3] == ["ID", "TARGET", "LOCAL"]
    assert "Traceback" not in err
    assert forwards(web) == []


def test_a_signal_while_forwards_are_being_made_ends_them_all(web: LightFleet) -> None:
    process = web.start("expose", *["web-0"] * 40, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: forwards(web), PATIENCE_S, "the first of them")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert forwards(web) == []


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("wbe", 64, "There is no replica, workload or service wbe. Did you mean web"),
        ("web:0", 64, "names no port"),
        ("web:99999", 64, "names no port"),
        ("web --bind moon", 64, "`moon` is no address"),
        ("--stop abc", 64, "There is no forward abc"),
        ("web --list", 64, "stand alone"),
        ("web-0 wbe", 64, "Did you mean web"),
    ],
)
def test_a_mistake_leaves_no_forward(web: LightFleet, args: str, code: int, words: str) -> None:
    done = web.trinity("expose", *args.split(), check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert forwards(web) == []


def test_all_interfaces_are_asked_for_and_warned_of(web: LightFleet) -> None:
    done = web.trinity("expose", "web-0", "--all-interfaces", "--detach")
    assert "Warning: whoever reaches this machine" in done.stderr
    (view,) = forwards(web)
    assert view.bind == "0.0.0.0"
    for url in view.urls:
        assert httpx.get(f"{url}/web/index.html", timeout=PATIENCE_S).text == "hello"
    web.trinity("expose", "--stop", "all")


# -- programs


def run(fleet: LightFleet, *args: str, given: bytes = b"") -> tuple[int, bytes, str]:
    argv = [*TRINITY, "exec", *args]
    done = subprocess.run(argv, env=fleet.env, cwd=fleet.root, input=given, capture_output=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr.decode()


def ended_row(fleet: LightFleet) -> ActionRow:
    """The newest deed's row, once it has ended: a session's comes a moment after what its user sees of its end."""

    def ended() -> ActionRow | None:
        row = fleet.actions()[-1]
        return row if row.outcome != ActionOutcome.RUNNING else None

    return wait_for(ended, PATIENCE_S, "the end of the newest deed")


def test_a_program_runs_in_the_replicas_place_and_its_exit_code_is_ours(web: LightFleet) -> None:
    code, out, err = run(web, "web-1", "--", "sh", "-c", "echo $TRINITY_REPLICA $PORT; pwd; echo oh >&2; exit 7")
    port = next(view.status.port for view in web.snapshot().replicas if view.status.name == "web-1")
    assert (code, err) == (7, "")
    assert out.decode().splitlines() == [f"web-1 {port}", str(web.root), "oh"]
    row = ended_row(web)
    assert (row.verb, row.target, row.outcome) == ("exec", "web-1", "ok")
    assert "ended with exit code 7" in row.result


def test_input_is_piped_through_whole(web: LightFleet) -> None:
    data = os.urandom(2_000_000)
    code, out, err = run(web, "web-0", "-i", "--", "cat", given=data)
    assert (code, err) == (0, "")
    assert out == data
    assert run(web, "web-0", "--", "cat")[:2] == (0, b""), "without -i its input is empty"
    assert run(web, "web-0", "--", "sh", "-c", "kill -9 $$")[0] == 137


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("wbe-0", "--", "ls"), 64, "There is no replica wbe-0. Did you mean web-0?"),
        (("web-0", "--", "no-such-program"), 64, "There is no program no-such-program."),
        (("web-0",), 64, "Missing argument"),
    ],
)
def test_a_program_that_cannot_be_run_is_a_sentence(
    web: LightFleet, args: tuple[str, ...], code: int, words: str
) -> None:
    done = run(web, *args)
    assert done[0] == code
    assert words in done[2]
    assert done[1] == b""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, fleet: LightFleet, *args: str) -> None:
        self.controller, terminal = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(terminal)
        self._terminal = terminal
        self.process = subprocess.Popen(
            [*TRINITY, *args],
            env=fleet.env | {"TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def until(self, words: str, timeout_s: float = PATIENCE_S, *, nudge: str = "", times: int = 1) -> None:
        """Until these words are there so many times; `nudge` is typed now and then meanwhile."""
        end = time.monotonic() + timeout_s
        self.type(nudge)
        while self.text.count(words) < times:
            if select.select([self.controller], [], [], 0.5)[0]:
                self.text += os.read(self.controller, 65536).decode(errors="replace")
            elif time.monotonic() > end:
                raise AssertionError(f"never {words!r} in {self.text!r}")
            else:
                self.type(nudge)

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._terminal) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self.controller)
        os.close(self._terminal)


def test_a_shell_on_a_terminal_has_its_size_its_keys_and_gives_the_terminal_back(web: LightFleet) -> None:
    terminal = Terminal(web, "exec", "web-0", "-it", "--", "sh")
    try:
        terminal.type("stty size; echo here-$((40+2))\n")
        terminal.until("30 100")
        terminal.until("here-42")
        assert not terminal.is_as_before(), "keys go through as they are"
        terminal.type("trap 'echo changed; stty size' WINCH; echo set-$((1+1))\n")
        terminal.until("set-2")
        terminal.resize(20, 70)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.until("20 70", nudge="\n")
        terminal.type("cat\n")
        terminal.until("tac", nudge="tac\n", times=4)  # echoed, and said again by the program that reads now
        terminal.type("\x03")
        terminal.until("^C")
        # What is typed before the interrupted program has ended is lost with it.
        terminal.until("back-5", nudge="echo back-$((2+3))\n")
        terminal.type("exit 9\n")
        assert terminal.process.wait(PATIENCE_S) == 9
        assert terminal.is_as_before()
    finally:
        terminal.close()


def test_a_user_who_is_ended_leaves_no_program_and_a_terminal_as_it_was(web: LightFleet) -> None:
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        terminal = Terminal(web, "exec", "web-0", "-it", "--", "sh", "-c", "echo pid-$$.; exec sleep 300")
        try:
            terminal.until(".\r\n")
            pid = int(terminal.text.partition("pid-")[2].partition(".")[0])
            assert is_alive(pid)
            terminal.process.send_signal(number)
            assert terminal.process.wait(PATIENCE_S) == code
            if number == signal.SIGTERM:
                assert terminal.is_as_before()
            wait_for(lambda pid=pid: not is_alive(pid), 60.0, "the program's end")
        finally:
            terminal.close()
    assert "Its user left" in ended_row(web).result


def test_a_session_ends_with_the_daemon_and_its_user_is_told(web: LightFleet) -> None:
    process = web.start("exec", "web-0", "--", "sleep", "300", stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sleeps() -> list[psutil.Process]:
        daemon = psutil.Process(web.daemon_pid())
        return [child for child in daemon.children() if child.name() == "sleep"]  # by now it has become that

    wait_for(sleeps, 60.0, "the program")
    (sleep,) = sleeps()
    pid = web.daemon_pid()
    web.kill_daemon()
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 69
    assert "The session broke off" in err
    assert not is_alive(pid)
    wait_for(lambda: not is_alive(sleep.pid), 60.0, "the program's end")
    web.trinity("up")
    assert web.snapshot().health == "ok"


def test_a_socket_of_a_session_is_for_this_user_only_and_goes_with_it(web: LightFleet) -> None:
    sockets = web.paths.run_dir
    wait_for(lambda: not list(sockets.glob("exec-*.sock")), PATIENCE_S, "the end of earlier sessions")

    async def look() -> tuple[list[str], int]:
        client = ControlClient(web.paths.control_socket)
        order = ExecOrder(replica="web-0", argv=("cat",), actor="cli:test")
        channel = await client.exec(order)
        (path,) = sockets.glob("exec-*.sock")
        mode = path.stat().st_mode & 0o777
        with pytest.raises(TrinityError, match="wants somebody"):
            await refused(client)
        await channel.write(b"through")
        await channel.end()
        words = [data.decode() async for data in channel.output()]
        await channel.close()
        return words, mode

    async def refused(client: ControlClient) -> None:
        from backend.contract.control import ActionRequest
        from backend.contract.words import Verb

        request = ActionRequest(verb=Verb.EXEC, target="web-0", args={"argv": "ls"}, actor="cli:test")
        row = await client.perform(request)
        raise TrinityError(row.result)

    words, mode = asyncio.run(look())
    assert "".join(words) == "through"
    assert mode == 0o600
    wait_for(lambda: not list(web.paths.run_dir.glob("exec-*.sock")), 60.0, "the socket's end")


# -- seeing


def test_a_replica_and_a_workload_are_described_without_their_secrets(web: LightFleet) -> None:
    text = web.trinity("describe", "web-0").stdout
    pid = web.pids()["web-0"]
    for words in ("replica web-0", "Phase:", "Ready", str(pid), "readiness: passes", "Declared probes"):
        assert words in text, text
    found = web.json("describe", "web")
    assert (found["kind"], found["name"]) == ("workload", "web")
    assert [title for title, _ in found["sections"]][:3] == ["Workload", "Replicas", "Program"]
    source = json.loads(web.trinity("describe", "web-0", "--source").stdout)
    assert source["view"]["status"]["pid"] == pid
    done = web.trinity("describe", "wbe-0", check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert "Did you mean web-0?" in done.stderr


def test_nodes_and_ports_are_tables(web: LightFleet) -> None:
    done = web.trinity("nodes")
    assert done.stdout == ""
    assert "all of it runs on this machine" in done.stderr
    lines = web.trinity("ports").stdout.splitlines()
    assert lines[0].split() == ["WORKLOAD", "SOURCE", "NAME", "PROTOCOL", "CONTAINER", "SERVICE", "NODE", "URL"]
    assert any(line.split()[:3] == ["web", "edge", "/web"] and line.endswith(f"{web.url}/web") for line in lines)
    assert sum("replica web-" in line for line in lines) == 2
