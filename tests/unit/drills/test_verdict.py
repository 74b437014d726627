"""The verdict as a pure function: each ending, and that the same files always give the same report."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.rows import RequestRow
from backend.contract.words import DrillOutcome, RequestOutcome, Vantage
from backend.drills import report as reports
from backend.drills import store
from backend.drills.causes import with_edge_rows
from backend.drills.check import load_scenario
from backend.drills.compare import Comparison, Difference
from backend.drills.junit import junit
from backend.drills.markdown import markdown
from backend.drills.recompute import compute, verify_run
from backend.drills.records import DrillRow, LoadSummary, RunRecord, UndoSummary
from backend.drills.verdict import judge, with_comparison
from tests.unit.drills.samples import MINIMAL, SPANS, kill, row

COMPILED = load_scenario(MINIMAL, "t.yaml")
ROWS = [row(1.0), row(2.0), row(11.5, took=0.19), row(13.0), row(21.0), row(22.0)]


def record(**changes: object) -> RunRecord:
    base = RunRecord(
        run_id="tiny-1",
        actor="cli:test",
        scenario_name="tiny",
        scenario_digest=COMPILED.digest,
        seed=1,
        environment="dev",
        fleet="local",
        started_ts=1000.0,
        started_mono_s=0.0,
        ended_ts=1030.0,
        phases=SPANS,
        faults=(kill(),),
        loads=(LoadSummary(name="chat", rate=5.0, arrivals=6, rows=6, lag_p99_s=0.001),),
        undo=(UndoSummary(id="kill-a", what="await Ready", done=True, verified=True, by="daemon"),),
    )
    return msgspec.structs.replace(base, **changes)


def outcome(rows: list[DrillRow] | None = None, **changes: object) -> str:
    rows = ROWS if rows is None else rows
    loads = (LoadSummary(name="chat", rate=5.0, arrivals=len(rows), rows=len(rows), lag_p99_s=0.001),)
    return judge(COMPILED, record(**{"loads": loads, **changes}), rows).outcome.value


def test_everything_held_is_a_pass() -> None:
    verdict = judge(COMPILED, record(), ROWS)
    assert verdict.outcome == DrillOutcome.PASS
    assert {check.result for check in verdict.checks} == {"pass"}
    kinds = {"expect", "hypothesis", "until", "fault", "undo", "sample", "ledger", "generator"}
    assert {check.kind for check in verdict.checks} == kinds


def test_one_failed_request_fails_its_phase() -> None:
    verdict = judge(COMPILED, record(), [*ROWS, row(23.0, outcome=RequestOutcome.FAILED)])
    assert verdict.outcome == DrillOutcome.FAIL
    (reason,) = verdict.reasons
    assert reason == "recovery: failed(chat) == 0 (failed(chat) = 1)"


def test_a_shed_request_counts_as_failed_unless_it_is_named() -> None:
    assert outcome([*ROWS, row(23.0, outcome=RequestOutcome.SHED, status=503, began=False)]) == "fail"


def test_a_failure_within_the_grace_is_forgiven() -> None:
    assert outcome([*ROWS, row(12.05, outcome=RequestOutcome.FAILED)]) == "pass"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"faults": (kill(verified=False, problem="no"),)}, "inconclusive"),
        ({"faults": ()}, "inconclusive"),
        ({"faults": (kill(t_detected=None),)}, "inconclusive"),
        ({"faults": (kill(t_detected=12.2),)}, "fail"),
        ({"phases": SPANS[:2]}, "inconclusive"),
        ({"loads": (LoadSummary(name="chat", rate=5, arrivals=7, rows=6, lag_p99_s=0.001),)}, "inconclusive"),
        ({"loads": (LoadSummary(name="chat", rate=5, arrivals=7, rows=7, lag_p99_s=0.001),)}, "inconclusive"),
        ({"loads": (LoadSummary(name="chat", rate=5, arrivals=6, rows=6, lag_p99_s=0.02),)}, "inconclusive"),
        (
            {"loads": (LoadSummary(name="chat", rate=5, arrivals=6, resends=1, rows=6, lag_p99_s=0.001),)},
            "inconclusive",
        ),
        ({"loads": (LoadSummary(name="chat", rate=5, arrivals=6, rows=6),)}, "inconclusive"),
        ({"loads": (LoadSummary(name="chat", rate=5, arrivals=6, rows=6, lag_p99_s=0, problem="x"),)}, "inconclusive"),
        ({"aborted": "key X"}, "aborted-clean"),
        ({"gate_failed": "bad", "phases": SPANS[:1], "faults": ()}, "baseline-failed"),
        ({"refused": "keep_healthy", "phases": (), "faults": ()}, "refused"),
        ({"internal_error": "the generator broke"}, "inconclusive"),
        ({"undo": (UndoSummary(id="k", what="resume", done=True, verified=False),), "aborted": "X"}, "dirty"),
        ({"undo": (UndoSummary(id="k", what="resume", done=True, verified=True, by="warden"),)}, "inconclusive"),
    ],
)
def test_each_ending(changes: dict[str, object], wanted: str) -> None:
    assert outcome(None, **changes) == wanted


def test_too_few_requests_are_inconclusive() -> None:
    assert outcome(ROWS[1:]) == "inconclusive"
    assert outcome([]) == "inconclusive"


def test_an_unmet_until_fails() -> None:
    spans = (*SPANS[:2], msgspec.structs.replace(SPANS[2], until_met=False))
    assert outcome(phases=spans) == "fail"


def written(tmp_path: Path, rows: list[DrillRow]) -> Path:
    run_dir = store.create(tmp_path, "tiny-1", MINIMAL)
    file = store.RowFile(run_dir)
    for one in rows:
        file.append(one)
    file.close()
    store.save_record(run_dir, record())
    store.write_reports(run_dir, COMPILED, compute(run_dir, COMPILED, record(), rows))
    return run_dir


def test_a_report_is_computed_again_byte_by_byte(tmp_path: Path) -> None:
    run_dir = written(tmp_path, ROWS)
    assert verify_run(run_dir).same
    assert store.read_report(run_dir).outcome == "pass"
    text = (run_dir / store.REPORT).read_text().replace('"ok": 2', '"ok": 3', 1)
    (run_dir / store.REPORT).write_text(text)
    assert verify_run(run_dir).differences == ("report.json differs in phases",)


def test_another_scenario_is_noticed(tmp_path: Path) -> None:
    run_dir = written(tmp_path, ROWS)
    (run_dir / store.SCENARIO).write_text(MINIMAL.replace("100ms", "101ms"))
    assert "not the one that ran" in verify_run(run_dir).differences[0]


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(list(RequestOutcome)), st.booleans()), max_size=40))
def test_counts_always_add_up(requests: list[tuple[float, RequestOutcome, bool]]) -> None:
    rows = [row(at, outcome=outcome, began=began) for at, outcome, began in requests]
    built = reports.build(COMPILED, record(), rows, judge(COMPILED, record(), rows), "0" * 64)
    inside = [r for r in rows if r.intended_s < 30.0]
    loads = [load for phase in built.phases for load in phase.loads]
    assert sum(load.arrivals for load in loads) == len(inside)
    for load in loads:
        assert load.arrivals == load.ok + load.slow + load.wrong + load.shed + load.failed
        assert load.truncated + load.failed_before_first_byte == load.failed + load.shed - _begun_shed(
            load, rows, built
        )
        assert 0.0 <= load.success_at_least <= load.success_at_most <= 1.0
    assert len(built.failed) == sum(not r.answered for r in rows)
    assert reports.encode(built) == reports.encode(msgspec.json.decode(reports.encode(built), type=reports.Report))
    ElementTree.fromstring(junit(built).encode())
    assert markdown(built)


def _begun_shed(load: reports.LoadInPhase, rows: list[DrillRow], built: reports.Report) -> int:
    """Shed answers have status 200 in these samples when they `began`; a real one never does."""
    phase = next(phase.name for phase in built.phases if load in phase.loads)
    span = next(span for span in SPANS if span.name == phase)
    inside = (r for r in rows if span.start_s <= r.intended_s < (span.end_s or 0.0))
    return sum(r.request.outcome == RequestOutcome.SHED and r.began for r in inside)


def edge_row(
    request_id: str,
    at: float,
    replica: str,
    retries: int = 0,
    vantage: Vantage = Vantage.EDGE,
    outcome: RequestOutcome = RequestOutcome.OK,
) -> RequestRow:
    return RequestRow(
        ts=1000.0 + at,
        vantage=vantage,
        request_id=request_id,
        fleet="local",
        workload="llm",
        replica=replica,
        route="/",
        status=200,
        termination="SD",
        outcome=outcome,
        retries=retries,
    )


def test_edge_rows_give_causes_exposure_and_failover() -> None:
    rows = [
        row(11.0, took=1.5, request_id="stayed"),
        row(11.5, took=2.0, request_id="moved"),
        row(11.9, took=0.2, request_id="cut", outcome=RequestOutcome.FAILED),
        row(13.0, took=0.9, request_id="later"),
    ]
    edge = [
        edge_row("stayed", 11.0, "llm-1"),
        edge_row("moved", 11.5, "llm-1", retries=1),
        edge_row("cut", 11.9, "llm-0", outcome=RequestOutcome.FAILED),
        edge_row("tried", 12.03, "llm-0", vantage=Vantage.ATTEMPT, outcome=RequestOutcome.FAILED),
        edge_row("tried", 12.02, "llm-1", retries=1),
        edge_row("new-process", 13.9, "llm-0"),
        edge_row("back", 15.0, "llm-0"),
        edge_row("later", 13.0, "llm-1"),
    ]
    joined = with_edge_rows(record(), rows, edge)
    (fault,) = joined.faults
    assert fault.t_last_dispatch == pytest.approx(12.03)
    assert fault.t_first_failover_ok == pytest.approx(13.5)
    assert list(joined.causes) == ["cut"]
    built = reports.build(COMPILED, joined, rows, judge(COMPILED, joined, rows), "0" * 64)
    assert built.failed[0].edge_replica == "llm-0"
    assert built.failed[0].spans == ("kill-a",)
    assert built.faults[0].exposure_s == pytest.approx(0.03)
    assert with_edge_rows(record(), rows, []).faults == record().faults


def test_no_victim_of_a_whole_pool_counts_as_the_replica_that_took_over() -> None:
    (one,) = record().faults
    pool = msgspec.structs.replace(one, replica="", replicas=("llm-0", "llm-1"))
    rows = [row(13.0, took=0.9, request_id="victim"), row(13.1, took=1.5, request_id="other")]
    edge = [
        edge_row("victim", 13.0, "llm-1"),
        edge_row("other", 13.1, "llm-2"),
        edge_row("tried", 12.5, "llm-1", vantage=Vantage.ATTEMPT, outcome=RequestOutcome.FAILED),
    ]
    (fault,) = with_edge_rows(record(faults=(pool,)), rows, edge).faults
    assert fault.t_first_failover_ok == pytest.approx(14.6)
    assert fault.t_last_dispatch == pytest.approx(12.5)


def test_junit_says_failure_for_failed_and_error_for_unknown() -> None:
    rows = [*ROWS[2:], row(23.0, outcome=RequestOutcome.FAILED)]
    built = reports.build(COMPILED, record(), rows, judge(COMPILED, record(), rows), "0" * 64)
    suite = ElementTree.fromstring(junit(built).encode())
    failures, errors = suite.findall(".//failure"), suite.findall(".//error")
    assert suite.get("failures") == str(len(failures))
    assert suite.get("errors") == str(len(errors))
    assert len(failures) >= 2
    assert errors
    assert suite.get("tests") == str(len(suite.findall("testcase")))


def test_a_fault_without_effect_is_inconclusive_whatever_else_failed() -> None:
    verdict = judge(COMPILED, record(faults=(kill(verified=False),)), [*ROWS, row(23.0, outcome=RequestOutcome.FAILED)])
    assert verdict.outcome == DrillOutcome.INCONCLUSIVE
    assert verdict.reasons[0].startswith("fault kill-a took effect")
    assert any(reason.startswith("also: recovery: failed(chat) == 0") for reason in verdict.reasons)


def test_only_a_pass_becomes_a_regression_and_only_where_the_scenario_says_so() -> None:
    worse = Difference(
        phase="recovery", load="chat", measure="p95 latency", reference=0.1, current=0.4,
        reference_count=99, current_count=99, low=0.2, high=0.4, regression=True,
    )  # fmt: skip
    comparison = Comparison(reference="tiny-0", reference_digest="0" * 64, differences=(worse,))
    passed = judge(COMPILED, record(), ROWS)
    assert with_comparison(passed, COMPILED, None).outcome == DrillOutcome.PASS
    turned = with_comparison(passed, COMPILED, comparison)
    assert turned.outcome == DrillOutcome.REGRESSION
    assert turned.reasons == (
        "worse than tiny-0: recovery chat: p95 latency 100 ms -> 400 ms (difference +200 to +400 ms at 95 %)",
    )
    failed = judge(COMPILED, record(faults=(kill(t_detected=12.2),)), ROWS)
    assert with_comparison(failed, COMPILED, comparison) == failed
    lenient = load_scenario(MINIMAL + "report: {compare: {with: last-pass, fail_on: nothing}}\n", "t.yaml")
    assert with_comparison(passed, lenient, comparison) == passed
