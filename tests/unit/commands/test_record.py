"""`trinity record` and `trinity replay --check` on a state directory without a daemon: one file, and plain words."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from backend.contract import exit_codes
from backend.contract.control import Snapshot
from backend.ledger.journal import encode_rows, journal_name
from backend.recording.archive import Archive
from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter
from console.cli import run
from tests.unit.console.sample import action, event
from tests.unit.ledger.rows import request, sample
from tests.unit.recording.fleets import seconds_of

SECRET = "a-long-password"  # what is looked for in the file


class Fleet:
    """A state directory as a daemon left it: an hour ago it recorded two minutes."""

    def __init__(self, state: Path) -> None:
        self.state, self.began = state, float(int(time.time()) - 3000)
        self.snapshots: list[Snapshot] = seconds_of(120, start=self.began)
        writer = SegmentWriter(state / "recording", RecordingLimits())
        for one in self.snapshots:
            writer.add(one)
        writer.close()
        (state / "edge").mkdir()
        (state / "edge" / "stats.password").write_text(SECRET + "\n")
        (state / "ledger").mkdir()
        rows = {
            "events": [event(n, ts=self.began + n, message=f"stats are at {SECRET}") for n in range(20)],
            "actions": [action("a", ts=self.began + 5), action("a", ts=self.began + 6)],
            "requests": [request(self.began + n / 10) for n in range(1000)],
            "samples": [sample(self.began + n) for n in range(60)],
        }
        for table, some in rows.items():
            (state / "ledger" / journal_name(table, 1)).write_bytes(encode_rows(some))
        logs = state / "logs" / "llm-0"
        logs.mkdir(parents=True)
        stamps = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.began + n)) for n in range(30))
        (logs / "0.log").write_text("".join(f"{stamp}.000000Z stderr F token={SECRET}\n" for stamp in stamps))

    def trinity(self, *args: str) -> int:
        return run([args[0], args[1], "--state", str(self.state), *args[2:]])


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    state = tmp_path / "state"
    state.mkdir()
    return Fleet(state)


def test_a_span_is_exported_whole_and_without_its_secrets(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.trinity"
    assert fleet.trinity("record", "export", str(path), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    counts = {"snapshots": 120, "events": 20, "actions": 2, "requests": 1000, "samples": 60, "logs": 30}
    assert (said["counts"], said["fleet"], said["left_out"]) == (counts, "local", {})
    archive = Archive(path)
    archive.check()
    assert list(archive.recording.snapshots()) == fleet.snapshots
    for table in ("events", "logs"):
        assert all(SECRET not in row.message and "[redacted]" in row.message for row in archive.rows(table))


def test_since_and_until_cut_the_span(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.trinity"
    span = ("--since", str(fleet.began + 10), "--until", str(fleet.began + 19))
    assert fleet.trinity("record", "export", str(path), *span) == 0
    said = capsys.readouterr()
    assert "10 snapshots, 10 events, 0 actions, 91 requests, 10 samples, 10 logs" in said.out
    assert f"trinity replay {path}" in said.err


def test_a_file_is_not_written_over_unless_told(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.trinity"
    path.write_text("mine")
    assert fleet.trinity("record", "export", str(path)) == exit_codes.USAGE
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert fleet.trinity("record", "export", str(path), "--force") == 0
    Archive(path).check()


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (("--since", "2m", "--until", "5m"), "ends before it begins"),
        (("--since", "2m"), "Nothing was recorded in that time. The recording reaches from"),
        (("--since", "soon"), "--since soon"),
        (("--until", "later"), "--until later"),
    ],
)
def test_a_span_that_holds_nothing_is_a_sentence(
    fleet: Fleet, tmp_path: Path, span: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.trinity("record", "export", str(tmp_path / "out"), *span) == exit_codes.USAGE
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_a_sentence(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.trinity("record", "export", str(tmp_path / "no" / "such" / "out")) == exit_codes.USAGE
    assert "cannot be written: no such file or directory" in capsys.readouterr().err


def test_a_fleet_that_never_ran_has_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "export", "--state", str(tmp_path / "none"), str(tmp_path / "out")]) == exit_codes.USAGE
    assert "The flight recorder runs with the daemon" in capsys.readouterr().err
    assert run(["record", "list", "--state", str(tmp_path / "none")]) == 0
    assert "nothing is recorded yet" in capsys.readouterr().out


def test_the_file_of_somebody_else_is_imported_listed_and_checked(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "outage.trinity"
    fleet.trinity("record", "export", str(path))
    capsys.readouterr()
    assert fleet.trinity("record", "import", str(path)) == 0
    assert capsys.readouterr().out == "outage\n"
    assert fleet.trinity("record", "import", str(path)) == exit_codes.USAGE
    assert "already" in capsys.readouterr().err
    assert fleet.trinity("record", "import", str(path), "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "outage"}
    (fleet.state / "recordings" / "bad.trinity").write_text("no")
    assert fleet.trinity("record", "list") == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["NAME", "(this", "bad", "outage"]
    assert "no recording" in table[2]
    assert fleet.trinity("record", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[2]["counts"]["requests"] == 1000
    assert fleet.trinity("record", "info", "outage") == 0
    shown = capsys.readouterr().out
    assert run(["replay", "--state", str(fleet.state), "outage", "--check"]) == 0
    assert capsys.readouterr().out == shown
    assert run(["replay", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["snapshots"] == 120


@pytest.mark.parametrize("command", [("record", "import"), ("record", "info"), ("replay", "--check")])
def test_a_file_that_is_no_recording_is_refused_in_a_sentence(
    fleet: Fleet, tmp_path: Path, command: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    assert run([*command, str(path)]) == exit_codes.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"trinity: {path}: it is no recording")
    assert len(said.err.splitlines()) == 1
    assert not (fleet.state / "recordings").exists()


def test_a_console_on_a_recording_needs_a_terminal(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.trinity("record", "export", str(tmp_path / "out"))
    monkeypatch.setenv("TERM", "xterm-256color")
    assert run(["replay", str(tmp_path / "out")]) == exit_codes.USAGE
    assert "needs a terminal" in capsys.readouterr().err
    monkeypatch.setenv("TERM", "dumb")
    assert run(["replay", str(tmp_path / "out")]) == exit_codes.USAGE
    assert "See what it holds with --check" in capsys.readouterr().err
