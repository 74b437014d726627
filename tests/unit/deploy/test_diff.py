"""`trinity deploy diff`: what differs is named field by field; what a platform adds by itself is no difference."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backend.deploy import compose
from backend.deploy.compare import RunningService, compare_documents, compare_project
from backend.deploy.running_compose import by_service
from backend.deploy.values import Values
from console.cli import run
from tests.kube_emulator.access import reader
from tests.kube_emulator.emulator import Emulator

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      containers:
        - name: web
          image: web:1
          env: [{name: MODE, value: fast}, {name: EMPTY, value: ""}]
          resources: {limits: {cpu: 500m, memory: 1Gi}}
          ports: [{name: http, containerPort: 8080}]
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {KEY: c2VjcmV0}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {edge.yaml: "trinity: 1"}
"""
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST))


def live(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any] | None]:
    """As a cluster would have them: with defaults, a status, and a volume for its token."""
    found: dict[tuple[str, str], dict[str, Any] | None] = {}
    for document in copy.deepcopy(documents):
        document["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": []}
        document["status"] = {"observedGeneration": 3}
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            pod |= {"restartPolicy": "Always", "volumes": [{"name": "kube-api-access-x1", "projected": {}}]}
            pod["containers"][0] |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/x"}
            pod["containers"][0]["env"][1].pop("value")
            pod["containers"][0]["env"].reverse()
            pod["containers"][0]["resources"] = {"limits": {"memory": "1024Mi", "cpu": "0.5"}}
        found[document["kind"], document["metadata"]["name"]] = document
    return found


def lines(wanted: list[dict[str, Any]], running: dict[tuple[str, str], dict[str, Any] | None]) -> list[str]:
    return [f"{d.subject}|{d.field}|{d.wanted}|{d.running}" for d in compare_documents(wanted, running)]


def test_what_the_cluster_adds_by_itself_is_no_difference() -> None:
    assert lines(DOCUMENTS, live(DOCUMENTS)) == []


def test_what_was_changed_by_hand_is_named() -> None:
    running = live(DOCUMENTS)
    deployment = running["Deployment", "web"]
    assert deployment is not None
    deployment["spec"]["replicas"] = 5
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "web:2"
    container["env"] = [{"name": "MODE", "value": "slow"}, {"name": "EMPTY"}, {"name": "DEBUG", "value": "1"}]
    container["resources"]["limits"]["memory"] = "2Gi"
    running["ConfigMap", "web"] = None
    secret = running["Secret", "keys"]
    assert secret is not None
    secret["data"] = {"KEY": "b3RoZXI="}
    path = "spec.template.spec.containers[web]"
    assert lines(DOCUMENTS, running) == [
        "Deployment web|spec.replicas|2|5",
        f"Deployment web|{path}.image|web:1|web:2",
        f"Deployment web|{path}.env[MODE].value|fast|slow",
        f'Deployment web|{path}.env[DEBUG]||{{"name":"DEBUG","value":"1"}}',
        f"Deployment web|{path}.resources.limits.memory|1Gi|2Gi",
        "ConfigMap web||exists|",
    ], "and a secret's other value is not shown"
    secret["data"] = {}
    assert "Secret keys|data.KEY|set|" in lines(DOCUMENTS, running)


_JSON = st.recursive(
    st.integers(-5, 5) | st.text(alphabet="ab", max_size=2) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


@given(spec=st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3), more=_JSON)
def test_a_document_never_differs_from_itself_with_more_in_it(spec: dict[str, Any], more: object) -> None:
    document = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}, "spec": spec}
    running = copy.deepcopy(document) | {"status": more}
    running["spec"] = {**spec, "added": more}
    assert lines([document], {("X", "n"): running}) == []


def service(**changes: Any) -> RunningService:
    wanted = compose.project(Values())["services"]["edge"]
    known: dict[str, Any] = {
        "images": (wanted["image"],),
        "environment": ({"PATH": "/bin"},),
        "ports": (frozenset(wanted["ports"]),),
    }
    return RunningService(**known | changes)


def test_a_project_that_runs_as_written_has_no_differences() -> None:
    services = compose.project(Values())["services"]
    running = {
        name: RunningService(
            images=(wanted["image"],) * wanted.get("scale", 1),
            environment=(dict(wanted.get("environment", {})) | {"PATH": "/bin"},) * wanted.get("scale", 1),
            ports=(frozenset(wanted.get("ports", ())),) * wanted.get("scale", 1),
        )
        for name, wanted in services.items()
        if "profiles" not in wanted
    }
    assert compare_project(services, running) == []
    del running["daemon"]
    running["old"] = service()
    found = [(d.subject, d.wanted, d.running) for d in compare_project(services, running)]
    assert found == [("service daemon", "runs", ""), ("service old", "", "runs")]


