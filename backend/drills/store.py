"""A run's directory: `drills/<run-id>/` with scenario, record, client rows and reports. Owns the names of its files.

Blocking file work: callers on the loop use a thread, except for appending a row, which is one small write.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from backend.contract.errors import FileError
from backend.drills.check import Compiled, load_scenario
from backend.drills.html import html
from backend.drills.junit import junit
from backend.drills.markdown import markdown
from backend.drills.records import DrillRow, RunRecord
from backend.drills.report import Report, encode
from backend.drills.scenario import ReportFormat

SCENARIO: Final = "scenario.yaml"
RECORD: Final = "record.json"
LEDGER: Final = "ledger.jsonl"
REPORT: Final = "report.json"
JUNIT: Final = "junit.xml"
MARKDOWN: Final = "report.md"
HTML: Final = "report.html"
_RENDERERS: Final[dict[str, tuple[ReportFormat, Callable[[Report], str]]]] = {
    JUNIT: ("junit", junit),
    MARKDOWN: ("md", markdown),
    HTML: ("html", html),
}

T = TypeVar("T")
_ROW_ENCODER: Final = msgspec.json.Encoder()
_ROW_DECODER: Final = msgspec.json.Decoder(DrillRow)


class RowFile:
    """The run's `ledger.jsonl`, open for appending."""

    def __init__(self, run_dir: Path) -> None:
        self._file = (run_dir / LEDGER).open("ab", buffering=0)

    def append(self, row: DrillRow) -> None:
        self._file.write(_ROW_ENCODER.encode(row) + b"\n")

    def close(self) -> None:
        """Fsync and close."""
        os.fsync(self._file.fileno())
        self._file.close()


def create(drills_dir: Path, run_id: str, scenario_text: str) -> Path:
    """Make the run's directory with its scenario. Raises OSError."""
    run_dir = drills_dir / run_id
    run_dir.mkdir(mode=0o700, parents=True)
    _write(run_dir / SCENARIO, scenario_text.encode())
    return run_dir


def save_record(run_dir: Path, record: RunRecord) -> None:
    """Write `record.json`, whole or not at all."""
    _write(run_dir / RECORD, msgspec.json.encode(record) + b"\n")


def write_reports(run_dir: Path, compiled: Compiled, report: Report) -> Path:
    """Write the reports the scenario asks for (JSON always, and last: with it the run is finished). Its path."""
    for name, (kind, render) in _RENDERERS.items():
        if kind in compiled.scenario.report.formats:
            _write(run_dir / name, render(report).encode())
    _write(run_dir / REPORT, encode(report))
    return run_dir / REPORT


def write_page(run_dir: Path, report: Report) -> Path:
    """Write the HTML page where the run has none; its path."""
    if not (run_dir / HTML).is_file():
        _write(run_dir / HTML, html(report).encode())
    return run_dir / HTML


def rewrite_rows(run_dir: Path, rows: Sequence[DrillRow]) -> None:
    """Replace the rows' file by the same rows with what the edge knew of them, whole or not at all."""
    _write(run_dir / LEDGER, b"".join(_ROW_ENCODER.encode(row) + b"\n" for row in rows))


def differing_files(run_dir: Path, report: Report) -> list[str]:
    """Names of the rendered reports in the directory that are not what `report` gives."""
    return [
        name
        for name, (_, render) in _RENDERERS.items()
        if (run_dir / name).is_file() and _read(run_dir / name) != render(report).encode()
    ]


def read_scenario(run_dir: Path) -> Compiled:
    """The scenario the run was started with. Raises FileError."""
    return load_scenario(_read(run_dir / SCENARIO).decode(), str(run_dir / SCENARIO))


def read_record(run_dir: Path) -> RunRecord:
    """Raises FileError."""
    return _decode(run_dir / RECORD, _read(run_dir / RECORD), msgspec.json.Decoder(RunRecord))


def read_report(run_dir: Path) -> Report:
    """Raises FileError."""
    return _decode(run_dir / REPORT, _read(run_dir / REPORT), msgspec.json.Decoder(Report))


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The few words of a report that choosing among runs needs; read without the rest of it."""

    run_id: str
    name: str
    outcome: str
    scenario_digest: str
    started_ts: float
    ended_ts: float | None
    reasons: tuple[str, ...]
    faults: tuple[FaultHead, ...] = ()


class FaultHead(msgspec.Struct, frozen=True, kw_only=True):
    """A fault's intervals (seconds)."""

    detection_s: float | None = None
    recovery_s: float | None = None
    mttr_s: float | None = None


def read_head(run_dir: Path) -> Head:
    """Raises FileError."""
    return _decode(run_dir / REPORT, _read(run_dir / REPORT), msgspec.json.Decoder(Head))


def read_rows(run_dir: Path) -> list[DrillRow]:
    """All whole rows, in the order they ended; a torn last line is left out. Raises FileError for damage inside."""
    path = run_dir / LEDGER
    lines = _read(path).split(b"\n")[:-1]
    return [_decode(path, line, _ROW_DECODER, number) for number, line in enumerate(lines, 1)]


def ledger_digest(run_dir: Path) -> str:
    """SHA-256 (hex) of the rows' file."""
    return hashlib.sha256(_read(run_dir / LEDGER)).hexdigest()


def report_bytes(run_dir: Path) -> bytes:
    return _read(run_dir / REPORT)


def runs(drills_dir: Path) -> Sequence[Path]:
    """All run directories, oldest first."""
    if not drills_dir.is_dir():
        return []
    found = [path for path in drills_dir.iterdir() if (path / SCENARIO).is_file()]
    return sorted(found, key=lambda path: ((path / SCENARIO).stat().st_mtime, path.name))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(str(path), f"cannot be read: {error.strerror}.", "Is this a drill run's directory?") from None


def _decode(path: Path, data: bytes, decoder: msgspec.json.Decoder[T], line: int = 0) -> T:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise FileError(str(path), f"is damaged: {error}.", "The run cannot be judged from it.", line, 1) from None


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
