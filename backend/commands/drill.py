"""`trinity drill …`: drills from scripts. A run lives in the daemon; these commands start it, watch it, read it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend.commands.drill_reports import compare_runs, history, report, verify
from backend.commands.output import Progress, narrate, plain, print_json, print_table
from backend.commands.parameters import Duration
from backend.commands.place import Place, common
from backend.contract import exit_codes
from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.words import ActionOutcome, DrillOutcome, Verb

if TYPE_CHECKING:
    from backend.contract.control import ActionRequest, DrillView
    from backend.control_client import ControlClient


@click.group()
def drill() -> None:
    """Failover drills: inject a fault, prove what users felt, undo it, say so.

    Exit codes of `run`: 0 pass, 1 fail, 2 inconclusive, 3 aborted clean, 4 baseline failed, 5 dirty,
    6 regression, 7 refused, 64 bad file.
    """


@drill.command("list")
@common()
def list_drills(place: Place) -> None:
    """The drills that ship with Trinity."""
    from backend.drills.library import library, load

    rows = []
    for name, path in library().items():
        scenario = load(name).scenario
        rows.append((name, ",".join(scenario.tags), scenario.title, str(path)))
    if place.json:
        print_json([dict(zip(("name", "tags", "title", "path"), row, strict=True)) for row in rows])
    else:
        print_table(("NAME", "TAGS", "TITLE"), [row[:3] for row in rows])


@drill.command("check")
@click.argument("drill_name", metavar="DRILL")
@common()
def check(place: Place, drill_name: str) -> None:
    """Check a drill file (or a shipped drill's name) without running it."""
    from backend.drills.library import load

    compiled = load(drill_name)
    if place.json:
        print_json({"name": compiled.scenario.name, "source": compiled.source, "digest": compiled.digest})
    else:
        click.echo(f"{compiled.source}: ok ({compiled.scenario.name}, digest {compiled.digest[:12]})")


@drill.command("run")
@click.argument("drill_name", metavar="DRILL")
@click.option("--dry-run", is_flag=True, help="Print the plan, inject nothing.")
@click.option("--detach", is_flag=True, help="Return once it runs; see it in `trinity drill status`.")
@click.option("--seed", type=int, help="Another seed than the file's: other arrivals, other choices.")
@click.option(
    "--confidence", type=float, help="Cut samples to what proves this success ratio, e.g. 0.99 (299 requests)."
)
@click.option(
    "--max-generator-lag",
    type=Duration(),
    help="Another limit than the file's, e.g. 50ms: a load that was later (p99) makes the run inconclusive.",
)
@click.option(
    "--repeat", metavar="N|ci|certify", help="Run it so often, one after another; the worst exit code counts."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Copy the reports into this directory.")
@common()
def run_drill(
    place: Place,
    drill_name: str,
    dry_run: bool,
    detach: bool,
    seed: int | None,
    confidence: float | None,
    max_generator_lag: float | None,
    repeat: str | None,
    out: Path | None,
) -> None:
    """Run DRILL (a shipped name or a .yaml path) against the fleet. Ctrl-C undoes the fault and ends it."""
    from backend.commands.drill_repeat import repetitions, run_repeatedly
    from backend.contract.control import ActionRequest
    from backend.drills.library import load
    from backend.drills.overrides import adjust

    changes: dict[str, Any] = {
        "seed": seed, "confidence": confidence, "max_generator_lag_s": max_generator_lag,
    }  # fmt: skip
    compiled = adjust(load(drill_name), **changes)
    times = repetitions(compiled, repeat)
    if times is not None and detach:
        raise UsageError("A run that is repeated cannot be left.", "Drop --detach or --repeat.")
    if place.start():
        narrate("Started the fleet for it.")
    args: dict[str, str | int | float | bool | None] = {"yaml": compiled.text, "source": compiled.source}
    args |= {name: value for name, value in changes.items() if value is not None}
    request = ActionRequest(verb=Verb.DRILL_RUN, target=compiled.scenario.name, args=args, actor=place.actor)
    if dry_run:
        _print_plan(place, request)
        return

    def once() -> DrillView:
        view = place.run(lambda client: _start_and_watch(client, request, detach, place))
        if view.report_path is not None and out is not None and not detach:
            _copy_reports(Path(view.report_path).parent, out if times is None else out / view.run_id)
        if not place.json:
            where = f"  report: {view.report_path}" if view.report_path else ""
            click.echo(f"{view.name}: {view.outcome}{f' ({view.detail})' if view.detail else ''}{where}")
        elif times is None:
            print_json(view)
        return view

    if times is not None:
        raise SystemExit(run_repeatedly(once, times, place))
    view = once()
    if not detach:
        raise SystemExit(exit_codes.DRILL_EXIT_CODES[view.outcome])


def _print_plan(place: Place, request: ActionRequest) -> None:
    """The plan; ends with 7 when it would be refused."""
    preview = place.run(lambda client: client.preview(request))
    if place.json:
        print_json(preview)
    else:
        click.echo(preview.summary)
        for line in preview.effects:
            click.echo(f"  {line}")
    if not preview.allowed:
        raise SystemExit(_refused(preview.refusal))


def _refused(why: str) -> int:
    narrate(f"Refused: {why}")
    return exit_codes.REFUSED


async def _start_and_watch(client: ControlClient, request: ActionRequest, detach: bool, place: Place) -> DrillView:
    """Begin the run and follow it. An interrupt asks the daemon to abort and waits for the undo."""
    import asyncio

    row = await client.perform(request)
    if row.outcome == ActionOutcome.REFUSED:
        raise SystemExit(_refused(row.result))
    if row.outcome == ActionOutcome.FAILED:
        raise TrinityError(row.result, "See `trinity events`.")
    run_id = row.result
    run_dir = place.paths.drills_dir / run_id
    try:
        return await _watch(client, run_id, run_dir, detach)
    except asyncio.CancelledError:
        narrate("Interrupted: undoing the fault…")
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        await _interrupt(client, run_id, run_dir, place)
        return await _watch(client, run_id, run_dir, False)


async def _interrupt(client: ControlClient, run_id: str, run_dir: Path, place: Place) -> None:
    """Ask for the abort; a run outside the daemon is asked itself when no daemon answers."""
    from backend.contract.control import ActionRequest
    from backend.drills import outside

    stop = ActionRequest(verb=Verb.DRILL_STOP, target=run_id, actor=place.actor, reason="interrupted")
    try:
        await client.perform(stop)
    except Unreachable:
        if not outside.ask_stop(run_dir, f"{place.actor}: interrupted"):
            raise


async def _watch(client: ControlClient, run_id: str, run_dir: Path, detach: bool) -> DrillView:
    """Follow the run to its end; through the daemon's death where the run outlives it."""
    from backend.drills import outside

    progress = Progress()
    try:
        try:
            return await _watch_frames(client, run_id, detach, progress)
        except Unreachable:
            if outside.observer(run_dir) is None:
                raise Unreachable(
                    "The daemon ended while the drill ran.", "The next daemon undoes what was injected."
                ) from None
            return await _watch_files(run_dir, detach, progress)
    finally:
        progress.end()


async def _watch_frames(client: ControlClient, run_id: str, detach: bool, progress: Progress) -> DrillView:
    async with aclosing(client.stream(0.25)) as frames:
        async for frame in frames:
            view = frame.snapshot.drill if frame.snapshot else None
            if view is None or view.run_id != run_id:
                continue
            if view.outcome != DrillOutcome.RUNNING or detach:
                return view
            _show(progress, view)
    raise Unreachable("The daemon ended the stream.", "")


async def _watch_files(run_dir: Path, detach: bool, progress: Progress) -> DrillView:
    """What the process that runs the drill outside the daemon says of it."""
    import asyncio

    from backend.drills import outside

    while True:
        alive = outside.observed(run_dir)
        view = outside.read_view(run_dir)
        if view is not None and (view.outcome != DrillOutcome.RUNNING or detach):
            return view
        if not alive:
            raise Unreachable("The process that ran the drill has ended.", "The next daemon undoes what was injected.")
        if view is not None:
            _show(progress, view)
        await asyncio.sleep(0.1)


def _show(progress: Progress, view: DrillView) -> None:
    where = f" ({view.phase_index}/{view.phases})" if view.phase_index else ""
    progress.show(f"{view.name} · {view.phase}{where} {view.detail}".rstrip())


def _copy_reports(source: Path, target: Path) -> None:
    import shutil

    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in ("report.json", "junit.xml", "report.md", "report.html"):
            if (source / name).is_file():
                shutil.copy2(source / name, target / name)
    except OSError as error:
        raise UsageError(
            f"The reports cannot be copied to {target}: {error.strerror}.", f"They are in {source}."
        ) from None


@drill.command("status")
@common()
def drill_status(place: Place) -> None:
    """The present or last run."""
    snapshot = place.run(lambda client: client.snapshot())
    if place.json:
        print_json(plain(snapshot.drill))
    elif snapshot.drill is None:
        click.echo("No drill has run here.")
    else:
        view = snapshot.drill
        click.echo(f"{view.name} ({view.run_id}): {view.outcome} {view.phase} {view.detail}")


def _end_drills(place: Place, **args: bool) -> None:
    from backend.contract.control import ActionRequest

    request = ActionRequest(verb=Verb.DRILL_STOP, actor=place.actor, args=dict(args))
    try:
        row = place.run(lambda client: client.perform(request))
    except Unreachable:
        if args.get("allow") or not _stop_without_daemon(place):
            raise
        return
    if row.outcome == ActionOutcome.REFUSED:
        raise Refused(row.result, "")
    if row.outcome != ActionOutcome.OK:
        raise TrinityError(row.result or "It could not be stopped.", "See `trinity events`.")
    if place.json:
        print_json(row)
    else:
        click.echo(row.result)


def _stop_without_daemon(place: Place) -> bool:
    """Stop a run that lives outside the daemon while none answers. Whether there was one."""
    from backend.drills import outside, store

    asked = [run for run in store.runs(place.paths.drills_dir) if outside.ask_stop(run, f"{place.actor}: stopped")]
    for run in asked:
        click.echo(f"{run.name} was asked to stop; no daemon answers now, so see `trinity drill status` in a moment.")
    return bool(asked)


@drill.command("stop")
@common()
def drill_stop(place: Place) -> None:
    """Stop the running drill and undo its faults."""
    _end_drills(place)


@drill.command("panic")
@common()
def drill_panic(place: Place) -> None:
    """Stop the running drill, undo its faults, and let no other start."""
    _end_drills(place, panic=True)


@drill.command("allow")
@common()
def drill_allow(place: Place) -> None:
    """Let drills start again after a panic."""
    _end_drills(place, allow=True)


@drill.command("recover")
@common()
def drill_recover(place: Place) -> None:
    """Undo what a killed daemon's drill left behind. Exit code 5 when an undo cannot be proven.

    A daemon does this by itself when it starts; this starts one where none runs and waits for it.
    """
    from backend.drills import store
    from backend.drills.recovery import scan_dirty

    running = _running(place)
    before = [run.run_id for run in scan_dirty(place.paths.drills_dir) if run.run_id != running]
    if before:
        if place.start():
            narrate("Started the fleet for it.")
        else:
            _end_drills(place, recover=True)
        _await_reports(place.paths.drills_dir, before)
    left = {run.run_id for run in scan_dirty(place.paths.drills_dir)} - {running}
    found = {}
    for run_id in before:
        reported = (place.paths.drills_dir / run_id / store.REPORT).is_file()
        outcome = store.read_head(place.paths.drills_dir / run_id).outcome if reported else ""
        found[run_id] = DrillOutcome.DIRTY.value if run_id in left else outcome
    if place.json:
        print_json(found)
    elif not found:
        click.echo("Nothing to undo: every drill here has ended.")
    else:
        print_table(("RUN", "OUTCOME"), list(found.items()))
    if left:
        raise SystemExit(exit_codes.DIRTY)


def _running(place: Place) -> str:
    """The run that lives now, inside the daemon or beside it; empty without one."""
    from backend.drills import outside, store

    beside = [run.name for run in store.runs(place.paths.drills_dir) if outside.observed(run)]
    if beside or not place.daemon.control_socket.exists():
        return beside[0] if beside else ""
    try:
        view = place.run(lambda client: client.snapshot()).drill
    except Unreachable:
        return ""
    return view.run_id if view is not None and view.outcome == DrillOutcome.RUNNING else ""


def _await_reports(drills_dir: Path, runs: Sequence[str], timeout_s: float = 90.0) -> None:
    """Until each run is closed. One that stays dirty never is: then for at most `timeout_s`."""
    import time

    from backend.drills.recovery import scan_dirty

    end = time.monotonic() + timeout_s
    while {run.run_id for run in scan_dirty(drills_dir)} & set(runs) and time.monotonic() < end:
        time.sleep(0.2)


@drill.command("schema")
def schema() -> None:
    """The JSON Schema of drill files, for editors."""
    from backend.drills.scenario import schema as json_schema

    print_json(json_schema())


for _command in (report, compare_runs, history, verify):
    drill.add_command(_command)
