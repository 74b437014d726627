"""What is remembered of containers: their places in a list, who wished an end, what a health check complained of."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.words import Phase
from backend.fleet.docker_engine.facts import container_facts, telling
from backend.fleet.docker_engine.happenings import Happening
from backend.fleet.docker_engine.labels import Member
from backend.fleet.docker_engine.roster import Place, Roster, at_rest
from tests.fakes.clock import FakeClock

NOW = 1_795_000_000.0
_ON: dict[str, Any] = {"Status": "running", "Running": True, "Pid": 7}
_OFF: dict[str, Any] = {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": 0}


def roster() -> Roster:
    return Roster(Place(fleet="docker"), FakeClock(), lambda status: None)


def put(held: Roster, workload: str, number: int = 1, created: str = "10", **state: Any) -> str:
    """A container `<workload>-<number>`; its id."""
    name = f"{workload}-{number}"
    inspect = {
        "Id": name,
        "Name": f"/{name}",
        "Created": f"2026-11-18T13:06:{created}Z",
        "State": {"StartedAt": "2026-11-18T13:06:30Z"} | (state or _ON),
        "Config": {"Image": "web:1"},
    }
    facts = container_facts(inspect)
    assert facts is not None
    held.put(facts, Member(workload, "compose", number, grouped=True), inspect)
    return name


def happen(held: Roster, name: str, action: str, ts: float, **attributes: str) -> tuple[bool, bool]:
    return held.happened(
        Happening(type="container", action=action, id=name, time_ns=int(ts * 1e9), attributes=attributes)
    )


def test_containers_stand_by_workload_and_number_however_old_they_are() -> None:
    held = roster()
    for workload, number, created in (("web", 10, "01"), ("web", 2, "09"), ("api2", 1, "02"), ("api10", 1, "00")):
        put(held, workload, number, created)
    assert [c.facts.name for c in held.all()] == ["api2-1", "api10-1", "web-2", "web-10"]


@pytest.mark.parametrize(
    ("stopped_at", "seen_after"), [(NOW - 5, False), (NOW + 20, True)], ids=["as it went", "as it came back"]
)
def test_what_an_engine_stops_as_it_goes_is_missed_and_what_somebody_stopped_is_not(
    stopped_at: float, seen_after: bool
) -> None:
    held = roster()
    early, late = put(held, "early"), put(held, "late")
    for name, ts in ((early, NOW - 300), (late, stopped_at)):
        if name == late and seen_after:
            held.engine_was_away(NOW, NOW + 30)
        happen(held, name, "kill", ts, signal="15")
        happen(held, name, "die", ts, exitCode="0")
        put(held, name[:-2], **_OFF)
    if not seen_after:
        held.engine_was_away(NOW, NOW + 30)
    asked, swept = held.by_id(early), held.by_id(late)
    assert asked is not None and swept is not None
    assert at_rest(asked) and (asked.status.phase, asked.status.reason) == (Phase.NOT_READY, "stopped")
    assert not at_rest(swept)
    assert (swept.status.phase, swept.status.reason) == (Phase.FAILED, "stopped with its engine")
    put(held, "late", **(_ON | {"StartedAt": "2026-11-18T14:00:00Z"}))
    assert swept.status.phase == Phase.READY
    put(held, "late", **_OFF)
    assert at_rest(swept), "its next end is told by itself"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("no file\n", "no file"),
        (
            "nc: invalid option -- 'z'\nBusyBox v1.35.0\n\nUsage: nc [-l]\n",
            "nc: invalid option -- 'z'",
        ),
        ("  % Total  % Received\n  0   0\ncurl: (7) Failed to connect to ::1\n", "curl: (7) Failed to connect to ::1"),
        ("Usage: check\nnot that way\n", "Usage: check not that way"),
        ("", ""),
    ],
)
def test_a_health_check_is_quoted_by_what_it_complains_of(output: str, told: str) -> None:
    assert telling(output) == told


def test_a_container_that_ends_again_and_again_names_the_cause_first() -> None:
    held = roster()
    name = put(held, "db")
    for ts in (NOW, NOW + 2):
        happen(held, name, "die", ts, exitCode="3")
    put(held, "db", **(_ON | {"Status": "restarting", "Restarting": True, "ExitCode": 3}))
    held.lines(name, ("cannot reach x:1",))
    found = held.by_id(name)
    assert found is not None
    assert found.status.reason.startswith("exit code 3, ") and found.status.reason.endswith(
        "in a row: cannot reach x:1"
    )


def test_what_a_check_said_of_a_life_that_is_over_is_not_told_as_if_it_failed_now() -> None:
    held = roster()
    sick = {"Health": {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "no"}]}}
    name = put(held, "web", **(_ON | sick))
    found = held.by_id(name)
    assert found is not None and [probe.ok for probe in found.status.probes] == [False]
    put(held, "web", **(_OFF | sick))
    assert found.status.probes == ()
