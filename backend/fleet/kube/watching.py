"""One object, or the pods of one node, followed while a verb waits for them: a read, then a watch from its version.

Owns resuming: a broken or ended watch goes on from the newest version seen, a version that is too old is read anew.
Never ends by itself while the thing exists: the caller sets the deadline.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from backend.contract.errors import TrinityError, Unreachable
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import Object, Ref, collection_path, mapping, name_of, number, objects, path_of, text
from backend.fleet.kube.refusals import PASSING

Asked = Sequence[tuple[str, object]]

_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_MAX_LINE_BYTES: Final = 16 * 1024 * 1024


async def versions_of(access: Access, ref: Ref) -> AsyncGenerator[Object | None, None]:
    """The object now and after each change; None, and the end, once it is gone. Raises ApiError where it may not be
    read."""
    query = [("fieldSelector", f"metadata.name={ref.name}")]
    pause = _PAUSE_S
    while True:
        try:
            found: Object = await access.get_json(path_of(ref))
            yield found
            version = text(found, "metadata", "resourceVersion")
            path = collection_path(ref.kind, ref.namespace)
            async with aclosing(changes(access, path, query, version)) as later:
                async for kind, seen in later:
                    pause = _PAUSE_S
                    if kind == "DELETED":
                        yield None
                        return
                    yield seen
        except ApiError as error:
            if error.status == 404:
                yield None
                return
            await _rest(access, error, pause)
        except Unreachable as error:
            await _rest(access, error, pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def sets_of(access: Access, path: str, query: Asked) -> AsyncGenerator[dict[str, Object], None]:
    """All objects of a query by uid, now and after each change of one of them. The same dict each time."""
    pause = _PAUSE_S
    held: dict[str, Object] = {}
    while True:
        try:
            version = await _read_all(access, path, query, held)
            yield held
            async with aclosing(changes(access, path, query, version)) as later:
                async for kind, seen in later:
                    pause = _PAUSE_S
                    uid = text(seen, "metadata", "uid") or name_of(seen)
                    if kind == "DELETED":
                        held.pop(uid, None)
                    else:
                        held[uid] = seen
                    yield held
        except (ApiError, Unreachable) as error:
            await _rest(access, error, pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def _rest(access: Access, error: TrinityError, pause: float) -> None:
    """Wait before it is asked again. Raises an error that asking again does not mend."""
    if isinstance(error, ApiError):
        if error.status not in PASSING:
            raise error
        pause = min(_LONGEST_PAUSE_S, error.retry_after_s or pause)
    await access.pause(pause)


async def read_list(access: Access, path: str, query: Asked = ()) -> list[Object]:
    """All objects of a query, page by page."""
    held: dict[str, Object] = {}
    await _read_all(access, path, query, held)
    return list(held.values())


async def _read_all(access: Access, path: str, query: Asked, held: dict[str, Object]) -> str:
    """Fill `held` anew; returns the list's version."""
    held.clear()
    more = ""
    while True:
        page = [*query, ("limit", 500), *([("continue", more)] if more else [])]
        answer = await access.get_json(path, page)
        for item in objects(answer, "items"):
            held[text(item, "metadata", "uid") or name_of(item)] = item
        more = text(answer, "metadata", "continue")
        if not more:
            return text(answer, "metadata", "resourceVersion")


async def changes(access: Access, path: str, query: Asked, version: str) -> AsyncGenerator[tuple[str, Object], None]:
    """(ADDED | MODIFIED | DELETED, object) after a version. Ends when that version is too old: its caller reads anew.
    Raises what the API raises, where a watch broke before it gave anything."""
    while True:
        asked = version
        watch = [*query, ("watch", True), ("allowWatchBookmarks", True), ("resourceVersion", version)]
        try:
            async with access.stream(path, watch) as response:
                async for event in _decoded(access, response):
                    kind, seen = text(event, "type"), mapping(event, "object")
                    if kind == "ERROR":
                        if number(seen, "code") == 410:
                            return
                        break
                    version = text(seen, "metadata", "resourceVersion") or version
                    if kind != "BOOKMARK":
                        yield kind, seen
        except Unreachable:
            if version == asked:
                raise
        if version == asked:
            await access.pause(_PAUSE_S)


async def _decoded(access: Access, response: Any) -> AsyncGenerator[Object, None]:
    """Lines of a watch. Raises Unreachable for whatever breaks it."""
    rest = b""
    chunks = response.content.iter_any()
    while True:
        try:
            chunk = await anext(chunks, b"")
        except Exception as error:
            raise access.broken(error) from error
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            raise Unreachable("The API server sent a change of more than 16 MiB.", "Look at the object with kubectl.")
        for line in lines:
            if line.strip():
                try:
                    event = msgspec.json.decode(line)
                except msgspec.DecodeError:
                    raise Unreachable("A watch brought something that is no JSON.", "It is opened again.") from None
                yield mapping(event)
