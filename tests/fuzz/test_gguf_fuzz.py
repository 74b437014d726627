"""A damaged model file gives a FileError or a description, never another exception and never much work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import FileError
from backend.serving.gguf import check_gguf
from tests.fuzz.work import counted
from tests.unit.serving.gguf_files import model_file

GOOD = model_file()
MOST_CALLS = 20_000
"""The undamaged file takes 300; a length that is believed takes as many as it says."""


def _said_of(path: Path) -> str:
    try:
        check_gguf(path)
    except FileError as error:
        return str(error)
    return ""


def _survives(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        said, calls = counted(lambda: _said_of(Path(file.name)))
        assert "\n" not in said
        assert calls <= MOST_CALLS


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    _survives(bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD)))
def test_cut_anywhere(length: int) -> None:
    _survives(GOOD[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600))
def test_anything_after_the_magic(tail: bytes) -> None:
    _survives(b"GGUF\x03\0\0\0" + tail)
