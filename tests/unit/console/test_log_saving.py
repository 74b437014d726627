"""Saving takes every held line that the query keeps, and says what is wrong with a path before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.state.log_query import LogQuery
from console.state.log_saving import PAGE_LINES, file_name, saved_pages, target, why_not
from tests.unit.console.log_samples import chunk, holding, numbered


def test_all_that_match_are_saved_in_order_page_by_page() -> None:
    store = holding(chunk("a", numbered(2 * PAGE_LINES + 5)), chunk("b", [(1000.5, "line of b")]))
    pages = list(saved_pages(store, LogQuery()))
    assert sum(count for _, count in pages) == 2 * PAGE_LINES + 6
    assert len(pages) == 3
    lines = b"".join(data for data, _ in pages).splitlines()
    assert lines[:3] == [
        b"1970-01-01T00:16:40.000000Z a stderr line 0",
        b"1970-01-01T00:16:40.500000Z b stderr line of b",
        b"1970-01-01T00:16:41.000000Z a stderr line 1",
    ]
    kept = b"".join(data for data, _ in saved_pages(store, LogQuery(include=("line 4004$",))))
    assert kept.endswith(b" a stderr line 4004\n")
    assert kept.count(b"\n") == 1


def test_nothing_held_is_an_empty_file() -> None:
    assert [count for _, count in saved_pages(holding(), LogQuery())] == [0]


def test_a_path_is_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(" ~/a.log ") == tmp_path / "a.log"
    assert why_not(str(tmp_path / "a.log")) == ""
    assert "Type a file's name" in why_not(" ")
    assert "is a folder" in why_not("~")
    assert "There is no folder" in why_not("~/none/a.log")
    assert "no path" in why_not("~no-such-user/a.log")


def test_a_file_is_named_after_whose_lines_it_holds() -> None:
    name = file_name("llm-0/x", 0.0)
    assert name.startswith("trinity-llm-0-x-19")
    assert name.endswith(".log")
