"""`trinity deploy check`: the mistakes in a folder of rendered files, found before a platform finds them.

Owns which file is looked at by what. Files in our own formats are read as their programs will read them; compose files,
charts and Prometheus's files go through Compose, Helm and promtool where those are on PATH, and it is said where they
are not. Starts nothing else, reaches no platform.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from backend.config.edge_file import read_edge_file
from backend.config.fleet_file import parse_fleet_file, read_text
from backend.contract.errors import FileError, TrinityError
from backend.deploy.findings import Finding
from backend.deploy.values import parse_values

_TIMEOUT_S: Final = 60
_HEAD: Final = re.compile(r"^(\w+)\s+(.*)$", re.MULTILINE)
_MESSAGE: Final = re.compile(r"^(?:\[ERROR\]|Error:|ERROR:)\s*(.+)$|^\s*FAILED:\s*([\s\S]+)", re.MULTILINE)


def check_folder(folder: Path) -> list[Finding]:
    """What was found in every file below `folder` that we know, in the order of their paths.

    Raises FileError where there is no such folder, or nothing in it to check.
    """
    if not folder.is_dir():
        raise FileError(str(folder), "no such folder.", "Write one with `trinity deploy render KIND --out DIR`.")
    charts = [path.parent for path in sorted(folder.rglob("Chart.yaml"))]
    findings: list[Finding] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        chart = next((chart for chart in charts if chart in path.parents), None)
        if path.name == "Chart.yaml":
            findings += _chart(path.parent)
        elif chart is None or path.parent.name == "files":
            findings += _file(path)
    if not findings:
        words = "Write some with `trinity deploy render KIND --out DIR`."
        raise FileError(str(folder), "nothing here that a deployment is made of.", words)
    return findings


def _prometheus(path: Path, asked: str, findings: list[Finding]) -> list[Finding]:
    """With what Prometheus's own program says of the file, where there is one and we have found nothing ourselves."""
    if findings[0].result == "wrong":
        return findings
    if shutil.which("promtool") is None:
        return [*findings, Finding(result="skipped", what=str(path), detail="no promtool on PATH")]
    return [*findings, _run(["promtool", "check", asked, str(path)], f"promtool check {asked}", path)]


def _file(path: Path) -> list[Finding]:
    """The findings of one file; none for a file that we do not know."""
    look = _KINDS.get(path.name)
    if look is None and path.suffix == ".Dockerfile":
        look = _dockerfile
    if look is None and path.match("fly.*.toml"):
        look = _fly
    if look is None and path.match("dashboards/*.json"):
        look = _dashboard
    return [] if look is None else look(path)


def _looked(path: Path, reading: Callable[[], str]) -> list[Finding]:
    """`reading` returns what is right about the file, or raises for what is wrong."""
    try:
        return [Finding(result="ok", what=str(path), detail=reading())]
    except TrinityError as error:
        detail = str(error).removeprefix(f"{path}:").strip()
        return [Finding(result="wrong", what=str(path), detail=detail)]
    except yaml.YAMLError as error:
        return [Finding(result="wrong", what=str(path), detail=f"not valid YAML: {_one_line(str(error))}")]
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        return [Finding(result="wrong", what=str(path), detail=f"not valid: {error}.")]


def _edge(path: Path) -> list[Finding]:
    def reading() -> str:
        file = read_edge_file(path)
        return f"the edge serves {', '.join(sorted(file.workloads)) or 'nothing'}"

    return _looked(path, reading)


def _fleet(path: Path) -> list[Finding]:
    return _looked(path, lambda: f"a fleet of driver {parse_fleet_file(read_text(path), str(path)).driver}")


def _rules(path: Path) -> list[Finding]:
    def reading() -> str:
        rules = [rule for group in _mapping(path).get("groups", []) for rule in group.get("rules", [])]
        for rule in rules:
            if not rule.get("expr") or not (rule.get("alert") or rule.get("record")):
                raise FileError(str(path), f"a rule without an expression or a name: {rule}.", "Complete it.")
        return f"{len(rules)} rules"

    return _prometheus(path, "rules", _looked(path, reading))


def _scrapes(path: Path) -> list[Finding]:
    def reading() -> str:
        content = _mapping(path)
        missing = [name for name in content.get("rule_files", []) if not (path.parent / name).is_file()]
        if missing:
            raise FileError(str(path), f"names {', '.join(missing)}, which is not beside it.", "Render it again.")
        return f"{len(content.get('scrape_configs', []))} jobs"

    return _prometheus(path, "config", _looked(path, reading))


def _dashboard(path: Path) -> list[Finding]:
    return _looked(path, lambda: f"{len(json.loads(read_text(path))['panels'])} panels")


