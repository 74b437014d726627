"""`trinity deploy`: what it writes, what it never overwrites, and the mistakes it finds."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.deploy.check import check_folder
from backend.deploy.findings import Finding
from console.cli import run

KINDS = ("compose", "helm", "images", "fly", "cloudflared", "monitoring")


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """PATH without any program but those that a test puts there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def put(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    return put


def render(kind: str, out: Path, *arguments: str) -> int:
    return run(["deploy", "render", kind, "--out", str(out), *arguments])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_named_and_a_second_time_changes_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(kind, tmp_path) == 0
    before = everything(tmp_path)
    said = capsys.readouterr().out
    assert before and all(f"written    {tmp_path / name}" in said for name in before)
    assert render(kind, tmp_path) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"unchanged"}
    assert everything(tmp_path) == before


def test_other_files_are_not_overwritten_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render("compose", tmp_path) == 0
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "edge" / "edge.yaml").unlink()
    capsys.readouterr()
    assert render("compose", tmp_path) == 7
    told = capsys.readouterr()
    assert "compose.yaml with another content" in told.err and "--force" in told.err
    assert not (tmp_path / "edge" / "edge.yaml").exists(), "where one file is in the way nothing is written"
    assert render("compose", tmp_path, "--force", "--json") == 0
    outcomes = {Path(item["path"]).name: item["outcome"] for item in json.loads(capsys.readouterr().out)}
    assert outcomes["compose.yaml"] == "replaced" and outcomes["edge.yaml"] == "written"


def test_files_that_cannot_be_used_are_usage_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    bad = tmp_path / "values.yaml"
    bad.write_text("llm: {replica: 3}\n")
    for arguments, words in (
        (("compose", tmp_path / "x", "--values", str(tmp_path / "none.yaml")), "no such file"),
        (("compose", tmp_path / "x", "--values", str(bad)), "values.yaml:1:7: unknown key `replica`"),
        (("compose", tmp_path / "file" / "below"), "cannot be written"),
        (("images", tmp_path / "x", "--wheel", str(tmp_path / "none.whl")), "uv build --wheel"),
        (("helm", tmp_path / "x", "--wheel", str(bad)), "for `render images`"),
    ):
        assert render(*arguments) == 64  # type: ignore[arg-type]
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def findings(folder: Path) -> dict[str, Finding]:
    return {Path(finding.what).name: finding for finding in check_folder(folder)}


def wrong(folder: Path) -> dict[str, str]:
    return {Path(finding.what).name: finding.detail for finding in check_folder(folder) if finding.result == "wrong"}


def test_all_that_we_render_is_right(tmp_path: Path, bare_path: Callable[[str, str], None]) -> None:
    for kind in KINDS:
        assert render(kind, tmp_path / kind) == 0
    (tmp_path / "images" / "dist").mkdir(exist_ok=True)
    (tmp_path / "images" / "dist" / "trinity_console-1-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "images" / "requirements.lock").touch()
    assert wrong(tmp_path) == {}
    known = findings(tmp_path)
    assert {"compose.yaml", "edge.yaml", "trinity.yaml", "values.yaml", "edge.Dockerfile", "fly.toml"} <= set(known)
    assert {"config.yaml", "alerts.yaml", "prometheus.yml", "trinity.json", "fly.llm.toml"} <= set(known)
    skipped = {f.detail for f in known.values() if f.result == "skipped"}
    assert any("helm" in words for words in skipped) and any("docker-compose" in words for words in skipped)
    assert any("promtool" in words for words in skipped)


@pytest.mark.parametrize(
    ("kind", "name", "before", "after", "words"),
    [
        ("compose", "edge/edge.yaml", "slots: 4", "slots: four", "a whole number is wanted"),
        ("compose", "daemon/trinity.yaml", "driver: docker", "driver: dokcer", "Perhaps `docker` was meant"),
        ("compose", "compose.yaml", "services:", "services: ]", "not valid YAML"),
        ("compose", "prometheus/prometheus.yml", "alerts.yaml", "other.yaml", "other.yaml, which is not beside it"),
        (
            "monitoring",
            "prometheus/alerts.yaml",
            "expr: trinity_retry_share > 0.05",
            "expr: ''",
            "without an expression",
        ),
        ("monitoring", "grafana/dashboards/trinity.json", "{", "", "not valid"),
        ("helm", "trinity/values.yaml", "replicas: 2", "replicas: -2", ">= 0"),
        ("images", "edge.Dockerfile", "USER 10001:10001", "USER root", "USER is `root`"),
        ("images", "llm.Dockerfile", "HEALTHCHECK", "# HEALTHCHECK", "no HEALTHCHECK"),
        ("fly", "fly.toml", 'app = "trinity"', "", "lacks app"),
        ("fly", "fly.llm.toml", "[build]", "[build", "not valid"),
        (
            "cloudflared",
            "config.yaml",
            "- service: http_status:404",
            "- {hostname: x, service: 'http://x'}",
            "hostname",
        ),
    ],
)
def test_a_mistake_is_found_and_is_exit_code_64(
    kind: str, name: str, before: str, after: str, words: str, tmp_path: Path, bare_path: object,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert render(kind, tmp_path) == 0
    text = (tmp_path / name).read_text()
    assert before in text
    (tmp_path / name).write_text(text.replace(before, after, 1))
    assert words in wrong(tmp_path)[Path(name).name]
    capsys.readouterr()
    assert run(["deploy", "check", str(tmp_path)]) == 64
    assert words in capsys.readouterr().out


def test_programs_that_are_there_are_asked_and_their_words_kept(
    tmp_path: Path, bare_path: Callable[[str, str], None]
) -> None:
    bare_path("helm", "echo '[ERROR] templates/: parse error in edge.yaml' >&2; exit 1")
    bare_path("docker-compose", 'echo "$@" > $0.asked')
    bare_path(
        "promtool", '[ "$2" = rules ] || { echo "  FAILED: parsing YAML file: field scrape not found" >&2; exit 1; }'
    )
    out = tmp_path / "out"
    assert render("helm", out / "helm") == 0 and render("compose", out / "compose") == 0
    known = {f.what: f for f in check_folder(out)}
    assert known["helm lint"].result == "wrong"
    assert known["helm lint"].detail == "templates/: parse error in edge.yaml"
    assert "helm template --values values-staging.yaml" in known
    assert known["promtool check rules"].result == "ok" and known["promtool check config"].result == "wrong"
    assert known["promtool check config"].detail == "parsing YAML file: field scrape not found"
    assert "docker-compose config" not in known, "the env files that it names are not written yet"
    for name in ("trinity.env", "grafana.env"):
        (out / "compose" / name).touch()
    assert {f.what: f for f in check_folder(out)}["docker-compose config"].result == "ok"
    assert "config -q" in (tmp_path / "programs" / "docker-compose.asked").read_text()


def test_a_folder_without_a_deployment_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path / "none", tmp_path):
        assert run(["deploy", "check", str(folder)]) == 64
        assert "trinity deploy render KIND" in capsys.readouterr().err


def test_shipped_files_are_not_executable_and_hold_no_bytecode(tmp_path: Path) -> None:
    assert render("helm", tmp_path) == 0 and render("images", tmp_path) == 0
    for path in tmp_path.rglob("*"):
        assert path.suffix != ".pyc" and "__pycache__" not in path.parts
        assert path.is_dir() or not path.stat().st_mode & stat.S_IXUSR or os.name == "nt"
