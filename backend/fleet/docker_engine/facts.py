"""A container as the engine's `inspect` describes it, as typed facts. Pure; no input raises."""

from __future__ import annotations

import re
import signal
from typing import Final

import msgspec

from backend.contract.fleet import ExitRecord
from backend.fleet.docker_engine.reading import dig, fields, flag, instant, items, text, texts, whole, words

_COMPLAINT: Final = re.compile(r"(?!(?i:usage|warning|note|info):)[\w./+-]{2,40}: \S")
"""`curl: (7) Failed to connect`: how programs say what is wrong."""
_HEALTH_KEPT: Final = 5
_SIGNAL_BASE: Final = 128
STOP_SIGNAL: Final = 15
"""Of containers that name none."""


class Published(msgspec.Struct, frozen=True):
    """A container's port, and where it is published on the engine's machine (host_port null: it is not)."""

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int | None = None


class HealthAnswer(msgspec.Struct, frozen=True):
    """One run of the container's health check."""

    ts: float | None
    ok: bool
    output: str
    took_s: float | None = None


class ContainerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a container."""

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    labels: dict[str, str] = {}
    status: str = ""
    """`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`."""
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = False
    pid: int | None = None
    exit_code: int | None = None
    error: str = ""
    """Why it could not be started."""
    created_ts: float = 0.0
    started_ts: float | None = None
    finished_ts: float | None = None
    restarts: int = 0
    """By its restart policy."""
    health: str = ""
    """`starting`, `healthy`, `unhealthy`; empty without a health check."""
    health_failures: int = 0
    health_log: tuple[HealthAnswer, ...] = ()
    ports: tuple[Published, ...] = ()
    addresses: dict[str, str] = {}
    """Network -> its address there."""
    host_network: bool = False
    memory_limit_bytes: int | None = None
    restart_policy: str = ""
    tty: bool = False
    stop_grace_s: float | None = None
    stop_signal: int = STOP_SIGNAL
    """What the engine sends first when it is asked to stop it."""
    command: tuple[str, ...] = ()
    log_driver: str = ""


def container_facts(inspect: object) -> ContainerFacts | None:
    """The facts in an inspect answer; null where it is none."""
    identifier = text(inspect, "Id")
    name = text(inspect, "Name").lstrip("/")
    if not identifier or not name:
        return None
    state = dig(inspect, "State")
    status = text(state, "Status")
    pid = whole(state, "Pid")
    limit = whole(inspect, "HostConfig", "Memory")
    grace = whole(inspect, "Config", "StopTimeout")
    return ContainerFacts(
        id=identifier,
        name=name,
        image=text(inspect, "Config", "Image"),
        image_id=text(inspect, "Image"),
        labels=texts(inspect, "Config", "Labels"),
        status=status,
        running=flag(state, "Running"),
        paused=flag(state, "Paused"),
        restarting=flag(state, "Restarting"),
        oom_killed=flag(state, "OOMKilled"),
        pid=pid if pid is not None and pid > 0 else None,
        exit_code=whole(state, "ExitCode"),
        error=text(state, "Error"),
        created_ts=instant(inspect, "Created") or 0.0,
        started_ts=instant(state, "StartedAt"),
        finished_ts=instant(state, "FinishedAt"),
        restarts=max(0, whole(inspect, "RestartCount") or 0),
        health=_health(text(state, "Health", "Status")),
        health_failures=max(0, whole(state, "Health", "FailingStreak") or 0),
        health_log=_health_log(items(state, "Health", "Log")),
        ports=_ports(inspect),
        addresses=_addresses(inspect),
        host_network=text(inspect, "HostConfig", "NetworkMode") == "host",
        memory_limit_bytes=limit if limit is not None and limit > 0 else None,
        restart_policy=_policy(text(inspect, "HostConfig", "RestartPolicy", "Name")),
        tty=flag(inspect, "Config", "Tty"),
        stop_grace_s=float(grace) if grace is not None and grace >= 0 else None,
        stop_signal=signal_number(text(inspect, "Config", "StopSignal")),
        command=(*words(inspect, "Config", "Entrypoint"), *words(inspect, "Config", "Cmd")),
        log_driver=text(inspect, "HostConfig", "LogConfig", "Type"),
    )


def exit_record(
    ts: float,
    code: int | None,
    *,
    oom: bool = False,
    stopped: bool = False,
    pid: int | None = None,
    lines: tuple[str, ...] = (),
) -> ExitRecord:
    """How a container's program ended. Docker says 128 + signal where a signal ended it; `stopped`: somebody's wish."""
    number = code - _SIGNAL_BASE if code is not None and _SIGNAL_BASE < code <= _SIGNAL_BASE + 64 else None
    if oom:
        reason = "OOMKilled"
    elif stopped:
        reason = "Stopped"
    elif code == 0:
        reason = "Completed"
    elif number is not None:
        reason = "Killed"
    else:
        reason = "Unknown" if code is None else "Error"
    return ExitRecord(
        ts=ts, code=None if number is not None else code, signal=number, reason=reason, pid=pid, last_lines=lines
    )


def _health(status: str) -> str:
    return status if status in ("starting", "healthy", "unhealthy") else ""


def _policy(name: str) -> str:
    return "" if name == "no" else name


def _health_log(entries: list[object]) -> tuple[HealthAnswer, ...]:
    answers = []
    for entry in entries[-_HEALTH_KEPT:]:
        start, end = instant(entry, "Start"), instant(entry, "End")
        answers.append(
            HealthAnswer(
                ts=end if end is not None else start,
                ok=whole(entry, "ExitCode") == 0,
                output=telling(text(entry, "Output"))[:400],
                took_s=max(0.0, end - start) if start is not None and end is not None else None,
            )
        )
    return tuple(answers)


def telling(output: str) -> str:
    """What a check said, in one line: a program's own complaint (`curl: (7) Failed to connect`) where there is one
    among its progress and usage, else all of it."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    complaint = next((line for line in lines if _COMPLAINT.match(line)), None)
    return complaint if complaint is not None and len(lines) > 1 else " ".join(line for line in lines if line)


