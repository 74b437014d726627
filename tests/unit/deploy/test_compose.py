"""The compose file: valid for the specification, accepted by Compose, and whole: what it mounts is beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from jsonschema import Draft7Validator

from backend.config.edge_file import read_edge_file
from backend.config.fleet_file import parse_fleet_file
from backend.config.resolve import resolve
from backend.deploy import compose, tunnels
from backend.deploy.places import HELM
from backend.deploy.values import Values, parse_values, read_values
from backend.edge import standalone
from backend.edge.discovery import Ports
from backend.edge.settings import find_haproxy
from backend.fleet.docker_engine.labels import ROLE

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
CASES = {
    "defaults": Values(),
    "production": read_values(HELM / "values-production.yaml"),
    "engines-off": parse_values("embedding: {enabled: false}\ndaemon: {enabled: false}\nedge: {open: true}\n", "v"),
}


def written(tree: dict[str, str], folder: Path) -> Path:
    for name, text in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        if name.endswith(".example"):
            (folder / name.removesuffix(".example")).write_text(text)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_it_is_valid_for_the_compose_specification(case: str) -> None:
    jsonschema.validate(yaml.safe_load(compose.render(CASES[case])["compose.yaml"]), SCHEMA, Draft7Validator)


def test_the_schema_would_see_a_wrong_key() -> None:
    project = compose.project(Values())
    project["services"]["llm"]["memory_limit"] = "1g"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(project, SCHEMA, Draft7Validator)


@pytest.mark.docker
@pytest.mark.parametrize("case", ["defaults", "production"])
def test_compose_accepts_it_with_the_tunnel_laid_over(case: str, tmp_path: Path) -> None:
    written(compose.render(CASES[case]), tmp_path)
    written(tunnels.cloudflared(CASES[case]), tmp_path)
    program = shutil.which("docker-compose")
    assert program, "docker-compose is missing: apt-get install docker-compose"
    files = ("-f", "compose.yaml", "-f", "compose.cloudflared.yaml")
    argv = [program, *files, "--profile", "monitoring", "config"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"edge", "llm", "embedding", "daemon", "prometheus", "grafana", "cloudflared"} <= set(services)


@pytest.mark.parametrize("case", CASES)
def test_everything_it_mounts_is_written_beside_it(case: str) -> None:
    tree = compose.render(CASES[case])
    project = yaml.safe_load(tree["compose.yaml"])
    for service in project["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert any(name.startswith(source[2:] + "/") for name in tree), source
            elif not source.startswith("${"):
                assert source in project["volumes"]
        for name in service.get("env_file", []):
            assert f"{name}.example" in tree


@pytest.mark.parametrize("case", CASES)
def test_our_programs_read_the_files_beside_it(case: str, tmp_path: Path) -> None:
    written(compose.render(CASES[case]), tmp_path)
    read = read_edge_file(tmp_path / "edge" / "edge.yaml")
    services = compose.project(CASES[case])["services"]
    assert {workload.dns for workload in read.workloads.values()} <= set(services)
    cfg = standalone.prepare(tmp_path / "edge" / "edge.yaml", tmp_path / "run", Ports(), checking=True)
    standalone.check(find_haproxy(), cfg, tmp_path)
    file = parse_fleet_file((tmp_path / "daemon" / "trinity.yaml").read_text(), "trinity.yaml")
    assert (file.driver, file.docker.project) == ("docker", "trinity")
    declared = resolve(file).workloads
    assert {spec.of for spec in declared} <= set(services) and not any(spec.routes for spec in declared)


def test_nothing_is_published_beyond_this_machine_unless_asked() -> None:
    def published(values: Values) -> list[str]:
        return [port for service in compose.project(values)["services"].values() for port in service.get("ports", [])]

    assert published(Values()) and all(port.startswith("127.0.0.1:") for port in published(Values()))
    opened = parse_values("compose: {host: 0.0.0.0}\n", "v")
    assert all(port.startswith("0.0.0.0:") for port in published(opened))


def test_a_daemon_knows_each_service_of_ours_by_its_label() -> None:
    extra = parse_values("extraWorkloads: [{name: toys, image: toy}]\n", "v")
    services: dict[str, Any] = compose.project(extra)["services"]
    told = {name: service["labels"][ROLE] for name, service in services.items() if "profiles" not in service}
    assert told == {name: name for name in ("edge", "llm", "embedding", "daemon", "toys")}, "as the edge names them"


def test_secrets_stand_in_env_files_only() -> None:
    values = parse_values("secrets: {apiKey: sk-very-secret}\n", "v")
    assert not [name for name, text in compose.render(values).items() if "sk-very-secret" in text]


def test_services_of_ours_are_confined() -> None:
    services: dict[str, Any] = compose.project(Values())["services"]
    for role in ("edge", "llm", "embedding", "daemon"):
        service = services[role]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"mem_limit", "cpus", "healthcheck", "stop_grace_period"} <= set(service)
    assert services["edge"]["mem_limit"] == "1g" and services["edge"]["cpus"] == 0.5
    assert [role for role in services if "profiles" in services[role]] == ["prometheus", "grafana"]
