"""Rows of a span straight from the files: journals and segments, each row once, whatever upkeep does meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.contract.rows import Row
from backend.contract.words import ActionOutcome
from backend.ledger import span
from backend.ledger.journal import encode_rows, journal_name, list_files
from backend.ledger.segments import convert
from backend.ledger.span import rows_between
from tests.unit.ledger.rows import action, event, request, sample


def journal(directory: Path, table: str, first: int, rows: list[Row]) -> Path:
    path = directory / journal_name(table, first)
    path.write_bytes(encode_rows(rows))
    return path


def test_journals_and_segments_tell_the_same(tmp_path: Path) -> None:
    tables: dict[str, list[Row]] = {
        "requests": [request(float(ts), f"r{ts}", ttft_s=None if ts % 2 else 0.1) for ts in range(1, 9)],
        "events": [event(float(ts)) for ts in range(1, 9)],
        "samples": [sample(float(ts)) for ts in range(1, 9)],
        "actions": [action(1.0, "a"), action(3.0, "a", ActionOutcome.OK), action(8.0, "b")],
    }
    for table, rows in tables.items():
        journal(tmp_path, table, 1, rows)
    before = {table: list(rows_between(tmp_path, table, 2.0, 7.0)) for table in tables}
    assert before == {table: [row for row in rows if 2.0 <= row.ts <= 7.0] for table, rows in tables.items()}
    for file in list_files(tmp_path):
        assert convert(file) is not None
    assert {table: list(rows_between(tmp_path, table, 2.0, 7.0)) for table in tables} == before


def test_files_written_last_before_the_span_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = journal(tmp_path, "events", 1, [event(10.0)]), journal(tmp_path, "events", 2, [event(500.0)])
    for path, written_ts in ((old, 20.0), (new, 500.0)):
        os.utime(path, (written_ts, written_ts))
    read: list[Path] = []
    monkeypatch.setattr(span, "read_lines", lambda path: read.append(path) or read_lines(path))
    assert [row.ts for row in rows_between(tmp_path, "events", 5.0, 600.0)] == [10.0, 500.0]
    read.clear()
    assert [row.ts for row in rows_between(tmp_path, "events", 100.0, 600.0)] == [500.0]
    assert read == [new]


def test_a_journal_that_becomes_a_segment_meanwhile_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, "events", 1, [event(1.0)])
    journal(tmp_path, "events", 2, [event(2.0)])
    stale = list_files(tmp_path)
    convert(stale[1])
    listings = [stale]
    monkeypatch.setattr(span, "list_files", lambda directory: listings.pop() if listings else list_files(directory))
    assert [row.ts for row in rows_between(tmp_path, "events", 0.0, 9.0)] == [1.0, 2.0]


def test_a_segment_that_retention_deletes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal(tmp_path, "events", 1, [event(1.0)])
    listed = list_files(tmp_path)
    listed[0].path.unlink()
    monkeypatch.setattr(span, "list_files", lambda directory: listed)
    assert list(rows_between(tmp_path, "events", 0.0, 9.0)) == []


def test_what_is_no_row_is_passed_over(tmp_path: Path) -> None:
    path = journal(tmp_path, "events", 1, [event(1.0), event(2.0)])
    path.write_bytes(path.read_bytes().replace(b'"ts":1.0', b'"ts":"x"') + b'{"ts":3.0')
    assert [row.ts for row in rows_between(tmp_path, "events", 0.0, 9.0)] == [2.0]


read_lines = span.read_lines
