"""Held lines as a file: every one that a query keeps, in order, one text line each. Writes nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from console.state.log_line import LogKey, LogLine
from console.state.log_query import LogQuery
from console.state.log_store import LogStore

PAGE_LINES: Final = 2000
PAGE_BYTES: Final = 1_000_000


def file_name(who: str, now: float) -> str:
    """What a file is called unless it is given another name."""
    stamp = datetime.fromtimestamp(now, UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    return f"trinity-{''.join(c if c.isalnum() or c in '-_' else '-' for c in who)}-{stamp}.log"


def target(text: str) -> Path:
    """The path that was typed, with `~` for the home folder."""
    return Path(text.strip()).expanduser()


def why_not(text: str) -> str:
    """What is wrong with a path to save to; nothing where it can be tried."""
    if not text.strip():
        return "Type a file's name."
    try:
        path = target(text)
        if path.is_dir():
            return f"{path} is a folder: add a file's name."
        if not path.parent.is_dir():
            return f"There is no folder {path.parent}."
    except (OSError, RuntimeError, ValueError) as error:
        return f"That is no path: {error}."
    return ""


def saved_line(line: LogLine) -> bytes:
    """`2026-11-21T14:05:30.123456Z llm-0 stderr message`."""
    stamp = datetime.fromtimestamp(line.ts, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{stamp} {line.replica} {line.stream} ".encode() + line.message + b"\n"


def saved_pages(store: LogStore, query: LogQuery) -> Iterator[tuple[bytes, int]]:
    """Bytes to write and how many lines they are, page by page: what is held when the end is reached."""
    key: LogKey | None = None
    while True:
        page = store.after(key, PAGE_LINES, query, budget_bytes=PAGE_BYTES)
        yield b"".join(map(saved_line, page.lines)), len(page.lines)
        if page.next_key is None or (page.complete and len(page.lines) < PAGE_LINES):
            return
        key = page.next_key