def _dockerfile(path: Path) -> list[Finding]:
    def reading() -> str:
        words = dict(_HEAD.findall(read_text(path)))  # the last of each
        user = words.get("USER", "")
        if not re.fullmatch(r"[1-9]\d*(:\d+)?", user):
            raise FileError(str(path), f"USER is `{user}`.", "Write a number other than 0: Kubernetes checks it.")
        if "HEALTHCHECK" not in words:
            raise FileError(str(path), "no HEALTHCHECK.", "Add one: Docker shows no health without it.")
        beside = path.parent
        if not list(beside.glob("dist/*.whl")) or not (beside / "requirements.lock").is_file():
            words_ = f"Build the wheel into {beside / 'dist'} (`uv build --wheel`) and copy requirements.lock there."
            raise FileError(str(path), "the wheel or the lock it copies is not here.", words_)
        return f"runs as {user}"

    return _looked(path, reading)


def _fly(path: Path) -> list[Finding]:
    def reading() -> str:
        content = tomllib.loads(read_text(path))
        missing = [key for key in ("app", "primary_region", "build") if key not in content]
        if missing:
            raise FileError(str(path), f"lacks {', '.join(missing)}.", "Render it again.")
        for file in content.get("files", []):
            if not (path.parent / file["local_path"]).is_file():
                raise FileError(str(path), f"{file['local_path']} is not beside it.", "Render it again.")
        return f"app {content['app']} in {content['primary_region']}"

    return _looked(path, reading)


def _tunnel(path: Path) -> list[Finding]:
    def reading() -> str:
        content = _mapping(path)
        if "ingress" not in content:
            return "no tunnel's"
        if "hostname" in content["ingress"][-1]:
            raise FileError(
                str(path),
                "the last ingress rule has a hostname.",
                "End with one that catches the rest (http_status:404).",
            )
        return f"a tunnel to {content['ingress'][0]['service']}"

    return _looked(path, reading)


def _compose(path: Path) -> list[Finding]:
    def reading() -> str:
        services = _mapping(path).get("services", {})
        if not services:
            raise FileError(str(path), "no services.", "Render it again.")
        return f"services {', '.join(services)}"

    found = _looked(path, reading)
    program = _compose_program()
    if program is None:
        return [*found, Finding(result="skipped", what=str(path), detail="neither `docker compose` nor docker-compose")]
    if found[0].result == "wrong":
        return found
    unwritten = [name for name in ("trinity.env", "grafana.env") if _names(path, name) and not _beside(path, name)]
    if unwritten:
        detail = f"not checked by Compose: write {', '.join(unwritten)} first (there is an .example of each)"
        return [*found, Finding(result="skipped", what=str(path), detail=detail)]
    return [*found, _run([*program, "-f", str(path), "config", "-q"], f"{' '.join(program)} config", path.parent)]


def _names(path: Path, name: str) -> bool:
    return f"- {name}\n" in read_text(path)


def _beside(path: Path, name: str) -> bool:
    return (path.parent / name).is_file()


def _compose_program() -> list[str] | None:
    if shutil.which("docker") and _succeeds(["docker", "compose", "version"]):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def _chart(chart: Path) -> list[Finding]:
    values = [path for path in sorted(chart.glob("values*.yaml")) if path.name != "values.schema.json"]
    findings = [finding for path in values for finding in _values(path)]
    if shutil.which("helm") is None:
        return [*findings, Finding(result="skipped", what=str(chart), detail="no helm on PATH to lint the templates")]
    findings.append(_run(["helm", "lint", "--quiet", str(chart)], "helm lint", chart))
    for path in values:
        argv = ["helm", "template", "trinity", str(chart), "--values", str(path)]
        findings.append(_run(argv, f"helm template --values {path.name}", chart))
    return findings


def _values(path: Path) -> list[Finding]:
    def reading() -> str:
        parse_values(read_text(path), str(path))
        return "values"

    return _looked(path, reading)


def _run(argv: list[str], what: str, where: Path) -> Finding:
    """What a program of others says of the files."""
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(argv, stdout=output, stderr=output, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding(result="wrong", what=what, detail=_one_line(str(error)))
        output.seek(0)
        said = output.read()
    if done.returncode == 0:
        return Finding(result="ok", what=what, detail=str(where))
    found = _MESSAGE.search(said)
    return Finding(result="wrong", what=what, detail=_one_line(found[1] or found[2][:400] if found else said[-400:]))


def _succeeds(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _mapping(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(read_text(path))
    if not isinstance(content, dict):
        raise FileError(str(path), "is no mapping.", "Render it again.")
    return content


def _one_line(text: str) -> str:
    return " ".join(text.split())


_KINDS: Final[dict[str, Callable[[Path], list[Finding]]]] = {
    "compose.yaml": _compose,
    "edge.yaml": _edge,
    "trinity.yaml": _fleet,
    "alerts.yaml": _rules,
    "prometheus.yml": _scrapes,
    "dashboard.json": _dashboard,
    "fly.toml": _fly,
    "config.yaml": _tunnel,
}
