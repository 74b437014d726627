"""Journal files: whole lines only, torn tails cut, names that order and dedupe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.rows import Row
from backend.ledger.journal import (
    JournalWriter,
    decode_line,
    encode_rows,
    journal_name,
    list_files,
    read_lines,
    segment_name,
    superseded,
)
from backend.ledger.rebuild import rebuild_table
from tests.unit.ledger.rows import action, event, request, sample


@pytest.mark.parametrize(
    ("table", "row"),
    [("requests", request(1.5)), ("events", event(2.0)), ("samples", sample(3.0)), ("actions", action(4.0, "x"))],
)
def test_rows_survive_the_round_trip(table: str, row: Row) -> None:
    assert decode_line(table, encode_rows([row]).rstrip(b"\n")) == row


def test_newlines_and_odd_text_stay_one_line(tmp_path: Path) -> None:
    row = event(1.0, message="two\nlines\u2028\x00 ☃ \ud7ff")
    text = encode_rows([row])
    assert text.count(b"\n") == 1
    assert decode_line("events", text[:-1]) == row


@given(st.integers(1, 20), st.integers(0, 4000))
def test_a_file_cut_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, count: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("j") / journal_name("requests", 1)
    lines = [encode_rows([request(float(n), str(n))]) for n in range(count)]
    text = b"".join(lines)
    kept = text[: max(0, len(text) - cut)]
    path.write_bytes(kept)
    whole = kept.count(b"\n")
    writer = JournalWriter(path, "requests", 1)
    assert writer.torn_bytes == len(kept) - (kept.rfind(b"\n") + 1)
    writer.append(encode_rows([request(99.0, "after")]))
    writer.close()
    rebuilt = rebuild_table(list_files(path.parent), 1000)
    assert [getattr(row, "request_id", "") for row in rebuilt.rows] == [*(str(n) for n in range(whole)), "after"]
    assert rebuilt.unreadable_lines == 0
    assert rebuilt.next_ordinal == whole + 2


def test_a_long_torn_tail_is_cut(tmp_path: Path) -> None:
    path = tmp_path / journal_name("events", 1)
    whole = encode_rows([event(1.0)])
    path.write_bytes(whole + b"x" * 200_000)
    writer = JournalWriter(path, "events", 1)
    assert (writer.size, writer.torn_bytes) == (len(whole), 200_000)
    writer.close()
    assert path.read_bytes() == whole


def test_a_failed_write_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / journal_name("requests", 1)
    writer = JournalWriter(path, "requests", 1)
    first, second = encode_rows([request(1.0)]), encode_rows([request(2.0)])
    writer.append(first)
    real_write = os.write
    calls: list[int] = []

    def short_then_full(fd: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real_write(fd, data[:10])

    monkeypatch.setattr(os, "write", short_then_full)
    with pytest.raises(OSError, match="No space"):
        writer.append(second)
    monkeypatch.undo()
    assert path.read_bytes() == first
    writer.append(second)
    writer.close()
    assert path.read_bytes() == first + second


def test_unreadable_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / journal_name("events", 1)
    path.write_bytes(encode_rows([event(1.0)]) + b"\x00" * 50 + b'\n{"ts": "no"}\n' + encode_rows([event(2.0)]))
    rebuilt = rebuild_table(list_files(tmp_path), 100)
    assert [row.ts for row in rebuilt.rows] == [1.0, 2.0]
    assert rebuilt.unreadable_lines == 2


def test_numbers_of_events_go_on_after_a_gap(tmp_path: Path) -> None:
    (tmp_path / journal_name("events", 5)).write_bytes(encode_rows([_numbered(5), _numbered(9)]))
    assert rebuild_table(list_files(tmp_path), 100).next_ordinal == 10


def _numbered(seq: int) -> Row:
    from msgspec.structs import replace

    return replace(event(1.0), seq=seq)


def test_only_the_wanted_rows_are_read_back_across_journals(tmp_path: Path) -> None:
    (tmp_path / journal_name("samples", 1)).write_bytes(encode_rows(sample(float(n)) for n in range(10)))
    (tmp_path / journal_name("samples", 11)).write_bytes(encode_rows(sample(float(n)) for n in range(10, 15)))
    rebuilt = rebuild_table(list_files(tmp_path), 8)
    assert [row.ts for row in rebuilt.rows] == [float(n) for n in range(7, 15)]
    assert (rebuilt.next_ordinal, rebuilt.open_journal_ts) == (16, 10.0)


def test_a_journal_with_a_segment_is_a_copy(tmp_path: Path) -> None:
    for name in (
        journal_name("requests", 1),
        segment_name("requests", 1, 10),
        journal_name("requests", 11),
        journal_name("events", 1),
        "requests-notes.jsonl",
        "logs-0000000000000001.jsonl",
    ):
        (tmp_path / name).touch()
    assert [(file.table, file.first, file.parquet) for file in list_files(tmp_path)] == [
        ("events", 1, False),
        ("requests", 1, True),
        ("requests", 11, False),
    ]
    assert superseded(tmp_path) == [tmp_path / journal_name("requests", 1)]
    assert list_files(tmp_path / "none") == []


def test_reading_leaves_a_tail_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / journal_name("events", 1)
    path.write_bytes(encode_rows([event(1.0)]) + b'{"ts":')
    text = read_lines(path)
    assert (len(text.lines), text.torn_bytes) == (1, 6)
