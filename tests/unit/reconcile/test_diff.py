"""What `apply --dry-run` says."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.fleet import ProbeSpec, ProbesSpec, WorkloadSpec
from backend.reconcile.diff import diff

LLM = WorkloadSpec(name="llm", command=("serve", "--port", "{port}"), replicas=2, revision="a", env={"THREADS": "2"})


def test_nothing_changes() -> None:
    assert diff([LLM], [LLM]) == ()


def test_changes_are_sentences() -> None:
    new = msgspec.structs.replace(
        LLM,
        replicas=3,
        command=("serve", "--fast"),
        env={"THREADS": "4", "API_KEY": "s3cret"},
        probes=ProbesSpec(readiness=ProbeSpec(path="/ready")),
        revision="b",
    )
    lines = diff([LLM], [new])
    assert lines[0] == "~ llm: command [serve --port {port}] → [serve --fast]"
    assert "~ llm: env API_KEY changes (value not shown)" in lines
    assert "~ llm: env THREADS '2' → '4'" in lines
    assert "~ llm: replicas 2 → 3" in lines
    assert lines[-1] == "~ llm: new revision, replicas are replaced one at a time"
    assert not any("s3cret" in line for line in lines)


def test_workloads_come_and_go() -> None:
    api = msgspec.structs.replace(LLM, name="api", routes=("/api",), replicas=1)
    assert diff([LLM], [api]) == (
        "+ api: new workload, 1 replica of 4 slots each, routes /api",
        "- llm: removed, its replicas are drained and ended",
    )


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9))
def test_a_change_is_shown_exactly_where_something_differs(a: int, b: int, c: int, d: int) -> None:
    old = msgspec.structs.replace(LLM, replicas=a, slots=b)
    new = msgspec.structs.replace(LLM, replicas=c, slots=d)
    assert len(diff([old], [new])) == (a != c) + (b != d)
