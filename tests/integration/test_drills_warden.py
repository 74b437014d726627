"""The warden against real processes: it undoes what a dead or silent controller left, and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.contract import faults as contract
from backend.contract.faults import FaultKind
from backend.drills import direct, processes, undo_log
from backend.drills import warden as program
from backend.drills.undo_log import Result, Undo

ROOT = Path(__file__).resolve().parents[2]
AMPLE_S = 600.0
"""A lease or a time limit that no test waits for: what ends sooner ended for another reason."""
PATIENT = """
import functools, sys
from backend.drills import direct, warden
warden.RETRY_FOR_S, direct.take_away = 100.0, functools.partial(direct.take_away, deadline_s=float(sys.argv.pop()))
sys.exit(warden.main())
"""
"""The warden as it is, with more time for what hangs: for one attempt as much as the last argument says."""


class Stopped:
    """A process of ours in state T, with its undo record."""

    def __init__(self, run_dir: Path, name: str, *, ttl_s: float = AMPLE_S, kind: undo_log.UndoKind = "resume") -> None:
        self.process = subprocess.Popen(["sleep", "1000"])
        self.pid = self.process.pid
        mark = processes.start_mark(self.pid)
        assert mark is not None
        self.undo = Undo(
            id=name, kind=kind, run_id="r", workload="llm", replica=name, pid=self.pid, mark=mark,
            written_ts=time.time(), ttl_s=ttl_s,
        )  # fmt: skip
        undo_log.append(run_dir, self.undo)
        self.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: processes.state(self.pid) == "T")

    def runs(self) -> bool:
        return processes.state(self.pid) in ("S", "R")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_for(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.002)


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Callable[..., Stopped]]:
    made: list[Stopped] = []

    def make(name: str = "llm-0", **options: object) -> Stopped:
        made.append(Stopped(tmp_path, name, **options))  # type: ignore[arg-type]  # keyword options only
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def warden(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(expires_s: float = AMPLE_S, *, attempt_s: float = direct.DEADLINE_S) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", PATIENT, str(tmp_path), str(expires_s), str(attempt_s)]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd=ROOT
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def test_end_of_file_undoes_everything_last_in_first_out(
    tmp_path: Path, stopped: Callable[..., Stopped], warden: Start
) -> None:
    first, gone, third = stopped("llm-0"), stopped("llm-1"), stopped("llm-2")
    held = stopped("llm-3", kind="release-hold")
    process = warden()
    gone.close()
    assert process.stdin is not None
    process.stdin.close()
    wait_for(lambda: first.runs() and third.runs())
    assert process.wait(60) == 0
    results = [entry for entry in undo_log.read(tmp_path) if isinstance(entry, Result)]
    assert [result.id for result in results] == ["llm-3", "llm-2", "llm-1", "llm-0"]
    assert [undo.id for undo in undo_log.pending(undo_log.read(tmp_path))] == ["llm-3"]
    assert not held.runs(), "what needs a daemon is left to the next one"


def test_silence_undoes(tmp_path: Path, stopped: Callable[..., Stopped], warden: Start) -> None:
    one = stopped()
    process = warden(1.0)
    wait_for(one.runs)
    wait_for(lambda: "no heartbeat" in str(undo_log.read(tmp_path)[-1]))  # the deed first, then its record
    assert process.wait(60) == 0


def test_heartbeats_hold_it_back_for_as_long_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a time of its own: a beat just before each end of the lease, twenty leases long, then none."""
    reading, writing = os.pipe()
    now, lease = 1000.0, 2.0
    beats = [now + beat * 0.95 * lease for beat in range(1, 21)]
    last = beats[-1]

    def select(readers: list[int], _: object, __: object, timeout: float) -> tuple[list[int], list[int], list[int]]:
        nonlocal now
        if beats and beats[0] <= now + timeout:
            now = beats.pop(0)
            os.write(writing, b".\n")
            return readers, [], []
        now += timeout
        return [], [], []

    monkeypatch.setattr(program, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    monkeypatch.setattr(program, "select", SimpleNamespace(select=select))
    try:
        assert program.watch(tmp_path, reading, lease).startswith("no heartbeat for 2.0")
    finally:
        os.close(reading)
        os.close(writing)
    assert not beats
    assert lease <= now - last < lease + 0.2


def test_done_leaves_everything_as_it_is(tmp_path: Path, stopped: Callable[..., Stopped], warden: Start) -> None:
    one = stopped()
    process = warden()
    assert process.stdin is not None
    process.stdin.write(b"done\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert not one.runs()
    assert len(undo_log.read(tmp_path)) == 1


def test_a_fault_past_its_time_limit_is_undone_in_spite_of_the_lease(
    tmp_path: Path, stopped: Callable[..., Stopped], warden: Start
) -> None:
    one = stopped(ttl_s=0.3)
    process = warden()
    wait_for(one.runs)
    assert process.wait(60) == 0


def test_signals_of_a_lost_terminal_do_not_end_it(stopped: Callable[..., Stopped], warden: Start) -> None:
    one = stopped()
    process = warden()
    for sent in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        process.send_signal(sent)
    assert process.poll() is None
    assert process.stdin is not None
    process.stdin.close()
    wait_for(one.runs)


def test_another_process_of_the_same_pid_is_never_touched(
    tmp_path: Path, stopped: Callable[..., Stopped], warden: Start
) -> None:
    one = stopped()
    stranger = undo_log.Undo(
        id="stranger", kind="resume", run_id="r", workload="llm", replica="x", pid=one.pid, mark="1",
        written_ts=time.time(), ttl_s=60.0,
    )  # fmt: skip
    (tmp_path / undo_log.FILE_NAME).unlink()
    undo_log.append(tmp_path, stranger)
    process = warden()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0
    assert not one.runs()
    assert os.path.exists(f"/proc/{one.pid}")  # noqa: PTH110


def test_a_torn_last_line_is_no_record(tmp_path: Path, stopped: Callable[..., Stopped], warden: Start) -> None:
    one = stopped()
    with (tmp_path / undo_log.FILE_NAME).open("ab") as file:
        file.write(b'{"type":"undo","id":"torn')
    process = warden()
    assert process.stdin is not None
    process.stdin.close()
    wait_for(one.runs)
    assert process.wait(60) == 0


class Holder:
    """A fault holder of its own process: answers on its socket, and never again once it hangs."""

    PROGRAM = """
import json, socket, sys, time
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(); print("up", flush=True)
held = {name: True for name in sys.argv[3:]}
while True:
    link, _ = server.accept()
    if sys.argv[2] == "hangs":
        kept = link; continue
    for line in link.makefile("rb"):
        asked = json.loads(line)
        if asked["op"] == "heal":
            held.pop(asked["fault_id"], None)
        faults = [{"id": name, "kind": "latency", "active": True} for name in held]
        answer = json.dumps({"id": asked["id"], "faults": faults}).encode()
        link.sendall(b'{"op": "state", "phase": "chatter"}\\n' + answer + b"\\n")
"""

    def __init__(self, run_dir: Path, name: str, fault_kind: FaultKind, behaviour: str = "obeys") -> None:
        self.path = run_dir / f"{name}.sock"
        argv = [sys.executable, "-c", self.PROGRAM, str(self.path), behaviour, name]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.program = subprocess.Popen(["sleep", "1000"])
        wait_for(lambda: processes.state(self.program.pid) == "S")  # it has begun: nothing is left to load
        self.undo = Undo(
            id=name, kind="holder", run_id="r", workload="llm", replica=name, pid=self.program.pid,
            mark=processes.start_mark(self.program.pid) or "", written_ts=time.time(), ttl_s=AMPLE_S, fault_id=name,
            fault_kind=fault_kind, holder=contract.Holder(
                kind="shim", socket_path=str(self.path), pid=self.process.pid,
                mark=processes.start_mark(self.process.pid) or "",
            ),
        )  # fmt: skip
        undo_log.append(run_dir, self.undo)

    def close(self) -> None:
        for process in (self.process, self.program):
            process.kill()
            process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def holder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    made: list[Holder] = []

    def make(*arguments: object) -> Holder:
        made.append(Holder(tmp_path, *arguments))  # type: ignore[arg-type]  # as Holder takes them
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_holder_is_asked_to_let_go_and_those_that_hang_delay_nobody(
    tmp_path: Path, holder: Callable[..., Holder], stopped: Callable[..., Stopped], warden: Start
) -> None:
    first, plain = stopped("llm-0"), holder("a", "latency")
    hanging = [holder(f"h{index}", "latency", "hangs") for index in range(4)]
    process = warden(attempt_s=90.0)
    assert process.stdin is not None
    process.stdin.close()
    # Four were injected later, and so come first: each of them is still at its first attempt.
    wait_for(first.runs, timeout_s=45.0)
    for one in hanging:
        one.process.kill()
        one.process.wait()
    wait_for(lambda: undo_log.pending(undo_log.read(tmp_path)) == [])
    assert process.wait(60) == 0
    ended = [entry.id for entry in undo_log.read(tmp_path) if isinstance(entry, Result)]
    assert sorted(ended) == sorted([plain.undo.id, first.undo.id, *(one.undo.id for one in hanging)])
    said = {entry.id: entry.detail for entry in undo_log.read(tmp_path) if isinstance(entry, Result)}
    assert "taken away by its shim" in said[plain.undo.id]
    assert "its holder has ended" in said[hanging[0].undo.id]


@pytest.mark.parametrize("behaviour", ["hangs", "dies"])
def test_what_outlives_its_holder_is_mended_on_the_process(
    tmp_path: Path, holder: Callable[..., Holder], warden: Start, behaviour: str
) -> None:
    still, starved = holder("a", "stop", behaviour), holder("b", "exhaust-descriptors", behaviour)
    still.program.send_signal(signal.SIGSTOP)
    _, hard = resource.prlimit(starved.program.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(starved.program.pid, resource.RLIMIT_NOFILE, (3, hard))
    assert processes.lacks_descriptors(starved.program.pid)
    wait_for(lambda: processes.state(still.program.pid) == "T")
    if behaviour == "dies":
        for one in (still, starved):
            one.process.kill()
            one.process.wait()
    process = warden()
    assert process.stdin is not None
    process.stdin.close()
    wait_for(lambda: undo_log.pending(undo_log.read(tmp_path)) == [])
    assert processes.state(still.program.pid) in ("S", "R")
    assert resource.prlimit(starved.program.pid, resource.RLIMIT_NOFILE) == (hard, hard)
