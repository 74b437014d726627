"""What a trinity.yaml may say beyond its types: names, ranges, addresses, files and programs that exist.

Each mistake is named with file, line and column. Reads the file system to see what exists; starts nothing.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from backend.config.fleet_file import FleetFile, ProbeFile, WorkloadFile
from backend.config.place import Place
from backend.config.platform_checks import check_place
from backend.config.settings import NAMES, PROFILES, BadSetting, Settings, load_settings
from backend.contract.errors import FileError, UsageError
from backend.contract.fleet import WorkloadSpec

_NAME_CHARS = set("abcdefghijklmnopqrstuvwxyz0123456789-")
_MIN_PERIOD_S = 0.01
LONGEST_NAME = 120
"""Characters in the name of a fleet."""


def settings_of(file: FleetFile, place: Place, environ: dict[str, str] | None = None) -> Settings:
    """The settings that apply: environment > the file's profile section > its settings > defaults.

    Raises FileError for a bad name or value in the file, BadSetting for one in the environment.
    """
    env = dict(os.environ) if environ is None else environ
    for profile, section in file.profiles.items():
        if profile not in PROFILES:
            raise place.fail(f"unknown profile `{profile}`.", f"Allowed: {', '.join(PROFILES)}.", "profiles", profile)
        _check_names(section, place, "profiles", profile)
    _check_names(file.settings, place, "settings")
    values, places = dict[str, str](), dict[str, tuple[str, ...]]()

    def take(section: dict[str, str], *path: str) -> None:
        for name, value in section.items():
            values[name.upper()], places[name.upper()] = value, (*path, name)

    take(file.settings, "settings")
    active = env.get("LOG_PROFILE") or values.get("LOG_PROFILE", "production")
    take(file.profiles.get(active, {}), "profiles", active)
    try:
        return load_settings(values)
    except BadSetting as error:
        if error.from_environment or error.name not in places:
            raise
        raise place.fail(error.message, "Correct it there.", *places[error.name]) from None


def _check_names(section: Iterable[str], place: Place, *path: str) -> None:
    for name in section:
        if name.upper() not in NAMES:
            near = difflib.get_close_matches(name.upper(), NAMES, n=1)
            hint = f"Did you mean `{near[0]}`? " if near else ""
            raise place.fail(f"unknown setting `{name}`.", f"{hint}Allowed: {', '.join(NAMES)}.", *path, name)


def check_fleet(file: FleetFile, settings: Settings, place: Place) -> None:
    """Everything but the workloads. Raises FileError or UsageError."""
    if not file.fleet.strip() or len(file.fleet) > LONGEST_NAME or not file.fleet.isprintable():
        raise place.fail("`fleet` has a name that cannot be used.", f"Write up to {LONGEST_NAME} characters.", "fleet")
    try:
        loopback = file.listen == "localhost" or ipaddress.ip_address(file.listen).is_loopback
    except ValueError:
        raise place.fail(
            f"listen: `{file.listen}` is no address.", "Write an IP address, e.g. 127.0.0.1 or 0.0.0.0.", "listen"
        ) from None
    if not loopback and not settings.trinity_api_key:
        raise place.fail(
            f"listen: {file.listen} opens the edge to the network, and no API key is set.",
            "Set TRINITY_API_KEY in the environment, or listen on 127.0.0.1.",
            "listen",
        )
    for name, port in (("port", file.edge.port), ("stats_port", file.edge.stats_port)):
        if port is not None and not 0 <= port <= 65535:
            raise place.fail(f"edge.{name} is {port}.", "Ports are 1 to 65535; 0 takes a free one.", "edge", name)
    if not 1 <= file.edge.max_queue <= 100_000:
        raise place.fail(
            f"edge.max_queue is {file.edge.max_queue}.", "Choose 1 to 100000 waiting requests.", "edge", "max_queue"
        )
    snippet = file.edge.snippet
    if snippet is not None and not Path(place.anchored(snippet)).is_file():
        raise place.fail(
            f"edge.snippet: there is no file {place.anchored(snippet)}.",
            "Write the path of a file with HAProxy lines.",
            "edge",
            "snippet",
        )


def check_workload(name: str, workload: WorkloadFile, place: Place, driver: str = "local") -> None:
    """One workload's own rules in a fleet of that driver. Raises FileError."""

    def fail(message: str, next_step: str, *path: str) -> FileError:
        return place.fail(f"workload `{name}` {message}", next_step, "workloads", name, *path)

    if not name or set(name) - _NAME_CHARS or not name[0].isalpha() or len(name) > 32:
        raise fail("has a name that cannot be used.", "Names are a-z, 0-9 and -, begin with a letter, at most 32 long.")
    if name == "edge":
        raise fail("may not be called that: it is the load balancer.", "Choose another name.")
    check_place(name, workload, place, driver)
    if driver == "local" and (workload.builtin is None) == (workload.command is None):
        raise fail(
            "needs exactly one of `builtin` and `command`.",
            "Write `builtin: llm`, `builtin: embedding` or `command: [...]`.",
        )
    if workload.builtin == "embedding" and workload.model is not None:
        raise fail("has a `model`, but `builtin: embedding` serves the bundled one.", "Leave `model` away.", "model")
    if workload.command is not None and not workload.command:
        raise fail("has an empty `command`.", "Write the program and its arguments.", "command")
    if not 1 <= workload.max_replicas <= 64:
        raise fail(f"has max_replicas {workload.max_replicas}.", "It can be 1 to 64.", "max_replicas")
    if workload.replicas is not None and not 0 <= workload.replicas <= workload.max_replicas:
        allowed = f"It can have 0 to {workload.max_replicas} (max_replicas)."
        raise fail(f"wants {workload.replicas} replicas.", allowed, "replicas")
    if workload.slots is not None and not 1 <= workload.slots <= 4096:
        raise fail(f"has {workload.slots} slots.", "A replica takes 1 to 4096 requests at once.", "slots")
    if isinstance(workload.port, int) and not 1 <= workload.port <= 65535:
        raise fail(f"has port {workload.port}.", "Ports are 1 to 65535, or `auto`.", "port")
    if isinstance(workload.port, int) and (workload.replicas or 1) > 1:
        raise fail("has a fixed port and several replicas.", "Use `port: auto` and `{port}` in the command.", "port")
    if not -20 <= workload.resources.nice <= 19:
        raise fail(f"has nice {workload.resources.nice}.", "It can be -20 to 19.", "resources", "nice")
    for route in workload.routes or ():
        if not route.startswith("/") or any(c in route for c in " \t\"'\\"):
            raise fail(f"has the route `{route}`.", "Routes are path prefixes that begin with /.", "routes")
    _check_probes(name, workload, place)
    _check_program(name, workload, place)


