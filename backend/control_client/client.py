"""One asynchronous client per daemon; safe to share between tasks of one loop.

Owns what is asked and what the answers mean. The wire loads the event loop's library, and a console paints its first
frame without: it is imported at the first question.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ErrorInfo,
    ExecOrder,
    ExecTicket,
    FleetInfo,
    FleetOrder,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import InternalError, Unreachable, from_wire
from backend.contract.log_chunks import LogChunk
from backend.contract.platform import Description, Neighbours
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import TABLES, ActionRow, EventRow, LogRow, RequestRow, Scalar
from backend.control_client.folding import FrameFolder

if TYPE_CHECKING:
    from backend.control_client.exec_channel import ExecChannel

T = TypeVar("T")

_OVERLAP_S = 60.0
_START_S = 60.0
"""How long a program in a replica may take to start."""
_OPEN_S = 120.0
"""How long opening or ending a fleet may take."""
_NO_DAEMON = "Start it with `trinity up`."


class ControlClient:
    """Speaks to the daemon behind `socket`. Every method raises Unreachable when it does not answer,
    and the daemon's own TrinityError when it refuses. Without `fleet` it is about the daemon's first one."""

    def __init__(self, socket: Path, *, fleet: str | None = None, timeout_s: float = 10.0) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        self._root = "/v1" if fleet is None else f"/v1/fleets/{_quoted(fleet)}"

    async def fleets(self) -> list[FleetInfo]:
        """Those that the daemon looks after, the first one first."""
        return await self._call("GET", "/v1/fleets", None, list[FleetInfo], self._timeout_s)

    async def add_fleet(self, order: FleetOrder) -> FleetInfo:
        """Have it look after one more; returns once that one is open. Raises UsageError for a bad order."""
        return await self._call("POST", "/v1/fleets", msgspec.json.encode(order), FleetInfo, _OPEN_S)

    async def forget_fleet(self, name: str, *, down: bool = False) -> None:
        """Have it detach from one, with `down` end what it runs there too."""
        url = f"/v1/fleets/{_quoted(name)}?down={int(down)}"
        await self._call("DELETE", url, None, dict[str, Any], _OPEN_S)

    async def version(self) -> VersionInfo:
        return await self._get("/v1/version", VersionInfo)

    async def snapshot(self) -> Snapshot:
        return await self._get("/v1/snapshot", Snapshot)

    async def series(self, seconds: int) -> list[SeriesPoint]:
        """The last `seconds` one-second points, oldest first."""
        return await self._get(f"/v1/series?seconds={seconds}", list[SeriesPoint])

    async def rows(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> list[Any]:
        """The newest `limit` rows of requests, samples, events or actions, oldest first."""
        query: dict[str, str] = {"since_ts": str(since_ts), "limit": str(limit)}
        if until_ts is not None:
            query["until_ts"] = str(until_ts)
        if where:
            query["where"] = msgspec.json.encode(where).decode()
        kind = TABLES[table]
        return await self._get(f"/v1/rows/{table}?{urllib.parse.urlencode(query)}", list[kind])  # type: ignore[valid-type]  # chosen by name

    async def logs(
        self,
        replicas: list[str] | None,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 500,
    ) -> LogWindow:
        """The newest `limit` lines of those replicas or workloads (all when None), merged by time, oldest first."""
        query = _log_query(replicas, since_ts) | {"limit": str(limit)}
        if until_ts is not None:
            query["until_ts"] = str(until_ts)
        return await self._get(f"/v1/logs?{urllib.parse.urlencode(query)}", LogWindow)

    async def follow_logs(
        self, replicas: list[str] | None, *, since_ts: float = 0.0
    ) -> AsyncGenerator[list[LogRow], None]:
        """Batches of lines as they are written, from `since_ts` on."""
        query = urllib.parse.urlencode(_log_query(replicas, since_ts))
        async with aclosing(self._lines(f"/v1/logs/follow?{query}", read_timeout_s=30.0)) as lines:
            async for line in lines:
                yield _decoded(line, list[LogRow], "/v1/logs/follow")

    async def log_chunks(
        self, replicas: list[str] | None, *, lines: int = 2000
    ) -> AsyncGenerator[list[LogChunk], None]:
        """Batches of stored log bytes: the newest `lines` lines of each replica, then what is written."""
        query = {"lines": str(lines)} | ({} if replicas is None else {"replicas": ",".join(replicas)})
        url = f"/v1/logs/chunks?{urllib.parse.urlencode(query)}"
        unpack = msgspec.msgpack.Decoder(list[LogChunk]).decode
        rest = bytearray()
        async with aclosing(self._pieces(url, read_timeout_s=30.0)) as pieces:
            async for piece in pieces:
                rest += piece
                at = 0
                while len(rest) - at >= 4 and len(rest) - at - 4 >= (size := int.from_bytes(rest[at : at + 4], "big")):
                    yield _understood(unpack, bytes(rest[at + 4 : at + 4 + size]), "/v1/logs/chunks")
                    at += 4 + size
                del rest[:at]
        raise Unreachable("The daemon ended the stream.", _NO_DAEMON)

    async def stream(self, interval_s: float = 1.0) -> AsyncGenerator[Frame, None]:
        """Frames until the daemon goes away, which raises Unreachable. Their snapshots are whole; replicas that did
        not change since the frame before are the same objects."""
        folder = FrameFolder()
        url = f"/v1/stream?interval_s={interval_s}&deltas=1"
        while True:
            lost_place = folder.snapshot
            async with aclosing(self._lines(url, read_timeout_s=5 * interval_s + 5)) as lines:
                async for line in lines:
                    earlier: list[EventRow] = []
                    if lost_place is not None:  # we begin anew: what happened meanwhile
                        earlier = await self.rows("events", since_ts=lost_place.ts - _OVERLAP_S)
                        lost_place = None
                    try:
                        frame = folder.fold(_decoded(line, Frame, "/v1/stream"), earlier)
                    except ValueError:
                        break
                    yield frame
                else:
                    raise Unreachable("The daemon ended the stream.", _NO_DAEMON)

    async def extent(self) -> RecordExtent:
        """How far the recorded past reaches."""
        return await self._get("/v1/past", RecordExtent)

    async def moment(self, ts: float, *, window_s: int = 900) -> Moment:
        """The fleet as it was at an instant. Raises UsageError where nothing is recorded."""
        return await self._get(f"/v1/past/{ts!r}?window_s={window_s}", Moment)

    async def preview(self, request: ActionRequest) -> ActionPreview:
        """What the action would do; nothing is done."""
        return await self._post("/v1/actions/preview", request, ActionPreview)

    async def perform(self, request: ActionRequest, *, timeout_s: float = 900.0) -> ActionRow:
        """Do it and wait for its end. The row's outcome may be `failed` or `refused`; that raises nothing."""
        return await self._post("/v1/actions", request, ActionRow, timeout_s=timeout_s)

    async def drills(self, *, plans: bool = True) -> list[DrillInfo]:
        """Every shipped drill; without `plans` nothing is planned, which is cheap."""
        return await self._get(f"/v1/drills?plans={int(plans)}", list[DrillInfo])

    async def drill(self, name: str) -> DrillInfo:
        """One drill with what it would do now. Raises UsageError for a name that nobody knows."""
        return await self._get(f"/v1/drills/{_quoted(name)}", DrillInfo)

    async def drill_runs(self, *, limit: int = 100) -> list[DrillView]:
        """The newest `limit` runs that have a report, newest first; without their charts."""
        return await self._get(f"/v1/drill-runs?limit={limit}", list[DrillView])

    async def drill_report(self, run_id: str) -> dict[str, Any]:
        """A run's `report.json`. Raises UsageError for a run that has none (yet)."""
        return await self._get(f"/v1/drill-runs/{_quoted(run_id)}", dict[str, Any])

    async def drill_compare(self, reference: str, run_id: str) -> dict[str, Any]:
        """A run against an earlier one, by statistics (`backend.drills.compare.Comparison`)."""
        url = f"/v1/drill-runs/{_quoted(run_id)}/compare?with={_quoted(reference)}"
        return await self._call("GET", self._at(url), None, dict[str, Any], 60.0)

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        """A run's report as `json`, `html`, `md` or `junit`."""
        answer = await self._get(f"/v1/drill-runs/{_quoted(run_id)}/{_quoted(kind)}", dict[str, str])
        return answer["text"].encode()

    async def raw(self, replica: str) -> dict[str, Any]:
        """Everything known of a replica, as plain data."""
        name = urllib.parse.quote(replica, safe="")
        return await self._get(f"/v1/replicas/{name}", dict[str, Any])

    async def neighbours(self) -> Neighbours:
        """What else can be looked at from this fleet."""
        return await self._get("/v1/neighbours", Neighbours)

    async def describe(self, name: str) -> Description:
        """All that the platform says of a replica, a workload or a node. Raises UsageError for an unknown name."""
        return await self._get(f"/v1/describe?name={urllib.parse.quote(name, safe='')}", Description)

    async def exec(self, order: ExecOrder) -> ExecChannel:
        """Run a program in a replica; what is returned carries it. Raises UsageError for an unknown replica or program,
        Refused where it may not be done."""
        from backend.control_client.exec_channel import ExecChannel

        body = msgspec.json.encode(order)
        ticket = await self._call("POST", self._at("/v1/exec"), body, ExecTicket, _START_S)
        return await ExecChannel.connect(Path(ticket.socket))

    async def edge(self, what: str) -> str:
        """HAProxy's own words: `stat`, `config` (secrets redacted) or `errors`."""
        return (await self._get(f"/v1/edge/{what}", dict[str, str]))["text"]

    async def record(self, rows: list[RequestRow]) -> None:
        """Put what a client saw into the ledger."""
        await self._post("/v1/rows/requests", rows, dict[str, Any])

    async def diff(self, yaml_text: str, source: str) -> list[str]:
        """What applying this trinity.yaml would change, a line each."""
        return await self._post("/v1/apply/diff", {"yaml": yaml_text, "source": source}, list[str])

    async def shutdown(self) -> None:
        """End the fleet and the daemon; returns once the daemon has promised to."""
        await self._post("/v1/shutdown", {}, dict[str, Any])

    async def aclose(self) -> None:
        """Nothing is held between requests; for whoever may hold another kind of source."""

    async def __aenter__(self) -> ControlClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # -- the wire

    def _at(self, route: str) -> str:
        """A route `/v1/…` of the fleet that this is about."""
        return self._root + route.removeprefix("/v1")

    async def _get(self, url: str, kind: type[T]) -> T:
        return await self._call("GET", self._at(url), None, kind, self._timeout_s)

    async def _post(self, url: str, body: object, kind: type[T], *, timeout_s: float | None = None) -> T:
        return await self._call("POST", self._at(url), msgspec.json.encode(body), kind, timeout_s or self._timeout_s)

    async def _call(self, method: str, url: str, body: bytes | None, kind: type[T], timeout_s: float) -> T:
        from backend.control_client.wire import ask

        with _as_unreachable():
            async with ask(self._socket, method, url, body, connect_s=self._timeout_s, read_s=timeout_s) as answer:
                status, raw = answer.status, await answer.body()
        if status >= 400:
            raise _error_of(raw, status)
        return _decoded(raw, kind, url)

    async def _lines(self, url: str, *, read_timeout_s: float) -> AsyncGenerator[bytes, None]:
        rest = b""
        async with aclosing(self._pieces(url, read_timeout_s=read_timeout_s)) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line:
                        yield line

    async def _pieces(self, url: str, *, read_timeout_s: float) -> AsyncGenerator[bytes, None]:
        """The answer's bytes as they come."""
        from backend.control_client.wire import ask

        with _as_unreachable():
            async with ask(
                self._socket, "GET", self._at(url), connect_s=self._timeout_s, read_s=read_timeout_s
            ) as answer:
                if answer.status >= 400:
                    raise _error_of(await answer.body(), answer.status)
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        yield piece


