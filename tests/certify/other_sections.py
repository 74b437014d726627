"""Sections that need no drill of their own: recomputed reports, the generator, what the test suite proves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

from backend.drills.recompute import verify_run
from backend.load import LoadProcess, LoadSpec, RowMessage, schedule
from tests.certify.frame import ROOT, RUNS, Line
from tests.e2e.light_drill import light_drill_fleet

RATE, SECONDS, LAG_S = 500.0, 30.0, 0.01
NOOP = "does_nothing or inconclusive"
STREAMS = "bad_end or breaks_the_transfer or truncate_keeps"
TESTS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "noop-faults": (
        6,
        "each fault's stand-in that does nothing gives exit 2",
        ("tests/integration/test_drills_faults.py", "tests/integration/test_drills_run.py", "-k", NOOP),
    ),
    "streams": (
        9,
        "streams cut in the middle have failed, with the right cause, and the client sees it",
        ("tests/integration/test_load.py", "tests/integration/test_proxy.py", "-k", STREAMS),
    ),
    "fuzz": (
        10,
        "the corpus of malformed files",
        ("tests/fuzz/test_scenario_corpus.py", "tests/fuzz/test_scenario_fuzz.py"),
    ),
}


def verify() -> Iterator[Line]:
    """Promise 7, on every run that the other sections have kept."""
    runs = sorted(path for path in RUNS.glob("*") if (path / "report.json").is_file()) if RUNS.is_dir() else []
    differing = [(run.name, found.differences) for run in runs if not (found := verify_run(run)).same]
    yield Line(
        promise=7,
        what="every number of every kept report, recomputed from its rows, and the digest",
        measured=f"{len(runs)} reports, {len(differing)} differ{f': {differing[0]}' if differing else ''}",
        met=bool(runs) and not differing,
    )
    spec = LoadSpec(url="http://127.0.0.1:1", rate=200.0, duration_s=30.0, seed=5)
    other = LoadSpec(url="http://127.0.0.1:1", rate=200.0, duration_s=30.0, seed=6)
    same, differs = schedule(spec) == schedule(spec), schedule(spec) != schedule(other)
    yield Line(
        promise=7,
        what="one seed gives one schedule, another seed another",
        measured=f"{len(schedule(spec))} arrivals, same {same}, other differs {differs}",
        met=same and differs,
    )


def generator() -> Iterator[Line]:
    """Promise 8."""
    with light_drill_fleet() as fleet:
        spec = LoadSpec(
            url=fleet.url, kind="embeddings", rate=RATE, duration_s=SECONDS, seed=1, concurrency=4096, model="light"
        )
        rows, summary = asyncio.run(_drive(spec))
    planned, lag = len(schedule(spec)), summary.lag.p99_s
    accounted = (
        summary.ok
        + summary.slow
        + summary.wrong
        + summary.shed
        + summary.failed
        + summary.refused_by_cap
        + summary.cancelled
    )
    yield Line(
        promise=8,
        what=f"{RATE:g}/s for {SECONDS:g} s: p99 lag <= 10 ms",
        measured="no data" if lag is None else f"{lag * 1000:.1f} ms (max {(summary.lag.max_s or 0) * 1000:.1f} ms)",
        met=lag is not None and lag <= LAG_S,
    )
    yield Line(
        promise=8,
        what="no arrival is dropped silently: planned = rows = accounted for",
        measured=f"{planned} planned, {rows} rows, {accounted} accounted for ({summary.refused_by_cap} by the cap)",
        met=planned == rows == accounted,
    )


async def _drive(spec: LoadSpec):  # type: ignore[no-untyped-def]  # a pair for one caller
    process = await LoadProcess.start(spec)
    rows = 0
    async for message in process:
        rows += isinstance(message, RowMessage)
    return rows, await process.wait()


def suite(name: str) -> Iterator[Line]:
    """What the test suite holds: run, counted; none found is not met."""
    promise, what, arguments = TESTS[name]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "no output")
    yield Line(
        promise=promise,
        what=f"{what} (pytest {' '.join(arguments)})",
        measured=f"{last.strip('= ')}; {time.monotonic() - began:.0f} s",
        met=done.returncode == 0,
    )


def fuzz() -> Iterator[Line]:
    """Promise 10: the corpus by the suite, the time by the benchmark."""
    yield from suite("fuzz")
    bench = ROOT / "tests" / "bench" / "bench_drill_check.py"
    done = subprocess.run([sys.executable, str(bench)], cwd=ROOT, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith("goal")]
    yield Line(
        promise=10,
        what="trinity drill check in <= 300 ms",
        measured=said[-1] if said else done.stderr.strip()[-200:],
        met=done.returncode == 0,
    )