def _check_probes(name: str, workload: WorkloadFile, place: Place) -> None:
    if workload.probes is None:
        return
    for which in ("startup", "readiness", "liveness"):
        probe: ProbeFile | None = getattr(workload.probes, which)
        if probe is None:
            continue
        problem, mend, key = _probe_problem(probe)
        if problem:
            message = f"workload `{name}`: the {which} probe {problem}"
            raise place.fail(message, mend, "workloads", name, "probes", which, key)


def _probe_problem(probe: ProbeFile) -> tuple[str, str, str]:
    """What is wrong, what to do, and at which key; empty when nothing is."""
    if (probe.http is not None) + probe.tcp + (probe.command is not None) > 1:
        return "names more than one of http, tcp and command.", "Keep one of them.", ""
    if probe.http is not None and not probe.http.startswith("/"):
        return f"asks for `{probe.http}`.", "Write a path that begins with /.", "http"
    if probe.command is not None and not probe.command:
        return "has an empty command.", "Write the program and its arguments.", "command"
    for key, seconds in (("period", probe.period), ("timeout", probe.timeout)):
        if seconds < _MIN_PERIOD_S:
            return f"has a {key} of {seconds:g} s.", f"At least {_MIN_PERIOD_S * 1000:g}ms is possible.", key
    for key, count in (
        ("failure_threshold", probe.failure_threshold),
        ("success_threshold", probe.success_threshold),
    ):
        if count < 1:
            return f"has a {key} of {count}.", "It is at least 1.", key
    return "", "", ""


def _check_program(name: str, workload: WorkloadFile, place: Place) -> None:
    """That the command's program and directory exist, seen before anything is started."""
    if workload.command is None or workload.image is not None:
        return
    at = ("workloads", name)
    directory = workload_directory(workload, place)
    if directory is not None and not Path(directory).is_dir():
        message = f"workload `{name}`: the directory {directory} does not exist."
        raise place.fail(message, "Make it, or correct `cwd`.", *at, "cwd")
    program = workload.command[0]
    if "{" in program:
        return
    path = workload.env.get("PATH", os.environ.get("PATH", os.defpath))
    wanted = str(Path(directory or "/") / program) if "/" in program else program
    if shutil.which(wanted, path=path) is None:
        where = "" if "/" in program else " on PATH"
        message = f"workload `{name}`: there is no program {wanted}{where}."
        raise place.fail(message, "Install it, or correct `command`.", *at, "command")


def workload_directory(workload: WorkloadFile, place: Place) -> str | None:
    """Where a command runs: its `cwd`, else the directory of the file that names it. In an image, the image says it."""
    if workload.image is not None:
        return workload.cwd
    if workload.cwd is not None:
        return place.anchored(workload.cwd)
    home = Path(place.source).parent
    return str(home) if home.is_absolute() else None


def check_routes(specs: Iterable[WorkloadSpec], place: Place) -> None:
    """No two workloads claim one route. Raises FileError."""
    owner: dict[str, str] = {}
    for spec in specs:
        for route in spec.routes:
            if route in owner:
                message = f"route `{route}` is claimed by `{owner[route]}` and `{spec.name}`."
                raise place.fail(message, "Give each its own.", "workloads", spec.name, "routes")
            owner[route] = spec.name


def check_port_clash(settings: Settings, file: FleetFile) -> None:
    """The four public ports differ. Raises UsageError."""
    ports = public_ports(settings, file)
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in seen:
            raise UsageError(f"{seen[port]} and {name} are both {port}.", "Give each a port of its own.")
        seen[port] = name


def public_ports(settings: Settings, file: FleetFile) -> dict[str, int]:
    """The ports a fleet listens on, by setting; 0 takes a free one. The environment wins over `edge:`."""
    given, edge = settings.given, file.edge
    return {
        "INFERENCE_PORT": settings.inference_port if "inference_port" in given or edge.port is None else edge.port,
        "HEALTH_PORT": settings.health_port,
        "METRICS_PORT": settings.metrics_port,
        "STATS_PORT": settings.stats_port if "stats_port" in given or edge.stats_port is None else edge.stats_port,
    }
