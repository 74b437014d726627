"""The shipped Dockerfiles build without a registry, and what they build runs: confined, healthy, ended cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.config.fleet_file import parse_fleet_file
from backend.config.paths import StatePaths
from backend.config.resolve import resolve
from backend.contract.clock import SystemClock
from backend.contract.control import Snapshot
from backend.contract.rows import RequestRow
from backend.daemon.parts import Parts
from backend.deploy import roles
from backend.deploy.compose import ROLE
from backend.deploy.places import write
from backend.serving.embedding.model import Model, bundled_files
from tests.docker.base_image import REFERENCE, make_base
from tests.docker.engine import Engine

ROOT = Path(__file__).parents[2]
LABEL = "trinity.role-images"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `trinity deploy render images` writes, with the project's wheel."""
    made = tmp_path_factory.mktemp("images")
    named = ROOT / ".tools" / "uv-path"
    uv = shutil.which("uv") or named.read_text().strip()
    done = subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", str(made)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    write(made / "context", roles.render(next(made.glob("*.whl")), ROOT / roles.LOCK))
    return made / "context"


@pytest.fixture(scope="module")
def build(engine: Engine, folder: Path) -> Callable[[str], str]:
    """Builds the image of a role with the engine's own builder; returns its reference. They go with the engine."""
    base = make_base(engine.api)
    built: dict[str, str] = {}

    def image(role: str) -> str:
        if role in built:
            return built[role]
        reference = f"trinity-{role}:under-test"
        environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "0"}
        words = ["--build-arg", f"BASE={base}", "--network", "none", "--force-rm"]
        argv = [
            "docker",
            "build",
            "--file",
            str(folder / f"{role}.Dockerfile"),
            "--tag",
            reference,
            *words,
            str(folder),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=550)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        built[role] = reference
        return reference

    return image


@contextlib.contextmanager
def running(engine: Engine, reference: str, mounted: Path | None = None, **options: Any) -> Iterator[Any]:
    """A container as the compose file and the chart confine it."""
    container = engine.sdk.containers.run(
        reference,
        detach=True,
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "", "/run/trinity": "uid=10001,gid=10001,mode=0700"},
        volumes={str(mounted): {"bind": "/etc/trinity", "mode": "ro"}} if mounted else {},
        labels={LABEL: ""} | options.pop("labels", {}),
        **options,
    )
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def healthy(container: Any, timeout_s: float = 120.0) -> None:
    """Wait for the image's own health check."""
    deadline = time.monotonic() + timeout_s
    while (health := _health(container)) != "healthy":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{health}: {container.logs().decode()[-2000:]}")
        time.sleep(0.1)


def _health(container: Any) -> str:
    container.reload()
    return str(container.attrs["State"].get("Health", {}).get("Status"))


def said_in(container: Any, *argv: str) -> str:
    code, output = container.exec_run(list(argv))
    assert code == 0, output
    return output.decode().strip()


def answered_in(container: Any, path: str, question: dict[str, Any]) -> dict[str, Any]:
    """What the container's own API says, asked from inside: no port of this machine is taken."""
    ask = (
        "import sys, urllib.request as u\n"
        "request = u.Request('http://127.0.0.1:8080' + sys.argv[1], sys.argv[2].encode())\n"
        "request.add_header('content-type', 'application/json')\n"
        "print(u.urlopen(request, timeout=30).read().decode())"
    )
    answer: dict[str, Any] = json.loads(said_in(container, "python3", "-c", ask, path, json.dumps(question)))
    return answer


