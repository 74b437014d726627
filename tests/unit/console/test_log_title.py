"""Over the log lines stands what is asked for and every counter; what was lost is said at any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.render.log_title import Chip, Standing, chips_line, large, search_note, title_info
from console.render.spans import Line, line_width

FULL = Standing(who="all replicas", held=12_400, dropped=3, lost=120, paused=True, below=512)


def one(line: Line) -> str:
    return "".join(text for text, _ in line)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (90, "all replicas · 12.4k lines · 3 dropped · 120 lost · paused, 512 newer below"),
        (60, "all replicas · 12.4k · 3 dropped · 120 lost · paused +512"),
        (36, "3 dropped · 120 lost · paused +512"),
        (22, "3 dropped · 120 lost"),
        (9, "120 lost"),
        (4, "120…"),
    ],
)
def test_words_give_way_counters_of_loss_last(width: int, words: str) -> None:
    assert one(title_info(FULL, width)) == words


@given(st.integers(min_value=1, max_value=120))
def test_the_title_never_takes_more_than_its_room(width: int) -> None:
    assert line_width(title_info(FULL, width)) <= width


def test_other_states_have_their_words() -> None:
    assert one(title_info(Standing(held=1), 80)) == "all replicas · 1 line · following"
    assert one(title_info(Standing(paused=True), 80)).endswith("paused")
    past = one(title_info(Standing(past="14:05:30", older=1200), 80))
    assert past == "all replicas · 0 lines · 1200 older not shown · until 14:05:30"
    assert one(title_info(Standing(link="reconnecting", busy="saving 3"), 80)).endswith(
        "saving 3 · reconnecting · following"
    )
    assert one(title_info(Standing(paused=True, below=2, filtered=True), 80)).endswith("paused, 2 more came")


def test_chips_say_what_is_in_force() -> None:
    chips = [
        Chip("include", "slot 1"),
        Chip("exclude", "health"),
        Chip("level", "warning and above"),
        Chip("search", "timeout", "3 of 41"),
    ]
    assert one(chips_line(chips, 80)).rstrip() == " + slot 1   - health   ▲ warning and above   / timeout  3 of 41"


def test_long_patterns_are_shortened_before_notes_are() -> None:
    line = one(chips_line([Chip("include", "x" * 60), Chip("search", "y" * 60, "3 of 41")], 40))
    assert len(line) == 40
    assert "3 of 41" in line
    assert "xxx…" in line


def test_a_search_tells_how_far_it_is() -> None:
    going = {"scanned": 3_100_000, "total": 10_000_000, "rate": 2_400_000.0, "done": False}
    assert search_note(at=None, found=0, **going) == "searching … 3.1M of 10M lines, 2.4M/s"
    assert search_note(at=2, found=7, **going) == "2 of 7, searching … 3.1M of 10M lines, 2.4M/s"
    done = {"scanned": 10, "total": 10, "rate": 10.0, "done": True}
    assert [search_note(at=None, found=found, **done) for found in (0, 1, 2)] == ["no match", "1 match", "2 matches"]
    assert search_note(at=1, found=12_345, **done) == "1 of 12.3k"
    assert search_note(at=None, found=0, until="14:05:30", **done) == "no match until 14:05:30"


def test_large_numbers_are_short() -> None:
    assert [large(n) for n in (999, 12_345, 10_000, 512_000, 3.1e6, 10e6)] == [
        "999",
        "12.3k",
        "10k",
        "512k",
        "3.1M",
        "10M",
    ]


def test_filters_that_never_fit_are_cut() -> None:
    chips = [Chip("include", "x" * 60), Chip("exclude", "y" * 60), Chip("search", "z" * 60, "3 of 41")]
    assert len(one(chips_line(chips, 20))) == 20
