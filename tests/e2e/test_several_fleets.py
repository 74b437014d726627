"""Several fleets in one daemon: each with its own replicas, edge, ledger and commands; one that cannot be opened stops
no other; all of them come back with the next daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import httpx
import pytest

from backend.contract.control import FleetInfo, FleetOrder
from backend.contract.errors import TrinityError, Unreachable
from backend.control_client import ControlClient
from tests.e2e.harness import PATIENCE_S, is_alive, wait_for
from tests.e2e.light_fleet import WEB, LightFleet, light_fleet

SECOND = WEB.replace("trinity: 1", 'trinity: 1\nfleet: "shop:second/half"').replace("replicas: 2", "replicas: 1")
NAME = "shop:second/half"


@pytest.fixture(scope="module")
def both() -> Iterator[LightFleet]:
    """A fleet of two replicas, and beside it, in the same daemon, one of one replica."""
    with light_fleet() as fleet:
        (fleet.root / "second.yaml").write_text(SECOND)
        said = fleet.trinity("fleets", "add", "--file", "second.yaml").stdout
        assert said.startswith(f"{NAME} (local) is looked after: ")
        fleet.trinity("wait", "--fleet", NAME, "--timeout", "240")
        yield fleet


def infos(fleet: LightFleet) -> dict[str, FleetInfo]:
    return {info.name: info for info in fleet.ask(lambda client: client.fleets())}


def pids(fleet: LightFleet, name: str) -> dict[str, int | None]:
    async def ask() -> dict[str, int | None]:
        snapshot = await ControlClient(fleet.paths.control_socket, fleet=name).snapshot()
        return {view.status.name: view.status.pid for view in snapshot.replicas}

    return asyncio.run(ask())


def test_each_fleet_has_its_own_replicas_edge_and_journal(both: LightFleet) -> None:
    assert [(i.name, i.health, i.replicas) for i in infos(both).values()] == [("local", "ok", 2), (NAME, "ok", 1)]
    table = both.trinity("fleets").stdout.splitlines()
    assert table[0].split() == ["NAME", "DRIVER", "ADDRESS", "HEALTH", "REPLICAS", "REASON"]
    assert table[2].split() == [NAME, "local", "local", "ok", "1"]
    status = both.json("status", "--fleet", NAME)
    assert status["fleet"] == NAME
    assert status["public_url"] != both.snapshot().public_url
    assert httpx.get(f"{status['public_url']}/web/index.html", timeout=PATIENCE_S).text == "hello"
    both.trinity("--fleet", NAME, "note", "only here")
    assert "only here" in both.trinity("events", "--fleet", NAME).stdout
    assert "only here" not in both.trinity("events").stdout
    both.trinity("--fleet", NAME, "scale", "web", "2")
    both.trinity("wait", "--fleet", NAME, "--timeout", "240")
    assert len(pids(both, NAME)) == 2
    assert both.snapshot().workloads[0].wanted == 2
    both.trinity("--fleet", NAME, "scale", "web", "1")
    wait_for(lambda: len(pids(both, NAME)) == 1, 60.0, "one replica again")


def test_metrics_tell_of_each_fleet(both: LightFleet) -> None:
    wanted = ['trinity_fleet_replicas{fleet="local",driver="local"} 2']
    wanted += [f'trinity_fleet_ok{{fleet="{NAME}",driver="local"}} 1']
    for name, replicas in (("local", 2), (NAME, 1)):
        wanted += [f'trinity_instance_count{{fleet="{name}"}} {replicas}']
        wanted += [f'trinity_workload_replicas_ready{{fleet="{name}",workload="web"}} {replicas}']

    def told() -> bool:
        text = httpx.get(f"{both.metrics_url}/metrics", timeout=PATIENCE_S).text
        return all(line in text for line in wanted)

    wait_for(told, PATIENCE_S, f"metrics of both: {wanted}")


def test_its_files_and_its_socket_are_its_own(both: LightFleet) -> None:
    (own,) = both.paths.further_fleets()
    assert own.wanted_file.is_file()
    snapshot = asyncio.run(ControlClient(own.control_socket).snapshot())
    assert snapshot.fleet == NAME
    rows = both.trinity("query", "select count(*) as n from events", "--fleet", NAME, "--json").stdout
    assert json.loads(rows)["n"] > 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status --fleet loca", "There is no fleet `loca` here. Did you mean local?"),
        ("fleets add", "by its address or by its file"),
        ("fleets add moon", "`moon` is no address of a fleet."),
        ("fleets add local", "There is a fleet `local` already"),
        ("fleets add --file second.yaml", f"There is a fleet `{NAME}` already"),
        ("fleets add --file nope.yaml", "no such file"),
        ("fleets forget nope", "There is no fleet `nope` here."),
    ],
)
def test_a_mistake_is_a_sentence(both: LightFleet, command: str, words: str) -> None:
    done = both.trinity(*command.split(), check=False)
    assert done.returncode == 64, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_the_first_fleet_is_not_forgotten(both: LightFleet) -> None:
    done = both.trinity("fleets", "forget", "local", check=False)
    assert done.returncode == 7
    assert "the fleet that this daemon was started with" in done.stderr


def test_all_of_them_come_back_after_the_daemon_was_killed_and_one_that_cannot_stops_no_other(
    both: LightFleet,
) -> None:
    program = both.root / "program.sh"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m http.server $1 --bind 127.0.0.1\n")
    program.chmod(0o755)
    yaml = f"trinity: 1\nfleet: broken\nworkloads:\n  web: {{command: ['{program}', '{{port}}'], replicas: 0}}\n"
    both.ask(lambda client: client.add_fleet(FleetOrder(yaml=yaml)))
    before = pids(both, "local"), pids(both, NAME)
    both.kill_daemon()
    program.unlink()
    both.trinity("up", "--no-wait")

    def all_known() -> bool:
        health = {name: info.health for name, info in infos(both).items()}
        return (health.get("local"), health.get(NAME), health.get("broken")) == ("ok", "ok", "down")

    wait_for(all_known, 60.0, "both are adopted, the third is down")
    assert (pids(both, "local"), pids(both, NAME)) == before, "the same processes"
    assert "there is no program" in infos(both)["broken"].health_reason
    wait_for(lambda: any(event.kind == "fleet.not_opened" for event in both.events()), PATIENCE_S, "its event")
    done = both.trinity("ps", "--fleet", "broken", check=False)
    assert done.returncode == 69
    assert "broken is not open" in done.stderr
    with pytest.raises(Unreachable):
        pids(both, "broken")
    both.trinity("fleets", "forget", "broken")
    assert "broken" not in infos(both)


def test_a_forgotten_fleet_goes_on_or_is_taken_down(both: LightFleet) -> None:
    (pid,) = pids(both, NAME).values()
    assert pid is not None
    both.trinity("fleets", "forget", NAME)
    assert list(infos(both)) == ["local"]
    assert is_alive(pid)
    with pytest.raises(TrinityError):
        pids(both, NAME)
    both.trinity("fleets", "add", "--file", "second.yaml")
    assert list(pids(both, NAME).values()) == [pid], "adopted"
    both.trinity("down", "--fleet", NAME)
    assert list(infos(both)) == ["local"]
    assert not is_alive(pid)
    assert both.snapshot().health == "ok"


def test_a_platform_that_does_not_answer_is_said_and_stops_nothing(both: LightFleet) -> None:
    yaml = "trinity: 1\nfleet: far\ndriver: kubernetes\nkubernetes: {kubeconfig: /nowhere/config}\n"
    (both.root / "far.yaml").write_text(yaml)
    done = both.trinity("fleets", "add", "--file", "far.yaml")
    assert done.stdout.startswith("far (k8s) is looked after: down")
    assert "/nowhere/config" in done.stderr
    done = both.trinity("up", "--fleet", "far", check=False)
    assert done.returncode == 69
    assert done.stderr.startswith("trinity: far: ")
    assert len(done.stderr.splitlines()) == 1
    assert "What follows may be old" in both.trinity("ps", "--fleet", "far").stderr
    assert both.snapshot().health == "ok"
    both.trinity("fleets", "forget", "far")


def test_down_ends_all_of_them_with_a_daemon_and_without(both: LightFleet) -> None:
    both.trinity("fleets", "add", "--file", "second.yaml")
    both.trinity("down")
    both.assert_nothing_runs()
    both.trinity("up", "--no-wait")
    wait_for(lambda: NAME in infos(both) and infos(both)[NAME].replicas == 1, PATIENCE_S, "the second is back")
    both.kill_daemon()
    both.trinity("down")
    both.assert_nothing_runs()


def test_a_daemon_can_have_nothing_but_the_fleet_of_an_address() -> None:
    with LightFleet(DOCKER_HOST="unix:///nowhere/docker.sock") as fleet:
        done = fleet.trinity("--fleet", "docker", "up", check=False)
        assert done.returncode == 69
        assert "docker: " in done.stderr
        assert [(info.name, info.health) for info in infos(fleet).values()] == [("docker", "down")]
        assert len(fleet.processes()) == 1, (
            "the daemon, and no replica or edge of a trinity.yaml that happens to be here"
        )
        assert fleet.snapshot().fleet == "docker"
        fleet.trinity("down")
        fleet.assert_nothing_runs()
