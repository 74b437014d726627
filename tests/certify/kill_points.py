"""kill -9 at random moments of a drill: `python -m tests.certify.kill_points --points N --seed S`.

In turn the daemon, the CLI (or its terminal) and the warden with the daemon die. Whatever died, no fault may stay in
place longer than what covers that death, and the run may not be called passed unless only its watcher died.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from backend.contract.errors import FileError
from backend.drills import store
from tests.certify.remains import Look, look
from tests.e2e.harness import TRINITY, wait_for
from tests.e2e.light_drill import light_drill_fleet, scenario
from tests.e2e.light_fleet import LightFleet

Victim = Literal["daemon", "cli", "warden+daemon", "terminal"]
VICTIMS: Final[tuple[Victim, ...]] = ("daemon", "cli", "warden+daemon", "daemon", "terminal", "warden+daemon")

LATEST_S: Final = 2.6
"""The last moment of a kill after the run's directory is there: somewhere in its recovery."""
WITHIN_S: Final = 0.5
"""The last moment of a kill after its fault is in place: within the fault's hold."""
LASTING: Final = ("stop", "burn", "latency", "error")
"""The faults that can be seen in place."""
FAULTS: Final[dict[str, str]] = {
    "stop": "fault: process.stop, target: victim, verify: [proc_state_T]",
    "kill": "fault: process.kill, target: victim, respawn: held, verify: [pid_gone]",
    "burn": "fault: cpu.burn, target: victim, cores: 0.5, verify: [holder_active]",
    "latency": "fault: net.latency, target: victim, latency: 50ms, verify: [holder_active]",
    "error": "fault: http.error, target: victim, status: 500, share: 0.2, verify: [holder_active]",
    "slow-start": "fault: process.slow-start, target: victim, delay: 200ms, verify: [pid_gone]",
}


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, and may take."""

    hold: str
    lease: str
    ttl_s: dict[Victim, float]
    """Of the fault; well above what is allowed where something else than the holder's own limit must take it away."""
    allowed_s: dict[Victim, float]
    """How long after the kill the last fault may be there: the warden's lease, the holder's own limit, the drill."""


STRICT: Final = Terms(
    hold="800ms",
    lease="1s",
    ttl_s=dict.fromkeys(VICTIMS, 1.5),
    allowed_s={"daemon": 1.5, "cli": 20.0, "warden+daemon": 2.5, "terminal": 20.0},
)
"""What is promised, on a machine that has nothing else to do."""
PATIENT: Final = Terms(
    hold="5s",
    lease="20s",
    ttl_s=dict.fromkeys(VICTIMS, 90.0) | {"warden+daemon": 8.0},
    allowed_s={"daemon": 45.0, "cli": 60.0, "warden+daemon": 30.0, "terminal": 60.0},
)
"""That it happens at all, on any machine."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One kill and what followed."""

    number: int
    victim: Victim
    fault: str
    in_fault: bool = False
    """Whether the kill waits until the fault is seen in place: on any machine some kills must hit a fault."""
    after_s: float
    """The moment of the kill, from the run's begin; with `in_fault` from when its fault is in place."""
    phase: str = ""
    in_place: str = ""
    """What the drill had in place right before: its fault, or nothing yet or any more."""
    gone_s: float = 0.0
    """How long after the kill nothing of the drill was in place any more."""
    outcome: str = ""
    problem: str = ""

    def __str__(self) -> str:
        ending = f"PROBLEM: {self.problem}" if self.problem else f"gone after {self.gone_s:.2f} s, {self.outcome}"
        held = ", fault in place" if self.in_place else ""
        since = "fault" if self.in_fault else "begin"
        where = f"{self.fault:10} {self.after_s:4.2f} s after {since} ({self.phase}{held})"
        return f"{self.number:4d} {self.victim:14} {where}: {ending}"


def plan_points(count: int, seed: int, faults: Sequence[str] = tuple(FAULTS)) -> list[Point]:
    """The points of a seed, the same each time: of each victim, about every second kill hits a fault in place."""
    rng = random.Random(seed)
    points = []
    for number in range(count):
        fault = rng.choice(list(faults))
        in_fault = fault in LASTING and rng.random() < 0.6
        points.append(
            Point(
                number=number,
                victim=VICTIMS[number % len(VICTIMS)],
                fault=fault,
                in_fault=in_fault,
                after_s=rng.uniform(0.0, WITHIN_S if in_fault else LATEST_S),
            )
        )
    return points


def run_points(points: Sequence[Point], terms: Terms = STRICT) -> Iterator[Point]:
    """Each point on one fleet, one after the other; yields it completed."""
    with light_drill_fleet(TRINITY_ENVIRONMENT="dev") as fleet:
        for victim, ttl_s in terms.ttl_s.items():
            for name, fault in FAULTS.items():
                text = scenario(fault, name=name, ttl=f"{ttl_s}s", lease=terms.lease, hold=terms.hold)
                (fleet.root / file_of(victim, name)).write_text(text)
        for point in points:
            yield Kill(fleet, point, terms).run()


def file_of(victim: Victim, fault: str) -> str:
    return f"{victim}-{fault}.yaml"


