"""The library's drills on containers that we keep: what passes on processes passes there, through the same edge."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import Engine
from tests.docker.images import make_image
from tests.e2e.harness import TRINITY, RealFleet, real_fleet
from tests.e2e.light_drill import YAML, scenario
from tests.e2e.light_fleet import LightFleet

pytestmark = pytest.mark.alone
SMALL = ("--confidence", "0.9", "--max-generator-lag", "1s")
"""As little load as a verdict needs."""


NONE_LOST = '["failed(embed) == 0"]'
KILL = scenario("fault: process.kill, target: victim, verify: [pid_gone, respawned]", hold="3s", expect=NONE_LOST)
SLOW = scenario(
    "fault: net.latency, target: victim, latency: 30ms, verify: [requests_affected]", name="slow", expect=NONE_LOST
)
HANG = scenario("fault: process.stop, target: victim, verify: [proc_state_T, holder_active]", name="hang")


def in_containers(image: str) -> str:
    """The light fleet's trinity.yaml, its processes as containers."""
    words = f'    command: [python3, /opt/programs/light_engine.py, "{{port}}"]\n    image: "{image}"'
    lines = [words if line.lstrip().startswith("command:") else line for line in YAML.splitlines()]
    return "\n".join(lines).replace("workloads:", "driver: docker\nworkloads:")


def runs_of(fleet: LightFleet, driver: str, files: list[Path], kept: Path) -> list[Path]:
    """Run each drill; the folders of the runs, copied away."""
    found = []
    with fleet:
        fleet.up()
        fleet.until_ready(2, "toy")
        for file in files:
            done = fleet.trinity("drill", "run", str(file), "--json", check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            run = json.loads(done.stdout)["run_id"]
            found.append(Path(shutil.copytree(fleet.paths.drills_dir / run, kept / driver / run)))
            report = json.loads((found[-1] / "report.json").read_text())
            assert (report["driver"], report["outcome"]) == (driver, "pass")
    return found


@pytest.mark.timeout(600)
def test_one_drill_file_gives_reports_that_stand_side_by_side_on_processes_and_on_containers(
    engine: Engine, tmp_path: Path
) -> None:
    files = [tmp_path / "kill.yaml", tmp_path / "slow.yaml", tmp_path / "hang.yaml"]
    for file, text in zip(files, (KILL, SLOW, HANG), strict=True):
        file.write_text(text)
    image = make_image("plain", engine.host)
    contained = runs_of(LightFleet(in_containers(image), DOCKER_HOST=engine.host), "docker", files, tmp_path)
    local = LightFleet(YAML)
    runs = runs_of(local, "local", files, tmp_path)
    for one, other in zip(runs, contained, strict=True):
        done = subprocess.run([*TRINITY, "drill", "compare", str(one), str(other)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The drivers differ (local and docker)" in done.stderr
        assert "failures 0 of" in done.stdout
        print(done.stdout)


@pytest.fixture(scope="module")
def contained(engine: Engine) -> Iterator[RealFleet]:
    """Two llm and three embedding replicas, each in a container."""
    yaml = f"""\
trinity: 1
driver: docker
workloads:
  llm: {{builtin: llm, image: "{make_image("llm", engine.host)}"}}
  embedding: {{builtin: embedding, image: "{make_image("embedding", engine.host)}"}}
"""
    with real_fleet(yaml=yaml, DOCKER_HOST=engine.host) as fleet:
        fleet.until_ready(2)
        fleet.until_ready(3, "embedding")
        yield fleet
    assert engine.sdk.containers.list(all=True, filters={"label": f"trinity.state={fleet.paths.digest}"}) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("drill", ["embedding-failover", "llm-replica-kill"])
def test_drill_passes_on_containers_without_a_failed_request(contained: RealFleet, drill: str) -> None:
    done = contained.trinity("drill", "run", drill, "--json", *SMALL, check=False, timeout_s=500.0)
    assert done.returncode == 0, done.stdout + done.stderr
    view = json.loads(done.stdout)
    assert view["outcome"] == "pass"
    assert contained.trinity("drill", "verify", view["run_id"]).returncode == 0
    report = json.loads((contained.paths.drills_dir / view["run_id"] / "report.json").read_text())
    print(json.dumps(report)[:3000])
