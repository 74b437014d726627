"""One file with a span of a fleet's past: what `trinity record export` writes and `trinity replay` shows.

A zip archive: `manifest.json` (what it is and what it holds), `snapshots.rec` (a segment, see there) and a file of JSON
lines for each table of the ledger. Owns the layout, its version, and the sentence for every way in which a file can
be something else. Never decides what is written: rows come as they are to be shared.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from backend.contract.control import Snapshot
from backend.contract.errors import FileError
from backend.contract.rows import TABLES, Row
from backend.recording.reader import Part, Recording
from backend.recording.segment import Packer
from backend.version import VERSION

FORMAT: Final = "trinity-recording"
SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"
SNAPSHOTS: Final = "snapshots.rec"
SUFFIX: Final = ".trinity"
KEYFRAME_S: Final = 60.0

_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_MAX_MANIFEST: Final = 1024 * 1024
_MAX_BYTES: Final = 8 * 1024 * 1024 * 1024
"""Unpacked; more is no recording of ours, but somebody's joke."""
_NOT_A_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
)
"""What Python's zip reader raises for bytes that are none, or are damaged."""
_MAX_LINE: Final = 16 * 1024 * 1024
_EXPORT_ANEW: Final = "Export it anew: `trinity record export`."


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    format: str = FORMAT
    schema: int = SCHEMA
    version: str = VERSION
    """Of the program that wrote it."""
    fleet: str
    created_ts: float
    since_ts: float
    until_ts: float
    counts: dict[str, int] = {}
    """`snapshots` and the tables: how many of each."""
    left_out: dict[str, int] = {}
    """What the span held beyond that, by table."""


class _Head(msgspec.Struct, frozen=True):
    """What every version of a manifest says."""

    format: str = ""
    schema: int = 0
    version: str = ""


def table_entry(table: str) -> str:
    return f"{table}.jsonl"


