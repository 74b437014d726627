"""What a driver has stored of a log is found again, backwards, over all of its files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.log_notes import STARTS
from backend.fleet.stored_log import lines_back, noted_starts
from backend.shim.notes import write_note
from backend.shim.output import LogWriter


@settings(max_examples=30)
@given(lengths=st.lists(st.sampled_from([0, 1, 40, 9_000, 16_000]), max_size=25), max_bytes=st.integers(50, 200_000))
def test_all_lines_come_back_newest_first(lengths: list[int], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = iter(range(1_800_000_000_000_000_000, 2**63, 1000))
        writer = LogWriter(Path(folder), max_bytes=max_bytes, backups=100, now_ns=lambda: next(clock))
        lines = [str(number).encode() + b"x" * length for number, length in enumerate(lengths)]
        for line in lines:
            writer.write("stdout", [(line, True)])
        writer.close()
        assert [line.split(b" F ")[1] for line in lines_back(Path(folder))] == lines[::-1]


def test_starts_are_those_that_were_noted(tmp_path: Path) -> None:
    assert noted_starts(tmp_path) == []
    write_note(tmp_path / STARTS, 1, 5)
    write_note(tmp_path / STARTS, 2, 9)
    assert noted_starts(tmp_path) == [(1, 5), (2, 9)]
    assert list(lines_back(tmp_path / "none")) == []
