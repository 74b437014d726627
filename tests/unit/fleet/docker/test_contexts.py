"""The engine that is meant is found as the Docker program finds it, and what cannot be says so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from backend.fleet.docker_engine.contexts import known_contexts, resolve_endpoint
from backend.fleet.docker_engine.errors import EngineTrouble


def store(folder: Path, name: str, host: str, *, files: tuple[str, ...] = (), skip: bool = False) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": skip}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    tls = folder / "contexts" / "tls" / digest / "docker"
    for file in files:
        tls.mkdir(parents=True, exist_ok=True)
        (tls / file).write_text("pem")


def test_what_is_said_wins_over_the_environment_and_that_over_the_configuration(tmp_path: Path) -> None:
    store(tmp_path, "prod", "tcp://prod.example:2376", files=("ca.pem", "cert.pem", "key.pem"))
    store(tmp_path, "lab", "ssh://me@lab.example:2222")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "lab"}))
    env = {"DOCKER_CONFIG": str(tmp_path)}
    assert resolve_endpoint("", env).context == "lab"
    assert resolve_endpoint("", env | {"DOCKER_CONTEXT": "prod"}).context == "prod"
    host = env | {"DOCKER_CONTEXT": "prod", "DOCKER_HOST": "unix:///run/other.sock"}
    assert resolve_endpoint("", host).host == "unix:///run/other.sock"
    assert resolve_endpoint("lab", host).address == "lab.example"
    assert resolve_endpoint("default", host).host == "unix:///run/other.sock"
    assert resolve_endpoint("default", env).host == "unix:///var/run/docker.sock"
    assert known_contexts(env) == ("default", "lab", "prod")
    prod = resolve_endpoint("prod", env)
    assert (prod.tls, prod.verify, Path(prod.ca).name, Path(prod.key).name) == (True, True, "ca.pem", "key.pem")
    assert prod.url == "https://prod.example:2376" and not prod.is_local


def test_contexts_are_found_though_there_is_no_configuration_file(tmp_path: Path) -> None:
    store(tmp_path, "solo", "unix:///run/solo.sock", skip=True)
    solo = resolve_endpoint("solo", {"DOCKER_CONFIG": str(tmp_path)})
    assert (solo.socket_path, solo.is_local, solo.url) == ("/run/solo.sock", True, "http://docker")


def test_tls_from_the_environment_needs_its_files(tmp_path: Path) -> None:
    env = {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(EngineTrouble, match=r"ca\.pem .*is missing") as found:
        resolve_endpoint("", env)
    assert found.value.trouble == "misconfigured"
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("pem")
    endpoint = resolve_endpoint("", env)
    assert endpoint.tls and endpoint.verify and endpoint.ca == str(tmp_path / "ca.pem")
    assert not resolve_endpoint("", env | {"DOCKER_TLS_VERIFY": ""}).verify, "certificates without verification"
    assert not resolve_endpoint("", {"DOCKER_HOST": "unix:///s", "DOCKER_TLS_VERIFY": "1"}).tls


def test_ports_and_schemes_are_filled_in() -> None:
    assert resolve_endpoint("", {"DOCKER_HOST": "tcp://far"}).host == "tcp://far:2375"
    assert resolve_endpoint("", {"DOCKER_HOST": "far:99"}).host == "tcp://far:99"
    assert resolve_endpoint("", {"DOCKER_HOST": "http://far:99/"}).host == "tcp://far:99"


@pytest.mark.parametrize("host", ["gopher://x", "tcp://", "tcp://far:none", "unix://", "://"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(EngineTrouble) as found:
        resolve_endpoint("", {"DOCKER_HOST": host})
    assert found.value.trouble == "misconfigured"


def test_an_unknown_context_is_told_with_those_there_are(tmp_path: Path) -> None:
    store(tmp_path, "prod", "tcp://prod:2376")
    with pytest.raises(EngineTrouble, match="no Docker context `prdo`") as found:
        resolve_endpoint("prdo", {"DOCKER_CONFIG": str(tmp_path)})
    assert found.value.trouble == "not-found" and "default, prod" in found.value.next_step


def test_a_context_that_is_broken_names_its_file(tmp_path: Path) -> None:
    store(tmp_path, "bad", "")
    with pytest.raises(EngineTrouble, match="names no engine") as found:
        resolve_endpoint("bad", {"DOCKER_CONFIG": str(tmp_path)})
    assert found.value.trouble == "misconfigured"
    store(tmp_path, "half", "tcp://half:2376", files=("cert.pem",))
    with pytest.raises(EngineTrouble, match="only one of certificate and key"):
        resolve_endpoint("half", {"DOCKER_CONFIG": str(tmp_path)})
