"""Reports: a page that needs nothing else, regressions end to end, what verify sees, newer words of expressions."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from backend.contract.errors import UsageError
from backend.contract.rows import EventRow
from backend.contract.words import RequestOutcome, Severity, Vantage
from backend.drills import report as reports
from backend.drills import store
from backend.drills.causes import with_edge_facts
from backend.drills.check import load_scenario
from backend.drills.evaluate import Facts, evaluate
from backend.drills.expression_types import NUMBER, TIME, Scope, compile_expression
from backend.drills.html import html
from backend.drills.incidents import ejections
from backend.drills.markdown import markdown
from backend.drills.overrides import adjust
from backend.drills.recompute import compute, verify_run
from backend.drills.records import DrillRow, LoadSummary, RunRecord
from backend.drills.timeline import Timeline, live_state
from backend.drills.verdict import judge
from tests.unit.drills.samples import MINIMAL, SPANS, kill, row
from tests.unit.drills.test_verdict import edge_row, record

COMPARED = MINIMAL.replace("2 * baseline.p99(chat), 200ms", "20s, 20s") + "report: {compare: {with: last-pass}}\n"
MANY = [row(at / 10, took=0.1 + 0.001 * (at % 7)) for at in range(300)]


def of(rows: list[DrillRow], run_id: str, digest: str, started: float, **changes: object) -> RunRecord:
    loads = (LoadSummary(name="chat", rate=5.0, arrivals=len(rows), rows=len(rows), lag_p99_s=0.001),)
    kept = record(run_id=run_id, scenario_digest=digest, loads=loads, started_ts=started, **changes)
    return msgspec.structs.replace(kept, host={"cpus": 2})


def stored(tmp_path: Path, run_id: str, rows: list[DrillRow], started: float, **changes: object) -> Path:
    compiled = load_scenario(COMPARED, "t.yaml")
    run_dir = store.create(tmp_path, run_id, COMPARED)
    store.rewrite_rows(run_dir, rows)
    kept = of(rows, run_id, compiled.digest, started, **changes)
    store.save_record(run_dir, kept)
    store.write_reports(run_dir, compiled, compute(run_dir, compiled, kept, rows))
    return run_dir


def test_a_slower_run_ends_as_a_regression_and_verify_agrees(tmp_path: Path) -> None:
    first = stored(tmp_path, "tiny-1", MANY, 1000.0)
    same = stored(tmp_path, "tiny-2", MANY, 1001.0)
    slow = stored(tmp_path, "tiny-3", [msgspec.structs.replace(r, ended_s=r.ended_s + 0.2) for r in MANY], 1002.0)
    assert [store.read_head(d).outcome for d in (first, same, slow)] == ["pass", "pass", "regression"]
    found = store.read_report(slow)
    assert found.exit_code == 6
    assert found.comparison is not None
    assert found.comparison.reference == "tiny-2"
    assert all(verify_run(run_dir).same for run_dir in (first, same, slow))


def test_verify_stands_when_the_reference_is_gone(tmp_path: Path) -> None:
    first = stored(tmp_path, "tiny-1", MANY, 1000.0)
    second = stored(tmp_path, "tiny-2", MANY, 1001.0)
    (first / store.LEDGER).unlink()
    assert verify_run(second).same


@pytest.mark.parametrize("name", [store.HTML, store.JUNIT, store.MARKDOWN])
def test_verify_sees_a_changed_page(tmp_path: Path, name: str) -> None:
    run_dir = stored(tmp_path, "tiny-1", MANY, 1000.0)
    (run_dir / name).write_text((run_dir / name).read_text() + " ")
    assert verify_run(run_dir).differences == (f"{name} is not what the report gives",)


class _Page(HTMLParser):
    """Tags that are open, and every attribute seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_escapes_what_it_was_given() -> None:
    compiled = load_scenario(MINIMAL.replace("a tiny drill", "a <script>tiny</script> & drill"), "t.yaml")
    rows = [*MANY, row(12.5, outcome=RequestOutcome.FAILED)]
    built = reports.build(compiled, record(), rows, judge(compiled, record(), rows), "0" * 64)
    page = html(built)
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    assert not {name for name, _ in parser.attributes} & {"src", "href", "onclick", "onload"}
    assert "<script" not in page
    assert "&lt;script&gt;tiny&lt;/script&gt; &amp; drill" in page
    assert not re.search(r"https?://|url\(|@import", page)
    assert page.count('class="lost"') == 1
    for word in ("baseline", "one-down", "recovery", "mark effective", "mark detected", "mark recovered"):
        assert word in page
    assert "prefers-color-scheme:dark" in page
    assert "Slowest answers" in markdown(built)


def test_a_page_of_a_run_that_never_began_is_a_page() -> None:
    compiled = load_scenario(MINIMAL, "t.yaml")
    bare = record(refused="keep_healthy", phases=(), faults=(), loads=(), undo=())
    parser = _Page()
    parser.feed(html(reports.build(compiled, bare, [], judge(compiled, bare, []), "0" * 64)))
    assert parser.open == []


def ejected(at: float, replica: str, kind: str = "edge.ejected") -> EventRow:
    return EventRow(ts=1000.0 + at, mono_s=at, kind=kind, severity=Severity.WARNING, subject=replica, message="")


