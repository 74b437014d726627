"""The words of the overview: health first, staleness never hidden, states readable without colour."""

from __future__ import annotations

import msgspec
import pytest

from backend.contract.control import DrillFaultView, DrillInfo, DrillView, Frame, LoadView, Quantiles, ScalingView
from backend.contract.fleet import ExitRecord, ProbeStatus
from backend.contract.rows import LogRow, RequestRow
from backend.contract.words import (
    ActionOutcome,
    DrillOutcome,
    Phase,
    RequestOutcome,
    Severity,
    Vantage,
)
from console.render import detail, panels, words
from console.render.columns import REPLICAS, WORKLOADS
from console.render.drill_list import DRILL_COLUMNS, drill_haystack, drill_lines
from console.render.ledger_columns import (
    ACTION_COLUMNS,
    EVENT_COLUMNS,
    REQUEST_COLUMNS,
    action_haystack,
    event_haystack,
    event_key,
    request_haystack,
    request_key,
)
from console.render.spans import line_width
from console.render.theme import Shape
from console.state.store import FleetState

from .sample import action, event, replica, snapshot


def text(lines):
    return "\n".join("".join(part for part, _ in line) for line in lines)


def one(line):
    return text([line])


def request_row(**parts):
    values = {"ts": 1.0, "vantage": Vantage.EDGE, "request_id": "x", "fleet": "l", "workload": "w", "replica": None}
    return RequestRow(**(values | {"route": "/", "status": 200, "outcome": RequestOutcome.OK} | parts))


def live(**parts):
    state = FleetState()
    state.apply(Frame(seq=1, snapshot=snapshot(**parts)))
    return state


def test_fleet_line_says_health_readiness_and_rates():
    line = one(panels.fleet_line(live(), 120, 1000.0))
    assert "● local ok" in line
    assert "2/2 ready" in line
    assert "2.0 req/s" in line
    assert "80 tok/s" in line
    assert "0 err/s" in line


@pytest.mark.parametrize("width", [10, 20, 40, 80, 120, 200])
def test_fleet_line_fits_and_keeps_health(width):
    line = panels.fleet_line(live(), width, 1000.0)
    assert line_width(line) == width
    if width >= 20:
        assert "local ok" in one(line)


def test_lost_daemon_is_stale_with_its_age():
    state = live()
    state.lost("gone")
    line = one(panels.fleet_line(state, 80, 1045.0))
    assert "STALE 40s" in line
    assert "reconnecting; `trinity up`" in line
    assert "trinity up" not in one(panels.fleet_line(state, 80, 1010.0))


def test_of_a_platform_s_lost_daemon_it_says_how_that_fleet_is_had_again():
    state = live(driver="docker", fleet="docker:prod/shop")
    state.lost("gone")
    assert "`trinity up --fleet docker:prod/shop` starts" in one(panels.fleet_line(state, 120, 1045.0))


def test_before_the_first_frame_it_says_connecting_and_why_not():
    state = FleetState()
    assert "connecting" in one(panels.fleet_line(state, 80, 0.0))
    state.lost("The daemon does not answer.")
    assert "does not answer" in one(panels.fleet_line(state, 80, 0.0))


def test_alarms_lost_rows_and_load_are_on_the_line():
    state = live(dropped_rows=4, load=LoadView(running=True, rate=4, failed=2), edge_up=False)
    state.load_history([], [event(5, Severity.ERROR)], [])
    line = one(panels.fleet_line(state, 240, 1000.0))
    for words_ in ("1 alarm", "4 rows lost", "load 4.0/s 2 failed", "edge down"):
        assert words_ in line


def test_titles_follow_the_theme():
    assert one(panels.title("Queue", (("5", "text"),), 20, Shape(rule="━", title="upper"))).startswith("QUEUE ━━")
    assert one(panels.title("Queue", (), 20, Shape(title="bracket"))).startswith("[queue] ──")
    for width in (3, 8, 20):
        assert line_width(panels.title("Queue", (("much too long", "text"),), width, Shape())) == width


def test_scaling_marks_a_breach_and_an_idle_input():
    view = ScalingView(
        workload="llm",
        policy="threshold",
        enabled=True,
        current=2,
        minimum=1,
        maximum=4,
        maximum_note="memory holds 4",
        cooldown_left_s=42,
        last_decision="up: queue",
        inputs={"cpu_percent": 90.0, "cpu_percent_target": 70.0, "queue_depth": 0, "ttft_p99_ms": None},
    )
    shown = text(panels.scaling_lines([view], 70, 1000.0))
    for part in (
        "llm on",
        "2 of 1-4",
        "memory holds 4",
        "cpu ▲90/70%",
        "queue 0",
        "ttft p99 idle",
        "cooling down 40 s",
    ):
        assert part in shown
    assert len(panels.scaling_lines([view], 24, 1000.0)) == 5, "narrow: an input a line"
    assert "no workload" in text(panels.scaling_lines([], 40, 0.0))


