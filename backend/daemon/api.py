"""The control API's routes, version 1: thin translations between HTTP and a `ControlSurface`.

| route | what |
|---|---|
| GET /v1/version, /v1/snapshot, /v1/series?seconds= | who runs here; the fleet now; its last seconds |
| GET /v1/stream?interval_s=&deltas= | NDJSON of Frames, sooner than the interval when something happened |
| GET /v1/past, /v1/past/{ts}?window_s= | how far the recording reaches; the fleet as it was |
| GET /v1/rows/{table}?since_ts=&until_ts=&limit=&where= | newest rows of a ledger table |
| GET /v1/logs?replicas=&since_ts=&until_ts=&limit=, /v1/logs/follow | lines of the replicas, or of a workload's |
| GET /v1/logs/chunks?replicas=&lines= | their stored bytes, for ever: msgpack lists of LogChunk after a 4-byte length |
| GET /v1/replicas/{name} | everything known of one replica |
| GET /v1/neighbours | what else can be looked at from there: contexts, namespaces |
| GET /v1/describe/{name} or ?name= | all that the platform tells of a replica, a workload or a node |
| POST /v1/exec | run a program in a replica: the socket that carries it (contract/exec_frames.py) |
| GET /v1/drills?plans=, /v1/drills/{name} | drills one can run; one with what it would do now |
| GET /v1/drill-runs?limit= | finished runs, newest first |
| GET /v1/drill-runs/{run}, /{run}/{kind}, /{run}/compare?with= | its report.json; json, html, md, junit; statistics |
| GET /v1/edge/{stat,config,errors} | HAProxy's own words |
| POST /v1/actions/preview, /v1/actions | preview and perform an ActionRequest |
| POST /v1/rows/requests | rows of a load generator outside the daemon (vantage `client` only) |
| POST /v1/apply/diff, /v1/shutdown | what a trinity.yaml would change; end fleet and daemon |

Every failure is an ErrorInfo. A request's X-Request-ID becomes the correlation id of what is logged for it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from backend.config.own_logs import bind_correlation, get_logger
from backend.contract.control import (
    ActionPreview,
    ActionRequest,
    DrillInfo,
    DrillView,
    ErrorInfo,
    ExecOrder,
    ExecTicket,
    Frame,
    LogWindow,
    SeriesPoint,
    Snapshot,
    VersionInfo,
)
from backend.contract.errors import TrinityError, UsageError
from backend.contract.platform import Description, Neighbours
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import ActionRow, LogRow, RequestRow, Row, Scalar

_log = get_logger(__name__)
_MAX_ROWS = 100_000
_MAX_BODY = 2 * 1024 * 1024
_STATUS = {"usage": 400, "refused": 409, "unreachable": 503, "internal": 500}


class ControlSurface(Protocol):
    """What the daemon offers to its clients."""

    def version(self) -> VersionInfo: ...
    def snapshot(self) -> Snapshot: ...
    def series(self, seconds: int) -> Sequence[SeriesPoint]: ...
    def frames(self, interval_s: float, *, deltas: bool) -> AsyncIterator[Frame]: ...
    async def extent(self) -> RecordExtent: ...
    async def moment(self, ts: float, window_s: int) -> Moment: ...
    def rows(
        self, table: str, since_ts: float, until_ts: float | None, limit: int, where: dict[str, Scalar] | None
    ) -> Sequence[Row]: ...
    def take_rows(self, rows: Sequence[RequestRow]) -> None: ...
    async def logs(self, names: list[str] | None, since_ts: float, until_ts: float | None, limit: int) -> LogWindow: ...
    def follow_logs(self, names: list[str] | None, since_ts: float) -> AsyncIterator[Sequence[LogRow]]: ...
    def log_chunks(self, replicas: list[str] | None, lines: int) -> AsyncIterator[bytes]:
        """Lists of LogChunk as msgpack: they are encoded off the loop."""
        ...

    def raw(self, replica: str) -> dict[str, Any]: ...
    async def describe(self, name: str) -> Description: ...
    async def neighbours(self) -> Neighbours: ...
    async def exec(self, order: ExecOrder) -> ExecTicket: ...
    async def drills(self, *, plans: bool) -> Sequence[DrillInfo]: ...
    async def drill(self, name: str) -> DrillInfo: ...
    async def drill_runs(self, limit: int) -> Sequence[DrillView]: ...
    async def drill_file(self, run_id: str, kind: str) -> bytes: ...
    async def drill_compare(self, reference: str, run_id: str) -> msgspec.Struct: ...
    async def edge_text(self, what: str) -> str: ...
    async def preview(self, request: ActionRequest) -> ActionPreview: ...
    async def perform(self, request: ActionRequest) -> ActionRow: ...
    async def diff(self, yaml: str, source: str) -> Sequence[str]: ...
    def shutdown(self) -> None: ...


class _DiffRequest(msgspec.Struct, frozen=True):
    yaml: str
    source: str


T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def answer_json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def guarded(handler: Handler) -> Handler:
    """Correlation id in and out, failures as ErrorInfo."""

    async def answering(request: Request) -> Response:
        correlation = request.headers.get("x-request-id") or uuid.uuid4().hex[:16]
        bind_correlation(correlation)
        try:
            answer = await handler(request)
        except TrinityError as error:
            info = ErrorInfo(kind=error.kind, message=error.message, next_step=error.next_step)
            answer = answer_json(info)
            answer.status_code = _STATUS.get(error.kind, 422)
        except Exception as error:
            _log.exception("request failed", path=request.url.path)
            info = ErrorInfo(
                kind="internal",
                message=f"The daemon failed: {type(error).__name__}: {error}.",
                next_step="See its log.",
            )
            answer = answer_json(info)
            answer.status_code = 500
        answer.headers["X-Request-ID"] = correlation
        return answer

    return answering


async def read_body(request: Request, kind: type[T]) -> T:
    raw = await request.body()
    if len(raw) > _MAX_BODY:
        raise UsageError("The request is too large.", f"Send at most {_MAX_BODY} bytes.")
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise UsageError(f"The request was not understood: {error}.", "Client and daemon may differ.") from None


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    return default if text is None else _finite(name, text)


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name}={text[:80]} is no number.", "Mend the request.")
    return value


def _limit(request: Request, default: int) -> int:
    return int(min(_MAX_ROWS, max(0.0, _number(request, "limit", default))))


def _until(request: Request) -> float | None:
    return _number(request, "until_ts", 0.0) if "until_ts" in request.query_params else None


def _replicas(request: Request) -> list[str] | None:
    text = request.query_params.get("replicas")
    return None if text is None else [name for name in text.split(",") if name]


def _where(request: Request) -> dict[str, Scalar] | None:
    text = request.query_params.get("where")
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Scalar])
    except msgspec.MsgspecError as error:
        raise UsageError(f"where= was not understood: {error}.", "Send a JSON object of columns.") from None


class _Handlers:
    """One method a route."""

    def __init__(self, surface: ControlSurface) -> None:
        self._surface = surface

    async def version(self, _: Request) -> Response:
        return answer_json(self._surface.version())

    async def snapshot(self, _: Request) -> Response:
        return answer_json(self._surface.snapshot())

    async def series(self, request: Request) -> Response:
        return answer_json(self._surface.series(int(_number(request, "seconds", 600))))

    async def stream(self, request: Request) -> Response:
        interval = min(60.0, max(0.1, _number(request, "interval_s", 1.0)))
        frames = self._surface.frames(interval, deltas=request.query_params.get("deltas", "0") == "1")
        return StreamingResponse(_ndjson(frames), media_type="application/x-ndjson")

    async def past(self, _: Request) -> Response:
        return answer_json(await self._surface.extent())

    async def moment(self, request: Request) -> Response:
        ts = _finite("ts", request.path_params["ts"])
        return answer_json(await self._surface.moment(ts, int(_number(request, "window_s", 900))))

    async def rows(self, request: Request) -> Response:
        limit = _limit(request, 1000)
        table = request.path_params["table"]
        since = _number(request, "since_ts", 0.0)
        return answer_json(self._surface.rows(table, since, _until(request), limit, _where(request)))

    async def logs(self, request: Request) -> Response:
        limit = _limit(request, 500)
        since = _number(request, "since_ts", 0.0)
        return answer_json(await self._surface.logs(_replicas(request), since, _until(request), limit))

    async def follow(self, request: Request) -> Response:
        batches = self._surface.follow_logs(_replicas(request), _number(request, "since_ts", 0.0))
        return StreamingResponse(_ndjson(batches), media_type="application/x-ndjson")

    async def chunks(self, request: Request) -> Response:
        lines = int(min(_MAX_ROWS, max(0.0, _number(request, "lines", 2000))))
        batches = self._surface.log_chunks(_replicas(request), lines)
        return StreamingResponse(_with_length(batches), media_type="application/x-msgpack")

    async def replica(self, request: Request) -> Response:
        return answer_json(self._surface.raw(request.path_params["name"]))

    async def describe(self, request: Request) -> Response:
        name = request.path_params.get("name") or request.query_params.get("name", "")
        return answer_json(await self._surface.describe(name))

    async def neighbours(self, request: Request) -> Response:
        return answer_json(await self._surface.neighbours())

    async def exec(self, request: Request) -> Response:
        return answer_json(await self._surface.exec(await read_body(request, ExecOrder)))

    async def drills(self, request: Request) -> Response:
        return answer_json(await self._surface.drills(plans=request.query_params.get("plans", "1") != "0"))

    async def drill(self, request: Request) -> Response:
        return answer_json(await self._surface.drill(request.path_params["name"]))

    async def drill_runs(self, request: Request) -> Response:
        return answer_json(await self._surface.drill_runs(_limit(request, 100)))

    async def drill_report(self, request: Request) -> Response:
        report = await self._surface.drill_file(request.path_params["run"], "json")
        return Response(report, media_type="application/json")

    async def drill_file(self, request: Request) -> Response:
        found = await self._surface.drill_file(request.path_params["run"], request.path_params["kind"])
        return answer_json({"text": found.decode()})

    async def drill_compare(self, request: Request) -> Response:
        reference = request.query_params.get("with", "")
        return answer_json(await self._surface.drill_compare(reference, request.path_params["run"]))

    async def edge(self, request: Request) -> Response:
        return answer_json({"text": await self._surface.edge_text(request.path_params["what"])})

    async def preview(self, request: Request) -> Response:
        return answer_json(await self._surface.preview(await read_body(request, ActionRequest)))

    async def perform(self, request: Request) -> Response:
        return answer_json(await self._surface.perform(await read_body(request, ActionRequest)))

    async def take_rows(self, request: Request) -> Response:
        self._surface.take_rows(await read_body(request, list[RequestRow]))
        return answer_json({})

    async def diff(self, request: Request) -> Response:
        wanted = await read_body(request, _DiffRequest)
        return answer_json(await self._surface.diff(wanted.yaml, wanted.source))

    async def shutdown(self, _: Request) -> Response:
        self._surface.shutdown()
        return answer_json({})


def control_app(surface: ControlSurface) -> Starlette:
    """The ASGI application over a surface."""
    on = _Handlers(surface)
    get: dict[str, Handler] = {
        "/v1/version": on.version,
        "/v1/snapshot": on.snapshot,
        "/v1/series": on.series,
        "/v1/stream": on.stream,
        "/v1/past": on.past,
        "/v1/past/{ts}": on.moment,
        "/v1/rows/{table}": on.rows,
        "/v1/logs": on.logs,
        "/v1/logs/follow": on.follow,
        "/v1/logs/chunks": on.chunks,
        "/v1/replicas/{name}": on.replica,
        "/v1/neighbours": on.neighbours,
        "/v1/describe": on.describe,
        "/v1/describe/{name:path}": on.describe,
        "/v1/drills": on.drills,
        "/v1/drills/{name}": on.drill,
        "/v1/drill-runs": on.drill_runs,
        "/v1/drill-runs/{run}": on.drill_report,
        "/v1/drill-runs/{run}/compare": on.drill_compare,
        "/v1/drill-runs/{run}/{kind}": on.drill_file,
        "/v1/edge/{what}": on.edge,
    }
    post: dict[str, Handler] = {
        "/v1/actions/preview": on.preview,
        "/v1/actions": on.perform,
        "/v1/exec": on.exec,
        "/v1/rows/requests": on.take_rows,
        "/v1/apply/diff": on.diff,
        "/v1/shutdown": on.shutdown,
    }
    routes = [Route(path, guarded(handler), methods=["GET"]) for path, handler in get.items()]
    routes += [Route(path, guarded(handler), methods=["POST"]) for path, handler in post.items()]
    return Starlette(routes=routes)


async def _ndjson(items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """One JSON document a line. An empty batch is a line too: it tells the client that we live."""
    async for item in items:
        yield msgspec.json.encode(item) + b"\n"


async def _with_length(items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for item in items:
        yield len(item).to_bytes(4, "big")
        yield item
