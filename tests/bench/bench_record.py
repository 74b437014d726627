"""Prints what the flight recorder costs at 1 Hz, and how fast the past is found: CPU, bytes a minute, seek.

Run as `python tests/bench/bench_record.py [--replicas 1000] [--changing 50] [--minutes 12]`. Records pretended seconds
as fast as it can and tells what one of them took; reading is measured over what was then on the disk.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.recording.limits import RecordingLimits
from backend.recording.reader import Recording
from backend.recording.writer import SegmentWriter, list_segments
from tests.unit.recording.fleets import seconds_of


def median_ms(work: Callable[[int], object], times: int = 20) -> float:
    took: list[float] = []
    for turn in range(times):
        begin = time.perf_counter()
        work(turn)
        took.append(1000 * (time.perf_counter() - begin))
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--changing", type=int, default=50)
    parser.add_argument("--minutes", type=int, default=12)
    given = parser.parse_args()
    snapshots = seconds_of(given.minutes * 60, replicas=given.replicas, changing=given.changing)
    with tempfile.TemporaryDirectory() as place:
        writer = SegmentWriter(Path(place), RecordingLimits())
        began, slowest = time.process_time(), 0.0
        for one in snapshots:
            begin = time.perf_counter()
            writer.add(one)
            slowest = max(slowest, time.perf_counter() - begin)
        cpu = time.process_time() - began
        writer.close()
        size = sum(file.path.stat().st_size for file in list_segments(Path(place)))
        what = f"{given.replicas} replicas, {given.changing} changing a second, 1 Hz"
        print(f"recorder          {100 * cpu / len(snapshots):6.2f} % of a core   (gate 1 %; {what})")
        print(f"on disk           {size / given.minutes / 1e6:6.2f} MB a minute   (gate 1 MB)")
        print(f"slowest second    {1000 * slowest:6.1f} ms   (in a thread of its own)")
        first, last = snapshots[0].ts, snapshots[-1].ts
        warm = Recording(Path(place))
        warm.extent()
        step = (last - first) / 20
        print(
            f"seek              {median_ms(lambda turn: warm.at(first + turn * step)):6.1f} ms median   (gate 100 ms)"
        )
        print(f"15 min of points  {median_ms(lambda _: warm.points(last - 900, last)):6.1f} ms median")
        cold = median_ms(lambda _: Recording(Path(place)).newest())
        print(f"newest, unindexed {cold:6.1f} ms median   (what a console's first frame reads)")


if __name__ == "__main__":
    main()
