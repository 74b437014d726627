"""What a source sends goes into the store once, in order, also when a connection breaks and it sends some again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.log_chunks import LogChunk
from backend.contract.log_lines import parse_piece, to_row
from backend.contract.rows import LogRow
from console.state.log_intake import Gap, LogIntake, stored_line
from tests.unit.console.log_samples import chunk, holding, numbered


def messages(intake: LogIntake) -> list[str]:
    store = intake.sink
    return [line.message.decode() for line in store.after(None, 10_000).lines]  # type: ignore[attr-defined] # a LogStore


def test_lines_that_come_again_are_left_out() -> None:
    intake = LogIntake(holding())
    assert not intake.known()
    intake.chunk(chunk("a", numbered(20)))
    intake.chunk(chunk("b", numbered(3, word="other")))
    intake.reconnecting()
    assert intake.chunk(chunk("a", numbered(15, start=8))) is None
    assert intake.chunk(chunk("b", numbered(3, word="other"))) is None
    intake.chunk(chunk("a", numbered(2, start=23)))
    assert [m for m in messages(intake) if "line" in m] == [f"line {n}" for n in range(25)]
    assert len(messages(intake)) == 28
    assert intake.known()


def test_a_first_dump_in_several_chunks_is_taken_up_where_it_was() -> None:
    intake = LogIntake(holding())
    intake.chunk(chunk("a", numbered(20)))
    intake.reconnecting()
    for start in range(0, 24, 6):
        intake.chunk(chunk("a", numbered(6, start=start)))
    assert messages(intake) == [f"line {n}" for n in range(24)]


def test_only_some_of_the_last_lines_come_again() -> None:
    intake = LogIntake(holding())
    intake.chunk(chunk("a", numbered(20)))
    intake.reconnecting()
    intake.chunk(chunk("a", numbered(5, start=18)))
    assert messages(intake) == [f"line {n}" for n in range(23)]


@given(
    st.integers(1, 30),
    st.integers(0, 30),
    st.integers(0, 12),
    st.sampled_from([1.0, 0.0]),
)
def test_nothing_is_lost_or_doubled_wherever_the_connection_breaks(
    held: int, again_from: int, more: int, step: float
) -> None:
    again_from = min(again_from, held - 1)
    lines = [(1000.0 + step * number, f"line {number}") for number in range(held + more)]
    intake = LogIntake(holding())
    intake.chunk(chunk("a", lines[:held]))
    intake.reconnecting()
    intake.chunk(chunk("a", lines[again_from:]))
    assert messages(intake) == [text for _, text in lines]


def test_a_gap_is_named_filled_and_what_nobody_has_is_lost() -> None:
    store = holding()
    intake = LogIntake(store)
    intake.chunk(chunk("a", numbered(5)))
    intake.reconnecting()
    later = chunk("a", numbered(3, start=100))
    gap = intake.chunk(later)
    assert gap == Gap("a", 1004.0, 1100.0)
    rows = [LogRow(ts=1000.0 + n, replica="a", message=f"line {n}") for n in (4, 98, 99, 100)]
    intake.fill(gap, rows, 7, later)
    assert messages(intake) == [f"line {n}" for n in (0, 1, 2, 3, 4, 98, 99, 100, 101, 102)]
    assert store.lost == 7
    assert intake.chunk(chunk("a", numbered(1, start=103))) is None
    intake.reconnecting()
    gap = intake.chunk(chunk("a", numbered(1, start=200)))
    assert gap is not None
    intake.fill(gap, [], 0, chunk("a", numbered(1, start=200)))
    assert messages(intake)[-1] == "line 200"


def test_a_line_that_ends_like_the_last_one_is_not_taken_for_it() -> None:
    intake = LogIntake(holding())
    intake.chunk(LogChunk(replica="a", data=b"line 1\n"))
    intake.reconnecting()
    intake.chunk(LogChunk(replica="a", data=b"line 1\nand another line 1\nfresh\n"))
    assert messages(intake) == ["line 1", "and another line 1", "fresh"]


def test_chunks_of_old_lines_only_are_waited_through() -> None:
    intake = LogIntake(holding())
    intake.chunk(chunk("a", numbered(20)))
    intake.reconnecting()
    assert intake.chunk(chunk("a", [(500.0, "unknown"), (1019.0, "clock")])) is None
    assert intake.chunk(chunk("a", [(1019.0, "clock"), (1020.0, "line 20")])) is None
    assert messages(intake)[-2:] == ["line 19", "line 20"]


def test_lost_lines_count_though_no_line_comes() -> None:
    store = holding()
    LogIntake(store).chunk(LogChunk(replica="a", data=b"", lost=4))
    LogIntake(store).chunk(LogChunk(replica="a", data=b""))
    assert (store.lost, store.received) == (4, 0)


def test_rows_become_stored_lines_that_say_the_same() -> None:
    store = holding()
    rows = [
        LogRow(ts=10.5, replica="a", message="plain words"),
        LogRow(ts=11.0, replica="b", stream="stdout", level="info", message="slot 1", correlation_id="r-1"),
        LogRow(ts=12.0, replica="a", level="error", message="bad", fields={"msg": "bad", "level": "error", "n": 3}),
    ]
    LogIntake(store).rows(rows, left_out=2)
    held = [line.row() for line in store.after(None, 10).lines]
    assert [(r.ts, r.replica, r.stream, r.level, r.message, r.correlation_id) for r in held] == [
        (r.ts, r.replica, r.stream, r.level, r.message, r.correlation_id) for r in rows
    ]
    assert held[2].fields["n"] == 3
    assert store.lost == 2


@given(st.text(max_size=40), st.sampled_from([None, "info", "error"]), st.sampled_from([None, "r-17"]))
def test_any_row_survives_being_stored(message: str, level: str | None, identity: str | None) -> None:
    line = stored_line(LogRow(ts=1234.5, replica="a", level=level, message=message, correlation_id=identity))
    assert line.count(b"\n") == 1
    row = to_row("a", parse_piece(line[:-1]))
    assert row.ts == 1234.5
    if level is not None:
        assert row.level == level
    if identity is not None:
        assert row.correlation_id == identity