def signal_number(name: str) -> int:
    """`SIGQUIT`, `QUIT` or `3` as 3; the default where it is none."""
    if name.isascii() and name.isdigit():
        return int(name[:3])
    plain = name.upper().removeprefix("SIG")
    return next((held.value for held in signal.Signals if held.name == f"SIG{plain}"), STOP_SIGNAL)


def port_of(key: str) -> tuple[int, str] | None:
    """`8080/tcp` as (8080, `tcp`); null where it is none."""
    number, _, protocol = key.partition("/")
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:6]) < 65536:
        return None
    return int(number[:6]), protocol or "tcp"


def _ports(inspect: object) -> tuple[Published, ...]:
    found: list[Published] = []
    live = fields(inspect, "NetworkSettings", "Ports")
    keys = dict.fromkeys([*live, *fields(inspect, "Config", "ExposedPorts")])
    for key in keys:
        parsed = port_of(key)
        if parsed is None:
            continue
        bindings = [
            Published(*parsed, text(binding, "HostIp"), int(number))
            for binding in items(live, key)
            if (number := text(binding, "HostPort")).isascii() and number.isdigit() and 0 < int(number[:6]) < 65536
        ]
        found.extend(bindings or [Published(*parsed)])
    return tuple(sorted(found, key=lambda p: (p.protocol != "tcp", p.port, p.host_port is None, ":" in p.host_ip)))


def _addresses(inspect: object) -> dict[str, str]:
    found = {}
    for network in fields(inspect, "NetworkSettings", "Networks"):
        address = text(inspect, "NetworkSettings", "Networks", network, "IPAddress")
        if address:
            found[network] = address
    return found
