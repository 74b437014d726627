"""A recording as one file: read back as it was written, and a sentence for each way in which a file is none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backend.contract import exit_codes
from backend.contract.errors import FileError, UsageError
from backend.recording import archive as archiving
from backend.recording.archive import MANIFEST, SNAPSHOTS, Archive, ArchiveWriter
from backend.recording.shelf import Shelf
from tests.unit.recording import files
from tests.unit.recording.files import ROWS, write_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "it.trinity")


def test_what_was_written_is_read_back(path: Path) -> None:
    archive = Archive(path)
    assert list(archive.recording.snapshots()) == files.SNAPSHOTS
    assert {table: list(archive.rows(table)) for table in ROWS} == ROWS
    assert archive.manifest.counts == {"snapshots": 150, **{table: len(rows) for table, rows in ROWS.items()}}
    extent = archive.recording.extent()
    assert (extent.first_ts, extent.last_ts, extent.origin) == (1000.0, 1149.0, "it.trinity")
    assert archive.recording.at(1077.5) == files.SNAPSHOTS[77]
    archive.check()


def test_rows_take_a_fraction_of_their_text(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("requests.jsonl")
        assert entry.compress_size * 5 < entry.file_size


def test_a_file_is_private_and_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "it.trinity"

    def interrupted() -> None:
        with ArchiveWriter(path) as archive:
            for number, _ in enumerate(archive.snapshots(files.SNAPSHOTS)):
                if number == 5:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    write_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_never_written_over_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "it.trinity"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write_file(path)
    assert path.read_text() == "mine"
    write_file(path, force=True)
    Archive(path).check()


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "it.trinity"
    with pytest.raises(FileExistsError), ArchiveWriter(path):
        path.write_text("mine")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def repacked(path: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """The same archive, with its entries changed (None leaves one out)."""
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, info.compress_type, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, how, data in entries:
            changed = change(name, data)
            if changed is not None:
                new.writestr(name, changed, how if compression == zipfile.ZIP_DEFLATED else compression)
    return path


def in_manifest(**parts: object) -> Callable[[str, bytes], bytes]:
    def change(name: str, data: bytes) -> bytes:
        return msgspec.json.encode(msgspec.json.decode(data) | parts) if name == MANIFEST else data

    return change


def only(name: str, becomes: bytes | None) -> Callable[[str, bytes], bytes | None]:
    return lambda entry, data: becomes if entry == name else data


BAD: list[tuple[str, Callable[[Path], object]]] = [
    ("only a part of one", lambda path: path.write_bytes(b"")),
    ("only a part of one", lambda path: path.write_bytes(b"no recording at all" * 100)),
    ("only a part of one", lambda path: os.truncate(path, path.stat().st_size // 2)),
    ("only a part of one", lambda path: os.truncate(path, path.stat().st_size - 5)),
    ("cannot be read: no such file", lambda path: path.unlink()),
    ("cannot be read: is a directory", lambda path: (path.unlink(), path.mkdir())),
    ("no recording", lambda path: repacked(path, only(MANIFEST, None))),
    ("no recording", lambda path: repacked(path, only(MANIFEST, b"\xff{"))),
    ("no recording", lambda path: repacked(path, only(MANIFEST, b" " * 2_000_000))),
    ("no recording", lambda path: repacked(path, in_manifest(format="other"))),
    (
        r"form 2, and .* up to 1\. Use Trinity 9\.9, or",
        lambda path: repacked(path, in_manifest(schema=2, version="9.9")),
    ),
    ("manifest is damaged", lambda path: repacked(path, in_manifest(fleet=5))),
    (r"events\.jsonl is missing", lambda path: repacked(path, only("events.jsonl", None))),
    (r"snapshots\.rec is missing", lambda path: repacked(path, only(SNAPSHOTS, None))),
    ("snapshots are damaged", lambda path: repacked(path, only(SNAPSHOTS, b"TRK1 and nothing"))),
    ("packed again", lambda path: repacked(path, lambda _, data: data, zipfile.ZIP_BZIP2)),
    ("line 2 of events.jsonl is damaged", lambda path: repacked(path, _second_line_spoilt)),
    ("holds 14 events, and 15 were written", lambda path: repacked(path, _last_line_gone)),
]


def _second_line_spoilt(name: str, data: bytes) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join([lines[0], b"{}", *lines[2:]]) if name == "events.jsonl" else data


def _last_line_gone(name: str, data: bytes) -> bytes:
    return b"\n".join(data.split(b"\n")[:-2]) + b"\n" if name == "events.jsonl" else data


@pytest.mark.parametrize(("words", "spoil"), BAD, ids=[f"{n} {words[:20]}" for n, (words, _) in enumerate(BAD)])
def test_what_is_no_recording_is_told_in_a_sentence(path: Path, words: str, spoil: Callable[[Path], object]) -> None:
    spoil(path)
    with pytest.raises(FileError, match=words) as caught:
        Archive(path).check()
    assert caught.value.exit_code == exit_codes.USAGE
    assert caught.value.next_step.endswith((".", "`."))


def test_a_damaged_byte_in_the_middle_is_found_by_a_check(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"requests.jsonl") + 200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(FileError):
        Archive(path).check()


def test_a_joke_of_a_zip_is_not_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_MAX_BYTES", 1000)
    with pytest.raises(FileError, match="more than any recording"):
        Archive(path)
    monkeypatch.undo()
    monkeypatch.setattr(archiving, "_MAX_LINE", 50)
    with pytest.raises(FileError, match="damaged"):
        list(Archive(path).rows("events"))


def test_a_header_that_points_elsewhere_is_damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] = ord("X")
    path.write_bytes(data)
    with pytest.raises(FileError, match="damaged"):
        Archive(path)


def test_tables_that_are_not_there_and_those_of_the_future_do_no_harm(path: Path) -> None:
    repacked(path, in_manifest(counts={"snapshots": 150, "traces": 7}))
    archive = Archive(path)
    archive.check()
    assert list(archive.rows("traces")) == []


def test_a_check_says_how_far_it_is(path: Path) -> None:
    told: list[tuple[str, int]] = []
    Archive(path).check(lambda what, count: told.append((what, count)))
    assert told[-1] == ("snapshots", 150)
    assert ("requests", 50) in told


# -- the shelf


def test_imported_recordings_are_found_by_name(path: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "recordings")
    assert shelf.names() == []
    assert shelf.take(path, force=False) == "it"
    assert shelf.names() == ["it"]
    Archive(shelf.find("it")).check()
    assert shelf.find(str(path)) == path, "a path is a path"
    with pytest.raises(UsageError, match=r"already.*--force"):
        shelf.take(path, force=False)
    shelf.take(path, force=True)
    assert [file.name for file in shelf.directory.iterdir()] == ["it.trinity"]
    assert shelf.find("it").stat().st_mode & 0o777 == 0o600


def test_names_stay_inside_the_shelf(path: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "recordings")
    odd = path.rename(tmp_path / "...what? a name.zip")
    assert shelf.take(odd, force=False) == "what-a-name.zip"
    nameless = odd.rename(tmp_path / "???")
    assert shelf.take(nameless, force=False) == "recording"


def test_a_name_that_nobody_knows_is_a_hint(path: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "recordings")
    with pytest.raises(UsageError, match="trinity record list"):
        shelf.find("outage")
    shelf.take(path.rename(tmp_path / "outage.trinity"), force=False)
    with pytest.raises(UsageError, match="Did you mean `outage`"):
        shelf.find("outrage")
    with pytest.raises(FileError, match="is a directory"):
        shelf.find(str(tmp_path))
