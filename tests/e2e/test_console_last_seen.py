"""A console whose daemon does not start shows what the flight recorder saw last, marked with its age."""

from __future__ import annotations

import time
from pathlib import Path

from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter
from tests.e2e.console_pty import Console
from tests.unit.recording.fleets import seconds_of

OPEN = "import sys; from console.cli import main; main(['--state', {state!r}])"
UNSTARTABLE = {"MIN_INSTANCES": "3", "MAX_INSTANCES": "2"}


def test_what_was_seen_last_is_on_the_first_frame_and_stays_stale(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "recording", RecordingLimits())
    for one in seconds_of(3, replicas=3, start=time.time() - 153):
        writer.add(one)
    writer.close()
    console = Console(OPEN.format(state=str(tmp_path)), size=(100, 30), env=UNSTARTABLE)
    try:
        console.until(lambda: console.shows("STALE 2m") and console.shows("llm-2"), "the first frame")
        console.until(lambda: console.shows("STALE 2m") and console.shows("reconnecting"), "the daemon failed to start")
        assert console.shows("llm-2")
        console.press("q")
        assert console.wait() == 0
    finally:
        console.close()
