"""Names of pods are long and end in what tells them apart: tables and panels show that end at every width."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import ReplicaView, WorkloadView
from backend.contract.platform import NodeStatus, Trouble
from backend.contract.words import Phase
from console.render.cause import cause_lines, worth_a_look
from console.render.columns import WORKLOADS
from console.render.panels import fleet_line
from console.render.platform_panels import trouble_lines, workload_lines
from console.render.replica_columns import replica_columns
from console.render.spans import Line, crop_middle, line_width, text_width
from console.state.column import window
from console.state.store import FleetState
from tests.unit.console.sample import replica, snapshot

ENDS = ("payments-api-gateway-7d4b9c6f5d-x7k2p", "payments-api-gateway-7d4b9c6f5d-2v9zr")

SHOWN = [column for column in replica_columns("kubernetes", edge=False) if not column.hidden]


def job(**parts: object) -> WorkloadView:
    made = WorkloadView(name="migrate", wanted=0, ready=0, total=0, slots=0, routes=(), queued=0, in_flight=0)
    return msgspec.structs.replace(made, kind="Job", **parts)


def words(lines: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in lines]


@given(st.text(max_size=60), st.integers(0, 60))
def test_a_name_without_its_middle_is_never_too_wide_and_whole_where_it_fits(name: str, width: int) -> None:
    shown = crop_middle(name, width)
    assert text_width(shown) <= max(width, 0)
    assert shown == name if text_width(name) <= width else shown != name


@pytest.mark.parametrize("width", [38, 60, 78, 118, 198])
def test_pods_of_one_deployment_are_told_apart_at_every_width(width: int) -> None:
    columns = window(SHOWN, width).columns
    assert sum(size for _, size in columns) + 2 * (len(columns) - 1) <= width
    column, size = next((column, size) for column, size in columns if column.key == "name")
    assert column.middle
    first, second = (crop_middle(name, size) for name in ENDS)
    assert first != second
    assert (first[-5:], second[-5:]) == ("x7k2p", "2v9zr")


def test_a_wide_screen_shows_whole_names_and_keeps_the_rest_for_why() -> None:
    columns = {c.key: size for c, size in window(SHOWN, 198).columns}
    assert columns["name"] >= len(ENDS[0])
    assert columns["reason"] > 40


@pytest.mark.parametrize("width", [30, 37, 40, 55])
def test_a_narrow_panel_says_how_a_rollout_stands_rather_than_the_whole_name(width: int) -> None:
    made = msgspec.structs.replace(job(), kind="Deployment", wanted=2, total=2)
    lines = words(
        workload_lines(
            [
                msgspec.structs.replace(made, name="payments-api-gateway-with-a-long-name", ready=2),
                msgspec.structs.replace(made, name="search", rollout="stuck: past its progress deadline"),
            ],
            width,
            9,
        )
    )
    assert lines[0].endswith("↻ stuck")
    assert lines[1].endswith("deploy")
    assert "long-name" in lines[1] or width < 40


def test_the_daemons_own_machine_is_not_taken_for_a_cluster_that_tells_nothing() -> None:
    state = FleetState()
    blind = msgspec.structs.replace(snapshot(), driver="kubernetes", has_edge=False, nodes=())
    state.snapshot, state.link = blind, "live"
    assert "cpu" not in words([fleet_line(state, 200, 1000.0)])[0]
    told = (NodeStatus(name="n", ready=True, cpu_percent=3.0),)
    state.snapshot = msgspec.structs.replace(blind, nodes=told)
    assert "cpu" in words([fleet_line(state, 200, 1000.0)])[0]


def test_a_job_that_is_done_is_done_and_nothing_to_look_at() -> None:
    assert words(workload_lines([job()], 60, 3)) == ["✓ migrate   done  Job"]
    ready = next(column for column in WORKLOADS if column.key == "ready")
    assert ready.cell(job(), 0.0)[0] == "✓ done"
    assert ready.cell(job(rollout="suspended"), 0.0)[0] == "○ 0/0"
    done: ReplicaView = replica("migrate-1", phase=Phase.COMPLETED)
    assert worth_a_look([done]) == []


def test_trouble_takes_a_second_line_for_its_remedy_where_there_is_room_below() -> None:
    trouble = Trouble(kind="unauthorized", message="m" * 60, next_step="Log in again: aws sso login.", since_ts=0.0)
    assert [line.strip() for line in words(trouble_lines(trouble, 80, 2))] == [
        f"▲ {trouble.message}",
        trouble.next_step,
    ]
    assert len(trouble_lines(trouble, 80, 1)) == len(trouble_lines(trouble, 120, 2)) == 1
    assert all(line_width(line) == 80 for line in trouble_lines(trouble, 80, 2))
    assert words(cause_lines([], 40, 4, 0.0)) == ["no replicas"]
