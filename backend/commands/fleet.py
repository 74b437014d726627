"""`up`, `down`, `status`, `ps`, `wait`, `apply`, `version`: the fleet as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend.commands.output import Progress, age, mebibytes, milliseconds, narrate, plain, print_json, print_table
from backend.commands.parameters import Seconds
from backend.commands.place import Place, common
from backend.config.fleet_file import FILE_NAME, parse_fleet_file, read_text
from backend.contract import exit_codes
from backend.contract.control import ActionRequest, SeriesPoint, Snapshot
from backend.contract.errors import InternalError, TrinityError, Unreachable, UsageError
from backend.contract.words import ActionOutcome, Phase, Verb
from backend.control_client import ControlClient
from backend.daemon_start import daemon_answers
from backend.version import VERSION

if TYPE_CHECKING:
    import psutil


@click.command()
@click.option("--file", type=click.Path(path_type=Path), help="trinity.yaml (default: the one here, else built in).")
@click.option("--auto-port", is_flag=True, help="Take the next free port where one is taken.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the daemon serves.")
@click.option("--timeout", default=120.0, show_default=True, type=Seconds(), help="How long to wait for it.")
@common()
def up(place: Place, file: Path | None, auto_port: bool, no_wait: bool, timeout: float) -> None:
    """Start the fleet and wait until every replica is Ready."""
    chosen = place.starting_file(file)
    started = place.start(file=chosen, auto_port=auto_port)
    if not started and file is not None:
        narrate("The daemon runs already; to change its workloads use `trinity apply`.")
    if no_wait:
        snapshot = place.run(lambda client: client.snapshot())
    else:
        snapshot = place.run(lambda client: _until_ready(client, None, timeout, give_up=True))
    if place.json:
        print_json(snapshot)
    else:
        ready = sum(w.ready for w in snapshot.workloads)
        wanted = sum(w.wanted for w in snapshot.workloads)
        where = f" at {snapshot.public_url}" if snapshot.has_edge and snapshot.public_url else ""
        click.echo(f"{snapshot.fleet}: {ready}/{wanted} replicas ready{where}")


async def _until_ready(
    client: ControlClient, workload: str | None, timeout_s: float, *, give_up: bool = False
) -> Snapshot:
    """Follow the fleet until all wanted replicas are Ready, showing progress. Raises TrinityError at the timeout,
    and with `give_up` as soon as a replica cannot be kept running."""
    progress = Progress()
    snapshot: Snapshot | None = None
    try:
        async with asyncio.timeout(timeout_s), aclosing(client.stream(0.25)) as frames:
            async for frame in frames:
                snapshot = frame.snapshot or snapshot
                if snapshot is None:
                    continue
                watched = [w for w in snapshot.workloads if workload in (None, w.name)]
                if not watched and workload is not None:
                    names = ", ".join(w.name for w in snapshot.workloads) or "none"
                    raise UsageError(f"There is no workload `{workload}`.", f"There are: {names}.")
                open_ = snapshot.trouble is None and (snapshot.edge_up or not snapshot.has_edge)
                if open_ and all(w.ready >= w.wanted for w in watched):
                    return snapshot
                if give_up:
                    _refuse_trouble(snapshot)
                    _refuse_crash_loop(snapshot)
                progress.show(_progress_line(snapshot))
    except TimeoutError:
        why = f": {snapshot.health_reason}" if snapshot and snapshot.health_reason else ""
        raise TrinityError(
            f"Not everything is Ready after {timeout_s:g} s{why}.", "See `trinity ps` and `trinity logs`."
        ) from None
    finally:
        progress.end()
    raise Unreachable("The daemon ended the stream.", "See `trinity status`.")


def _refuse_trouble(snapshot: Snapshot) -> None:
    """The daemon goes on trying; who waits is told now."""
    if snapshot.trouble is not None:
        raise Unreachable(f"{snapshot.fleet}: {snapshot.trouble.message}", snapshot.trouble.next_step)


def _refuse_crash_loop(snapshot: Snapshot) -> None:
    for replica in snapshot.replicas:
        status = replica.status
        if status.phase == Phase.CRASH_LOOP:
            what = "mend it" if status.owner else "mend it, or stop the fleet with `trinity down`"
            raise TrinityError(
                f"{status.name} ends again and again: {status.reason.rstrip('.')}.",
                f"See `trinity logs {status.name}`; {what}.",
            )


def _progress_line(snapshot: Snapshot) -> str:
    parts = [f"{w.name} {w.ready}/{w.wanted} ready" for w in snapshot.workloads]
    waiting = [
        f"{r.status.name} {r.status.phase}{f' ({r.status.reason})' if r.status.reason else ''}"
        for r in snapshot.replicas
        if r.status.phase != "Ready"
    ]
    edge = "" if snapshot.edge_up or not snapshot.has_edge else " · edge starting"
    return " · ".join(parts) + edge + (f" · {'; '.join(waiting)}" if waiting else "")


@click.command()
@click.option("--daemon-only", is_flag=True, help="End trinityd and leave replicas and edge running.")
@common(json_option=False)
def down(place: Place, daemon_only: bool) -> None:
    """Stop everything: all fleets with their replicas and edges, and the daemon. Works without a daemon too. With
    --fleet of a further fleet only that one is stopped, and looked after no more."""
    from backend.shim.stop_all import stop_all

    paths = place.daemon
    if not daemon_only and place.wanted is not None and daemon_answers(paths) and _forgotten(place):
        return
    if daemon_only:
        _end_daemon(place)
        click.echo("The daemon has ended; replicas and edge go on. The next `trinity` adopts them.")
        return
    pid, patience_s = _daemon_pid(place), 60.0
    if daemon_answers(paths):
        narrate("Draining and stopping…")
        try:
            place.run(lambda client: client.shutdown(), any_version=True, whole_daemon=True)
        except TrinityError as error:
            narrate(f"The daemon did not do it ({error}); stopping its processes directly.")
            patience_s = 1.0
    elif pid is not None:
        narrate(f"trinityd ({pid}) does not answer; ending it.")
        os.kill(pid, signal.SIGTERM)
        patience_s = 5.0
    _await_daemon_end(pid, patience_s)
    every = (paths, *paths.further_fleets()) if pid is not None or place.paths == paths else (place.paths,)
    directories = [each.run_dir for each in every if each.run_dir.is_dir()]
    stopped = [name for each in directories for name in stop_all(each, 10.0)]
    if stopped:
        narrate(f"Stopped without a daemon: {', '.join(stopped)}.")
    click.echo("Nothing of this fleet runs any more.")


def _forgotten(place: Place) -> bool:
    """Whether a further fleet was meant, which the daemon then takes down; the first one ends with the daemon."""

    async def work(client: ControlClient) -> bool:
        infos, name = await client.fleets(), await place.settle()
        if name in (None, infos[0].name):
            return False
        await client.forget_fleet(name or "", down=True)
        click.echo(f"Nothing of {name} runs any more.")
        return True

    return place.run(work, any_version=True, whole_daemon=True)


def _daemon_pid(place: Place) -> int | None:
    """The pid the running daemon wrote into its lock, verified by the lock being held."""
    import fcntl

    try:
        with open(place.daemon.daemon_lock, "r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(lock.read().strip() or b"0") or None
    except (FileNotFoundError, ValueError):
        return None
    return None


def _end_daemon(place: Place) -> None:
    pid = _daemon_pid(place)
    if pid is None:
        raise Unreachable("No daemon runs for this state directory.", "There is nothing to end.")
    os.kill(pid, signal.SIGTERM)
    _await_daemon_end(pid, 15.0)


def _await_daemon_end(pid: int | None, timeout_s: float) -> None:
    """Until that process is gone; it is killed at the end of the time."""
    import psutil

    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if not _ends_within(process, timeout_s):
            narrate(f"trinityd ({pid}) does not end; killing it.")
            process.send_signal(signal.SIGKILL)
            if not _ends_within(process, 5.0):
                raise InternalError(
                    f"trinityd ({pid}) does not end even when killed.", "See what holds it in the kernel."
                )


def _ends_within(process: psutil.Process, timeout_s: float) -> bool:
    """Whether it runs no more. It may stay a zombie for as long as whoever started it lives and does not ask for it."""
    import psutil

    end = time.monotonic() + timeout_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@click.command()
@common()
def status(place: Place) -> None:
    """One look at the fleet. Exit code 1 unless its health is ok."""
    snapshot = place.run(lambda client: client.snapshot())
    if place.json:
        print_json(snapshot)
    else:
        _print_status(snapshot)
    if snapshot.health != "ok":
        raise SystemExit(exit_codes.FAILED)


def _print_status(snapshot: Snapshot) -> None:
    point = snapshot.point
    reason = f" ({snapshot.health_reason})" if snapshot.health_reason else ""
    click.echo(f"{snapshot.fleet}: {snapshot.health}{reason}")
    if snapshot.has_edge:
        state = "up" if snapshot.edge_up else "down"
        where = f"{snapshot.public_url}  stats {snapshot.stats_url}" if snapshot.edge_slots else "run by the platform"
        click.echo(f"  edge        {state}  {where}")
    size = max([11, *(len(w.name) for w in snapshot.workloads)])
    for w in snapshot.workloads:
        marks = "".join([" autoscaled" * w.autoscale, " maintenance" * w.maintenance])
        by = f"  ({w.lease} is working on it)" if w.lease else ""
        load = f", {w.in_flight} in flight, {w.queued} queued" if w.routes or w.in_flight or w.queued else f"  {w.kind}"
        click.echo(f"  {w.name:<{size}} {w.ready}/{w.wanted} ready{load}{marks}{by}")
    if snapshot.has_edge:
        _print_traffic(point)
    if snapshot.dropped_rows:
        click.echo(f"  lost rows   {snapshot.dropped_rows}")


def _print_traffic(point: SeriesPoint) -> None:
    ttft = point.ttft
    click.echo(
        f"  traffic     {point.requests_per_s:.1f} req/s, {point.tokens_per_s:.0f} tok/s, "
        f"{point.errors_per_s:.2f} err/s"
    )
    click.echo(
        f"  TTFT        p50 {milliseconds(ttft.p50_s)}, p95 {milliseconds(ttft.p95_s)}, p99 {milliseconds(ttft.p99_s)}"
        f"  ({ttft.count} in {ttft.window_s:.0f} s)"
    )


_PS_SERVED = ("IN-FLIGHT", "QUEUE", "TTFT-P50", "TTFT-P95")
"""What an edge of ours sees."""
_PS_PROCESS = ("PID", "PORT")
_PS_PLACE = ("NODE", "OWNER")
"""Of what runs on machines of a platform, instead of a process here."""


@click.command()
@common()
def ps(place: Place) -> None:
    """The replicas, a line each."""
    snapshot = place.run(lambda client: client.snapshot())
    if place.json:
        print_json(snapshot.replicas)
        return
    if snapshot.trouble is not None:
        narrate(f"{snapshot.trouble.message} {snapshot.trouble.next_step} What follows may be old.")
    now = snapshot.ts
    placed = snapshot.driver == "kubernetes" and any(r.status.node for r in snapshot.replicas)
    served = _PS_SERVED if snapshot.has_edge else ()
    rows: list[tuple[object, ...]] = []
    for r in snapshot.replicas:
        s, e = r.status, r.edge
        traffic = (
            "-" if e is None else e.in_flight,
            "-" if e is None else e.queued,
            milliseconds(r.ttft.p50_s),
            milliseconds(r.ttft.p95_s),
        )
        rows.append(
            (
                s.name,
                s.phase,
                s.restarts,
                age(now - s.started_ts if s.started_ts else None),
                "-" if s.cpu_percent is None else f"{s.cpu_percent:.0f}%",
                mebibytes(s.memory_bytes),
                *(traffic if served else ()),
                *((s.node or "-", s.owner or "-") if placed else (s.pid or "-", s.port or "-")),
                s.reason,
            )
        )
    where = _PS_PLACE if placed else _PS_PROCESS
    print_table(("NAME", "PHASE", "RESTARTS", "AGE", "CPU", "MEMORY", *served, *where, "REASON"), rows)


@click.command()
@click.option("--for", "condition", type=click.Choice(["ready"]), default="ready", show_default=True)
@click.option("--workload", help="Only this workload.")
@click.option("--timeout", default=120.0, show_default=True, type=Seconds(), help="How long it may take.")
@common()
def wait(place: Place, condition: str, workload: str | None, timeout: float) -> None:
    """Wait until all wanted replicas are Ready; exit code 1 at the timeout."""
    snapshot = place.run(lambda client: _until_ready(client, workload, timeout))
    if place.json:
        print_json(snapshot)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path(FILE_NAME))
@click.option("--dry-run", is_flag=True, help="Show the difference, change nothing.")
@common()
def apply(place: Place, file: Path, dry_run: bool) -> None:
    """Show what FILE changes, and apply it (rolling, without a dip)."""
    text, source = read_text(file), str(file.absolute())
    parse_fleet_file(text, str(file))
    changes = place.run(lambda client: client.diff(text, source))
    if place.json and dry_run:
        print_json(changes)
        return
    for change in changes:
        click.echo(change)
    if not changes:
        click.echo("Nothing to change.")
    if dry_run or not changes:
        return
    request = ActionRequest(verb=Verb.APPLY, args={"yaml": text, "source": source}, actor=place.actor)
    row = place.run(lambda client: client.perform(request))
    if place.json:
        print_json(row)
    elif row.outcome == ActionOutcome.OK:
        click.echo(row.result or "Applied.")
    if row.outcome != ActionOutcome.OK:
        raise TrinityError(row.result or "It was not applied.", "See `trinity events`.")


@click.command()
@common()
def version(place: Place) -> None:
    """This program's version, and the running daemon's."""
    daemon = None
    if daemon_answers(place.daemon):
        daemon = place.run(lambda client: client.version(), any_version=True)
    if place.json:
        print_json({"version": VERSION, "daemon": plain(daemon)})
        return
    click.echo(f"trinity {VERSION}")
    click.echo(f"trinityd {daemon.version} (pid {daemon.pid})" if daemon else "trinityd: not running")