class Kill:
    """One point."""

    def __init__(self, fleet: LightFleet, point: Point, terms: Terms) -> None:
        self._fleet, self._point, self._terms = fleet, point, terms

    def run(self) -> Point:
        fleet, point = self._fleet, self._point
        fleet.until_ready(2, "toy")
        before = set(fleet.paths.drills_dir.glob("*"))
        cli, terminal = self._start()
        try:
            new = wait_for(lambda: sorted(set(fleet.paths.drills_dir.glob("*")) - before), 60.0, "a run")
            run_dir = new[0]
            if point.in_fault:
                # A machine that stood still may have seen it come and go: then this kill hits none.
                over = run_dir / store.REPORT
                wait_for(lambda: in_place(look(fleet)) or over.is_file(), 60.0, "a fault in place")
            time.sleep(point.after_s)
            phase = phase_of(run_dir)
            seen = look(fleet)
            ended = (run_dir / store.REPORT).is_file()
            killed = time.monotonic()
            self._kill(cli, terminal)
            problem, gone_s = self._until_gone(killed, run_dir)
            outcome = self._outcome(run_dir)
            problem = problem or self._judge(run_dir, outcome, ended)
            left = wait_gone(fleet, 5.0 if self._terms is STRICT else 60.0)
            problem = problem or (f"left after the next start: {left}" if left else "")
        except AssertionError as error:
            return msgspec.structs.replace(point, problem=str(error))
        finally:
            with contextlib.suppress(OSError):
                if terminal is not None:
                    os.close(terminal)
            cli.kill()
            cli.wait()
        return msgspec.structs.replace(
            point,
            phase=phase,
            in_place=in_place(seen),
            gone_s=gone_s,
            outcome=outcome,
            problem=problem,
        )

    def _start(self) -> tuple[subprocess.Popen[bytes], int | None]:
        argv = [*TRINITY, "drill", "run", file_of(self._point.victim, self._point.fault)]
        if self._point.victim != "terminal":
            quiet = subprocess.DEVNULL
            return subprocess.Popen(argv, env=self._fleet.env, cwd=self._fleet.root, stdout=quiet, stderr=quiet), None
        controller, terminal = pty.openpty()
        cli = subprocess.Popen(
            argv,
            env=self._fleet.env,
            cwd=self._fleet.root,
            preexec_fn=lambda: os.login_tty(terminal),  # noqa: PLW1509 - no threads here
        )
        os.close(terminal)
        return cli, controller

    def _kill(self, cli: subprocess.Popen[bytes], terminal: int | None) -> None:
        victim = self._point.victim
        if victim == "cli":
            cli.kill()
        elif victim == "terminal" and terminal is not None:
            os.close(terminal)
        else:
            pids = wardens(self._fleet) if victim == "warden+daemon" else []
            for pid in (*pids, self._fleet.daemon_pid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _until_gone(self, killed: float, run_dir: Path) -> tuple[str, float]:
        """When nothing of the drill was in place any more, no daemon helping where it was killed."""
        victim = self._point.victim
        allowed = self._terms.allowed_s[victim]
        if victim in ("cli", "terminal"):
            wait_for(lambda: (run_dir / store.REPORT).is_file() or None, allowed, "the end of a drill without watcher")
        found = wait_gone(self._fleet, allowed, since=killed, proxies=victim in ("cli", "terminal"))
        gone_s = time.monotonic() - killed
        if victim in ("daemon", "warden+daemon"):
            self._fleet.trinity("up")
        self._fleet.until_ready(2, "toy")
        return (f"still there {allowed:g} s after the kill: {found}" if found else ""), gone_s

    def _outcome(self, run_dir: Path) -> str:
        wait_for(lambda: (run_dir / store.REPORT).is_file() or not_planned(run_dir), 60.0, "a report")
        return str(store.read_report(run_dir).outcome) if (run_dir / store.REPORT).is_file() else "never began"

    def _judge(self, run_dir: Path, outcome: str, ended: bool) -> str:
        if self._point.victim in ("cli", "terminal") or ended:
            why = "" if outcome == "pass" else "; ".join(store.read_report(run_dir).reasons)
            return "" if outcome == "pass" else f"the drill did not end as planned: {outcome}: {why}"
        return "" if outcome in ("aborted-clean", "dirty", "never began") else f"the run is called {outcome}"


def in_place(seen: Look) -> str:
    """The faults among what was seen, in words."""
    return "; ".join((*seen.stopped, *seen.faults))


def wait_gone(fleet: LightFleet, allowed_s: float, *, since: float | None = None, proxies: bool = True) -> Look | None:
    """Until nothing of a drill is in place; what is left at the end of the time."""
    end = (time.monotonic() if since is None else since) + allowed_s
    while True:
        found = look(fleet, proxies=proxies)
        if not found:
            return None
        if time.monotonic() > end:
            return found
        time.sleep(0.02)


def wardens(fleet: LightFleet) -> list[int]:
    found = []
    for process in fleet.processes():
        with contextlib.suppress(psutil.Error):
            if "backend.drills.warden" in process.cmdline():
                found.append(process.pid)
    return found


def phase_of(run_dir: Path) -> str:
    """The phase the run's record last told of."""
    try:
        spans = store.read_record(run_dir).phases
    except FileError:
        return "begin"
    return spans[-1].name if spans else "begin"


def not_planned(run_dir: Path) -> bool:
    """Whether the run was killed before it had a record: nothing can have been injected."""
    return not (run_dir / store.RECORD).is_file()


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 at random moments of a drill")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=",".join(FAULTS))
    options = parser.parse_args()
    bad = 0
    for point in run_points(plan_points(options.points, options.seed, options.faults.split(","))):
        bad += bool(point.problem)
        print(point, flush=True)
    print(f"{options.points} points, {bad} with a problem")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
