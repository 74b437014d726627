"""The engine's events, parsed, and as rows of the events table. Pure; no input raises."""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.rows import EventRow, Scalar
from backend.contract.words import Severity
from backend.fleet.docker_engine.reading import text, texts, whole

ACTIONS: Final = (
    "create", "start", "die", "stop", "kill", "oom", "pause", "unpause", "restart", "rename", "update", "destroy",
    "health_status", "remove",
)  # fmt: skip
"""What is asked for: programs run by health checks would make several events a second each."""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the engine's."""

    type: str
    """`container`, `service` or `node`."""
    action: str
    """Without what follows a colon (`health_status: healthy` is `health_status`)."""
    detail: str = ""
    """What followed the colon."""
    id: str
    name: str = ""
    time_ns: int
    attributes: dict[str, str] = {}

    @property
    def exit_code(self) -> int | None:
        """Of a `die`."""
        return _number(self.attributes.get("exitCode", ""))

    @property
    def signal(self) -> int | None:
        """Of a `kill`."""
        return _number(self.attributes.get("signal", ""))


def parse_happening(event: object) -> Happening | None:
    """One line of the events stream; null where it is none."""
    kind, identifier = text(event, "Type"), text(event, "Actor", "ID")
    action, _, detail = text(event, "Action").partition(":")
    time_ns = whole(event, "timeNano")
    if time_ns is None:
        seconds = whole(event, "time")
        time_ns = None if seconds is None else seconds * 1_000_000_000
    if not kind or not identifier or not action or time_ns is None:
        return None
    attributes = texts(event, "Actor", "Attributes")
    return Happening(
        type=kind,
        action=action,
        detail=detail.strip(),
        id=identifier,
        name=attributes.get("name", ""),
        time_ns=time_ns,
        attributes=attributes,
    )


def container_row(happening: Happening, replica: str, *, mono_s: float, oom: bool, wished: bool) -> EventRow | None:
    """The row of a container's event; null for those that say nothing new. `wished`: somebody stopped it."""
    attributes: dict[str, Scalar] = {"container": happening.id[:12], "image": happening.attributes.get("image")}
    severity = Severity.INFO
    match happening.action:
        case "create":
            kind, message = "created", f"{replica} was created"
        case "start":
            kind, message = "started", f"{replica} was started"
        case "die":
            code = happening.exit_code
            attributes["exit_code"] = code
            severity = Severity.ERROR if oom else Severity.INFO if code == 0 or wished else Severity.WARNING
            kind, message = "died", f"{replica} ended: {_how(code, oom=oom, wished=wished)}"
        case "kill":
            attributes["signal"] = happening.signal
            kind, message = "signalled", f"{replica} was sent signal {happening.attributes.get('signal', '?')}"
        case "oom":
            # Where that ends the container its death is the alarm; a program beside the first one may die alone.
            kind, severity, message = "oom", Severity.WARNING, f"{replica} ran out of the memory it may use"
        case "pause":
            kind, message = "paused", f"{replica} was paused"
        case "unpause":
            kind, message = "unpaused", f"{replica} goes on after a pause"
        case "destroy":
            kind, message = "removed", f"{replica} was removed"
        case "rename":
            kind, message = "renamed", f"{happening.attributes.get('oldName', '').lstrip('/')} is now {replica}"
        case "health_status":
            attributes["health"] = happening.detail
            severity = Severity.WARNING if happening.detail == "unhealthy" else Severity.INFO
            kind, message = "health", f"{replica} is {happening.detail or 'of unknown health'}"
        case _:
            return None
    return EventRow(
        ts=happening.time_ns / 1e9,
        mono_s=mono_s,
        kind=f"docker.{kind}",
        severity=severity,
        subject=replica,
        message=message,
        attributes=attributes,
    )


def _how(code: int | None, *, oom: bool, wished: bool) -> str:
    if oom:
        return "OOMKilled"
    if code is None:
        return "nobody knows how"
    if code == 0:
        return "Completed"
    said = f"killed by signal {code - 128}" if 128 < code <= 192 else f"exit code {code}"
    return f"stopped ({said})" if wished else said


def _number(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
