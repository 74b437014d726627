"""The control API: each failure is an ErrorInfo with the right status, each request has its correlation id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from backend.contract.control import ActionPreview, ActionRequest, ErrorInfo, Frame, LogWindow, VersionInfo
from backend.contract.errors import InternalError, Refused, TrinityError, Unreachable, UsageError
from backend.contract.log_chunks import LogChunk
from backend.contract.recording import Moment, RecordExtent
from backend.contract.rows import LogRow, RequestRow
from backend.contract.words import Risk, Verb
from backend.daemon.api import control_app
from tests.unit.console.sample import event, snapshot


class Surface:
    """Answers from memory; `fail` makes every answer that error."""

    def __init__(self, fail: Exception | None = None) -> None:
        self.fail = fail
        self.asked: list[Any] = []

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.fail is not None:
            raise self.fail

    def version(self) -> VersionInfo:
        self._note("version")
        return VersionInfo(version="1", protocol=1, pid=2, started_ts=3.0, state_dir="/s")

    def snapshot(self) -> Any:
        self._note("snapshot")
        return snapshot()

    def series(self, seconds: int) -> list[Any]:
        self._note("series", seconds)
        return []

    async def frames(self, interval_s: float, *, deltas: bool) -> AsyncIterator[Frame]:
        self.asked.append(("frames", interval_s, deltas))
        yield Frame(seq=1, events=(event(1),))
        yield Frame(seq=2)

    async def extent(self) -> RecordExtent:
        self._note("extent")
        return RecordExtent(first_ts=1.0, last_ts=2.0)

    async def moment(self, ts: float, window_s: int) -> Moment:
        self._note("moment", ts, window_s)
        return Moment(ts=ts, snapshot=snapshot())

    def rows(self, *args: Any) -> list[Any]:
        self._note("rows", *args)
        return [event(1)]

    def take_rows(self, rows: list[RequestRow]) -> None:
        self._note("take_rows", rows)

    async def logs(self, *args: Any) -> LogWindow:
        self._note("logs", *args)
        return LogWindow()

    async def follow_logs(self, names: list[str] | None, since_ts: float) -> AsyncIterator[list[LogRow]]:
        self.asked.append(("follow", names, since_ts))
        yield []

    async def log_chunks(self, replicas: list[str] | None, lines: int) -> AsyncIterator[bytes]:
        self.asked.append(("chunks", replicas, lines))
        yield msgspec.msgpack.encode([LogChunk(replica="a", data=b"x\n")])
        yield msgspec.msgpack.encode([])

    def raw(self, replica: str) -> dict[str, Any]:
        self._note("raw", replica)
        return {}

    async def drills(self, *, plans: bool) -> list[Any]:
        self._note("drills", plans)
        return []

    async def drill(self, name: str) -> Any:
        self._note("drill", name)
        return {"name": name}

    async def drill_runs(self, limit: int) -> list[Any]:
        self._note("drill-runs", limit)
        return []

    async def drill_file(self, run_id: str, kind: str) -> bytes:
        self._note("drill-file", run_id, kind)
        return b'{"run_id": "r"}'

    async def drill_compare(self, reference: str, run_id: str) -> Any:
        self._note("drill-compare", reference, run_id)
        return {"reference": reference}

    async def edge_text(self, what: str) -> str:
        self._note("edge", what)
        return "words"

    async def preview(self, request: ActionRequest) -> ActionPreview:
        self._note("preview", request)
        return ActionPreview(verb=request.verb, target=request.target, summary="s", risk=Risk.NONE)

    async def perform(self, request: ActionRequest) -> Any:
        self._note("perform", request)
        return {}

    async def diff(self, yaml: str, source: str) -> list[str]:
        self._note("diff", yaml, source)
        return ["a line"]

    def shutdown(self) -> None:
        self._note("shutdown")


def client(surface: Surface) -> httpx.AsyncClient:
    app = control_app(surface)  # type: ignore[arg-type]  # answers are simpler than a daemon's
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UsageError("m.", "n."), 400, "usage"),
        (Refused("m.", "n."), 409, "refused"),
        (TrinityError("m.", "n."), 422, "failed"),
        (Unreachable("m.", "n."), 503, "unreachable"),
        (InternalError("m.", "n."), 500, "internal"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/version", "/v1/snapshot", "/v1/rows/events", "/v1/logs", "/v1/drills"])
async def test_failures_keep_their_kind_and_sentences(path: str, error: TrinityError, status: int, kind: str) -> None:
    async with client(Surface(error)) as http:
        answer = await http.get(path)
    assert answer.status_code == status
    assert msgspec.json.decode(answer.content, type=ErrorInfo) == ErrorInfo(kind=kind, message="m.", next_step="n.")


async def test_a_bug_is_an_internal_error_with_its_name_not_a_trace() -> None:
    async with client(Surface(ZeroDivisionError("oops"))) as http:
        answer = await http.get("/v1/version")
    info = msgspec.json.decode(answer.content, type=ErrorInfo)
    assert (answer.status_code, info.kind) == (500, "internal")
    assert "ZeroDivisionError: oops" in info.message
    assert "Traceback" not in answer.text


WRONG = ("limit=many", "limit=nan", "limit=inf", "since_ts=x", "since_ts=-inf", "until_ts=")
WRONG_WHERE = ("where=[1]", "where={", 'where={"a":[]}')


@pytest.mark.parametrize("query", [*WRONG, *WRONG_WHERE])
async def test_a_wrong_query_is_the_clients_fault(query: str) -> None:
    surface = Surface()
    async with client(surface) as http:
        answer = await http.get(f"/v1/rows/events?{query}")
    assert answer.status_code == 400, answer.text
    assert surface.asked == []


async def test_queries_reach_the_surface_bounded() -> None:
    surface = Surface()
    async with client(surface) as http:
        await http.get("/v1/rows/requests?since_ts=5&until_ts=9&limit=1e99&where=%7B%22status%22%3A200%7D")
        await http.get("/v1/rows/requests?limit=-4")
        await http.get("/v1/logs?replicas=a,,b&limit=7")
        await http.get("/v1/series?seconds=30")
    assert surface.asked == [
        ("rows", "requests", 5.0, 9.0, 100_000, {"status": 200}),
        ("rows", "requests", 0.0, None, 0, None),
        ("logs", ["a", "b"], 0.0, None, 7),
        ("series", 30),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"verb":"dance","actor":"a"}', b'{"verb":"scale"}', b"\xff"])
async def test_a_wrong_body_is_the_clients_fault(body: bytes) -> None:
    surface = Surface()
    async with client(surface) as http:
        answer = await http.post("/v1/actions", content=body)
    assert answer.status_code == 400
    assert msgspec.json.decode(answer.content, type=ErrorInfo).kind == "usage"
    assert surface.asked == []


async def test_a_body_too_large_is_refused() -> None:
    async with client(Surface()) as http:
        answer = await http.post("/v1/apply/diff", content=b" " * (2 * 1024 * 1024 + 1))
    assert answer.status_code == 400
    assert "too large" in answer.text


async def test_an_action_goes_through_as_it_was_asked() -> None:
    surface = Surface()
    request = ActionRequest(verb=Verb.SCALE, target="llm", args={"replicas": 3}, actor="cli:ada")
    async with client(surface) as http:
        answer = await http.post("/v1/actions/preview", content=msgspec.json.encode(request))
    assert answer.status_code == 200
    assert surface.asked == [("preview", request)]


async def test_the_request_id_goes_in_and_out_and_one_is_made_where_there_is_none() -> None:
    async with client(Surface()) as http:
        named = await http.get("/v1/version", headers={"X-Request-ID": "mine"})
        unnamed = await http.get("/v1/version")
        failed = await http.get("/v1/rows/x?limit=q")
    assert named.headers["x-request-id"] == "mine"
    assert len(unnamed.headers["x-request-id"]) == 16
    assert failed.headers["x-request-id"]


async def test_streams_are_a_json_document_a_line_and_an_empty_batch_is_a_line() -> None:
    surface = Surface()
    async with client(surface) as http:
        frames = (await http.get("/v1/stream?interval_s=0.001")).content.splitlines()
        await http.get("/v1/stream?deltas=1")
        beat = (await http.get("/v1/logs/follow?replicas=a&since_ts=4")).content
    assert [msgspec.json.decode(line, type=Frame).seq for line in frames] == [1, 2]
    assert beat == b"[]\n"
    assert surface.asked == [
        ("frames", 0.1, False),  # an interval below 0.1 s is not given
        ("frames", 1.0, True),
        ("follow", ["a"], 4.0),
    ]


async def test_log_chunks_come_as_binary_batches_with_their_length() -> None:
    surface = Surface()
    async with client(surface) as http:
        body = (await http.get("/v1/logs/chunks?replicas=a,b&lines=1e9")).content
        await http.get("/v1/logs/chunks")
        assert (await http.get("/v1/logs/chunks?lines=x")).status_code == 400
    size = int.from_bytes(body[:4], "big")
    assert msgspec.msgpack.decode(body[4 : 4 + size], type=list[LogChunk]) == [LogChunk(replica="a", data=b"x\n")]
    assert body[4 + size :] == b"\0\0\0\x01" + msgspec.msgpack.encode([])
    assert surface.asked == [("chunks", ["a", "b"], 100_000), ("chunks", None, 2000)]


async def test_what_is_not_there_is_404_and_a_wrong_method_405() -> None:
    async with client(Surface()) as http:
        assert (await http.get("/v1/nothing")).status_code == 404
        assert (await http.get("/v1/shutdown")).status_code == 405


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/drills", ("drills", True)),
        ("/v1/drills?plans=0", ("drills", False)),
        ("/v1/drills/edge-kill", ("drill", "edge-kill")),
        ("/v1/drill-runs?limit=7", ("drill-runs", 7)),
        ("/v1/drill-runs/r-1", ("drill-file", "r-1", "json")),
        ("/v1/drill-runs/r-1/html", ("drill-file", "r-1", "html")),
        ("/v1/drill-runs/r-1/compare?with=r-0", ("drill-compare", "r-0", "r-1")),
    ],
)
async def test_drills_and_their_runs_are_asked_for_by_name(path: str, asked: tuple[Any, ...]) -> None:
    surface = Surface()
    async with client(surface) as http:
        assert (await http.get(path)).status_code == 200
    assert surface.asked == [asked]


async def test_the_past_is_asked_for_by_an_instant() -> None:
    surface = Surface()
    async with client(surface) as http:
        extent = await http.get("/v1/past")
        moment = await http.get("/v1/past/1e3?window_s=60")
        await http.get("/v1/past/-1.5")
        wrong = [await http.get(url) for url in ("/v1/past/now", "/v1/past/inf", "/v1/past/1?window_s=x")]
    assert msgspec.json.decode(extent.content, type=RecordExtent).last_ts == 2.0
    assert msgspec.json.decode(moment.content, type=Moment) == Moment(ts=1000.0, snapshot=snapshot())
    assert [answer.status_code for answer in wrong] == [400, 400, 400]
    assert surface.asked == [("extent",), ("moment", 1000.0, 60), ("moment", -1.5, 900)]