class ArchiveWriter:
    """Writes one file. It appears under its name whole, at the end of the `with` block, or not at all.

    Raises FileExistsError unless `force`, and OSError where it cannot be written."""

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self._path, self._force = path, force
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.counts: dict[str, int] = {}

    def __enter__(self) -> ArchiveWriter:
        self._refuse_to_overwrite()
        descriptor = os.open(self._aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self._zip.close()
                self._file.close()
                self._refuse_to_overwrite()
                self._aside.replace(self._path)
        finally:
            self._zip.fp = None  # left in the middle of an entry, it would complain when it is collected
            with contextlib.suppress(OSError):
                self._file.close()
            self._aside.unlink(missing_ok=True)

    def _refuse_to_overwrite(self) -> None:
        if not self._force and self._path.exists():
            raise FileExistsError(str(self._path))

    def snapshots(self, snapshots: Iterable[Snapshot]) -> Iterator[Snapshot]:
        """Write them; hands each on once it is written, so that the caller sees how far it is."""
        packer, key_ts = Packer(), float("-inf")
        self.counts["snapshots"] = 0
        with self._entry(SNAPSHOTS, zipfile.ZIP_STORED) as entry:  # packed already, and read in place
            for snapshot in snapshots:
                due = not 0 <= snapshot.ts - key_ts < KEYFRAME_S
                record, is_key = packer.pack(snapshot, key=due)
                entry.write(record)
                key_ts = snapshot.ts if is_key else key_ts
                self.counts["snapshots"] += 1
                yield snapshot

    def rows(self, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        """Write them; hands each on once it is written."""
        self.counts[table] = 0
        with self._entry(table_entry(table), zipfile.ZIP_DEFLATED) as entry:
            for row in rows:
                entry.write(msgspec.json.encode(row) + b"\n")
                self.counts[table] += 1
                yield row

    def _entry(self, name: str, packed: int) -> IO[bytes]:
        info = zipfile.ZipInfo(name)
        info.compress_type = packed
        info.external_attr = 0o600 << 16
        return self._zip.open(info, "w", force_zip64=True)

    def manifest(self, manifest: Manifest) -> None:
        """Last: what was written."""
        counted = msgspec.structs.replace(manifest, counts=self.counts)
        self._zip.writestr(MANIFEST, msgspec.json.encode(counted))


class Archive:
    """Reads one file. Raises FileError, with what to do, for anything that is not a whole recording.

    Opening looks at the manifest and at how many records there are; `check` reads everything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _as_file_error(path):
            with zipfile.ZipFile(path) as archive:
                self._entries = {info.filename: info for info in archive.infolist()}
                self.manifest = self._manifest(archive)
                self._check_entries()
            part = self._snapshots_part()
            self.recording = Recording([part], origin=path.name)
            if self.recording.count() != self.manifest.counts.get("snapshots"):
                raise FileError(str(path), "its snapshots are damaged.", _EXPORT_ANEW)

    def _manifest(self, archive: zipfile.ZipFile) -> Manifest:
        info = self._entries.get(MANIFEST)
        foreign = FileError(str(self.path), "it is a zip file, but no recording.", _EXPORT_ANEW)
        if info is None or info.file_size > _MAX_MANIFEST:
            raise foreign
        raw = archive.read(info)
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise foreign from None
        if head.format != FORMAT:
            raise foreign
        if head.schema > SCHEMA:
            words = f"it is of form {head.schema}, and this program reads forms up to {SCHEMA}."
            raise FileError(str(self.path), words, f"Use Trinity {head.version[:40]}, or a newer one.")
        try:
            return msgspec.json.decode(raw, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FileError(str(self.path), f"its manifest is damaged: {error}.", _EXPORT_ANEW) from None

    def _check_entries(self) -> None:
        wanted = [SNAPSHOTS, *(table_entry(table) for table in self.manifest.counts if table in TABLES)]
        missing = [name for name in wanted if name not in self._entries]
        if missing:
            raise FileError(str(self.path), f"{missing[0]} is missing in it.", _EXPORT_ANEW)
        if sum(info.file_size for info in self._entries.values()) > _MAX_BYTES:
            raise FileError(str(self.path), "it unpacks to more than any recording.", _EXPORT_ANEW)

    def _snapshots_part(self) -> Part:
        info = self._entries[SNAPSHOTS]
        if info.compress_type != zipfile.ZIP_STORED:
            raise FileError(str(self.path), "it was unpacked and packed again.", "Use the file as it was exported.")
        with open(self.path, "rb") as file:
            file.seek(info.header_offset)
            signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise FileError(str(self.path), "it is damaged.", _EXPORT_ANEW)
        return Part(self.path, info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes, info.file_size)

    def rows(self, table: str) -> Iterator[Any]:
        """Rows of a table as they were written. None for a table that the file does not hold."""
        if table_entry(table) not in self._entries:
            return
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TABLES[table])
        with (
            _as_file_error(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(table_entry(table)) as lines,
        ):
            for number, line in enumerate(iter(lambda: lines.readline(_MAX_LINE), b""), 1):
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    words = f"line {number} of {table_entry(table)} is damaged: {error}."
                    raise FileError(str(self.path), words, _EXPORT_ANEW) from None

    def check(self, told: Callable[[str, int], None] = lambda what, count: None) -> None:
        """Read everything and compare with the manifest. `told` hears how far it is."""
        found: dict[str, int] = dict.fromkeys(self.manifest.counts, 0)
        for table in [table for table in self.manifest.counts if table in TABLES]:
            for _ in self.rows(table):
                found[table] += 1
                told(table, found[table])
        for _ in self.recording.snapshots():
            found["snapshots"] += 1
            told("snapshots", found["snapshots"])
        for what, count in self.manifest.counts.items():
            if found[what] != count and (what in TABLES or what == "snapshots"):
                words = f"it holds {found[what]} {what}, and {count} were written."
                raise FileError(str(self.path), words, _EXPORT_ANEW)


@contextlib.contextmanager
def _as_file_error(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        words = f"it cannot be read: {(error.strerror or str(error)).lower()}."
        raise FileError(str(path), words, "Name a file that `trinity record export` wrote.") from None
    except _NOT_A_ZIP:
        words = "it is no recording, or only a part of one."
        raise FileError(str(path), words, "Copy it again, or export it anew: `trinity record export`.") from None
