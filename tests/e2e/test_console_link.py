"""A link that takes nothing for a while costs the console no sample and blocks nothing; then the newest is next."""

from __future__ import annotations

from itertools import pairwise

from tests.e2e.stalled_link import stall

STALL_S = 2.0
PICTURES = 60


def test_a_stalled_link_loses_nothing_and_shows_the_newest_picture_next(tmp_path):
    seen = stall(tmp_path, STALL_S, pictures_made=PICTURES)
    assert seen.made >= PICTURES, "nothing waited for the terminal"
    # What the terminal had been sent before comes first; then comes none that was made while it did not read.
    gaps = [later - earlier for earlier, later in pairwise(seen.pictures)]
    at = max(range(len(gaps)), key=gaps.__getitem__)
    assert gaps[at] > PICTURES / 2
    assert seen.pictures[at + 1] == seen.at_resume, "the newest that there is"
    assert seen.waiting <= 2, "a frame, and one bell behind it"
    assert all(later - earlier == 1.0 for earlier, later in pairwise(seen.points)), "a sample a second"
