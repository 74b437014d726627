"""The log store gives every line back, merged by time, wherever it stands, and its counts add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
