"""The filter language: what is typed means what it says, and nothing that is typed breaks it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.columns import REPLICAS, replica_haystack
from console.render.ledger_columns import REQUEST_COLUMNS
from console.state.column import Column, find_column
from console.state.row_filter import RowFilter, amount, complete
from console.state.simulator import SimulatorSource

NOW = 1000.0
Row = tuple[str, str, float | None, float | None, int]
"""Name, phase, CPU, TTFT, memory."""
ROWS: list[Row] = [
    ("llm-0", "Ready", 90.0, 0.2, 512 * 2**20),
    ("llm-1", "NotReady", 20.0, 0.6, 2 * 2**30),
    ("llm-10", "Draining", 81.0, None, 2**20),
    ("embedding-0", "Ready", None, 1.5, 0),
]
COLUMNS: tuple[Column[Row], ...] = (
    Column(key="name", title="REPLICA", width=4, cell=lambda r, _: (r[0], "text"), sort=lambda r: r[0]),
    Column(
        key="phase",
        title="PHASE",
        width=4,
        cell=lambda r, _: (f"* {r[1]}", "text"),
        sort=lambda r: len(r[1]),
        value=lambda r, _: r[1],
        words=("Ready", "NotReady", "Draining"),
    ),
    Column(
        key="cpu",
        title="CPU",
        width=4,
        cell=lambda r, _: (f"{r[2]:.0f}%" if r[2] else "-", "text"),
        sort=lambda r: r[2],
        kind="percent",
    ),
    Column(
        key="ttft_p95",
        title="P95",
        width=4,
        cell=lambda r, _: (f"{r[3]} s", "text"),
        sort=lambda r: r[3],
        kind="seconds",
        names=("ttft",),
    ),
    Column(key="memory", title="MEM", width=4, cell=lambda r, _: ("", ""), sort=lambda r: r[4], kind="bytes"),
    Column(
        key="age",
        title="SEEN BY",
        width=4,
        cell=lambda r, now: (f"{now - (r[2] or 0):.0f}s", "text"),
        sort=lambda r: r[2],
        value=lambda r, now: now - (r[2] or 0),
        kind="seconds",
        timely=True,
    ),
)


def kept(text: str, now: float = NOW) -> list[str]:
    asked = RowFilter(text, COLUMNS)
    hays = [f"{row[0]} {row[1]}".casefold() for row in ROWS]
    return [ROWS[at][0] for at in asked.select(range(len(ROWS)), ROWS, hays, now)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "llm-0 llm-1 llm-10 embedding-0"),
        ("llm", "llm-0 llm-1 llm-10"),
        ("LLM ready", "llm-0 llm-1"),
        ("l1", "llm-1 llm-10"),
        ("emb0", "embedding-0"),
        ('"llm-1 "', "llm-1"),
        ("phase:Ready", "llm-0 embedding-0"),
        ("phase:not", "llm-1"),
        ("phase:ready,drain", "llm-0 llm-10 embedding-0"),
        ("-phase:Ready", "llm-1 llm-10"),
        ("!phase:ready -phase:draining", "llm-1"),
        ("PHASE=ready", "llm-0 embedding-0"),
        ("phase!=ready", "llm-1 llm-10"),
        ("-phase!=ready", "llm-0 embedding-0"),
        ("!draining", "llm-0 llm-1 embedding-0"),
        ("!lm1", "llm-0 llm-1 llm-10 embedding-0"),
        ("name:llm-1", "llm-1 llm-10"),
        ("name=llm-1", "llm-1"),
        ('replica="llm-1"', "llm-1"),
        ("name>=llm-2", "llm-10"),
        ("cpu>80", "llm-0 llm-10"),
        ("cpu>80% cpu<85", "llm-10"),
        ("-cpu>80", "llm-1 embedding-0"),
        ("cpu:90", "llm-0"),
        ("cpu=90%", "llm-0"),
        ("ttft>=500ms", "llm-1 embedding-0"),
        ("p95>1s", "embedding-0"),
        ("ttft<1m", "llm-0 llm-1 embedding-0"),
        ("mem<1GiB mem>0", "llm-0 llm-10"),
        ("mem:2gib", "llm-1"),
        ("mem>=1.5G", "llm-1"),
        ("cpu>80 llm-1", "llm-10"),
        ("seen-by>950", "llm-1 embedding-0"),
        ("seen_by>15m10s", "llm-0 llm-1 llm-10 embedding-0"),
        ("cpu>", "llm-0 llm-1 llm-10 embedding-0"),
        ("phase: -", "llm-0 llm-1 llm-10 embedding-0"),
        ("a->b", ""),
    ],
)
def test_a_filter_says_what_it_keeps(text: str, names: str) -> None:
    assert kept(text) == names.split()


def test_a_column_that_is_not_there_is_said_and_the_rest_still_holds() -> None:
    asked = RowFilter("llm colour:red cpu>80", COLUMNS)
    assert asked.notes == ["no column colour; there are replica phase cpu p95 mem seenby"]
    assert kept("llm colour:red cpu>80") == ["llm-0", "llm-10"]
    assert RowFilter("a:b").notes == ["no column a"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("cpu>5s", "cpu is compared with a percentage, as in cpu>80"),
        ("ttft>fast", "ttft is compared with a time, as in ttft>500ms or ttft>5m"),
        ("mem<big", "mem is compared with a size, as in mem<1GiB".replace("<", ">")),
    ],
)
def test_a_value_of_the_wrong_kind_is_said(text: str, note: str) -> None:
    assert RowFilter(text, COLUMNS).notes == [note]
    assert len(kept(text)) == len(ROWS)


def test_words_are_compared_as_the_cell_writes_them() -> None:
    times = (
        Column[float | None](
            key="at", title="AT", width=4, cell=lambda r, _: (f"{(r or 0) / 60:.0f}:00", ""), sort=lambda r: r
        ),
    )
    rows = [540.0, 600.0, None]
    assert RowFilter("at>9:30", times).select(range(3), rows, [], NOW) == [1]
    assert RowFilter("at<9:30", times).select(range(3), rows, [], NOW) == [0]


def test_only_filters_on_ages_are_asked_again_as_time_goes_by() -> None:
    assert RowFilter("seenby>5", COLUMNS).timely
    assert not RowFilter("cpu>5 llm", COLUMNS).timely
    assert kept("seenby>950", now=990.0) == ["llm-1", "embedding-0"]
    assert kept("seenby>950", now=1200.0) == [row[0] for row in ROWS]


def test_amounts_have_units() -> None:
    assert amount("1.5GiB", "bytes") == 1.5 * 2**30
    assert amount("2kB", "bytes") == 2000
    assert amount("3 ms", "seconds") == 0.003
    assert amount("-2", "number") == -2
    assert amount("2k", "number") == 2000
    assert amount("", "number") is None
    assert amount("1e400", "number") is None


def test_what_is_typed_is_completed_to_columns_and_their_words() -> None:
    assert complete("ph", COLUMNS) == "phase:"
    assert complete("llm !ph", COLUMNS) == "llm !phase:"
    assert complete("tt", COLUMNS) == "ttft_p95>"
    assert complete("phase:no", COLUMNS) == "phase:notReady"
    assert complete("phase:Ready,dr", COLUMNS) == "phase:Ready,draining"
    for text in ("", "p", "phase:", "phase:Ready", "xyz", "nothing:x", "ph "):
        assert complete(text, COLUMNS) is None, text


def test_columns_answer_to_key_title_and_other_names() -> None:
    assert find_column(REPLICAS, "mem") is find_column(REPLICAS, "MEMORY")
    found = find_column(REPLICAS, "ttft")
    assert found is not None
    assert found.key == "ttft_p95"
    assert find_column(REPLICAS, "-") is None
    seen = find_column(REQUEST_COLUMNS, "seen by")
    assert seen is not None
    assert seen.key == "seen"


CORPUS = (
    ':::= >>== !!-- "unclosed a:b:c =x <> -"" "" phase:"Rea phase:, cpu>1e999 cpu>-5 cpu:nan cpu:inf ttft>٣s '
    "mem>999999999999999999999999 naïve:ß \u017f=İ a\x00b \u2028 \ud800 phase:>5 name<> age>=-1d (((([[[ .* \\ $^ "
    "日本:語 \U0001d518>1"
)


def test_no_line_of_the_corpus_breaks_it() -> None:
    views = SimulatorSource(replicas=3, warm_s=2)._snapshot().replicas
    hays = [replica_haystack(view).casefold() for view in views]
    for text in [*CORPUS.split(" "), CORPUS, CORPUS[::-1], "a" * 5000, "-" * 500, 'x:"' * 300]:
        RowFilter(text, REPLICAS).select(range(len(views)), views, hays, time.time())
        complete(text, REPLICAS)


@given(st.text(st.sampled_from('abcpu:<>=!-" .,0123%msGiB*(\\') | st.characters(), max_size=60))
def test_no_text_breaks_it_and_no_row_is_invented(text: str) -> None:
    assert set(kept(text)) <= {row[0] for row in ROWS}
    completed = complete(text, COLUMNS)
    assert completed is None or completed.startswith(text)


@given(st.sampled_from(["llm", "cpu>80", "phase:Ready", "ttft<1s", "mem:0"]))
def test_a_clause_and_its_opposite_share_the_rows(clause: str) -> None:
    assert sorted(kept(clause) + kept(f"-{clause}")) == sorted(row[0] for row in ROWS)


def test_letters_in_order_take_no_time_on_hostile_text() -> None:
    asked: RowFilter[str] = RowFilter("a" * 24 + "b", ())
    assert asked.select([0], ["x"], ["a" * 3000], 0.0) == []  # else it would not end within a lifetime
