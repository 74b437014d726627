"""Log lines for tests: stored lines of a replica, and a store that holds some."""

from __future__ import annotations

from collections.abc import Iterable

from backend.contract.log_chunks import LogChunk
from console.state.log_line import stamp_of_ts
from console.state.log_store import LogStore


def stored(lines: Iterable[tuple[float, str]]) -> bytes:
    """Lines as a shim writes them."""
    return b"".join(b"%sZ stderr F %s\n" % (stamp_of_ts(ts), text.encode()) for ts, text in lines)


def chunk(replica: str, lines: Iterable[tuple[float, str]], *, life: int = 0, lost: int = 0) -> LogChunk:
    return LogChunk(replica=replica, incarnation=life, data=stored(lines), lost=lost)


def holding(*chunks: LogChunk, memory_bytes: int = 64 * 1024 * 1024) -> LogStore:
    store = LogStore(None, memory_bytes=memory_bytes)
    for one in chunks:
        store.append(one)
    return store


def numbered(count: int, *, start: int = 0, word: str = "line") -> list[tuple[float, str]]:
    """`line 0` at second 1000, `line 1` at 1001 and so on."""
    return [(1000.0 + number, f"{word} {number}") for number in range(start, start + count)]
