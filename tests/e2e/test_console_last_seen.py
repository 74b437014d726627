"""A console on what was recorded: the last snapshot of a fleet that does not answer, and somebody's file."""

from __future__ import annotations

import time
from pathlib import Path

from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter
from tests.e2e.console_pty import Console
from tests.unit.recording.files import write_file
from tests.unit.recording.fleets import seconds_of

OPEN = "import sys; from console.cli import main; main(['--state', {state!r}])"
REPLAY = "from console.cli import main; main(['replay', {path!r}])"
UNSTARTABLE = {"MIN_INSTANCES": "3", "MAX_INSTANCES": "2"}


def test_what_was_seen_last_is_on_the_first_frame_and_stays_stale(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "recording", RecordingLimits())
    for one in seconds_of(3, replicas=3, start=time.time() - 5_400):
        writer.add(one)
    writer.close()
    console = Console(OPEN.format(state=str(tmp_path)), size=(100, 30), env=UNSTARTABLE)
    try:
        console.until(lambda: console.shows("STALE 1h") and console.shows("llm-2"), "the first frame")
        console.until(lambda: console.shows("STALE 1h") and console.shows("reconnecting"), "the daemon failed to start")
        assert console.shows("llm-2")
        assert console.shows("in flight 1"), "and the minutes before it, on the charts"
        console.press("q")
        assert console.wait() == 0
    finally:
        console.close()


def test_a_recording_opens_at_its_end_and_takes_no_verb(tmp_path: Path) -> None:
    recording = write_file(tmp_path / "outage.trinity", seconds_of(30, replicas=3, start=time.time() - 200))
    console = Console(REPLAY.format(path=str(recording)), size=(100, 30))
    try:
        console.until(lambda: console.shows("REPLAY") and console.shows("llm-2"), "the recording's end")
        console.press("K")
        console.until(lambda: console.shows("This is a recording"), "a refusal")
        console.press("q")
        assert console.wait() == 0
        assert b"The fleet goes on running" not in console.raw
    finally:
        console.close()
