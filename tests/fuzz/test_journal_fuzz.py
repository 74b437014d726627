"""No bytes on disk, in a journal or a log file, raise: they are read, skipped or cut."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.log_lines import join_pieces, level_of, parse_piece, stamp_of, to_row
from backend.ledger.journal import JOURNALED, JournalWriter, decode_line, journal_name, list_files
from backend.ledger.logs import LogReader
from backend.ledger.rebuild import rebuild_table

pieces_of_lines = st.sampled_from(
    [
        b"2026-11-21T07:27:22.123456Z ", b"2026-11-21T07:27:22Z ", b"9999-12-31T23:59:60.9Z ", b"0000-00-00T00:00:00Z ",
        b"stdout ", b"stderr ", b"F ", b"P ", b"\n", b"{", b"}", b'"level":', b'"x"', b"[" * 2000, b"\x00", b"\xff\xfe",
        b'{"level": 1e999}', b'{"a":' * 600, b"level=", b"request_id=", b"W ", b"0.00.000.000 I ", b"1" * 5000,
    ]
)  # fmt: skip
line_noise = st.lists(st.one_of(pieces_of_lines, st.binary(max_size=40)), max_size=30).map(b"".join)


@given(line_noise)
def test_any_log_line_becomes_a_row(noise: bytes) -> None:
    stamp_of(noise)
    row = to_row("llm-0", parse_piece(noise))
    msgspec.json.encode(row)  # and a row can always be sent
    level_of(noise.decode(errors="replace"))
    for piece in join_pieces(noise.split(b"\n")):
        msgspec.json.encode(to_row("llm-0", piece))


@given(line_noise, st.integers(0, 40), st.floats(0, 2e9), st.floats(0, 2e9))
def test_any_log_file_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, limit: int, since: float, until: float
) -> None:
    logs = tmp_path_factory.mktemp("l")
    (logs / "llm-0").mkdir()
    (logs / "llm-0" / "current.log").write_bytes(noise)
    (logs / "llm-0" / "12.log").write_bytes(noise[::-1])
    reader = LogReader(logs)
    assert len(reader.tail(limit=limit).rows) <= limit
    reader.tail(limit=limit, since_ts=since, until_ts=until, whole_instants=True)
    reader.count(since_ts=since)
    reader.search("a|F", limit=limit)


@given(st.sampled_from(JOURNALED), st.one_of(st.binary(max_size=300), line_noise))
def test_any_journal_can_be_opened(tmp_path_factory: pytest.TempPathFactory, table: str, noise: bytes) -> None:
    directory = tmp_path_factory.mktemp("j")
    path = directory / journal_name(table, 1)
    path.write_bytes(noise)
    for line in noise.split(b"\n"):
        decode_line(table, line)
    rebuilt = rebuild_table(list_files(directory), 100)
    writer = JournalWriter(path, table, 1)
    writer.append(b"{}\n")
    writer.close()
    assert path.read_bytes().endswith(b"{}\n")
    assert rebuilt.next_ordinal >= 1


def test_names_that_are_paths_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "current.log").write_text("secret\n")
    reader = LogReader(tmp_path / "logs")
    for name in ("..", "../", ".", "", os.fspath(tmp_path), "a\0b"):
        assert reader.tail([name]).rows == ()
