"""Settings by name: environment first, then the profile section of trinity.yaml, its settings section, defaults.

Owns the documented environment variables. Reads nothing but the environment and what it is given.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from backend.contract.errors import UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Port = int


class Settings(BaseSettings):
    """Every documented variable, lower-cased. Numbers outside their range are usage errors."""

    model_config = SettingsConfigDict(
        case_sensitive=False, extra="ignore", protected_namespaces=(), env_ignore_empty=True
    )

    inference_port: Port = Field(8080, ge=0, le=65535)
    """The edge's public port; 0 takes a free one."""
    health_port: Port = Field(8081, ge=0, le=65535)
    metrics_port: Port = Field(9090, ge=0, le=65535)
    stats_port: Port = Field(8404, ge=0, le=65535)

    num_threads: int = Field(16, ge=1)
    max_batch_size: int = Field(32, ge=1)
    """Slots of one llm replica."""
    max_sequence_length: int = Field(4096, ge=64)
    """Tokens of one slot's context."""
    model_path: str = ""
    """A GGUF file; empty takes the bundled one."""

    target_cpu_percent: float = Field(70.0, gt=0, le=100)
    target_queue_depth: float = Field(50.0, gt=0)
    target_ttft_ms: float = Field(100.0, gt=0)
    min_instances: int = Field(1, ge=0)
    max_instances: int = Field(10, ge=1)
    cooldown_seconds: float = Field(60.0, ge=0)

    log_profile: Literal["development", "production", "testing"] = "production"
    log_level: str = ""
    log_format: Literal["", "json", "console"] = ""

    trinity_haproxy: str = ""
    """The HAProxy program to use (2.8 or newer)."""
    trinity_api_key: str = ""
    """Required from clients at the edge when set, and always when `listen:` is not loopback."""
    trinity_environment: str = "dev"
    """What drills may ask for with `safety.environments`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


NAMES: tuple[str, ...] = tuple(sorted(name.upper() for name in Settings.model_fields))


class BadSetting(UsageError):
    """A setting's value does not fit; `name` is the variable's, `from_environment` says where the value stood."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.from_environment = any(variable.upper() == name and value for variable, value in os.environ.items())
        where = "in the environment" if self.from_environment else "in trinity.yaml"
        super().__init__(message, f"Correct it {where}.")


def load_settings(sections: dict[str, str] | None = None) -> Settings:
    """Settings from the environment over `sections` (names upper- or lower-cased, values as text).

    Raises BadSetting naming the variable, its value and what it takes.
    """
    given: dict[str, Any] = {name.lower(): value for name, value in (sections or {}).items()}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "a setting"
        raise BadSetting(name, f"{name}: `{str(first.get('input'))[:80]}` does not fit: {_wanted(first)}.") from None
    if settings.min_instances > settings.max_instances:
        both = f"MIN_INSTANCES ({settings.min_instances}) is larger than MAX_INSTANCES ({settings.max_instances})."
        raise BadSetting("MIN_INSTANCES", both)
    return settings


def _wanted(error: ErrorDetails) -> str:
    """What a setting takes, in the words of the file's own errors."""
    limits = error.get("ctx", {})
    kind = error["type"]
    if kind.startswith("int_"):
        return "a whole number is wanted"
    if kind.startswith("float_") or kind == "finite_number":
        return "a number is wanted"
    for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if name in limits:
            return f"{words} {limits[name]:g} is wanted"
    if "expected" in limits:
        return f"allowed: {limits['expected']}"
    return error["msg"]
