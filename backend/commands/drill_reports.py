"""`trinity drill report|compare|history|verify`: finished runs, read from their files. No daemon is needed."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from backend.commands.output import print_json, print_table
from backend.commands.place import Place, common
from backend.contract import exit_codes
from backend.contract.errors import TrinityError, UsageError

if TYPE_CHECKING:
    from backend.drills.store import Head

BARS = "▁▂▃▄▅▆▇█"
SPARK_RUNS = 24


def run_directory(place: Place, run: str) -> Path:
    """Of a run's id, `last`, or a path. Raises UsageError."""
    from backend.drills import store

    if run == "last":
        finished = [path for path in store.runs(place.paths.drills_dir) if (path / store.REPORT).is_file()]
        if not finished:
            raise UsageError("No drill has ended here.", "Run one: `trinity drill run NAME`.")
        return finished[-1]
    run_dir = Path(run) if "/" in run else place.paths.drills_dir / run
    if not run_dir.is_dir():
        raise UsageError(f"There is no drill run {run}.", "See `trinity drill history`.")
    return run_dir


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--html", "form", flag_value="html", help="The one-file page with charts.")
@click.option("--md", "form", flag_value="md", default=True, help="Markdown (the default).")
@click.option("--junit", "form", flag_value="junit", help="JUnit XML.")
@click.option("--open", "form", flag_value="open", help="Print the path of the page, to open in a browser.")
@common()
def report(place: Place, run: str, form: str) -> None:
    """Print the report of RUN (an id, a path, or `last`)."""
    from backend.drills import store
    from backend.drills.html import html
    from backend.drills.junit import junit
    from backend.drills.markdown import markdown

    run_dir = run_directory(place, run)
    found = store.read_report(run_dir)
    if form == "open":
        click.echo(str(store.write_page(run_dir, found)))
    elif place.json:
        print_json(found)
    else:
        click.echo({"html": html, "md": markdown, "junit": junit}[form](found), nl=False)


@click.command("verify")
@click.argument("run", metavar="RUN")
@common()
def verify(place: Place, run: str) -> None:
    """Recompute every number of a run's report from its stored rows; exit code 1 if any differs."""
    from backend.drills.recompute import verify_run

    run_dir = run_directory(place, run)
    found = verify_run(run_dir)
    if place.json:
        print_json(found)
    else:
        click.echo(f"{run_dir.name}: {found.outcome}, {'the same' if found.same else 'NOT the same'} when recomputed")
        for difference in found.differences:
            click.echo(f"  {difference}")
    if not found.same:
        raise SystemExit(exit_codes.FAILED)


@click.command("compare")
@click.argument("reference", metavar="A")
@click.argument("current", metavar="B")
@common()
def compare_runs(place: Place, reference: str, current: str) -> None:
    """Compare run B with the earlier run A. Exit code 6 when B is worse, 2 when they cannot be compared.

    Worse: a quantile rose by more than 20 % and 50 ms with a 95 % interval above zero, or more requests failed by
    Fisher's exact test.
    """
    from backend.drills.compare import compare, sentence
    from backend.drills.recompute import side_of

    before, after = (side_of(run_directory(place, run)) for run in (reference, current))
    found = compare(before, after)
    if place.json:
        print_json(found)
    elif found.not_comparable:
        click.echo(f"Not comparable: {found.not_comparable}.")
    else:
        words = [
            ("worse" if one.regression else "better" if one.improvement else "=", sentence(one))
            for one in found.differences
        ]
        print_table(("", f"{before.record.run_id} -> {after.record.run_id}"), words)
        if found.across:
            click.echo(f"The drivers differ ({found.across}): differences are shown, none is judged.", err=True)
    if found.not_comparable:
        raise SystemExit(exit_codes.INCONCLUSIVE)
    if found.regressions:
        raise SystemExit(exit_codes.REGRESSION)


@click.command("history")
@click.argument("name", required=False)
@common()
def history(place: Place, name: str | None) -> None:
    """The runs of this state directory (of drill NAME), newest last, and how detection has gone."""
    from backend.drills import store

    rows: list[tuple[str, str, str, str, str]] = []
    heads: list[Head] = []
    for run_dir in store.runs(place.paths.drills_dir):
        if not (run_dir / store.REPORT).is_file():
            if name is None or run_dir.name.startswith(f"{name}-"):
                rows.append((run_dir.name, "unfinished", "", "", str(run_dir)))
            continue
        try:
            head = store.read_head(run_dir)
        except TrinityError as error:
            rows.append((run_dir.name, "damaged", "", str(error), str(run_dir)))
            continue
        if name is None or head.name == name:
            heads.append(head)
            slowest = max(detections([head]), default=None)
            detected = "" if slowest is None else f"{slowest * 1000:.0f} ms"
            rows.append((run_dir.name, head.outcome, detected, "; ".join(head.reasons), str(run_dir)))
    if place.json:
        keys = ("run_id", "outcome", "detection", "reasons", "path")
        runs = [dict(zip(keys, row, strict=True)) for row in rows]
        print_json({"runs": runs, "detection": {drill: _numbers(found) for drill, found in _by_name(heads).items()}})
        return
    print_table(("RUN", "OUTCOME", "DETECTED", "REASONS"), [row[:4] for row in rows])
    for drill, found in _by_name(heads).items():
        if line := detection_line(found):
            click.echo(f"{drill}: {sum(one.outcome == 'pass' for one in found)} of {len(found)} passed; {line}")


def detections(heads: list[Head]) -> list[float]:
    """Every detection time (seconds) of these runs, oldest first."""
    return [fault.detection_s for head in heads for fault in head.faults if fault.detection_s is not None]


def detection_line(heads: list[Head]) -> str:
    """`detection ▁▂█ median 23 ms, max 33 ms of 5 (bounds p54 at 95 %)`; empty where none was measured."""
    times = detections(heads)
    if not times:
        return ""
    bound = int(100 * 0.05 ** (1 / len(times)))
    numbers = f"median {median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f} ms of {len(times)}"
    return f"detection {spark(times[-SPARK_RUNS:])} {numbers} (bounds p{bound} at 95 %)"


def spark(values: list[float]) -> str:
    """Values as bars, the largest at full height."""
    top = max(values, default=0.0) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int(value / top * (len(BARS) - 1) + 0.5))] for value in values)


def _numbers(heads: list[Head]) -> dict[str, float | int | None]:
    times = detections(heads)
    return {"count": len(times), "median_s": median(times) if times else None, "max_s": max(times, default=None)}


def _by_name(heads: list[Head]) -> dict[str, list[Head]]:
    found: dict[str, list[Head]] = {}
    for head in heads:
        found.setdefault(head.name, []).append(head)
    return found