def test_feed_mixes_events_and_actions_newest_first():
    shown = panels.feed_lines([event(1, Severity.ERROR), event(9)], [action("a", ActionOutcome.OK, ts=1005.0)], 60, 5)
    assert [("event 9" in one(line), "scale llm" in one(line), "✗" in one(line)) for line in shown] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert "nothing has happened" in text(panels.feed_lines([], [], 40, 3))


def test_the_feed_leaves_debug_and_events_about_actions_to_the_journal():
    rows = [event(1, Severity.DEBUG), event(2, kind="action.ok"), event(3)]
    assert text(panels.feed_lines(rows, [], 40, 9)).count("event") == 1


@pytest.mark.parametrize("width", [10, 24, 60])
def test_wrapping_loses_no_word(width):
    said = "a killed replica loses no request at all"
    lines = panels.wrapped(said, width)
    assert " ".join(one(line).strip() for line in lines) == said


@pytest.mark.parametrize(
    "table", [words.PHASES, words.SEVERITIES, words.ACTIONS, words.REQUESTS, words.DRILLS, words.HEALTH]
)
def test_every_word_has_a_glyph_so_that_colour_is_never_alone(table):
    kinds = {type(key) for key in table} - {str}
    for kind in kinds:
        assert set(table) == set(kind)
    assert all(len(glyph) == 1 for glyph, _ in table.values())


def test_describe_tells_probes_last_exit_requests_and_logs():
    view = replica(
        phase=Phase.NOT_READY,
        reason="readiness fails",
        last_exit=ExitRecord(ts=990.0, signal=9, reason="Killed", pid=41, last_lines=("out of luck",)),
        probes=(ProbeStatus(name="readiness", ok=False, detail="503", failures=3, last_ts=999.0, latency_s=0.01),),
    )
    request = RequestRow(
        ts=998.0,
        vantage=Vantage.EDGE,
        request_id="abc-1",
        fleet="local",
        workload="llm",
        replica="llm-0",
        route="/v1/completions",
        status=200,
        outcome=RequestOutcome.OK,
        ttft_s=0.1,
        retries=1,
    )
    lines = detail.replica_lines(
        view,
        requests=[request],
        events=[event(1)],
        logs=[LogRow(ts=1.0, replica="llm-0", message="hi")],
        now=1000.0,
        width=100,
    )
    shown = text(lines)
    for part in ("◑ NotReady", "readiness fails", "✗ fails", "503", "3 failures", "Killed", "signal 9", "out of luck"):
        assert part in shown
    for part in ("abc-1", "1 retry", "event 1", "hi", "p50 50 ms"):
        assert part in shown


def test_any_row_can_be_described_and_shown_raw():
    row = event(3, attributes={"pid": 4})
    assert "pid=4" in text(detail.row_lines(row, 60))
    raw = text(detail.raw_lines({"a": {"b": [1, True]}, "c": None, "d": {}}, 40))
    for part in ("a:", "b:", "- 1: true", "c: null", "d: {}"):
        assert part in raw


def test_a_drill_says_what_would_happen_and_how_it_went():
    last = DrillView(
        run_id="run-1", name="kill", outcome=DrillOutcome.PASS, started_ts=900.0, ended_ts=930.0, detail="0 failed"
    )
    shown = text(drill_lines(DrillInfo(name="kill", title="Kills", plan=("Refused: too few",), last=last), 1000.0, 60))
    for part in ("Kills", "Refused: too few", "pass", "30 s", "0 failed", "run-1"):
        assert part in shown
    assert "never run" in text(drill_lines(DrillInfo(name="x", title="X"), 0.0, 60))


@pytest.mark.parametrize(
    ("columns", "item"),
    [
        (REPLICAS, replica()),
        (WORKLOADS, snapshot().workloads[0]),
        (EVENT_COLUMNS, event(1)),
        (ACTION_COLUMNS, action("a")),
        (DRILL_COLUMNS, DrillInfo(name="kill", title="Kills")),
    ],
)
def test_every_column_renders_and_sorts(columns, item):
    for column in columns:
        cell, style = column.cell(item, 1000.0)
        assert isinstance(cell, str)
        assert style
        column.sort(item)


