"""One kind of object, kept as it is in the cluster: listed once, then watched. The only reader of lists and watches.

A watch that ends or breaks is taken up again at the last version seen, without another list; only the server's word
that this version is too old (410) brings one. Nothing is listed on a timer. Owns the objects of its kind and tells of
their changes; knows nothing of what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from backend.config.own_logs import get_logger
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError, Unreachable
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError, Status
from backend.fleet.kube.kinds import Resource
from backend.fleet.kube.shapes import Page, WatchEvent
from backend.fleet.kube.watch_lines import Garbage, LineSplitter

T = TypeVar("T")
Change = tuple[T | None, T | None]
"""(what it was, what it is): a new object has no former, a deleted one no present."""
State = Literal["new", "listing", "watching", "broken", "forbidden", "missing"]
_log = get_logger(__name__)
_PAGE: Final = 500
_LIST_S: Final = 60.0
_WATCH_S: Final = 290
_SILENCE_S: Final = 330.0
"""The server ends a watch before; longer silence is a dead connection."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 15.0
_FORBIDDEN_PAUSE_S: Final = 300.0
_LONG_LIVED_S: Final = 5.0
"""A watch that lasted so long was a good one: the next failure is a first one."""
_TOO_NEW: Final = "Too large resource version"
"""What such a server says, as Kubernetes' own clients recognise it too; a gateway's 504 says something else."""
_GARBAGE_LIMIT: Final = 3
_BUSY_S, _GATHER_S = 0.2, 0.1
"""Where a change follows another sooner than the first, the next are waited for so long."""


