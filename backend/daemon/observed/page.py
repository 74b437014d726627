"""What a platform's edge counts: HAProxy's own metrics page, fetched over one connection that is kept.

Owns the HTTP of that and what the numbers mean. Whom to ask, and how a stream to it is opened, its caller says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from backend.contract.edge import EdgeWorkload
from backend.contract.errors import Unreachable
from backend.contract.platform import ByteStream
from backend.edge.config import ATTEMPTS, BUDGET
from backend.telemetry.exposition import parse

PORT: Final = 9090
_ASKED: Final = b"GET /metrics?scope=backend HTTP/1.1\r\nHost: edge\r\nAccept: text/plain\r\n\r\n"
_TIMEOUT_S: Final = 3.0
_MOST_BYTES: Final = 8 * 1024 * 1024
_NAMES: Final = {
    "haproxy_backend_current_queue": "queued",
    "haproxy_backend_current_sessions": "present",
    "haproxy_backend_sessions_total": "sessions",
    "haproxy_backend_retry_warnings_total": "retries",
    "haproxy_backend_connection_errors_total": "errors",
    "haproxy_backend_response_errors_total": "errors",
}


class MetricsPage:
    """One edge replica's page. `opening` opens a stream to its port; it and `fetch` raise TrinityError."""

    def __init__(self, opening: Callable[[], Awaitable[ByteStream]]) -> None:
        self._opening = opening
        self._stream: ByteStream | None = None
        self._rest = b""

    async def fetch(self) -> str:
        """The page. Raises TrinityError; Unreachable where it does not answer in three seconds, or not so."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                kept = self._stream is not None
                try:
                    return await self._ask()
                except Unreachable:
                    if not kept:
                        raise
                    await self.close()  # it was closed between two questions
                    return await self._ask()
        except TimeoutError:
            await self.close()
            raise Unreachable(f"Port {PORT} gives no metrics within {_TIMEOUT_S:g} s.", "See its log.") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Idempotent."""
        stream, self._stream, self._rest = self._stream, None, b""
        if stream is not None:
            await stream.close()

    async def _ask(self) -> str:
        if self._stream is None:
            self._stream = await self._opening()
        await self._stream.write(_ASKED)
        head = (await self._until(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        if head[0].split(" ")[1:2] != ["200"]:
            raise Unreachable(f"Port {PORT} answers {head[0][:60]!r}.", "Is it an edge of ours?")
        if "chunked" in headers.get("transfer-encoding", ""):
            return (await self._chunks()).decode("utf-8", "replace")
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise Unreachable(f"Port {PORT} says no length.", "Is it an edge of ours?")
        return (await self._exactly(int(length))).decode("utf-8", "replace")

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = await self._until(b"\r\n")
            try:
                count = int(size.split(b";")[0], 16)
            except ValueError:
                raise Unreachable(f"Port {PORT} sends a chunk without a size.", "Is it an edge of ours?") from None
            body += (await self._exactly(count + 2))[:-2]
            if count == 0:
                return bytes(body)
            if len(body) > _MOST_BYTES:
                raise Unreachable(f"Port {PORT} sends more than 8 MiB.", "Is it an edge of ours?")

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._rest.find(mark)) < 0:
            await self._more()
        found, self._rest = self._rest[:at], self._rest[at + len(mark) :]
        return found

    async def _exactly(self, count: int) -> bytes:
        if not 0 <= count <= _MOST_BYTES:
            raise Unreachable(f"Port {PORT} announces {count} bytes.", "Is it an edge of ours?")
        while len(self._rest) < count:
            await self._more()
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    async def _more(self) -> None:
        assert self._stream is not None
        data = await self._stream.read()
        if not data or len(self._rest) > _MOST_BYTES:
            raise Unreachable(f"Port {PORT} broke off its answer.", "See its log.")
        self._rest += data


class Counts(msgspec.Struct):
    """Of one backend."""

    present: int = 0
    """Requests that it has, waiting or answered by a replica now."""
    queued: int = 0
    sessions: int = 0
    retries: int = 0
    errors: int = 0


def counts_in(page: str) -> dict[str, Counts]:
    """Backend -> what the edge counts of it; of workloads only, not of what else our configuration needs."""
    found: dict[str, Counts] = {}
    for sample in parse(page if page.endswith("\n") else f"{page}\n"):
        name, proxy = _NAMES.get(sample.name), sample.labels.get("proxy", "")
        if name is None or not proxy or ":" in proxy or proxy in (ATTEMPTS, BUDGET) or sample.value < 0:
            continue
        counts = found.setdefault(proxy, Counts())
        setattr(counts, name, getattr(counts, name) + int(sample.value))
    return found


def totals(pages: Iterable[tuple[dict[str, Counts], Callable[[str], str]]]) -> tuple[EdgeWorkload, ...]:
    """Of all edge replicas together, by workload. Each page comes with what its backends are called here."""
    summed: dict[str, Counts] = {}
    for counts, name_of in pages:
        for backend, one in counts.items():
            held = summed.setdefault(name_of(backend), Counts())
            for field in Counts.__struct_fields__:
                setattr(held, field, getattr(held, field) + getattr(one, field))
    return tuple(
        EdgeWorkload(
            workload=name,
            in_flight=max(0, held.present - held.queued),
            queued=held.queued,
            sessions_total=held.sessions,
            retries_total=held.retries,
            errors_total=held.errors,
        )
        for name, held in sorted(summed.items())
    )
