"""The log store gives every line back, merged by time, wherever it stands, and its counts add up."""

from __future__ import annotations

import errno
import gc
import os
import random
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from backend.contract.log_chunks import LogChunk
from console.state.log_head import stamp_of_ts
from console.state.log_line import LogLine
from console.state.log_query import EVERYTHING, LogQuery
from console.state.log_store import LogStore

BASE = 1_795_246_042.0


def stored(second: float, text: str | bytes, stream: str = "stderr", flag: str = "F") -> bytes:
    message = text.encode() if isinstance(text, str) else text
    return b"%sZ %s %s %s\n" % (stamp_of_ts(BASE + second), stream.encode(), flag.encode(), message)


def chunk(replica: str, *lines: bytes, incarnation: int = 0, lost: int = 0) -> LogChunk:
    return LogChunk(replica=replica, incarnation=incarnation, data=b"".join(lines), lost=lost)


def backwards(store: LogStore, query: LogQuery = EVERYTHING, limit: int = 7, budget: int = 1 << 20) -> list[LogLine]:
    lines: list[LogLine] = []
    page = store.before(None, limit, query, budget_bytes=budget)
    while True:
        lines = page.lines + lines
        if page.next_key is None:
            return lines
        page = store.before(page.next_key, limit, query, budget_bytes=budget)


def forwards(store: LogStore, query: LogQuery = EVERYTHING, limit: int = 7, budget: int = 1 << 20) -> list[LogLine]:
    lines: list[LogLine] = []
    page = store.after(None, limit, query, budget_bytes=budget)
    while page.lines or not page.complete:
        lines += page.lines
        page = store.after(page.next_key, limit, query, budget_bytes=budget)
    return lines


batches = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.lists(st.tuples(st.integers(0, 9), st.text(max_size=40)))),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(batches, st.sampled_from([None, 600, 3000]), st.integers(1, 9), st.sampled_from([1, 500, 1 << 20]))
def test_every_line_comes_back_once_in_the_order_of_its_key(
    tmp_path_factory: pytest.TempPathFactory,
    came: list[tuple[int, int, list[tuple[int, str]]]],
    memory: int | None,
    limit: int,
    budget: int,
) -> None:
    store = LogStore(tmp_path_factory.mktemp("spill"), memory_bytes=memory or 1 << 20, disk_bytes=1 << 30)
    sent: list[tuple[str, float, bytes]] = []
    for replica, life, lines in came:
        told = [(BASE + second, text.replace("\n", " ").encode("utf-8", "replace")) for second, text in lines]
        store.append(chunk(f"r{replica}", *(stored(ts - BASE, text) for ts, text in told), incarnation=life))
        sent += [(f"r{replica}", ts, text) for ts, text in told]
    assert store.received == store.held == len(sent)
    assert (store.dropped, store.lost) == (0, 0)
    for lines in (backwards(store, limit=limit, budget=budget), forwards(store, limit=limit, budget=budget)):
        keys = [line.key for line in lines]
        assert keys == sorted(set(keys))
        assert sorted((line.replica, line.ts, line.message) for line in lines) == sorted(sent)
    store.close()


# -- taking in -----------------------------------------------------------------------------------------------


def test_torn_chunks_are_one_text(tmp_path: Path) -> None:
    whole = b"".join(stored(n / 10, f"line {n}") for n in range(40))
    for size in (1, 7, 64, 1000):
        store = LogStore(None)
        came = sum(store.append(LogChunk(replica="a", data=whole[at : at + size])) for at in range(0, len(whole), size))
        assert came == store.received == 40
        assert [line.message for line in forwards(store)] == [b"line %d" % n for n in range(40)]


def test_parts_of_a_long_line_are_one_message_even_when_the_other_stream_speaks_in_between() -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(0, "first"), stored(1, "x" * 16_384, "stdout", "P")))
    store.append(chunk("a", stored(2, "said meanwhile"), stored(3, "y" * 16_384, "stdout", "P")))
    assert store.received == 2, "a message counts when its end came"
    store.append(chunk("a", stored(4, "z", "stdout"), stored(5, "last")))
    lines = forwards(store)
    assert [(line.ts - BASE, line.stream, len(line.message)) for line in lines] == [
        (0, "stderr", 5),
        (2, "stderr", 14),
        (1, "stdout", 2 * 16_384 + 1),
        (5, "stderr", 4),
    ]
    assert lines[2].key[0] == BASE + 2, "it is ordered where it ended, and shows when it began"
    assert lines[2].row().ts == BASE + 1