class Reflector(Generic[T]):
    """`objects` by name, up to date while `state` is `watching`. `run` never ends by itself."""

    def __init__(
        self,
        resource: Resource[T],
        access: Access,
        clock: Clock,
        changed: Callable[[Sequence[Change[T]]], None],
        *,
        label_selector: str = "",
        essential: bool = False,
    ) -> None:
        self.resource = resource
        self.objects: dict[str, T] = {}
        self.state: State = "new"
        self.error: TrinityError | None = None
        """What it fails with now; None while all is well."""
        self.failing_since_ts = 0.0
        self.synced = asyncio.Event()
        """Set once the first list is complete, or known to be impossible."""
        self.unreadable = 0
        """Objects of the last list that could not be read."""
        self._access, self._clock, self._changed = access, clock, changed
        self._selectors = {"labelSelector": label_selector or None, "fieldSelector": resource.field_selector or None}
        self._forbidden_pause_s = 30.0 if essential else _FORBIDDEN_PAUSE_S
        self._version: str | None = None
        """Where the next watch begins; None: list first."""
        self._at_least: str | None = None
        """The newest version seen before a relist, which must not show anything older."""
        self._failures = 0
        self._garbage = 0
        self._wake = asyncio.Event()
        self._decode_page = msgspec.json.Decoder(Page[resource.shape])  # type: ignore[name-defined]
        self._decode_items = msgspec.json.Decoder(Page[msgspec.Raw])
        self._decode = msgspec.json.Decoder(resource.shape)
        self._decode_event = msgspec.json.Decoder(WatchEvent)
        self._decode_status = msgspec.json.Decoder(Status)

    def retry(self) -> None:
        """Try again at once what was forbidden or missing: rights may have changed."""
        self._wake.set()

    async def run(self) -> None:
        """List, then watch, for ever; every failure is survived."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except ApiError as error:
                await self._refused(error)
            except TrinityError as error:
                await self._failed(error)
            except Garbage as error:
                await self._garbled(error)
            except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is one too
                await self._failed(self._access.broken(error))
            except Exception as error:  # a dying server's raw protocol errors: whatever it is, watching goes on
                if not type(error).__module__.startswith("aiohttp"):
                    _log.exception("watch broke", kind=self.resource.plural)
                await self._failed(self._access.broken(error))

    # -- list

    async def _list(self) -> None:
        """All pages. What is gone since is noticed at the end; what is there is told page by page."""
        if self.state != "broken":
            self.state = "listing"
        path, label = self.resource.path(self._access.namespace), f"list {self.resource.plural}"
        query: dict[str, object] = {**self._selectors, "limit": _PAGE}
        if self._at_least is not None:
            query |= {"resourceVersion": self._at_least, "resourceVersionMatch": "NotOlderThan"}
        seen: set[str] = set()
        self.unreadable = 0
        while True:
            body = await self._access.request("GET", path, query, timeout_s=_LIST_S, label=label)
            page = self._page(body)
            self._take([(None, item) for item in page.items or ()], seen)
            # Only the first page is one request for a list; the others are its continuation.
            label = f"list {self.resource.plural} (more)"
            if not page.metadata.continue_:
                break
            query = {**self._selectors, "limit": _PAGE, "continue": page.metadata.continue_}
        gone = [(self.objects[name], None) for name in self.objects if name not in seen]
        self._take(gone, None)
        self._version, self._at_least = page.metadata.resource_version, None
        self.synced.set()

    def _page(self, body: bytes) -> Page[T]:
        """An answer read; where an object in it has an unknown shape, all others are read all the same."""
        with contextlib.suppress(msgspec.ValidationError):
            return self._decode_page.decode(body)
        try:
            raw = self._decode_items.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(f"The list of {self.resource.plural} is no list: {error}.", "Check `server`.") from error
        items: list[T] = []
        for item in raw.items or ():
            try:
                items.append(self._decode.decode(item))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.unreadable += 1
                _log.warning("object not read", kind=self.resource.plural, error=str(error))
        return Page(metadata=raw.metadata, items=items)

    # -- watch

    async def _watch(self) -> None:
        """One watch, from the last version seen to its end."""
        seconds = _WATCH_S + int(20 * self._access.rng.random())
        query = {
            **self._selectors,
            "watch": 1,
            "resourceVersion": self._version,
            "allowWatchBookmarks": True,
            "timeoutSeconds": seconds,
        }
        path, label = self.resource.path(self._access.namespace), f"watch {self.resource.plural}"
        async with self._access.stream(path, query, label=label) as response:
            self._well()
            lines, began = LineSplitter(), self._clock.mono()
            came = began - _BUSY_S
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    chunk = await response.content.readany()
                if not chunk:
                    break
                self._read(lines.feed(chunk))
                now = self._clock.mono()
                if now - came < _BUSY_S:
                    # Of many changes, those of an instant are read together: each reading costs, and so does each look
                    # at what has changed.
                    await asyncio.sleep(_GATHER_S)
                came = now
        if self._clock.mono() - began >= _LONG_LIVED_S:
            self._failures = 0
            return
        # A server that ends each watch at once must not be asked without pause.
        self._failures += 1
        await self._access.pause(self._pause_s())

    def _read(self, lines: Sequence[bytes]) -> None:
        """Apply whole lines. Raises ApiError for an ERROR event, Garbage for what is none; what came before counts."""
        changes: list[Change[T]] = []
        try:
            for line in lines:
                self._read_one(line, changes)
        finally:
            if changes:
                self._take(changes, None)
        if lines:
            self._failures = self._garbage = 0

    def _read_one(self, line: bytes, changes: list[Change[T]]) -> None:
        try:
            event = self._decode_event.decode(line)
            if event.type == "ERROR":
                status = self._decode_status.decode(event.object)
                message = status.message or "the watch failed"
                raise ApiError(status.code or 500, status.reason or "Failure", message)
            found = self._decode.decode(event.object)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Garbage(str(error)) from error
        metadata: Any = found.metadata  # type: ignore[attr-defined]  # every kind has it
        if not metadata.resource_version:
            raise Garbage("an object without a version")
        if event.type == "DELETED":
            changes.append((found, None))
        elif event.type in ("ADDED", "MODIFIED"):
            changes.append((None, found))
        elif event.type != "BOOKMARK":
            raise Garbage(f"an event of type {event.type!r}")
        self._version = metadata.resource_version

    def _take(self, changes: Sequence[Change[T]], seen: set[str] | None) -> None:
        """Keep what changed and tell of it; what is the same as before is not told."""
        told: list[Change[T]] = []
        for old, new in changes:
            metadata: Any = (new or old).metadata  # type: ignore[union-attr]
            name = metadata.name
            if seen is not None:
                seen.add(name)
            if new is None:
                if (former := self.objects.pop(name, None)) is not None:
                    told.append((former, None))
                continue
            former = self.objects.get(name)
            version: Any = former.metadata.resource_version if former is not None else None  # type: ignore[attr-defined]
            if version != metadata.resource_version:
                self.objects[name] = new
                told.append((former, new))
        if told:
            self._changed(told)

    # -- failures

    def _well(self) -> None:
        self.state, self.error = "watching", None

    async def _refused(self, error: ApiError) -> None:
        """The server said no: too old a version, missing rights, too many requests, or its own trouble."""
        if error.status == 410 or error.reason in ("Expired", "Gone"):
            self._at_least, self._version = self._version or self._at_least, None
            self._failures += 1
            await self._access.pause(0.0 if self._failures == 1 else self._pause_s())
        elif error.status in (403, 404):
            self._fail(error, "forbidden" if error.status == 403 else "missing")
            self._version = self._at_least = None
            self.synced.set()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._forbidden_pause_s * (1.0 + 0.2 * self._access.rng.random())):
                    await self._wake.wait()
        else:
            if error.status == 504 or (error.status == 400 and self._at_least):
                # A server restored from an older state knows no version as new as ours.
                self._at_least = None
                if _TOO_NEW in error.message:
                    self._version = None
            await self._failed(error, at_least_s=error.retry_after_s or 0.0)

    async def _failed(self, error: TrinityError, *, at_least_s: float = 0.0) -> None:
        self._fail(error, "broken")
        self._failures += 1
        await self._access.pause(max(at_least_s, self._pause_s()))

    async def _garbled(self, error: Garbage) -> None:
        self._garbage += 1
        if self._garbage >= _GARBAGE_LIMIT:
            # What follows that version cannot be read: begin again from a list.
            self._version, self._garbage = None, 0
        words = f"The API server's watch of {self.resource.plural} is garbled: {error}."
        await self._failed(Unreachable(words, "See what stands between it and us (a proxy); it is tried again."))

    def _fail(self, error: TrinityError, state: State) -> None:
        if self.error is None:
            self.failing_since_ts = self._clock.now()
        self.error, self.state = error, state

    def _pause_s(self) -> float:
        """Back-off, doubled with each failure in a row, between half of it and all of it."""
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 12))
        return longest * (0.5 + 0.5 * self._access.rng.random())