def test_request_columns_show_missing_values_as_missing():
    row = request_row(status=-1, outcome=RequestOutcome.FAILED)
    cells = {column.key: column.cell(row, 2.0)[0] for column in REQUEST_COLUMNS}
    assert (cells["status"], cells["outcome"], cells["ttft"], cells["tokens"]) == ("none", "✗ failed", "–", "–")  # noqa: RUF001


def test_replica_columns_without_an_edge_or_metrics():
    view = replica(phase=Phase.PENDING)
    cells = {column.key: column.cell(view, 1000.0)[0] for column in REPLICAS}
    assert cells["phase"] == "○ Pending"
    assert cells["cpu"] == "–"  # noqa: RUF001


def test_a_replica_that_has_nothing_yet_is_described_in_words_too():
    view = replica(phase=Phase.FAILED, next_start_ts=1030.0)
    view = msgspec.structs.replace(view, edge=None, ttft=Quantiles(count=0, window_s=60.0))
    shown = text(detail.replica_lines(view, requests=[], events=[], logs=[], now=1000.0, width=100))
    for part in ("starts again in 30s", "has no slot", "no streamed answer in 60 s", "it has never exited"):
        assert part in shown


def test_seconds_of_a_row_are_written_for_people():
    assert "123 ms" in text(detail.row_lines(request_row(ttft_s=0.123), 60))


def test_the_queue_of_a_replica_is_the_edges_else_the_engines():
    cell = next(column.cell for column in REPLICAS if column.key == "queue")
    view = replica()
    busy = msgspec.structs.replace(view, edge=msgspec.structs.replace(view.edge, queued=7), engine_waiting=3)
    assert [cell(one, 0.0)[0] for one in (busy, msgspec.structs.replace(view, engine_waiting=3), view)] == [
        "7",
        "3",
        "0",
    ]
    assert cell(msgspec.structs.replace(view, edge=None), 0.0)[0] == "–"  # noqa: RUF001


def test_rows_are_found_by_what_they_say_and_told_apart_by_what_they_are():
    row = request_row(request_id="abc", error="cut off")
    assert request_key(row) != request_key(msgspec.structs.replace(row, attempt=2))
    assert "abc" in request_haystack(row)
    assert "cut off" in request_haystack(row)
    assert event_key(event(3)) == "3"
    assert event_key(event(0)) != event_key(event(0, subject="llm-1"))
    assert "test.event" in event_haystack(event(3))
    assert "console:ada" in action_haystack(action("a"))
    assert "never" in drill_haystack(DrillInfo(name="kill", title="Kills", tags=("core",)))


def test_a_request_that_has_no_answer_yet_is_open():
    cell = next(column.cell for column in REQUEST_COLUMNS if column.key == "outcome")
    assert cell(request_row(status=0), 0.0)[0] == "◔ open"
    assert cell(request_row(status=0, total_s=1.0), 0.0)[0] == "✓ ok"


def test_a_plan_is_set_out_by_its_phases():
    fault = DrillFaultView(id="kill", fault="process.kill", effective_s=10.0, detected_s=10.04)
    last = DrillView(run_id="run-1", name="kill", outcome=DrillOutcome.RUNNING, started_ts=900.0, faults=(fault,))
    plan = ("phase killed (gate: 1): 10 s; " + "and so on " * 9, "  inject kill", "no colon here")
    info = DrillInfo(
        name="kill", title="Kills", description="Proves\n that", tags=("core",), path="kill.yaml", plan=plan, last=last
    )
    lines = drill_lines(info, 1000.0, 60)
    shown = text(lines)
    for part in ("Proves that", "core", "kill.yaml", "detected in 40 ms", "    inject kill", "• no colon here"):
        assert part in shown
    assert "took" not in shown, "it runs"
    assert ("phase killed (gate: 1):", "text b") in [span for line in lines for span in line]


def test_before_the_first_stream_what_is_held_is_as_old_as_it_is():
    state = live()
    state.link = "connecting"
    assert "STALE 40s  connecting" in one(panels.fleet_line(state, 80, 1045.0))


def test_scaling_says_what_it_decided_and_how_long_ago():
    view = ScalingView(
        workload="llm",
        policy="threshold",
        enabled=True,
        current=2,
        minimum=1,
        maximum=4,
        last_decision="up: queue",
        last_decision_ts=940.0,
        inputs={"queue_depth": 1},
    )
    shown = text(panels.scaling_lines([view], 70, 1000.0))
    assert "1m ago  up: queue" in shown
    assert "cpu" not in shown, "no input, no word"