def test_a_line_of_a_mebibyte_comes_back_whole(tmp_path: Path) -> None:
    store = LogStore(tmp_path, memory_bytes=100_000)
    long = bytes(range(256)).replace(b"\n", b"") * 4112
    parts = [stored(1, long[at : at + 16_384], flag="P") for at in range(0, len(long), 16_384)]
    store.append(chunk("a", stored(0, "before"), *parts, stored(1, b"end"), stored(2, "after")))
    assert [line.message for line in forwards(store)] == [b"before", long + b"end", b"after"]
    assert [line.message for line in backwards(store, limit=1)] == [b"before", long + b"end", b"after"]
    store.close()


def test_a_writer_that_died_in_the_midst_of_a_line_leaves_what_it_wrote() -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(1, "its last wo", flag="P"), stored(2, "torn")[:-3]))
    assert store.received == 0
    store.append(chunk("a", stored(3, "new life"), incarnation=1))
    assert [(line.incarnation, line.message) for line in forwards(store)] == [(0, b"its last woto"), (1, b"new life")]


@pytest.mark.parametrize(
    "foreign",
    [b"", b"no stamp at all", b"\xff\xfe\x00 \x80", b"2026-13-45T99:99:99.000000Z stdout F x", b"2026-11-21T"],
)
def test_foreign_text_is_a_line_where_it_came(foreign: bytes) -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(1, "one"), foreign + b"\n", stored(2, "two")))
    lines = forwards(store)
    assert [line.message for line in lines] == [b"one", foreign, b"two"]
    assert lines[1].ts == BASE + 1
    assert lines[1].row().message == foreign.decode("utf-8", "replace")


def test_other_widths_of_stamps_are_the_same_instant() -> None:
    store = LogStore(None)
    store.append(LogChunk(replica="a", data=b"2026-11-21T07:27:22Z stdout F a\n2026-11-21T07:27:22.5Z stdout F b\n"))
    store.append(LogChunk(replica="a", data=b"2026-11-21T07:27:22.500000001Z stdout F\n"))
    assert [(round(line.ts % 1, 6), line.message) for line in forwards(store)] == [(0, b"a"), (0.5, b"b"), (0.5, b"")]


def test_a_clock_that_goes_back_keeps_the_order_of_writing_and_its_own_stamps() -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(10, "one"), stored(4, "two"), stored(5, "three"), stored(11, "four")))
    store.append(chunk("b", stored(10.5, "other")))
    lines = forwards(store)
    assert [line.message for line in lines] == [b"one", b"two", b"three", b"other", b"four"]
    assert [line.ts - BASE for line in lines] == [10, 4, 5, 10.5, 11]
    assert [line.key[0] - BASE for line in lines] == [10, 10, 10, 10.5, 11]
    assert said(store, include=("^t",)) == ["two", "three"]
    assert said(store, include=("2026",)) == [], "a stamp is no part of the message"


# -- bounds and counts ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60), st.integers(0, 3)), max_size=40),
    st.sampled_from([None, 0, 70_000, 200_000]),
    st.sampled_from([2_000, 20_000]),
    st.integers(0, 39),
)
def test_received_is_held_and_dropped_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory,
    came: list[tuple[int, int, int]],
    disk: int | None,
    memory: int,
    clear_at: int,
) -> None:
    where = None if disk is None else tmp_path_factory.mktemp("spill")
    store = LogStore(where, memory_bytes=memory, disk_bytes=disk or 0)
    sent: dict[str, int] = {}
    lost = 0
    for turn, (replica, count, missing) in enumerate(came):
        name = f"r{replica}"
        first = sent.get(name, 0)
        sent[name] = first + count
        lost += missing
        store.append(chunk(name, *(stored(n, f"{n} {'x' * 200}") for n in range(first, first + count)), lost=missing))
        if turn == clear_at:
            lost -= sum(info.lost for info in store.streams() if info.replica == "r1")
            store.clear(["r1"])
            sent["r1"] = 0
        assert store.received == store.held + store.dropped
        assert store.memory_bytes_used <= memory
        assert store.spilled <= store.held
    lines = backwards(store, limit=50)
    assert len(lines) == store.held == store.count_hint() == sum(info.lines for info in store.streams())
    assert store.received == sum(sent.values())
    assert store.dropped == sum(info.dropped for info in store.streams())
    assert store.lost == lost
    for info in store.streams():
        numbers = [int(line.message.split()[0]) for line in lines if line.replica == info.replica]
        assert numbers == list(range(sent[info.replica] - len(numbers), sent[info.replica])), "the newest are held"
        assert info.lines + info.dropped == sent[info.replica]
    store.close()
    assert (store.received, store.held, store.memory_bytes_used) == (0, 0, 0)


