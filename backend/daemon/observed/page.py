"""What a platform's edge counts: HAProxy's own metrics page, fetched over one connection that is kept.

Owns that connection and what the numbers mean. Whom to ask, and how a stream to it is opened, its caller says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import h11
import msgspec

from backend.contract.edge import EdgeWorkload
from backend.contract.errors import Unreachable
from backend.contract.platform import ByteStream
from backend.edge.config import ATTEMPTS, BUDGET
from backend.telemetry.exposition import parse

PORT: Final = 9090
_ASKED: Final = h11.Request(
    method="GET", target="/metrics?scope=backend", headers=[("Host", "edge"), ("Accept", "text/plain")]
)
_OURS: Final = "Is it an edge of ours?"
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
        self._http = h11.Connection(h11.CLIENT)

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
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _ask(self) -> str:
        if self._stream is None:
            self._stream, self._http = await self._opening(), h11.Connection(h11.CLIENT)
        http, body = self._http, bytearray()
        try:
            await self._stream.write((http.send(_ASKED) or b"") + (http.send(h11.EndOfMessage()) or b""))
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    http.receive_data(await self._stream.read())
                elif isinstance(event, h11.Response) and event.status_code != 200:
                    raise Unreachable(f"Port {PORT} answers with status {event.status_code}.", _OURS)
                elif isinstance(event, h11.Data):
                    body += event.data
                if len(body) > _MOST_BYTES:
                    raise Unreachable(f"Port {PORT} sends more than 8 MiB.", _OURS)
            if http.their_state is h11.DONE:
                http.start_next_cycle()
            else:
                await self.close()
        except h11.ProtocolError as error:
            raise Unreachable(f"Port {PORT} answers otherwise than HTTP does: {error}.", _OURS) from None
        return body.decode("utf-8", "replace")


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