@contextmanager
def _as_unreachable() -> Iterator[None]:
    """Turns failures of the wire into Unreachable."""
    from backend.control_client.wire import Broken, TooSlow

    try:
        yield
    except TooSlow:
        raise Unreachable("The daemon does not answer in time.", "See `trinity doctor`.") from None
    except Broken:
        raise Unreachable("No daemon answers for this state directory.", _NO_DAEMON) from None


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _log_query(replicas: list[str] | None, since_ts: float) -> dict[str, str]:
    query = {"since_ts": str(since_ts)}
    if replicas is not None:
        query["replicas"] = ",".join(replicas)
    return query


def _decoded(raw: bytes, kind: type[T], url: str) -> T:
    """The answer as data. Raises InternalError for what another version might have sent."""
    return _understood(lambda data: msgspec.json.decode(data, type=kind), raw, url)


def _understood(decode: Callable[[bytes], T], raw: bytes, url: str) -> T:
    """What the bytes say. Raises InternalError for what another version might have sent."""
    try:
        return decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InternalError(
            f"The daemon's answer to {url} was not understood: {error}.",
            "Daemon and console may be of different versions: `trinity version`.",
        ) from None


def _error_of(body: bytes, status: int) -> Exception:
    try:
        info = msgspec.json.decode(body, type=ErrorInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return InternalError(f"The daemon answered {status}.", "See its log: `trinity support-bundle`.")
    return from_wire(info.kind, info.message, info.next_step)