def test_spill_files_have_no_name_are_read_back_equal_and_go_away(tmp_path: Path) -> None:
    pick = random.Random(7)
    gc.collect()  # what tests before this one left behind is closed now, not in the midst of it
    descriptors = psutil.Process().num_fds()
    store = LogStore(tmp_path / "spill", memory_bytes=50_000)
    sent = [stored(n, pick.randbytes(60).replace(b"\n", b" ")) for n in range(3_000)]
    for at in range(0, 3_000, 100):
        store.append(chunk("a", *sent[at : at + 100]))
    assert store.spilled > 2_000
    assert store.memory_bytes_used <= 50_000
    assert list((tmp_path / "spill").iterdir()) == [], "what has no name is never left behind"
    assert [stored(line.ts - BASE, line.message, line.stream) for line in forwards(store, limit=1000)] == sent
    store.close()
    store.close()
    assert psutil.Process().num_fds() <= descriptors


def test_a_full_disk_lets_the_oldest_go_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LogStore(tmp_path, memory_bytes=20_000)
    lines = [stored(n, f"{n} {'x' * 100}") for n in range(2_000)]
    store.append(chunk("a", *lines[:500]))
    store.append(chunk("a", *lines[500:600]))
    assert store.spilled > 0

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        for at in range(600, 1500, 100):
            store.append(chunk("a", *lines[at : at + 100]))
        assert store.spill_error == "No space left on device"
        assert store.received == store.held + store.dropped == 1500
        held = [int(line.message.split()[0]) for line in forwards(store, limit=100)]
        assert held == list(range(1500 - len(held), 1500)), "no hole in what is held"
    store.append(chunk("a", *lines[1500:]))
    assert store.spill_error == ""
    store.close()


def test_a_spill_directory_that_cannot_be_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = LogStore(tmp_path / "file" / "spill", memory_bytes=10_000)
    store.append(chunk("a", *(stored(n, "x" * 100) for n in range(300))))
    store.append(chunk("a", stored(301, "newest")))
    assert store.spill_error
    assert store.dropped > 0
    assert backwards(store)[-1].message == b"newest"


# -- queries -------------------------------------------------------------------------------------------------


def filled() -> LogStore:
    store = LogStore(None)
    for life in (0, 1, 3):
        for replica in ("a", "b"):
            at = life * 100 + (replica == "b")
            store.append(
                chunk(
                    replica,
                    stored(at, f"{replica}{life} INFO started"),
                    stored(at + 10, f'{{"level":"error","message":"{replica}{life} broke","request_id":"q-{life}"}}'),
                    stored(at + 20, f"{replica}{life} WARN slow Answer"),
                    incarnation=life,
                )
            )
    return store


def said(store: LogStore, **query: object) -> list[str]:
    wanted = LogQuery(**query)  # type: ignore[arg-type]  # named by the test
    there, back = (
        [line.message.decode() for line in lines]
        for lines in (forwards(store, wanted, limit=2, budget=1), backwards(store, wanted, limit=2, budget=1))
    )
    assert there == back
    return there


