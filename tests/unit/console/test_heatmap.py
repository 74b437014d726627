"""The heat map: bounded readings of every replica, the worst first, readable without colour, honest about gaps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Frame, Quantiles
from console.render import ability
from console.render.heatmap import (
    BLANK,
    STEPS,
    columns_of,
    heat_lines,
    heat_words,
    legend,
    name_width,
    readings,
    scale_of,
    title_info,
)
from console.render.spans import line_width
from console.state import replica_ttft
from console.state.replica_ttft import READING_S, READINGS, UNREAD, Heat, ReplicaTtft, decoded, encoded
from console.state.series import grid
from console.state.store import FleetState

from .sample import replica, snapshot


def view(name, p95=0.1, count=5):
    return msgspec.structs.replace(replica(name), ttft=Quantiles(count=count, p95_s=p95 if count else None))


def text(line):
    return "".join(part for part, _ in line)


def history(*readings_of, start=1000.0):
    """One reading every ten seconds: name to p95."""
    kept = ReplicaTtft()
    for at, fleet in enumerate(readings_of):
        kept.take(start + at * READING_S, [view(name, p95, 0 if p95 is None else 5) for name, p95 in fleet.items()])
    return kept


@given(st.floats(1e-4, 3600))
def test_two_bytes_hold_a_latency_within_a_thousandth(seconds):
    assert decoded(encoded(seconds)) == pytest.approx(seconds, rel=1e-3)
    assert 0 < encoded(seconds) <= 65535


def test_nothing_is_not_nought():
    assert decoded(encoded(None)) is None
    assert decoded(encoded(0.0)) == pytest.approx(1e-4)
    assert decoded(encoded(1e30)) is not None


def test_a_reading_every_ten_seconds_and_fifteen_minutes_of_them():
    kept = ReplicaTtft()
    taken = [kept.take(1000.0 + second, [view("a")]) for second in range(2000)]
    assert sum(taken) == 200
    assert kept.newest - kept.oldest == READINGS - 1
    assert kept.size_bytes == READINGS * 4


def test_ten_thousand_replicas_fit_in_a_few_megabytes_and_cost_little(monkeypatch: pytest.MonkeyPatch):
    coded: list[Any] = []
    monkeypatch.setattr(replica_ttft, "encoded", lambda seconds: coded.append(seconds) or encoded(seconds))
    kept, fleet = ReplicaTtft(), [view(f"llm-{index}", {7: 9.0, 4000: 5.0}.get(index, 0.1)) for index in range(10_050)]
    kept.take(1000.0, fleet)
    assert len(coded) == 10_000, "each latency is coded once"
    assert (len(kept), kept.left_out) == (10_000, 50)
    assert kept.size_bytes * READINGS <= 4_000_000
    rows = kept.rows(100, 101, 20)
    assert [row.name for row in rows[:2]] == ["llm-7", "llm-4000"]
    assert rows[-1].name == "9981 others"


def test_the_worst_stand_first_and_the_others_are_as_bad_as_their_worst():
    kept = history({"a": 0.1, "b": 0.9, "c": 0.2, "d": None}, {"a": 0.1, "b": 0.1, "c": 0.3, "d": 0.2})
    assert [row.name for row in kept.rows(100, 102, 4)] == ["b", "c", "d", "a"]
    rows = kept.rows(100, 102, 3)
    assert [row.name for row in rows] == ["b", "c", "2 others"]
    others = rows[-1]
    assert (others.at(0)[0], others.at(0)[1]) == (pytest.approx(0.1, rel=1e-3), 5)
    assert (others.at(1)[0], others.at(1)[1]) == (pytest.approx(0.2, rel=1e-3), 10)


def test_what_was_not_read_is_not_an_idle_replica():
    kept = history({"a": None}, {"a": 0.1, "late": 0.2})
    first = next(row for row in kept.rows(94, 102, 9) if row.name == "a")
    assert [first.at(column)[1] for column in (0, 6, 7)] == [UNREAD, 0, 5]
    late = next(row for row in kept.rows(94, 102, 9) if row.name == "late")
    assert late.at(6)[1] == UNREAD
    assert kept.rows(500, 600, 9) == []
    assert ReplicaTtft().rows(0, 9, 9) == []
    assert (ReplicaTtft().newest, ReplicaTtft().oldest) == (None, None)


def test_a_reading_stands_for_the_minute_before_it_and_no_longer():
    kept = ReplicaTtft()
    kept.take(1000.0, [view("a", 0.1)])
    kept.take(1090.0, [view("a", 0.9)])
    row = kept.rows(90, 110, 9)[0]
    read = {90 + column: round(row.at(column)[0], 2) for column in range(20) if row.at(column)[1] != UNREAD}
    assert read == dict.fromkeys(range(95, 101), 0.1) | dict.fromkeys(range(104, 110), 0.9)
    assert kept.is_covered(955.0)
    assert not kept.is_covered(945.0)
    assert not kept.is_covered(1015.0)


def test_the_past_is_put_before_what_was_read_live():
    kept = ReplicaTtft()
    kept.take(2000.0, [view("a", 0.1)])
    assert kept.add_past(1900.0, [view("a", 0.3), view("gone", 0.5)])
    assert not kept.add_past(1905.0, [view("a", 0.7)]), "once"
    assert (kept.oldest, kept.newest, kept.readings) == (190, 200, 2)
    assert [row.name for row in kept.rows(185, 201, 9)] == ["gone", "a"]
    assert kept.take(2010.0, [view("a")])
    for back in range(1, 2 * READINGS):
        kept.add_past(1900.0 - back * READING_S, [view("a")])
    assert kept.readings == READINGS


def test_readings_from_before_a_long_pause_are_let_go():
    kept = history({"a": 0.9})
    kept.take(1000.0 + 2 * READINGS * READING_S, [view("b", 0.1)])
    assert kept.readings == 1
    assert [row.name for row in kept.rows(0, 1000, 9)] == ["b"]


def test_a_replica_that_is_gone_gives_its_row_back_without_its_past():
    kept = history({"old": 0.9, "stays": 0.1})
    for at in range(1, READINGS + 2):
        kept.take(1000.0 + at * READING_S, [view("stays")])
    kept.take(1000.0 + (READINGS + 2) * READING_S, [view("stays"), view("new", 0.3)])
    assert len(kept) == 2
    assert len(kept._seen) == 2, "the row is used again"
    new = next(row for row in kept.rows(0, 1000, 9) if row.name == "new")
    assert max(new.codes) == encoded(0.3)


def test_the_state_keeps_readings_by_itself():
    state = FleetState()
    state.apply(Frame(seq=1, snapshot=snapshot()))
    assert len(state.replica_ttft) == 2


def test_steps_are_denser_the_slower_and_each_has_a_glyph_of_its_own():
    rows = history({"a": 0.05, "b": 0.11, "c": 0.3, "d": 0.9, "e": None}).rows(100, 101, 9)
    cells = grid(1005.0, 10.0, 1, 1)
    glyph = {row.name: scale_of(rows).step(columns_of(row, cells)[0]) for row in rows}
    assert [glyph[name] for name in "abcd"] == list(STEPS)
    assert glyph["e"] == BLANK
    plain = [step.translate(ability.ASCII) for step, _ in STEPS]
    assert len(set(plain)) == len(plain)
    assert all(step.isascii() for step in plain)
    assert text(legend(scale_of(rows))) == "░ <100 ms  ▒ ≥100 ms  ▓ ≥250 ms  █ ≥500 ms  blank: no answers"


def test_the_scale_grows_with_the_slowest_and_never_shrinks_to_noise():
    quick = scale_of(history({"a": 0.002}).rows(100, 101, 9))
    assert quick.limits == (0.1, 0.25, 0.5)
    slow = scale_of(history({"a": 42.0}).rows(100, 101, 9))
    assert slow.limits == (5.0, 12.5, 25.0)
    assert scale_of([]).limits == quick.limits


@given(st.sampled_from([60.0, 300.0, 900.0, 3600.0]), st.integers(1, 150), st.floats(2000, 3000))
def test_a_reading_fills_its_cells_whatever_the_zoom(window, columns, edge):
    fleet = [{"a": 0.05 if at % 2 else 0.9} for at in range(300)]
    cells = grid(edge, window, columns, 1)
    kept = history(*fleet[:250], start=500.0)
    row = kept.rows(*readings(cells), 9)
    if row:
        codes = columns_of(row[0], cells)
        assert len(codes) == columns
        if cells.cell_s >= 2 * READING_S:
            assert encoded(0.05) not in codes[1:-1] or encoded(0.9) in codes, "the worst of a cell is what it shows"


def test_lines_are_as_wide_as_asked_and_say_name_and_newest_value():
    rows = history({"embedding-0": 0.9, "llm-1": 0.05}).rows(90, 101, 9)
    for width in (40, 60, 120):
        gutter = name_width(rows, width)
        cells = grid(1005.0, 100.0, width - gutter - 8, 1)
        lines = heat_lines(rows, cells, width, gutter=gutter, chosen="llm-1", rulers={0: ("│", "accent on-cursor")})
        assert all(line_width(line) == width for line in lines)
        assert text(lines[1]).startswith("▸")
    assert text(lines[0]).startswith(" embedding-0")
    assert text(lines[0]).endswith("900 ms")
    assert text(lines[0])[gutter] == "│", "blank cells show the cursor"
    shown = heat_lines(rows, cells, 120, gutter=gutter, rulers={cells.columns - 1: ("│", "accent on-cursor")})
    assert ("█", "error on-cursor") in shown[0], "others keep their glyph"
    assert heat_lines(rows, cells, 120, gutter=gutter, rulers={500: ("│", "x")})


def test_the_cursor_tells_replica_time_p95_and_n():
    cells = grid(1025.0, 100.0, 10, 1)
    rows = history({"llm-1": 0.21}, {"llm-1": None}).rows(*readings(cells), 9)
    said = [text(heat_words(rows[0], cells, ts)) for ts in (1005.0, 1015.0, 935.0, 5000.0)]
    assert "llm-1" in said[0]
    assert "p95 210 ms  n 5" in said[0]
    assert "no answers, n 0" in said[1]
    assert "not read then" in said[2]
    assert "not read then" in said[3]


def test_the_title_has_as_much_of_the_legend_as_fits():
    scale = scale_of([Heat("a", (5,), (1,))])
    assert text(title_info(scale, 100)).endswith("blank: no answers")
    assert text(title_info(scale, 50)).strip().endswith("≥500 ms")
    assert text(title_info(scale, 25)) == "▒ 100 ▓ 250 █ 500 ms"
    assert title_info(scale, 10) == ()
    slow = scale_of([Heat("a", (encoded(42.0),), (1,))])
    assert text(title_info(slow, 25)) == "▒ 5 ▓ 12.5 █ 25 s"


def test_a_narrow_title_leaves_the_time_to_the_line_above():
    row = history({"llm-1": 0.21}).rows(100, 101, 9)[0]
    assert text(heat_words(row, grid(1005.0, 10.0, 1, 1), 1005.0, 40)) == "llm-1 p95 210 ms  n 5"


def test_a_line_without_a_surface_leaves_cells_that_are_filled_as_they_are():
    rows = history({"llm-1": 0.9}).rows(90, 101, 9)
    cells = grid(1005.0, 100.0, 60, 1)
    assert heat_lines(rows, cells, 80, gutter=12) == heat_lines(rows, cells, 80, gutter=12, rulers={59: ("┊", "rule")})
