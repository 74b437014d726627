"""Where a workload of containers came from is shown: its service in the compose file, else its configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backend.fleet.docker_engine.compose_source import FILES, FOLDER, workload_source
from backend.fleet.docker_engine.facts import container_facts
from backend.fleet.docker_engine.labels import SERVICE

COMPOSE = """
x-base: &base {restart: always}
services:
  web:
    <<: *base
    image: shop:1
    command: serve --token hunter2 --port 80
    healthcheck: {test: [CMD, ask, --password=hunter2]}
    environment: {MODE: fast, API_KEY: hunter2, PIN_TOKEN: 4711, URL: "pg://me:hunter2@db/x", EMPTY: null}
    build: {args: [DB_PASSWORD=hunter2, LEVEL=3]}
    deploy: {replicas: 2}
  db: {image: postgres:17}
"""


def source_of(folder: Path, files: str = "compose.yaml", *, labels: dict[str, str] | None = None) -> str:
    labels = {SERVICE: "web", FOLDER: str(folder), FILES: files} if labels is None else labels
    config = {"Image": "shop:1", "Labels": labels, "Env": ["MODE=slow", "A_SECRET=hunter2"]}
    inspect: dict[str, Any] = {"Id": "a" * 64, "Name": "/shop-web-1", "Created": "2026-11-18T13:06:29Z", "State": {}}
    inspect |= {"Config": config, "HostConfig": {"Memory": 1}, "Mounts": []}
    facts = container_facts(inspect)
    assert facts is not None
    source = workload_source(facts, inspect)
    assert "hunter2" not in source and "4711" not in source
    return source


def test_the_service_is_shown_as_its_compose_file_has_it_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    source = source_of(tmp_path)
    assert source.startswith(f"# {tmp_path}/compose.yaml\n") and "postgres" not in source
    web = yaml.safe_load(source)["services"]["web"]
    assert web["restart"] == "always" and web["deploy"] == {"replicas": 2}
    assert web["environment"] | {"MODE": "fast", "EMPTY": None} == web["environment"]
    assert web["command"] == "serve --token <masked> --port 80" and web["build"]["args"][1] == "LEVEL=3"


def test_files_laid_over_each_other_are_shown_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "more.yaml").write_text("services: {web: {cpus: 2}}")
    (tmp_path / "other.yaml").write_text("services: {db: {cpus: 2}}")
    source = source_of(tmp_path, f"compose.yaml,{tmp_path}/more.yaml,other.yaml,gone.yaml")
    assert [line for line in source.splitlines() if line.startswith("#")] == [
        f"# {tmp_path}/compose.yaml",
        f"# {tmp_path}/more.yaml",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "services: []", "services: {db: {}}", "a: [", "services: {web: !x y}", "services: {web: &a [*a]}", "\x00"],
)
def test_what_cannot_be_read_gives_way_to_the_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    source = source_of(tmp_path)
    assert source.startswith("# The configuration of shop-web-1\n")
    assert yaml.safe_load(source)["Config"]["Env"][0] == "MODE=slow"


def test_no_file_that_a_label_names_holds_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 1}]" for n in range(12)]
    (tmp_path / "bomb").write_text("\n".join([*names, "services: {web: *a11}"]))
    (tmp_path / "large").write_bytes(b"#" * 2**21)
    for files in ("pipe", "bomb", "large", ".", "/dev/zero"):
        assert source_of(tmp_path, files).startswith("# The configuration of shop-web-1\n"), files
    assert source_of(tmp_path, labels={}).startswith("# The configuration of shop-web-1\n")


@given(st.text(max_size=80))
def test_labels_may_be_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert source_of(folder, labels={SERVICE: text, FOLDER: text, FILES: text}).startswith("# The configuration of")
