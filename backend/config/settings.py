"""Settings by name: environment first, then the profile section of trinity.yaml, its settings section, defaults.

Owns the documented environment variables. Reads nothing but the environment and what it is given.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from backend.contract.errors import UsageError

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0.0)]
Profile = Literal["development", "production", "testing"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every documented variable, lower-cased. Numbers outside their range are usage errors."""

    inference_port: Port = 8080
    """The edge's public port; 0 takes a free one."""
    health_port: Port = 8081
    metrics_port: Port = 9090
    stats_port: Port = 8404
    monitoring_host: str = "127.0.0.1"
    """Where health and metrics listen; in a container 0.0.0.0. They tell everything and change nothing."""

    num_threads: Count = 16
    max_batch_size: Count = 32
    """Slots of one llm replica."""
    max_sequence_length: Annotated[int, Meta(ge=64)] = 4096
    """Tokens of one slot's context."""
    model_path: str = ""
    """A GGUF file; empty takes the bundled one."""

    target_cpu_percent: Annotated[float, Meta(gt=0.0, le=100.0)] = 70.0
    target_queue_depth: Positive = 50.0
    target_ttft_ms: Positive = 100.0
    min_instances: Annotated[int, Meta(ge=0)] = 1
    max_instances: Count = 10
    cooldown_seconds: Annotated[float, Meta(ge=0.0)] = 60.0

    record_retention_hours: Annotated[float, Meta(ge=0.0)] = 168.0
    record_disk_mib: Annotated[float, Meta(ge=0.0)] = 1024.0
    """What the flight recorder keeps: so long, and never more than that."""

    log_profile: Profile = "production"
    log_level: str = ""
    log_format: Literal["", "json", "console"] = ""

    trinity_haproxy: str = ""
    """The HAProxy program to use (2.8 or newer)."""
    trinity_api_key: str = ""
    """Required from clients at the edge when set, and always when `listen:` is not loopback."""
    trinity_environment: str = "dev"
    """What drills may ask for with `safety.environments`."""

    given: frozenset[str] = frozenset()
    """Which of them somebody set; the others have their defaults."""


_TYPES: Final[dict[str, Any]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "given"
}
NAMES: Final[tuple[str, ...]] = tuple(sorted(name.upper() for name in _TYPES))
PROFILES: Final[tuple[str, ...]] = get_args(Profile)


class BadSetting(UsageError):
    """A setting's value does not fit; `name` is the variable's, `from_environment` says where the value stood."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.from_environment = name.lower() in _from_environment()
        where = "in the environment" if self.from_environment else "in trinity.yaml"
        super().__init__(message, f"Correct it {where}.")


def load_settings(sections: dict[str, str] | None = None) -> Settings:
    """Settings from the environment over `sections` (names upper- or lower-cased, values as text).

    Raises BadSetting naming the variable, its value and what it takes.
    """
    texts = {name.lower(): value for name, value in (sections or {}).items()} | _from_environment()
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if kind := _TYPES.get(name):
            try:
                values[name] = text if kind is str else msgspec.convert(text.strip(), kind, strict=False)
            except msgspec.ValidationError:
                words = f"{name.upper()}: `{text[:80]}` does not fit: {_wanted(kind, text)}."
                raise BadSetting(name.upper(), words) from None
    settings = Settings(**values, given=frozenset(values))
    if settings.min_instances > settings.max_instances:
        both = f"MIN_INSTANCES ({settings.min_instances}) is larger than MAX_INSTANCES ({settings.max_instances})."
        raise BadSetting("MIN_INSTANCES", both)
    return settings


def _from_environment() -> dict[str, str]:
    """The variables that say something, lower-cased: an empty one says nothing."""
    return {name.lower(): value for name, value in os.environ.items() if value and name.lower() in _TYPES}


def _wanted(kind: Any, text: str) -> str:
    """What a setting takes, in the words of the file's own errors."""
    known = msgspec.inspect.type_info(kind)
    if isinstance(known, msgspec.inspect.LiteralType):
        return f"allowed: {', '.join(repr(value) for value in known.values)}"
    whole = isinstance(known, msgspec.inspect.IntType)
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return "a whole number is wanted" if whole else "a number is wanted"
    assert isinstance(known, msgspec.inspect.IntType | msgspec.inspect.FloatType)
    if known.le is not None and number > known.le:
        return f"at most {known.le:g} is wanted"
    if known.ge is not None:
        return f"at least {known.ge:g} is wanted"
    return f"more than {known.gt:g} is wanted"