EVENTS = (
    ejected(12.02, "llm-0", "edge.marked-down"),
    ejected(12.05, "llm-0"),
    ejected(15.5, "llm-1"),
    ejected(18.0, "other-0"),
    EventRow(ts=1016.0, kind="request.poison", severity=Severity.ERROR, subject="llm", message=""),
)


def test_an_ejection_is_false_unless_a_fault_explains_it() -> None:
    members = ("llm-0", "llm-1")
    assert ejections(EVENTS, members, -1000.0) == [12.02, 15.5]
    assert ejections(EVENTS, members, -1000.0, explained_by=(kill(),)) == [15.5]
    late = ejected(14.5, "llm-0")
    assert ejections((late,), members, -1000.0, explained_by=(kill(),)) == [14.5]


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("ejections(pool)", NUMBER, 2.0),
        ("false_ejections(pool)", NUMBER, 1.0),
        ("poisoned(pool)", NUMBER, 1.0),
        ("share(victim)", NUMBER, 0.75),
        ("extra_attempts(chat)", NUMBER, 0.5),
        ("refused_connects(chat)", NUMBER, 1.0),
        ("undone(kill-a)", TIME, 0.25),
        ("edge_gap(kill-a)", TIME, 2.0),
        ("failover(kill-a)", TIME, 0.5),
    ],
)
def test_new_words_of_the_language(text: str, kind: int, wanted: float) -> None:
    def served(at: float, replica: str, retries: int = 0) -> DrillRow:
        one = row(at, retries=retries)
        return msgspec.structs.replace(one, request=msgspec.structs.replace(one.request, replica=replica))

    refused = row(16.0, outcome=RequestOutcome.FAILED)
    refused = msgspec.structs.replace(refused, request=msgspec.structs.replace(refused.request, termination="refused"))
    rows = [served(11, "llm-0", 2), served(12, "llm-0"), served(13, "llm-0"), served(14, "llm-1")]
    if text.startswith("refused"):
        rows.append(refused)
    facts = Facts(
        rows={"chat": rows},
        phases=SPANS,
        faults={"kill-a": kill(t_undo_issued=15.0, t_undone=15.25, t_first_failover_ok=12.5)},
        members={"pool": ("llm-0", "llm-1"), "victim": ("llm-0",)},
        events=EVENTS,
        mono_offset_s=-1000.0,
        phase="one-down",
    )
    scope = Scope(
        loads=frozenset({"chat"}), pools=frozenset({"pool"}), replicas=frozenset({"victim"}),
        faults=frozenset({"kill-a"}), phases=frozenset({"one-down"}), place="verdict",
    )  # fmt: skip
    assert evaluate(compile_expression(text, scope, kind), facts).value == pytest.approx(wanted)
    assert evaluate(compile_expression(text, scope, kind), Facts(rows={"chat": []})).value in (None, 0.0)


def test_the_edge_tells_retries_and_who_answered() -> None:
    rows = [row(1.0, request_id="a"), row(2.0, request_id="b")]
    told = with_edge_facts(
        rows, [edge_row("a", 1.0, "llm-1", retries=2), edge_row("b", 2, "x", vantage=Vantage.ATTEMPT)]
    )
    assert [(r.request.replica, r.request.retries) for r in told] == [("llm-1", 2), (None, 0)]


def test_confidence_cuts_samples_to_what_proves_it() -> None:
    compiled = load_scenario(MINIMAL.replace("min_requests: {chat: 2}", "min_requests: {chat: 3000}"), "t.yaml")
    cut = adjust(compiled, seed=9, confidence=0.99)
    assert {phase.hold.min_requests["chat"] for phase in cut.scenario.phases} == {299}
    assert (cut.scenario.seed, cut.digest) == (9, compiled.digest)
    assert adjust(cut, confidence=0.99) == cut


def test_a_run_may_allow_its_generator_another_lag() -> None:
    compiled = load_scenario(MINIMAL, "t.yaml")
    slack = adjust(compiled, max_generator_lag_s=0.5)
    assert (slack.scenario.safety.max_generator_lag, slack.digest) == (0.5, compiled.digest)
    assert adjust(compiled).scenario.safety.max_generator_lag == 0.01
    with pytest.raises(UsageError, match="no limit"):
        adjust(compiled, max_generator_lag_s=0)


def test_the_timeline_counts_every_row_once_and_hypotheses_stand() -> None:
    timeline = Timeline(0.0)
    for one in [*MANY, row(12.5, outcome=RequestOutcome.FAILED)]:
        timeline.add(one)
    for _ in range(2):
        buckets = timeline.buckets(30.0)
        assert sum(bucket.ok for bucket in buckets) == len(MANY)
        assert sum(bucket.failed for bucket in buckets) == 1
        assert [bucket.at_s for bucket in buckets] == sorted({bucket.at_s for bucket in buckets})
    compiled = load_scenario(MINIMAL, "t.yaml")
    states = [
        live_state(compiled, Facts(rows={"chat": rows}, phases=SPANS, phase=phase, faults={"kill-a": kill()}))[0].state
        for rows, phase in (
            (MANY, "baseline"),
            (MANY, "one-down"),
            ([row(13.0, outcome=RequestOutcome.FAILED)], "one-down"),
        )
    ]
    assert states == ["no data", "holding", "violated"]
