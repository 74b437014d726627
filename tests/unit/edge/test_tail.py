"""Log files: offsets, halves of lines, space given back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.edge.tail import LogTail, punch_hole


def drain(tail: LogTail) -> list[bytes]:
    lines: list[bytes] = []
    for path in tail.files():
        while found := tail.read(path, 64):
            lines.extend(found)
    return lines


@settings(max_examples=50)
@given(parts=st.lists(st.binary(max_size=40), max_size=20))
def test_every_line_is_read_once_however_it_was_written(tmp_path_factory: object, parts: list[bytes]) -> None:
    directory = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]  # pytest's own fixture
    path = Path(directory) / "access-00000001.log"
    path.touch()
    offsets: dict[str, int] = {}
    seen: list[bytes] = []
    for part in parts:
        with path.open("ab") as file:
            file.write(part)
        tail = LogTail(Path(directory), offsets)  # a new daemon each time
        seen.extend(drain(tail))
        offsets = tail.offsets
    whole = b"".join(parts)
    # Small reads may not hold a long line yet: one large read takes the rest.
    seen.extend(LogTail(Path(directory), offsets).read(path))
    assert seen == whole.split(b"\n")[:-1]


def test_files_are_read_in_order_of_their_start_and_deleted_when_done(tmp_path: Path) -> None:
    for number in (10, 9):
        (tmp_path / f"access-{number:08d}.log").write_bytes(b"%d\n" % number)
    (tmp_path / "other.log").write_bytes(b"no\n")
    tail = LogTail(tmp_path)
    assert drain(tail) == [b"9", b"10"]
    (tmp_path / "access-00000009.log").open("ab").write(b"late\n")
    assert list(tail.remove_finished({10})) == []
    drain(tail)
    assert list(tail.remove_finished({10})) == ["access-00000009.log"]
    assert tail.offsets == {"access-00000010.log": 3}


def test_hole_frees_blocks_and_keeps_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * (1 << 20) + b"tail")
    before = path.stat().st_blocks
    if not punch_hole(path, 0, 1 << 20):
        return  # this file system cannot; the edge then opens a new file
    assert path.stat().st_size == (1 << 20) + 4
    assert path.stat().st_blocks < before / 4
    assert path.read_bytes()[-4:] == b"tail"
