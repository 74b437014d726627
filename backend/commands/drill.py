"""`trinity drill …`: drills from scripts. A run lives in the daemon; these commands start it, watch it, read it."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend.commands.output import Progress, narrate, plain, print_json, print_table
from backend.commands.place import Place, common, ensure_daemon
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
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Copy the reports into this directory.")
@common()
def run_drill(place: Place, drill_name: str, dry_run: bool, detach: bool, out: Path | None) -> None:
    """Run DRILL (a shipped name or a .yaml path) against the fleet. Ctrl-C undoes the fault and ends it."""
    from backend.contract.control import ActionRequest
    from backend.drills.library import load

    compiled = load(drill_name)
    if ensure_daemon(place.paths):
        narrate("Started the fleet for it.")
    args: dict[str, str | int | float | bool | None] = {"yaml": compiled.text, "source": compiled.source}
    request = ActionRequest(verb=Verb.DRILL_RUN, target=compiled.scenario.name, args=args, actor=place.actor)
    if dry_run:
        preview = place.run(lambda client: client.preview(request))
        if place.json:
            print_json(preview)
        else:
            click.echo(preview.summary)
            for line in preview.effects:
                click.echo(f"  {line}")
        if not preview.allowed:
            raise SystemExit(_refused(preview.refusal))
        return
    view = place.run(lambda client: _start_and_watch(client, request, detach, place))
    if view.report_path is not None and out is not None and not detach:
        _copy_reports(Path(view.report_path).parent, out)
    if place.json:
        print_json(view)
    else:
        where = f"  report: {view.report_path}" if view.report_path else ""
        click.echo(f"{view.name}: {view.outcome}{f' ({view.detail})' if view.detail else ''}{where}")
    if not detach:
        raise SystemExit(exit_codes.DRILL_EXIT_CODES[view.outcome])


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
        for name in ("report.json", "junit.xml", "report.md"):
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


@drill.command("history")
@common()
def history(place: Place) -> None:
    """The runs of this state directory, newest last."""
    from backend.drills import store

    rows = []
    for run_dir in store.runs(place.paths.drills_dir):
        if not (run_dir / store.REPORT).is_file():
            rows.append((run_dir.name, "unfinished", "", str(run_dir)))
            continue
        report = store.read_report(run_dir)
        rows.append((run_dir.name, str(report.outcome), "; ".join(report.reasons), str(run_dir)))
    if place.json:
        print_json([dict(zip(("run_id", "outcome", "reasons", "path"), row, strict=True)) for row in rows])
    else:
        print_table(("RUN", "OUTCOME", "REASONS"), [row[:3] for row in rows])


@drill.command("verify")
@click.argument("run_id", metavar="RUN")
@common()
def verify(place: Place, run_id: str) -> None:
    """Recompute every number of a run's report from its stored rows; exit code 1 if any differs."""
    from backend.drills.recompute import verify_run

    run_dir = Path(run_id) if "/" in run_id else place.paths.drills_dir / run_id
    if not run_dir.is_dir():
        raise UsageError(f"There is no drill run {run_id}.", "See `trinity drill history`.")
    found = verify_run(run_dir)
    if place.json:
        print_json(found)
    else:
        click.echo(f"{run_dir.name}: {found.outcome}, {'the same' if found.same else 'NOT the same'} when recomputed")
        for difference in found.differences:
            click.echo(f"  {difference}")
    if not found.same:
        raise SystemExit(exit_codes.FAILED)


@drill.command("schema")
def schema() -> None:
    """The JSON Schema of drill files, for editors."""
    from backend.drills.scenario import schema as json_schema

    print_json(json_schema())
