"""The README says what is there: every key, variable, command and picture, and examples that are accepted."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from backend.config import resolve as resolving
from backend.config.checks import check_fleet, check_routes, check_workload
from backend.config.fleet_file import (
    DockerFile,
    EdgeFile,
    FleetFile,
    KubernetesFile,
    ProbeFile,
    WorkloadFile,
    parse_fleet_file,
)
from backend.config.place import Place
from backend.config.settings import NAMES, Settings
from console.cli import COMMANDS

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def row_of(name: str) -> str:
    """The table row whose first cell names it."""
    return next((line for line in README.splitlines() if line.startswith("|") and name in line.split("|")[1]), "")


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_a_row_with_its_default(name: str) -> None:
    row = row_of(f"`{name}`")
    assert row, f"{name} is not in the README"
    default = getattr(Settings(), name.lower())
    if default != "":
        shown = f"{default:g}" if isinstance(default, int | float) else str(default)
        assert shown in row.split("|")[2], row


@pytest.mark.parametrize("struct", [FleetFile, EdgeFile, WorkloadFile, ProbeFile, DockerFile, KubernetesFile])
def test_every_key_of_the_file_has_a_row(struct: type[msgspec.Struct]) -> None:
    missing = [
        field.name
        for field in msgspec.structs.fields(struct)
        if not re.search(rf"^\|[^|]*[`.]{field.name}[`.]", README, re.MULTILINE)
        and field.name not in ("edge", "probes", "resources")
    ]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_row(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}[ `]", README.replace("\\|", "/"), re.MULTILINE), f"{name} is not in the README"


def test_every_picture_is_there_and_every_picture_is_shown() -> None:
    shown = {TOP / path for path in re.findall(r"\]\((\.github/pictures/[^)]+)\)", README)}
    assert shown == set((TOP / ".github/pictures").iterdir())


def test_pictures_hold_no_path_of_the_machine_they_were_made_on() -> None:
    for picture in (TOP / ".github/pictures").iterdir():
        text = picture.read_text().replace("&#160;", " ")
        assert not re.search(r"/(home|root|work|tmp|Users)/", text), picture.name


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_accepted(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("vllm", "llama-server"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    place = Place(str(tmp_path / "trinity.yaml"), text)
    file = parse_fleet_file(text, place.source)
    check_fleet(file, Settings(), place)
    for name, workload in file.workloads.items():
        check_workload(name, workload, place, file.driver)
    check_routes(resolving.resolve(file, place.source, text).workloads, place)
