"""What trinity.yaml becomes, and every sentence it is refused with."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from backend.config.checks import public_ports
from backend.config.fleet_file import DEFAULT, parse_fleet_file
from backend.config.place import Place
from backend.config.resolve import FleetConfig, resolve
from backend.contract.errors import FileError, UsageError
from backend.serving.models import bundled_model


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_PATH", "MAX_INSTANCES", "MIN_INSTANCES", "LOG_PROFILE", "TRINITY_API_KEY", "INFERENCE_PORT"):
        monkeypatch.delenv(name, raising=False)


def made(text: str, source: str = "/nowhere/trinity.yaml") -> FleetConfig:
    return resolve(parse_fleet_file(text, source), source, text)


def refused(text: str, source: str = "/nowhere/trinity.yaml") -> FileError:
    with pytest.raises(FileError) as caught:
        made(text, source)
    return caught.value


def web(lines: str) -> str:
    """A command workload; `lines` stand on line 5 and after."""
    return f"trinity: 1\nworkloads:\n  web:\n    command: [{sys.executable}, -m, http.server]\n    cwd: /\n{lines}"


def llm(lines: str) -> str:
    return f"trinity: 1\nworkloads:\n  llm:\n    builtin: llm\n{lines}"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('trinity: 1\nfleet: ""\n', 2, ("`fleet` has a name that cannot be used.", "up to 120")),
        ("trinity: 1\nlisten: here\n", 2, ("`here` is no address", "127.0.0.1")),
        ("trinity: 1\nlisten: 0.0.0.0\n", 2, ("opens the edge to the network", "TRINITY_API_KEY")),
        ("trinity: 1\nedge:\n  port: 70000\n", 3, ("edge.port is 70000", "1 to 65535")),
        ("trinity: 1\nedge:\n  stats_port: -1\n", 3, ("edge.stats_port is -1",)),
        ("trinity: 1\nedge:\n  max_queue: 0\n", 3, ("edge.max_queue is 0", "1 to 100000")),
        ("trinity: 1\nedge:\n  max_queue: 100001\n", 3, ("edge.max_queue is 100001",)),
        ("trinity: 1\nedge:\n  snippet: no.cfg\n", 3, ("there is no file /nowhere/no.cfg",)),
        (
            "trinity: 1\nsettings:\n  MAX_INSTANCE: 2\n",
            3,
            ("unknown setting `MAX_INSTANCE`", "Did you mean", "Allowed:"),
        ),
        ("trinity: 1\nsettings:\n  MAX_INSTANCES: two\n", 3, ("MAX_INSTANCES: `two`", "whole number")),
        ("trinity: 1\nsettings:\n  TARGET_CPU_PERCENT: 101\n", 3, ("at most 100",)),
        ("trinity: 1\nsettings:\n  COOLDOWN_SECONDS: soon\n", 3, ("a number is wanted",)),
        ("trinity: 1\nsettings:\n  LOG_PROFILE: loud\n", 3, ("allowed:", "production")),
        ("trinity: 1\nprofiles:\n  prod: {}\n", 3, ("unknown profile `prod`", "production")),
        ("trinity: 1\nprofiles:\n  testing:\n    MIN: 1\n", 4, ("unknown setting `MIN`",)),
        ("trinity: 1\nprofiles:\n  production:\n    NUM_THREADS: 0\n", 4, ("at least 1",)),
        ("trinity: 1\nworkloads:\n  Llm: {builtin: llm}\n", 3, ("name that cannot be used", "a-z")),
        ("trinity: 1\nworkloads:\n  edge: {builtin: llm}\n", 3, ("load balancer",)),
        ("trinity: 1\nworkloads:\n  llm: {slots: 2}\n", 3, ("exactly one of `builtin` and `command`",)),
        ("trinity: 1\nworkloads:\n  llm: {builtin: llm, command: [a]}\n", 3, ("exactly one",)),
        ("trinity: 1\nworkloads:\n  web:\n    command: []\n", 4, ("empty `command`",)),
        (
            "trinity: 1\nworkloads:\n  web:\n    command: [no-such-program]\n    cwd: /\n",
            4,
            ("-program on PATH",),
        ),
        ("trinity: 1\nworkloads:\n  web:\n    command: [./run.sh]\n    cwd: /\n", 4, ("no program /run.sh.",)),
        (web("    max_replicas: 65\n"), 6, ("max_replicas 65", "1 to 64")),
        (web("    replicas: 17\n"), 6, ("wants 17 replicas", "0 to 16")),
        (web("    slots: 0\n"), 6, ("0 slots", "1 to 4096")),
        (web("    port: 0\n"), 6, ("port 0", "`auto`")),
        (web("    port: 9999\n    replicas: 2\n"), 6, ("fixed port and several replicas", "{port}")),
        (web("    resources: {nice: 20}\n"), 6, ("nice 20", "-20 to 19")),
        (web("    routes: [web]\n"), 6, ("the route `web`", "begin with /")),
        (web("    probes:\n      readiness: {http: health}\n"), 7, ("readiness probe asks for `health`",)),
        (web("    probes:\n      liveness: {http: /, tcp: true}\n"), 7, ("more than one of http, tcp and command",)),
        (web("    probes:\n      startup: {command: []}\n"), 7, ("startup probe has an empty command",)),
        (web("    probes:\n      readiness:\n        tcp: true\n        period: 0s\n"), 9, ("period of 0 s", "10ms")),
        (web("    probes:\n      readiness:\n        failure_threshold: 0\n"), 8, ("failure_threshold of 0",)),
        (web("  b:\n    command: [sh]\n    cwd: /\n    routes: [/web]\n"), 9, ("claimed by `web` and `b`",)),
        (llm("    model: no.gguf\n"), 5, ("/nowhere/no.gguf", "no such model file")),
    ],
)
def test_each_check_names_its_line_and_what_to_do(text: str, line: int, words: tuple[str, ...]) -> None:
    error = refused(text)
    assert error.line == line, str(error)
    assert error.next_step
    for word in words:
        assert word in str(error)


def test_a_working_directory_that_is_not_there() -> None:
    assert "directory /nowhere does not exist" in str(refused("trinity: 1\nworkloads:\n  a:\n    command: [sh]\n"))


def test_ports_that_are_the_same_are_refused() -> None:
    with pytest.raises(UsageError, match="INFERENCE_PORT and STATS_PORT are both 9000"):
        made("trinity: 1\nedge: {port: 9000, stats_port: 9000}\n")


def test_the_built_in_default_is_two_llm_and_three_embedding_replicas_and_names_its_clamps() -> None:
    config = resolve(DEFAULT)
    spec, _ = config.workloads
    assert (spec.name, spec.replicas, spec.engine, config.name, config.listen) == (
        "llm",
        2,
        "llamacpp",
        "local",
        "127.0.0.1",
    )
    assert "/v1/chat/completions" in spec.routes
    assert spec.revision
    assert config.replica_memory_bytes["llm"] > 50_000_000
    assert all(note.startswith("llm: ") for note in config.notes)
    assert (config.text, config.source) == ("", "")


def test_the_built_in_embedding_workload() -> None:
    (spec,) = made("trinity: 1\nworkloads:\n  embedding: {builtin: embedding}\n").workloads
    assert spec == msgspec.structs.replace(resolve(DEFAULT).workloads[1], revision=spec.revision)
    assert (spec.replicas, spec.slots, spec.engine, spec.memory_limit_bytes) == (3, 8, "embedding", 2 * 2**30)
    assert spec.routes == ("/v1/embeddings", "/embed")
    assert spec.model_alias == "all-minilm-l6-v2"
    probes = (spec.probes.startup, spec.probes.readiness, spec.probes.liveness)
    assert [(probe.path, probe.port) for probe in probes if probe] == [
        ("/health/startup", "health"),
        ("/health/ready", "health"),
        ("/health/live", "health"),
    ]


def test_the_embedding_workload_takes_no_model() -> None:
    error = refused("trinity: 1\nworkloads:\n  e:\n    builtin: embedding\n    model: x.onnx\n")
    assert "serves the bundled one" in str(error)
    assert error.line == 5


def test_environment_wins_over_profile_over_settings_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "trinity: 1\nsettings:\n  MAX_INSTANCES: 3\n  MIN_INSTANCES: 2\nprofiles:\n  production:\n"
    text += "    MAX_INSTANCES: 4\n  testing:\n    MAX_INSTANCES: 5\n"
    settings = made(text).settings
    assert (settings.max_instances, settings.min_instances, settings.target_queue_depth) == (4, 2, 50.0)
    monkeypatch.setenv("LOG_PROFILE", "testing")
    assert made(text).settings.max_instances == 5
    monkeypatch.setenv("MAX_INSTANCES", "6")
    assert made(text).settings.max_instances == 6
    monkeypatch.setenv("MAX_INSTANCES", "")
    assert made(text).settings.max_instances == 5, "an empty variable says nothing"


def test_a_bad_value_in_the_environment_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_INSTANCES", "many")
    with pytest.raises(UsageError, match=r"MAX_INSTANCES: `many` .* Correct it in the environment") as caught:
        made("trinity: 1\nsettings:\n  MAX_INSTANCES: 3\n")
    assert not isinstance(caught.value, FileError)


def test_a_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(UsageError, match=r"MIN_INSTANCES \(11\) is larger than MAX_INSTANCES \(10\)"):
        made("trinity: 1\nsettings:\n  MIN_INSTANCES: 11\n")


def test_public_ports_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "trinity: 1\nedge: {port: 7000, stats_port: 7001}\n"
    config = made(text)
    assert public_ports(config.settings, config.file)["INFERENCE_PORT"] == 7000
    monkeypatch.setenv("INFERENCE_PORT", "7005")
    config = made(text)
    assert public_ports(config.settings, config.file) == {
        "INFERENCE_PORT": 7005,
        "HEALTH_PORT": 8081,
        "METRICS_PORT": 9090,
        "STATS_PORT": 7001,
    }


def test_an_api_key_allows_a_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRINITY_API_KEY", "k")
    assert made("trinity: 1\nlisten: 0.0.0.0\n").listen == "0.0.0.0"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_loopback_needs_no_key(address: str) -> None:
    assert made(f'trinity: 1\nlisten: "{address}"\n').listen == address


def test_relative_paths_begin_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").symlink_to(bundled_model())
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "more.cfg").write_text("")
    text = "trinity: 1\nedge: {snippet: more.cfg}\nworkloads:\n  a: {builtin: llm, model: m.gguf}\n"
    text += "  b: {command: [./run.sh]}\n"
    config = made(text, str(tmp_path / "trinity.yaml"))
    llm_spec, command = config.workloads
    assert Path(llm_spec.env["MODEL_PATH"]).parent == tmp_path
    assert command.cwd == str(tmp_path)
    assert config.file.edge.snippet == str(tmp_path / "more.cfg")
    assert (config.text, config.source) == (text, str(tmp_path / "trinity.yaml"))


def test_a_relative_path_stays_where_the_file_has_no_place() -> None:
    assert Place("stdin").anchored("a/b") == "a/b"
    assert Place("/x/trinity.yaml").anchored("/a/b") == "/a/b"


def test_a_revision_changes_with_what_needs_a_new_process_only() -> None:
    revision = made(web("")).workloads[0].revision
    assert made(web("    replicas: 3\n    routes: [/other]\n    max_replicas: 20\n")).workloads[0].revision == revision
    assert made(web("    env: {A: b}\n")).workloads[0].revision != revision
    assert made(web("    slots: 3\n")).workloads[0].revision != revision


def test_a_command_has_tcp_probes_unless_it_names_its_own() -> None:
    probes = made(web("")).workloads[0].probes
    assert probes.readiness is not None
    assert probes.readiness.kind == "tcp"
    own = made(web("    probes: {readiness: {http: /ok, period: 250ms}}\n")).workloads[0].probes
    assert own.readiness is not None
    assert (own.readiness.kind, own.readiness.path, own.readiness.period_s, own.startup) == ("http", "/ok", 0.25, None)