@pytest.mark.timeout(600)
def test_the_llm_s_image_completes_a_chat(engine: Engine, build: Callable[[str], str]) -> None:
    sizes = {"SLOTS": "2", "THREADS": "2", "CONTEXT": "512", "MODEL_PATH": ""}
    with running(engine, build("llm"), environment=sizes, mem_limit="2g") as replica:
        healthy(replica)
        assert said_in(replica, "id", "-u") == "10001"
        question = {"messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 2}
        answer = answered_in(replica, "/v1/chat/completions", question)
        assert answer["usage"]["completion_tokens"] == 2 and answer["choices"][0]["message"]["content"]
        replica.stop(timeout=60)
        assert replica.wait()["StatusCode"] == 0


@pytest.mark.timeout(600)
def test_the_embedding_s_image_computes_what_is_computed_here(engine: Engine, build: Callable[[str], str]) -> None:
    texts = ["a red fox", "two", "Der Fuchs ist rot."]
    with running(engine, build("embedding"), environment={"THREADS": "1"}, mem_limit="1g") as replica:
        healthy(replica)
        assert said_in(replica, "id", "-u") == "10001"
        answer = answered_in(replica, "/v1/embeddings", {"input": texts})
        replica.stop(timeout=60)
        assert replica.wait()["StatusCode"] == 0
    model = Model(bundled_files(), threads=1)
    for text, entry in zip(texts, answer["data"], strict=True):
        here = model.embed([model.tokenize(text).ids])[0].tolist()
        assert math.dist(here, entry["embedding"]) < 1e-4, text


def of_compose(service: str) -> dict[str, str]:
    """Labels as Compose writes them for a service of our compose file."""
    keys = {"project": "role-images", "service": service, "container-number": "1", "oneoff": "False"}
    return {LABEL: "", ROLE: service} | {f"com.docker.compose.{key}": text for key, text in keys.items()}


async def seen_by_a_daemon(engine: Engine, place: Path, ask: Callable[[], object]) -> tuple[Snapshot, list[RequestRow]]:
    """What a daemon's snapshot and rows say once `ask` has sent a request through the project's edge."""
    text = "trinity: 1\nfleet: shop\ndriver: docker\ndocker: {project: role-images, services: false}\n"
    config = resolve(parse_fleet_file(text, "t"), "t", text)
    parts = Parts(StatePaths(place / "s").create(), config, SystemClock())
    await parts.open()
    try:
        await until(lambda: parts.snapshot().edge_up, "the edge is seen and Ready")
        await asyncio.to_thread(ask)

        def rows() -> list[RequestRow]:
            found = parts.ledger.recent("requests", where={"vantage": "edge", "request_id": "asked"})
            return [row for row in found if isinstance(row, RequestRow)]

        await until(lambda: rows() and parts.snapshot().point.ttft.count, "the request is a row, and TTFT")
        await until(lambda: parts.edge.observe().workloads, "the edge's own counts are there")
        return parts.snapshot(), rows()
    finally:
        await parts.close()


async def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 90.0
    while not true():
        assert time.monotonic() < end, f"not within 90 s: {what}"
        await asyncio.sleep(0.02)


@pytest.mark.timeout(600)
def test_the_edge_s_image_finds_replicas_by_docker_s_dns(
    engine: Engine, build: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    reference = build("edge")
    tmp_path.chmod(0o755)
    (tmp_path / "edge.yaml").write_text(
        "trinity: 1\nopen: true\nworkloads:\n"
        "  llm: {dns: llm, port: 8000, check: /, routes: [/], slots: 2, max_replicas: 4}\n"
    )
    page = (
        "import http.server as h\n"
        "class Stream(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Type', 'text/event-stream')\n"
        "        self.end_headers()\n"
        "        self.wfile.write(b'data: [DONE]\\n\\n')\n"
        "h.ThreadingHTTPServer(('', 8000), Stream).serve_forever()"
    )
    network = engine.sdk.networks.create("trinity-role-images", labels={LABEL: "1"})
    replicas: list[Any] = []
    try:
        for number in range(2):
            made = engine.api.create_container(
                reference,
                name=f"role-images-llm-{number + 1}",
                entrypoint=["python3", "-c", page],
                labels=of_compose("llm"),
                networking_config=engine.api.create_networking_config(
                    {network.name: engine.api.create_endpoint_config(aliases=["llm"])}
                ),
            )
            engine.api.start(made)
            replicas.append(engine.sdk.containers.get(made["Id"]))
        with running(engine, reference, tmp_path, network=network.name, labels=of_compose("edge")) as edge:
            healthy(edge)
            assert said_in(edge, "id", "-u") == "10001"
            ask = (
                "import urllib.request as u, json, time\n"
                "seen, end = set(), time.monotonic() + 60\n"
                "while len(seen) < 2 and time.monotonic() < end:\n"
                "    try: seen.add(u.urlopen('http://127.0.0.1:8080/').headers['X-Trinity-Replica'])\n"
                "    except OSError: time.sleep(0.1)\n"
                "print(json.dumps(sorted(seen)))"
            )
            found = set(json.loads(said_in(edge, "python3", "-c", ask)))
            for replica in replicas:
                replica.reload()
            addresses = {r.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"] for r in replicas}
            assert found == addresses
            assert b'"k":"end"' in edge.logs(), "the access log is the container's output"
            asked = "u.Request('http://127.0.0.1:8080/', headers={'X-Request-ID': 'asked'})"
            one = f"import urllib.request as u; u.urlopen({asked}).read()"
            snapshot, [row] = asyncio.run(
                seen_by_a_daemon(engine, tmp_path, lambda: said_in(edge, "python3", "-c", one))
            )
            assert (row.workload, row.stream) == ("llm", True) and row.ttft_s is not None
            assert row.replica in {replica.name for replica in replicas}, "its address has a name here"
            assert [view.ttft.count > 0 for view in snapshot.replicas if view.status.name == row.replica] == [True]
            assert snapshot.has_edge and not snapshot.edge_slots
            edge.stop(timeout=60)
            assert edge.wait()["StatusCode"] == 0, "SIGUSR1 ends it, not SIGKILL"
    finally:
        for replica in replicas:
            replica.remove(force=True)
        network.remove()


@pytest.mark.timeout(600)
def test_the_daemon_s_image_serves_health_and_metrics_without_a_platform(
    engine: Engine, build: Callable[[str], str], tmp_path: Path
) -> None:
    reference = build("daemon")
    tmp_path.chmod(0o755)
    (tmp_path / "trinity.yaml").write_text("trinity: 1\nfleet: shop\ndriver: docker\ndocker: {project: shop}\n")
    with running(engine, reference, tmp_path) as daemon:
        healthy(daemon)
        assert said_in(daemon, "id", "-u") == "10001"
        metrics = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
        assert 'fleet="shop"' in said_in(daemon, "python3", "-c", metrics)
        assert "0.1" in said_in(daemon, "trinity", "version")
        daemon.stop(timeout=60)
        assert daemon.wait()["StatusCode"] == 0


def test_an_image_is_little_more_than_its_base(engine: Engine, build: Callable[[str], str]) -> None:
    reference = build("edge")
    facts = engine.api.inspect_image(reference)
    base = engine.api.inspect_image(REFERENCE)
    assert facts["Size"] - base["Size"] < 30 * 2**20, "the wheel and an environment without pip"
    config = facts["Config"]
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGUSR1"
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp", "9090/tcp", "8404/tcp"}