def test_image_replicas_environment_and_ports_of_a_service_are_compared() -> None:
    wanted = {"image": "llm:2", "scale": 3, "environment": {"SLOTS": "4"}, "ports": ["127.0.0.1:1:2"]}
    running = RunningService(
        images=("llm:2", "llm:1"), environment=({"SLOTS": "4"}, {"SLOTS": "2"}), ports=(frozenset(),) * 2
    )
    found = [(d.field, d.wanted, d.running) for d in compare_project({"llm": wanted}, {"llm": running})]
    assert found == [
        ("replicas", "3", "2"),
        ("image", "llm:2", "llm:1"),
        ("environment.SLOTS", "4", "2"),
        ("ports", "127.0.0.1:1:2", ""),
    ]


def test_inspected_containers_are_read_as_compose_writes_them() -> None:
    container = {
        "Config": {
            "Image": "edge:1",
            "Env": ["A=b=c", "EMPTY="],
            "Labels": {"com.docker.compose.project": "p", "com.docker.compose.service": "edge"},
        },
        "HostConfig": {
            "PortBindings": {
                "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
                "53/udp": [{"HostIp": "::1", "HostPort": "53"}],
                "9/tcp": [{"HostIp": "", "HostPort": "9"}],
            }
        },
    }
    read = by_service([container])["edge"]
    assert read.images == ("edge:1",) and read.environment == ({"A": "b=c", "EMPTY": ""},)
    assert read.ports == (frozenset({"127.0.0.1:8080:8080", "[::1]:53:53/udp", "0.0.0.0:9:9"}),)


async def called(*arguments: str) -> int:
    """The command beside the emulator, which answers on this loop."""
    return await asyncio.to_thread(run, ["deploy", "diff", *arguments])


async def test_a_release_is_compared_with_its_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(MANIFEST)
    async with Emulator(namespaces=("ai",)) as cluster:
        for document in live(DOCUMENTS).values():
            assert document is not None
            del document["metadata"]["resourceVersion"], document["metadata"]["uid"]
            cluster.add(document["kind"], document, namespace="ai")
        monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "config", namespace="ai")))
        assert await called("helm", "--manifest", str(manifest)) == 0
        assert "What runs is what the values say." in capsys.readouterr().err
        manifest.write_text(MANIFEST.replace("replicas: 2", "replicas: 3"))
        assert await called("helm", "--manifest", str(manifest), "--json") == 1
        (found,) = json.loads(capsys.readouterr().out)
        assert found == {"subject": "Deployment web", "field": "spec.replicas", "wanted": "3", "running": "2"}
        assert await called("helm", "--manifest", str(manifest), "--namespace", "other") == 1
        assert capsys.readouterr().out.count("exists") == 3, "nothing of it is there"

        cluster.account("looker", "looker-token", reader("ai"))
        cluster.write_kubeconfig(tmp_path / "config", namespace="ai", token="looker-token")
        manifest.write_text(MANIFEST)
        assert await called("helm", "--manifest", str(manifest)) == 0
        assert "may not read it: Secret keys" in capsys.readouterr().err
        cluster.write_kubeconfig(tmp_path / "config", namespace="ai", token="unknown")
        assert await called("helm", "--manifest", str(manifest)) == 69
        assert "Log in again" in capsys.readouterr().err
    with socket.socket() as nobody:  # bound, it is given to no other program, and refuses as a port that is free does
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", cluster.port))
        assert await called("helm", "--manifest", str(manifest)) == 69
    assert "does not answer" in capsys.readouterr().err


def test_what_cannot_be_compared_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "odd.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n")
    config = {"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "current-context": "c"}
    config |= {
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    for arguments, code, words in (
        (["compose"], 69, "Docker does not answer"),
        (["compose", "--namespace", "x"], 64, "for `diff helm`"),
        (["helm"], 64, "Correct KUBECONFIG"),
        (["helm", "--namespace", "x"], 64, "no helm on PATH"),
        (["helm", "--namespace", "x", "--manifest", str(tmp_path / "list.yaml")], 64, "is no Kubernetes object"),
    ):
        assert run(["deploy", "diff", *arguments]) == code, arguments
        assert words in capsys.readouterr().err
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    odd = ["--manifest", str(tmp_path / "odd.yaml")]
    assert run(["deploy", "diff", "helm", *odd]) == 64
    assert "Pod is no kind of our chart" in capsys.readouterr().err
    assert run(["deploy", "diff", "helm", "--context", "nowhere", *odd]) == 64
    assert "nowhere" in capsys.readouterr().err


def test_the_command_compares_services_with_services(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backend.deploy.running_compose.read_project", lambda project: {})
    assert run(["deploy", "diff", "compose"]) == 1
    said = capsys.readouterr().out
    assert "service edge" in said and "service llm" in said and "service volumes" not in said


def test_an_engine_that_is_not_there_and_values_that_are_not_there_are_one_sentence_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert run(["deploy", "diff", "compose"]) == 69
    said = capsys.readouterr().err
    assert f"Docker does not answer: no such file or directory (unix://{tmp_path}/none.sock)." in said
    assert run(["deploy", "diff", "compose", "--values", str(tmp_path / "none.yaml")]) == 64
    assert "none.yaml: no such file. Name an existing file of values," in capsys.readouterr().err
