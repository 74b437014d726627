"""What a workload of containers was made of: its service in the compose file that it came from, else its newest
container's configuration. As YAML, with secrets masked.

Reads files of this machine that labels name, and nothing else of them than that service. Blocks: call it in a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from backend.fleet.docker_engine.describe import masked
from backend.fleet.docker_engine.facts import ContainerFacts
from backend.fleet.docker_engine.labels import SERVICE
from backend.fleet.docker_engine.reading import fields
from backend.fleet.masking import masked_lines, masked_value, masked_words, to_yaml

FILES: Final = "com.docker.compose.project.config_files"
FOLDER: Final = "com.docker.compose.project.working_dir"
_MOST_BYTES: Final = 1024 * 1024
_MOST_PARTS: Final = 20_000
"""Values of one service: aliases can make any number of them out of a small file."""
_NAMED: Final = ("environment", "labels", "args")
_ARGV: Final = ("command", "entrypoint", "test")


def workload_source(facts: ContainerFacts, inspect: object) -> str:
    """Of the workload whose newest container that is."""
    service = facts.labels.get(SERVICE, "")
    parts = [_from_file(path, service) for path in _files(facts.labels)] if service else []
    if found := "".join(parts):
        return found
    config = {part: fields(inspect, part) for part in ("Config", "HostConfig")}
    return f"# The configuration of {facts.name}\n{to_yaml(masked(config))}"


def _files(labels: Mapping[str, str]) -> list[Path]:
    """As Compose noted them, in the order in which they were laid over each other."""
    folder = Path(labels.get(FOLDER) or "/")
    return [folder / name for name in labels.get(FILES, "").split(",") if name]


def _from_file(path: Path, service: str) -> str:
    """Empty where it is not there, cannot be understood or says nothing of that service."""
    try:
        services = yaml.load(_read(path), yaml.CSafeLoader)["services"]
        shown = _Masking().of("", services[service])
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return ""
    return f"# {path}\n{to_yaml({'services': {service: shown}})}"


def _read(path: Path) -> bytes:
    """Raises OSError, and ValueError for what is no small file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        held = os.fstat(fd)
        if not stat.S_ISREG(held.st_mode) or held.st_size > _MOST_BYTES:
            raise ValueError(f"{path} is no compose file")
        return file.read(_MOST_BYTES)


class _Masking:
    """Copies a service's part of a compose file for reading. Raises ValueError where it is endless."""

    def __init__(self) -> None:
        self._left = _MOST_PARTS

    def of(self, name: str, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too much for one service")
        if isinstance(value, dict):
            if name in _NAMED:
                return {str(key): self._named(str(key), item) for key, item in value.items()}
            return {str(key): self.of(str(key), item) for key, item in value.items()}
        if isinstance(value, list):
            if name in _NAMED and all(isinstance(item, str) for item in value):
                return masked_lines(value)
            return [self.of("", item) for item in (masked_words(value) if name in _ARGV else value)]
        if not isinstance(value, str):
            return value
        if name in _ARGV:
            words = value.split()
            shown = masked_words(words)
            return value if shown == words else " ".join(shown)
        return masked_value(name, value)

    def _named(self, name: str, value: Any) -> Any:
        """A variable's: numbers may be secrets too."""
        return value if value is None else masked_value(name, str(value))
