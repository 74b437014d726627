"""Windows, counts and searches over log files equal filtering all lines; paging backwards loses none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.ledger.logs import LogReader

BASE = 1_795_246_042


def stored(second: float, text: str, stream: str = "stderr", flag: str = "F") -> bytes:
    at = datetime.fromtimestamp(BASE + second, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z {stream} {flag} {text}\n".encode()


def write_replica(
    logs: Path, replica: str, seconds: list[int], files: int, padding: int = 0
) -> list[tuple[float, str]]:
    """Lines at those seconds over a number of files; returns (ts, message)."""
    directory = logs / replica
    directory.mkdir(parents=True)
    lines = [(float(BASE + second), f"{replica} {n} " + "x" * padding) for n, second in enumerate(sorted(seconds))]
    size = max(1, -(-len(lines) // files))
    chunks = [lines[at : at + size] for at in range(0, len(lines), size)]
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        # Distinct, rising names; the shim raises a name that is taken.
        name = "current.log" if last else f"{int(chunk[0][0]) * 10**9 + number}.log"
        (directory / name).write_bytes(b"".join(stored(ts - BASE, text) for ts, text in chunk))
    return lines


seconds_lists = st.lists(st.integers(0, 12), max_size=40)


@settings(max_examples=60)
@given(
    st.lists(seconds_lists, min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(-1, 14)),
    st.one_of(st.none(), st.integers(-1, 14)),
)
def test_windows_equal_filtering_all_lines(
    tmp_path_factory: pytest.TempPathFactory,
    replicas: list[list[int]],
    files: int,
    limit: int,
    since: int | None,
    until: int | None,
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    everything: list[tuple[float, str]] = []
    for number, seconds in enumerate(replicas):
        everything += write_replica(logs, f"llm-{number}", seconds, files)
    everything.sort(key=lambda line: line[0])
    since_ts = None if since is None else float(BASE + since)
    until_ts = None if until is None else float(BASE + until)
    expected = [
        line
        for line in everything
        if (since_ts is None or line[0] >= since_ts) and (until_ts is None or line[0] < until_ts)
    ]
    reader = LogReader(logs)
    window = reader.tail(limit=limit, since_ts=since_ts, until_ts=until_ts)
    shown = expected[max(0, len(expected) - limit) :]
    assert [row.ts for row in window.rows] == [line[0] for line in shown]
    assert window.truncated == len(expected) - len(shown)
    assert {row.message for row in window.rows} <= {line[1] for line in expected}
    assert len({row.message for row in window.rows}) == len(window.rows)
    assert reader.count(since_ts=since_ts, until_ts=until_ts) == len(expected)


@settings(max_examples=40)
@given(st.lists(seconds_lists, min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 7))
def test_paging_backwards_shows_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, replicas: list[list[int]], files: int, page: int
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    everything: list[tuple[float, str]] = []
    for number, seconds in enumerate(replicas):
        everything += write_replica(logs, f"llm-{number}", seconds, files)
    reader = LogReader(logs)
    window = reader.tail(limit=page, whole_instants=True)
    seen: list[str] = []
    while window.rows:
        seen = [row.message for row in window.rows] + seen
        left = window.truncated
        window = reader.before(window.rows[0].ts, limit=page)
        assert (left == 0) == (not window.rows)
    assert sorted(seen) == sorted(line[1] for line in everything)


def test_large_files_are_searched_by_time_not_read(tmp_path: Path) -> None:
    lines = write_replica(tmp_path, "llm-0", list(range(20_000)), 3, padding=100)
    reader = LogReader(tmp_path)
    for second in (0, 1, 6_666, 6_667, 13_334, 19_999):
        window = reader.tail(limit=2, since_ts=float(BASE + second), until_ts=float(BASE + second + 1))
        assert [row.message for row in window.rows] == [lines[second][1]]
    assert reader.tail(limit=5_000).rows[0].message == lines[15_000][1]
    assert reader.count(since_ts=float(BASE + 100)) == 19_900


def test_a_long_line_is_whole_wherever_the_window_begins(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    parts = [stored(1, "p" * 16_384, flag="P") for _ in range(20)]
    text = stored(0, "first") + b"".join(parts) + stored(1, "end") + stored(2, "last")
    (tmp_path / "a" / "current.log").write_bytes(text)
    reader = LogReader(tmp_path)
    assert [len(row.message) for row in reader.tail(limit=2).rows] == [20 * 16_384 + 3, 4]
    assert [row.message[:5] for row in reader.tail(limit=3).rows] == ["first", "ppppp", "last"]


def test_a_line_being_written_is_left_for_later(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "current.log").write_bytes(stored(0, "one") + stored(1, "two")[:-4])
    assert [row.message for row in LogReader(tmp_path).tail().rows] == ["one"]


def test_search_gives_the_newest_first_and_takes_expressions(tmp_path: Path) -> None:
    write_replica(tmp_path, "llm-0", list(range(50)), 2)
    write_replica(tmp_path, "llm-1", list(range(50)), 1)
    reader = LogReader(tmp_path)
    found = reader.search(r"LLM-\d 4[0-9] ", limit=4)
    assert [row.message.strip() for row in found] == ["llm-0 49", "llm-1 49", "llm-0 48", "llm-1 48"]
    assert reader.search("llm-0 1 ", ["llm-1"]) == []
    assert reader.search("LLM", ignore_case=False) == []
    assert [row.ts for row in reader.search("llm-0", since_ts=float(BASE + 10), until_ts=float(BASE + 11))] == [
        BASE + 10
    ]
    with pytest.raises(UsageError, match="no regular expression"):
        reader.search("(")


def test_no_logs_are_no_error(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "none")
    assert reader.replicas() == []
    assert reader.tail().rows == ()
    assert reader.tail(["llm-0"]).rows == ()
    assert reader.count(["llm-0"]) == 0
    assert reader.search("x", ["llm-0"]) == []
