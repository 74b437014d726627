"""Watches: who watches what, and the stream of lines to each. Reads the store's changes; changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import web

from tests.kube_emulator.faults import Ending, abort
from tests.kube_emulator.kinds import Kind
from tests.kube_emulator.selectors import Match
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Change, ChangeType, Store, Stored


class Selection:
    """Which objects of a kind a list or a watch is about."""

    def __init__(self, kind: Kind, namespace: str, name: str, labels: Match | None, fields: Match | None) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.labels = labels
        self.fields = fields
        self.whole_table = not (namespace or name or labels or fields)

    def has(self, stored: Stored) -> bool:
        if self.whole_table:
            return True
        if self.namespace and stored.key[0] != self.namespace:
            return False
        if self.name and stored.key[1] != self.name:
            return False
        if self.labels is not None and not self.labels(stored.labels):
            return False
        return self.fields is None or self.fields(stored.obj)


class Watcher:
    """One open watch. Lines are taken in order of versions; `ending` says that it must be dropped, and how."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.lines: deque[bytes] = deque()
        self.woken = asyncio.Event()
        self.ending: Ending | None = None
        self.sent = 0

    def offer(self, change: Change) -> None:
        shown = self._shown(change)
        if shown is not None:
            self.lines.append(change.line(self.selection.kind, shown))
            self.woken.set()

    def _shown(self, change: Change) -> ChangeType | None:
        """What a change is in the eyes of this selection: objects come into it and leave it."""
        was = change.before is not None and self.selection.has(change.before)
        if change.type == "DELETED":
            return "DELETED" if was else None
        now = self.selection.has(change.after)
        if was and now:
            return "MODIFIED"
        if now:
            return "ADDED"
        return "DELETED" if was else None

    def drop(self, ending: Ending) -> None:
        self.ending = ending
        self.woken.set()


class Watches:
    """All open watches."""

    def __init__(self, store: Store, *, bookmark_every_s: float = 60.0) -> None:
        self._store = store
        self._open: dict[str, set[Watcher]] = {}
        self.bookmark_every_s = bookmark_every_s
        self.stalled = False
        """While set, open watches say nothing (a server that hangs but keeps its connections)."""
        store.listen(self._spread)

    def _spread(self, change: Change) -> None:
        for watcher in self._open.get(change.table, ()):
            watcher.offer(change)

    def open(self, table: str = "") -> int:
        """How many are open."""
        return len(self._open.get(table, ())) if table else sum(len(some) for some in self._open.values())

    def drop(self, ending: Ending = "end", *, table: str = "") -> int:
        """Drop all of them now (or those on one table); returns how many."""
        dropped = [watcher for name, some in self._open.items() if table in ("", name) for watcher in some]
        for watcher in dropped:
            watcher.drop(ending)
        return len(dropped)

    def stall(self, on: bool) -> None:
        self.stalled = on
        for some in self._open.values():
            for watcher in some:
                watcher.woken.set()

    async def serve(
        self,
        request: web.BaseRequest,
        selection: Selection,
        *,
        since: int | None,
        timeout_s: float,
        bookmarks: bool,
        started: Callable[[], None] = lambda: None,
    ) -> web.StreamResponse:
        """`since` null: what there is now is told first, as ADDED."""
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        watcher = Watcher(selection)
        table = selection.kind.table
        try:
            self._begin(watcher, since)
        except ApiError as error:
            await response.prepare(request)
            await response.write(msgspec.json.encode({"type": "ERROR", "object": error.body()}) + b"\n")
            await response.write_eof()
            return response
        self._open.setdefault(table, set()).add(watcher)
        started()
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                await self._pump(request, response, watcher, timeout_s, bookmarks)
        finally:
            self._open[table].discard(watcher)
        return response

    def _begin(self, watcher: Watcher, since: int | None) -> None:
        kind = watcher.selection.kind
        if since is None:
            for stored in self._store.all(kind.table, watcher.selection.namespace):
                if watcher.selection.has(stored):
                    watcher.lines.append(b'{"type":"ADDED","object":%b}\n' % stored.whole(kind))
            return
        if since < self._store.floor:
            raise ApiError(410, "Expired", f"too old resource version: {since} ({self._store.floor})")
        for change in self._store.since(kind.table, since):
            watcher.offer(change)

    async def _pump(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        watcher: Watcher,
        timeout_s: float,
        bookmarks: bool,
    ) -> None:
        end = time.monotonic() + timeout_s
        next_bookmark = time.monotonic() + self.bookmark_every_s
        while True:
            watcher.woken.clear()
            if watcher.ending is not None:
                await self._end(request, response, watcher)
                return
            if watcher.lines and not self.stalled:
                watcher.sent += len(watcher.lines)
                data = b"".join(watcher.lines)
                watcher.lines.clear()
                await response.write(data)
                continue
            now = time.monotonic()
            if bookmarks and not self.stalled and now >= min(next_bookmark, end):
                next_bookmark = now + self.bookmark_every_s
                await response.write(self._bookmark(watcher.selection.kind))
            if now >= end:
                await response.write_eof()
                return
            due = min(end, next_bookmark) if bookmarks else end
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watcher.woken.wait(), due - now)

    async def _end(self, request: web.BaseRequest, response: web.StreamResponse, watcher: Watcher) -> None:
        if watcher.ending == "end":
            await response.write_eof()
            return
        if watcher.ending == "mid-line":
            whole = self._bookmark(watcher.selection.kind)
            await response.write(whole[: len(whole) // 2])
        if watcher.ending == "garbage" and request.transport is not None:
            request.transport.write(b"zz\r\nthis is no chunk \x00\xff\r\n\r\n")
            request.transport.close()
            return
        if watcher.ending == "mid-line" and request.transport is not None:
            request.transport.close()
            return
        abort(request)

    def _bookmark(self, kind: Kind) -> bytes:
        metadata = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        shown = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        return msgspec.json.encode({"type": "BOOKMARK", "object": shown}) + b"\n"
