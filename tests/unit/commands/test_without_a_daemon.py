"""Commands where no daemon runs: what to start is named, and nothing of this machine is asked of a platform's fleet."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from backend.commands.doctor import doctor
from backend.commands.fleet import ps
from backend.contract.errors import PortTaken, Unreachable


def test_the_command_that_starts_it_names_the_fleet_that_was_asked_for(tmp_path: Path) -> None:
    for words, command in (([], "`trinity up`"), (["--fleet", "docker"], "`trinity up --fleet docker`")):
        error = CliRunner().invoke(ps, [*words, "--state", str(tmp_path)]).exception
        assert isinstance(error, Unreachable) and command in error.next_step


@pytest.mark.parametrize(("fleet", "of_this_machine"), [("docker", False), ("k8s:a/b", False), ("local", True)])
def test_a_fleet_elsewhere_needs_no_model_or_engine_of_this_machine(
    tmp_path: Path, fleet: str, of_this_machine: bool
) -> None:
    said = CliRunner().invoke(doctor, ["--fleet", fleet, "--state", str(tmp_path)]).output
    assert "state directory" in said and "not running" in said
    assert ("configuration" in said, "edge program" in said) == (of_this_machine, of_this_machine)


def test_a_port_that_is_taken_is_mended_where_it_was_chosen() -> None:
    assert "TARGET:PORT:LOCAL" in PortTaken("127.0.0.1", 1, "x", "forward").next_step
    assert "--auto-port" in PortTaken("127.0.0.1", 1, "x", "edge").next_step
