"""A log line reads well at any width: who, when, which level, what was searched, fields as columns, wrapped."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.rows import LogRow
from console.render.log_lines import (
    NAME_STYLES,
    fields_seen,
    fields_tail,
    header,
    layout,
    level_cell,
    log_lines,
    marked,
    name_style,
    near,
    screenful,
    shifted,
    short_names,
    time_text,
)
from console.render.spans import Line, line_width

FLEET = ("llm-0", "llm-1", "embedding-0")


def row(**parts: Any) -> LogRow:
    return LogRow(**({"ts": 1e9 + 0.25, "replica": "llm-1", "level": "warning", "message": "slot 1: done"} | parts))


def one(line: Line) -> str:
    return "".join(text for text, _ in line)


def painted(width: int, held: LogRow | None = None, **parts: Any) -> str:
    held = held or row()
    names = parts.pop("names", FLEET)
    return one(log_lines(held, layout(width, names, [held], **parts))[0])


@pytest.mark.parametrize(
    ("width", "shape"),
    [
        (40, r" \d\d:\d\d:\d\d l1 ▲ slot 1: done +"),
        (80, r" \d\d:\d\d:\d\d llm-1       ▲ slot 1: done +"),
        (120, r" \d\d:\d\d:\d\d\.250 llm-1       ▲ warn  slot 1: done +"),
        (200, r" \d\d-\d\d \d\d:\d\d:\d\d\.250 llm-1       ▲ warn  slot 1: done +"),
    ],
)
def test_what_a_line_says_grows_with_the_width(width: int, shape: str) -> None:
    text = painted(width)
    assert re.fullmatch(shape, text)
    assert len(text) == width


def test_one_replica_alone_needs_no_name() -> None:
    assert "llm-1" not in painted(80, names=["llm-1"])


def test_a_long_name_keeps_its_end_which_tells_replicas_apart() -> None:
    names = ["inference-gateway-7d9f8b6c5-x2x4q", "inference-gateway-7d9f8b6c5-zz9pl"]
    assert "…6c5-x2x4q ▲" in painted(60, row(replica=names[0]), names=names)


def test_short_names_still_tell_replicas_apart() -> None:
    assert short_names(["llm-0", "llm-1"]) == {"llm-0": "0", "llm-1": "1"}
    assert short_names(FLEET) == {"llm-0": "l0", "llm-1": "l1", "embedding-0": "e0"}
    assert short_names(["api-0", "apiary-0", "edge"]) == {"api-0": "api0", "apiary-0": "apia0", "edge": "e"}
    assert short_names(["llm-0"]) == {"llm-0": "l0"}


@given(st.lists(st.from_regex(r"[a-c]{1,3}-[0-9]{1,2}", fullmatch=True), min_size=2, unique=True, max_size=8))
def test_no_two_replicas_share_a_short_name(names: list[str]) -> None:
    assert len(set(short_names(names).values())) == len(names)


def test_a_replica_has_one_colour_for_ever() -> None:
    assert [name_style(name) for name in FLEET] == [name_style(name) for name in FLEET]
    assert {name_style(f"llm-{number}") for number in range(40)} == set(NAME_STYLES)


@pytest.mark.parametrize(
    ("level", "cell"),
    [("debug", "· debug"), ("info", "• info "), ("error", "✗ error"), ("critical", "‼ crit "), ("odd", "· odd  ")],
)
def test_a_level_is_a_glyph_and_a_word(level: str, cell: str) -> None:
    assert level_cell(level, 7)[0] == cell
    assert level_cell(level, 1)[0] == cell[0]


def test_no_level_is_nothing() -> None:
    assert level_cell(None, 7)[0] == " " * 7


def test_time_never_rounds_into_the_next_second() -> None:
    assert time_text(1e9 + 0.99999, 12).endswith(".999")


def test_matches_are_marked_and_nothing_else() -> None:
    look = layout(80, ["llm-1"])
    line = log_lines(row(), look, [(re.compile("SLOT", re.IGNORECASE), "r")])[0]
    assert [text for text, style in line if style.endswith(" r")] == ["slot"]


def test_overlapping_marks_keep_the_text_whole() -> None:
    line = marked("abcdef", [(re.compile("bcd"), "r"), (re.compile("cde|a|x*"), "u")], "text")
    assert line == (("a", "text u"), ("bcd", "text r"), ("e", "text u"), ("f", "text"))
    assert marked("", [(re.compile("a"), "r")], "text") == ()


@given(st.text(max_size=30), st.sampled_from(["a", "a+", "^", ".", "b|", "[a-z]*"]), st.sampled_from(["b", "..", ""]))
def test_marks_never_change_the_text(text: str, first: str, second: str) -> None:
    assert one(marked(text, [(re.compile(first), "r"), (re.compile(second), "u")], "text")) == text


def test_a_filter_being_typed_is_readable_without_colour() -> None:
    look = layout(60, ["llm-1"])
    assert one(log_lines(row(), look, tone="kept")[0])[0] == "+"
    assert one(log_lines(row(), look, tone="gone")[0])[0] == "-"
    assert {style for _, style in log_lines(row(), look, tone="gone")[0]} <= {"faint", "text"}


def test_the_cursor_is_a_sign_and_a_surface() -> None:
    line = log_lines(row(), layout(60, ["llm-1"]), here=True)[0]
    assert line[0][0] == "▸"
    assert all("on-cursor" in style for _, style in line)


def test_a_brief_line_leaves_out_what_an_engine_repeats() -> None:
    held = row(message="0.52.376.500 I slot  print_timing: done", fields={"a": 1})
    assert "▲ slot print_timing: done " in painted(80, held, names=["llm-1"], brief=True)
    assert "▲ slot print_timing: done  a=1" in painted(80, held, names=["llm-1"])
    assert "0.52.376.500 I slot  print" in painted(120, held, names=["llm-1"])


def test_json_fields_follow_the_message_unless_a_column_says_them() -> None:
    held = row(fields={"msg": "x", "level": "info", "ts": 3, "tokens": 7, "ok": True, "gone": None, "took": 1.5})
    assert fields_tail(held) == "  tokens=7  ok=true  gone=–  took=1.5"  # noqa: RUF001 - nothing is a dash
    assert "tokens=7" in painted(120, held)
    assert "tokens=7" not in painted(120, held, fields=["took"])


def test_fields_are_columns_under_their_names_message_last() -> None:
    rows = [row(fields={"tokens": 7, "model": "qwen"}), row(fields={"tokens": 1234}), row()]
    look = layout(80, ["llm-0", "llm-1"], rows, fields=["tokens", "model", "never"])
    lines = [one(header(look)), *(one(log_lines(held, look)[0]) for held in rows)]
    assert lines[0].startswith(" TIME     WHO  ")
    at = lines[0].index("tokens")
    assert [line[at : at + 20].rstrip() for line in lines] == ["tokens  model  never", "     7  qwen", "  1234", ""]
    assert all(line[at + 22 :].startswith(("message", "slot 1: done")) for line in lines)
    assert "LEVEL" in one(header(layout(120, FLEET, rows, fields=["tokens"])))


def test_fields_seen_are_counted_most_first() -> None:
    rows = [row(fields={"b": 1, "a": 2, "msg": "x"}), row(fields={"a": 1})]
    assert fields_seen(rows) == [("a", 2), ("b", 1)]


def test_scrolling_right_says_that_something_is_left_of_it() -> None:
    assert "▲ …1: done" in painted(80, names=["llm-1"], x=4)
    assert one(shifted((("ab", "text"), ("cd", "muted")), 2)) == "…d"
    assert one(shifted((("日本語x", "text"),), 3)) == "…語x"
    assert one(shifted((("ab", "text"),), 9)) == "…"
    assert shifted((), 9) == ()


def test_a_long_line_is_wrapped_to_its_message_and_nothing_is_lost() -> None:
    look = layout(80, FLEET, wrap=True, x=12)
    held = row(message="word " * 60)
    lines = [one(line) for line in log_lines(held, look, most=20)]
    assert all(len(line) == 80 for line in lines)
    assert all(line[: look.head_width].isspace() for line in lines[1:])
    assert "".join(line[look.head_width :] for line in lines).split() == ["word"] * 60


def test_a_line_that_is_too_long_to_wrap_says_that_there_is_more() -> None:
    lines = log_lines(row(message="x" * 500), layout(40, FLEET, wrap=True), most=3)
    assert len(lines) == 3
    assert one(lines[-1]).endswith("…")
    assert [line_width(line) for line in lines] == [40, 40, 40]


@given(
    st.text(max_size=80),
    st.sampled_from([1, 3, 12, 24, 40, 80]),
    st.booleans(),
    st.integers(min_value=0, max_value=30),
)
def test_every_line_fills_its_width_exactly(message: str, width: int, wrap: bool, x: int) -> None:
    look = layout(width, FLEET, [row()], wrap=wrap, x=x)
    for line in log_lines(row(message=message), look, [(re.compile("a"), "r")], most=5):
        assert line_width(line) == width


def test_a_screen_shows_the_end_or_keeps_the_cursor_in_sight() -> None:
    blocks: list[list[Line]] = [[((str(number), "text"),)] * (1 + number % 3) for number in range(6)]
    assert [number for _, number in screenful(blocks, -1, 4)] == [4, 5, 5, 5][-4:]
    assert [number for _, number in screenful(blocks, 0, 4)] == [0, 1, 1, 2]
    assert [number for _, number in screenful(blocks, 2, 4)] == [1, 2, 2, 2]
    assert screenful(blocks, -1, 0) == []
    assert [number for _, number in screenful([[((str(n), "t"),)] for n in range(3)], 2, 9)] == [0, 1, 2]


def test_wrapped_lines_out_of_sight_are_not_laid_out() -> None:
    assert near(-1, 100, 10, lambda number: 3) == (96, 100)
    assert near(50, 100, 10, lambda number: 3) == (47, 55)
    assert near(0, 1, 10, lambda number: 1) == (0, 1)


def test_a_line_of_a_megabyte_is_not_laid_out_beyond_what_is_seen() -> None:
    held = row(message="日本語 words " * 100_000)
    look = layout(40, FLEET, wrap=True)
    lines = log_lines(held, look, most=4)
    assert [line_width(line) for line in lines] == [40] * 4
    assert one(lines[-1]).rstrip().endswith("…")


def test_words_are_kept_whole_where_that_costs_little() -> None:
    look = layout(36, ["llm-1"], wrap=True)
    lines = [one(line) for line in log_lines(row(message="alpha beta gamma delta epsilon"), look, most=9)]
    assert [line[12:].strip() for line in lines] == ["alpha beta gamma delta", "epsilon"]


def test_a_match_under_the_cursor_is_underlined_since_the_cursor_may_be_reversed() -> None:
    line = log_lines(row(), layout(60, ["llm-1"]), [(re.compile("slot"), "r")], here=True)[0]
    assert [style for text, style in line if text == "slot"] == ["warn u b on-cursor"]


def test_a_letter_under_a_heap_of_marks_is_still_one_line_after_the_other() -> None:
    held = row(message="e" + "\u0301" * 2000 + " end")
    lines = log_lines(held, layout(40, ["llm-1"], wrap=True), most=50)
    assert all(line_width(line) == 40 for line in lines)
    assert "end" in one(lines[-1])


def test_where_two_patterns_find_the_same_place_the_first_says_how_it_is_marked() -> None:
    found = marked("a slow slot", [(re.compile("slow slot"), "r"), (re.compile("slo"), "u")], "text")
    assert found == (("a ", "text"), ("slow slot", "text r"))


def test_one_replica_has_no_column_for_its_name() -> None:
    assert "WHO" in one(header(layout(80, ["llm-1", "llm-2"])))
    assert "WHO" not in one(header(layout(80, ["llm-1"])))
