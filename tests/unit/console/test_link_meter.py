"""The strip says the screen's traffic in a few letters, and a slow link before anything else."""

from __future__ import annotations

import pytest

from console.render.link_meter import bytes_per_second, meter


def words(line) -> str:
    return "".join(text for text, _ in line)


@pytest.mark.parametrize(
    ("step", "said"), [(0, "0 B/s"), (500, "500 B/s"), (1000, "1 KB/s"), (50_000, "50 KB/s"), (2_000_000, "2 MB/s")]
)
def test_rates_are_short(step, said):
    assert bytes_per_second(step) == said
    assert [words(line) for line in meter(step, 0, low_bandwidth=False)] == [said.rjust(8), ""]


def test_low_bandwidth_says_so():
    assert [words(line) for line in meter(200, 0, low_bandwidth=True)] == ["low-bandwidth   200 B/s", " 200 B/s", ""]


@pytest.mark.parametrize(("merged", "said"), [(1, "1 frame"), (3, "2+ frames"), (5, "5 frames"), (59, "50+ frames")])
def test_a_slow_link_says_what_it_did_not_get_in_coarse_steps(merged, said):
    shown = [words(line) for line in meter(100, merged, low_bandwidth=True)]
    assert shown == [f"link slow, {said} merged   100 B/s", f"link slow, {said} merged", "link slow", ""]