def test_queries_choose_replicas_lives_levels_times_and_words() -> None:
    store = filled()
    assert len(said(store)) == 18
    assert len(said(store, replicas=frozenset({"a"}))) == 9
    assert said(store, replicas=frozenset({"a"}), incarnation="current", levels=frozenset({"info"})) == [
        "a3 INFO started"
    ]
    assert said(store, replicas=frozenset({"b"}), incarnation="previous", exclude=("broke",)) == [
        "b1 INFO started",
        "b1 WARN slow Answer",
    ]
    assert len(said(store, levels=frozenset({"error"}))) == 6
    assert said(store, include=("a0.*slow", "b3 info")) == ["a0 WARN slow Answer", "b3 INFO started"]
    assert said(store, include=("answer",), exclude=("^b", "^a[01]")) == ["a3 WARN slow Answer"]
    assert said(store, include=("Answer",), since_ts=BASE + 100, until_ts=BASE + 121) == ["a1 WARN slow Answer"]
    assert said(store, include=("ANSWER",)) == [], "a capital asks for this very letter"
    assert said(store, replicas=frozenset()) == said(store, replicas=frozenset({"c"})) == []


def test_a_row_is_read_when_it_is_looked_at() -> None:
    (line,) = filled().before(None, 1, LogQuery(include=("a1 broke",))).lines
    row = line.row()
    assert (row.replica, row.level, row.message, row.correlation_id) == ("a", "error", "a1 broke", "q-1")
    assert row.fields["request_id"] == "q-1"


def test_what_cannot_be_asked_is_said_in_a_sentence() -> None:
    store = LogStore(None)
    for query in (LogQuery(include=("(",)), LogQuery(exclude=("[a",)), LogQuery(incarnation="last")):
        with pytest.raises(UsageError, match=r"\. "):
            store.before(None, 1, query)
    with pytest.raises(UsageError, match="no regular expression"):
        store.search("*")


def test_a_jump_in_time_lands_on_the_line_at_or_after_it() -> None:
    store = filled()
    key = store.at(BASE + 101.5)
    assert key is not None and key[0] == BASE + 110
    assert store.before(key, 1).lines[0].message == b"b1 INFO started"
    key = store.at(BASE + 999)
    assert key is not None and key[0] == BASE + 321, "after the last line it is the last line"
    assert store.at(BASE, LogQuery(include=("nowhere",))) is None
    assert store.at(float("inf")) == key
    assert store.at(float("-inf")) == (BASE, 0, 0)
    assert LogStore(None).at(BASE) is None


def test_a_look_that_costs_too_much_says_so_and_goes_on_from_there() -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(0, "needle"), *(stored(n, "hay " * 20) for n in range(1, 5000))))
    query = LogQuery(include=("needle",))
    page = store.before(None, 10, query, budget_bytes=50_000)
    assert page.lines == []
    assert not page.complete
    assert 0 < page.scanned_lines < 4_000
    looks = 1
    while not page.lines:
        page = store.before(page.next_key, 10, query, budget_bytes=50_000)
        looks += 1
    assert page.lines[0].message == b"needle"
    assert looks > 3


def test_going_on_at_the_end_finds_what_came_since() -> None:
    store = LogStore(None)
    page = store.after(None, 10)
    assert (page.lines, page.next_key, page.complete) == ([], None, True)
    store.append(chunk("a", stored(1, "one")))
    page = store.after(page.next_key, 10)
    assert [line.message for line in page.lines] == [b"one"]
    again = store.after(page.next_key, 10)
    assert again.lines == [] and again.next_key == page.next_key
    store.append(chunk("b", stored(2, "two")))
    assert [line.message for line in store.after(again.next_key, 10).lines] == [b"two"]


def test_where_no_file_can_be_without_a_name_it_loses_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    store = LogStore(tmp_path, memory_bytes=10_000)
    for n in range(0, 500, 50):
        store.append(chunk("a", *(stored(at, f"{at} {'x' * 50}") for at in range(n, n + 50))))
    assert store.spilled > 0
    assert list(tmp_path.iterdir()) == []
    assert len(forwards(store, limit=100)) == 500
    store.close()


def test_text_that_never_ends_a_line_is_taken_as_it_is() -> None:
    store = LogStore(None)
    for _ in range(33):
        store.append(LogChunk(replica="a", data=b"x" * 64 * 1024))
    assert store.received >= 1
    store.append(chunk("a", b"\n", stored(1, "then")))
    lines = forwards(store)
    assert sum(len(line.message) for line in lines) == 33 * 64 * 1024 + len(b"then")
    assert lines[-1].message == b"then"
    store.close()
