"""The generator against real sockets: each way an answer can go has its row, and the schedule is kept."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing

import msgspec
import pytest

from backend.contract.errors import Unreachable
from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.load import LoadSpec, LoadSummary, ProgressMessage, had_first_byte, run_load, schedule, summarize
from backend.load.outcome import is_sent_again
from tests.integration.load_targets import ANSWER, CHUNK, DONE, Behaviour, Call, answer_well, target, until


async def _run(spec: LoadSpec, stop: asyncio.Event | None = None) -> tuple[LoadSummary, list[RequestRow]]:
    rows: list[RequestRow] = []
    return await run_load(spec, rows.append, stop=stop), rows


async def test_good_answers_become_rows_with_tokens_ids_and_times() -> None:
    async with target() as (url, calls):
        spec = LoadSpec(
            url=url,
            rate=200.0,
            count=40,
            stream_fraction=0.5,
            run_id="run7",
            workload="w",
            drill_run="d",
            api_key="key",
        )
        summary, rows = await _run(spec)
    assert (summary.total, summary.ok, summary.failed, summary.tokens_out, summary.tokens_in) == (40, 40, 0, 120, 200)
    assert {row.request_id for row in rows} == {f"run7-{index}" for index in range(40)}
    assert {call.headers["x-request-id"] for call in calls} == {row.request_id for row in rows}
    assert calls[0].headers["authorization"] == "bearer key"
    for row in rows:
        assert row.vantage is Vantage.CLIENT and (row.workload, row.drill_run) == ("w", "d")
        assert (row.ttft_s is not None) == row.stream
        assert row.total_s is not None and row.total_s > 0 and had_first_byte(row)
        assert row.ttft_s is None or row.ttft_s <= row.total_s
    assert summary.ttft.count == sum(row.stream for row in rows)
    again = summarize(rows, duration_s=summary.duration_s)
    assert (again.latency, again.ttft, again.ok) == (summary.latency, summary.ttft, summary.ok)


async def _refuse_then(call: Call) -> None:
    await call.whole(b'{"error":{"message":"full"}}', "429 Too Many Requests", retry_after="1")


async def _error(call: Call) -> None:
    await call.whole(b'{"error":{"message":"boom"}}', "500 Internal Server Error")


async def _no_end_mark(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK)
    await call.end_stream()


async def _cut_after_done(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK + DONE)


async def _cut(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK)


async def _reset_mid_stream(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK)
    await asyncio.sleep(0.05)  # the chunk must leave before the reset discards it
    call.reset()


async def _reset(call: Call) -> None:
    call.reset()


async def _close(call: Call) -> None:
    call.writer.close()


async def _headers_only(call: Call) -> None:
    await call.start_stream()


async def _hang(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK)
    await asyncio.sleep(1000)


async def _junk(call: Call) -> None:
    call.writer.write(b"SMTP hello\r\n\r\n")


async def _error_event(call: Call) -> None:
    await call.start_stream()
    await call.chunk(CHUNK + b'data: {"error":{"message":"replica lost"}}\n\n' + DONE)
    await call.end_stream()


async def _not_a_stream(call: Call) -> None:
    await call.whole(ANSWER, content_type="application/json")


@pytest.mark.parametrize(
    ("behaviour", "outcome", "termination", "first_byte", "status"),
    [
        (_refuse_then, RequestOutcome.SHED, "http_429", False, 429),
        (_error, RequestOutcome.FAILED, "http_500", False, 500),
        (_no_end_mark, RequestOutcome.WRONG, "silent_end", True, 200),
        (_cut_after_done, RequestOutcome.FAILED, "truncated", True, 200),
        (_cut, RequestOutcome.FAILED, "truncated", True, 200),
        (_headers_only, RequestOutcome.FAILED, "truncated", False, 200),
        (_reset_mid_stream, RequestOutcome.FAILED, "reset", True, 200),
        (_reset, RequestOutcome.FAILED, "reset", False, -1),
        (_close, RequestOutcome.FAILED, "closed", False, -1),
        (_hang, RequestOutcome.FAILED, "timeout", True, 200),
        (_junk, RequestOutcome.FAILED, "malformed", False, -1),
        (_error_event, RequestOutcome.FAILED, "stream_error", True, 200),
        (_not_a_stream, RequestOutcome.WRONG, "bad_answer", True, 200),
    ],
)
async def test_each_bad_end_has_its_name(
    behaviour: Behaviour, outcome: RequestOutcome, termination: str, first_byte: bool, status: int
) -> None:
    async with target(behaviour) as (url, _calls):
        # Only what hangs waits for its deadline; its first byte comes long before.
        deadline_s = 4.0 if behaviour is _hang else 100.0
        summary, rows = await _run(LoadSpec(url=url, rate=100.0, count=2, deadline_s=deadline_s))
    assert summary.total == 2
    for row in rows:
        assert (row.outcome, row.termination, row.status) == (outcome, termination, status)
        assert had_first_byte(row) == first_byte
        assert row.error


async def test_a_refused_connection_is_a_row_not_an_exception() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        summary, rows = await _run(LoadSpec(url=f"http://127.0.0.1:{unused.getsockname()[1]}", rate=100.0, count=3))
    assert summary.terminations == {"refused": 3}
    assert {row.status for row in rows} == {-1}
    assert summary.failed_before_first_byte == 3


async def test_a_name_that_does_not_resolve_is_said_at_once() -> None:
    with pytest.raises(Unreachable, match="does not resolve"):
        await run_load(LoadSpec(url="http://no-such-host.invalid", count=1))


async def test_arrivals_do_not_wait_for_answers() -> None:
    """Open loop: a server that answers nothing for a while changes neither number nor times of the arrivals."""
    released = asyncio.Event()

    async def stalled(call: Call) -> None:
        await released.wait()
        await answer_well(call)

    spec = LoadSpec(url="", rate=100.0, count=50, seed=9)
    async with target(stalled) as (url, calls):
        spec = LoadSpec(url=url, rate=100.0, count=50, seed=9)
        run = asyncio.create_task(_run(spec))
        await until(lambda: len(calls) >= 50)
        released.set()
        summary, rows = await run
    assert summary.max_in_flight == 50
    by_number = sorted(rows, key=lambda row: int(row.request_id.split("-")[1]))
    starts = [row.intended_ts for row in by_number]
    assert all(start is not None for start in starts)
    offsets = [start - starts[0] for start in starts if start is not None and starts[0] is not None]
    planned = schedule(spec)
    assert offsets == pytest.approx([at - planned[0] for at in planned], abs=1e-4)
    assert summary.latency.p50_s is not None and summary.latency.p50_s > 0.1


async def test_the_cap_is_counted_and_marks_the_run() -> None:
    released = asyncio.Event()

    async def stalled(call: Call) -> None:
        await released.wait()
        await answer_well(call)

    async with target(stalled) as (url, calls):
        rows: list[RequestRow] = []
        run = asyncio.create_task(run_load(LoadSpec(url=url, rate=500.0, count=30, concurrency=4), rows.append))
        await until(lambda: len(rows) >= 26)
        released.set()
        summary = await run
    assert len(calls) == 4
    assert (summary.total, summary.ok, summary.refused_by_cap, summary.failed) == (30, 4, 26, 0)
    assert summary.overloaded and summary.max_in_flight == 4
    assert sum(row.termination == "cap" for row in rows) == 26


async def test_stop_ends_arrivals_and_lets_requests_finish() -> None:
    stop, release = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        await release.wait()
        await answer_well(call)

    async with target(slow) as (url, calls):
        run = asyncio.create_task(_run(LoadSpec(url=url, rate=100.0), stop))
        await until(lambda: len(calls) >= 5)
        stop.set()
        await asyncio.sleep(0)
        release.set()
        summary, _rows = await run
        assert summary.interrupted
        assert summary.ok == summary.total == len(calls)


async def test_what_outlives_the_grace_is_cancelled_and_no_failure() -> None:
    stop = asyncio.Event()
    async with target(_hang) as (url, calls):
        run = asyncio.create_task(_run(LoadSpec(url=url, rate=100.0, count=3, grace_s=0.2), stop))
        await until(lambda: len(calls) >= 3)
        stop.set()
        summary, rows = await run
    assert (summary.total, summary.cancelled, summary.failed) == (3, 3, 0)
    assert all(row.termination == "cancelled" and had_first_byte(row) for row in rows)


async def test_ttft_counts_from_the_last_request_byte() -> None:
    """A target that reads a large body slowly: what is spent sending it is not time to first token."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await asyncio.sleep(0.3)
        await reader.readexactly(length)
        call = Call({}, b'{"stream":true}', writer)
        await answer_well(call)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
    port = server.sockets[0].getsockname()[1]
    # Beyond what socket buffers hold, so that the last byte can only leave once the target reads.
    spec = LoadSpec(
        url=f"http://127.0.0.1:{port}", count=1, rate=100.0, prompt_tokens_min=2_000_000, prompt_tokens_max=2_000_000
    )
    _summary, rows = await _run(spec)
    server.close()
    assert rows[0].ttft_s is not None and rows[0].total_s is not None
    assert rows[0].total_s - rows[0].ttft_s > 0.29


async def test_keepalive_uses_connections_again() -> None:
    ports: set[int] = set()

    async def note(call: Call) -> None:
        ports.add(call.writer.get_extra_info("peername")[1])
        await answer_well(call)

    async with target(note) as (url, _calls):
        spec = LoadSpec(url=url, rate=50.0, count=20, arrival="constant", keepalive=True)
        summary, _rows = await _run(spec)
    assert summary.ok == 20
    assert len(ports) <= summary.max_in_flight, "another one is opened only while all are busy"


async def test_progress_twice_a_second() -> None:
    seen: list[ProgressMessage] = []
    stop = asyncio.Event()

    def take(message: ProgressMessage) -> None:
        seen.append(message)
        if len(seen) == 2:
            stop.set()

    async with target() as (url, _calls):
        await run_load(LoadSpec(url=url, rate=50.0), None, take, stop=stop)
    assert seen[1].arrivals > seen[0].arrivals > 0
    assert seen[1].elapsed_s - seen[0].elapsed_s > 0.49
    assert seen[1].lag_p99_s is not None
    assert seen[0].start_mono_s == seen[1].start_mono_s is not None


async def test_every_arrival_is_sent_and_the_lag_is_how_late() -> None:
    spec = LoadSpec(url="", rate=200.0, duration_s=2.0, stream_fraction=0.5)
    async with target() as (url, _calls):
        summary, rows = await _run(msgspec.structs.replace(spec, url=url))
    assert summary.ok == summary.total == summary.lag.count == len(schedule(spec))
    late = [row.ts - row.intended_ts for row in rows if row.intended_ts is not None]
    assert summary.lag.max_s == pytest.approx(max(late), abs=1e-5)


async def test_a_vector_that_changes_is_wrong() -> None:
    asked: dict[str, list[str]] = {}
    rows: list[RequestRow] = []

    async def change_the_third(call: Call) -> None:
        text = json.loads(call.body)["input"]
        earlier = list(asked.setdefault(text, []))
        asked[text].append(call.headers["x-request-id"])
        if len(earlier) == 2:  # however many are in flight at once: a good answer has been heard before the bad one
            await until(lambda: any(row.request_id in earlier for row in rows))
        vector = [0.0, 1.0] if len(earlier) == 2 else [1.0, 0.0]
        await call.whole(json.dumps({"data": [{"embedding": vector}]}).encode())

    async with target(change_the_third) as (url, _):
        spec = LoadSpec(url=url, kind="embeddings", rate=2_000.0, count=1_500, concurrency=1_500, golden=True)
        summary = await run_load(spec, rows.append)
        changed = sum(len(ids) >= 3 for ids in asked.values())
        asked.clear()
        loose, _ = await _run(LoadSpec(url=url, kind="embeddings", rate=2_000.0, count=100))
    assert changed > 10
    assert (summary.wrong, summary.ok) == (changed, 1_500 - changed)
    assert {row.termination for row in rows if row.outcome is RequestOutcome.WRONG} == {"other_vector"}
    assert loose.wrong == 0


async def test_what_failed_is_sent_again_with_a_row_and_an_id_of_its_own() -> None:
    async def fail_even_ones_twice(call: Call) -> None:
        index, _, attempt = call.headers["x-request-id"].rpartition("-")[2].partition(".")
        if int(index) % 2 == 0 and attempt in ("", "2"):
            await (_error(call) if attempt else _refuse_then(call))
        else:
            await call.whole()

    async with target(fail_even_ones_twice) as (url, calls):
        spec = LoadSpec(url=url, rate=500.0, count=40, stream_fraction=0.0, retries=3, run_id="r")
        summary, rows = await _run(spec)
    assert (summary.total, summary.resends, summary.ok, summary.shed, summary.failed) == (80, 40, 40, 20, 20)
    assert len(rows) == len({row.request_id for row in rows}) == len(calls) == 80
    story = [row for row in rows if row.request_id.split(".")[0] == "r-4"]
    assert [(row.request_id, row.attempt, row.status) for row in story] == [
        ("r-4", 1, 429),
        ("r-4.2", 2, 500),
        ("r-4.3", 3, 200),
    ]
    assert len({row.intended_ts for row in story}) == 1
    assert [is_sent_again(row, 3) for row in story] == [True, True, False]
    assert summary.lag.count == 40, "only arrivals can be late"


async def test_a_client_gives_up_after_its_retries() -> None:
    async with target(_error) as (url, _):
        summary, rows = await _run(LoadSpec(url=url, rate=500.0, count=10, stream_fraction=0.0, retries=2))
    assert (summary.total, summary.resends, summary.failed) == (30, 20, 30)
    assert sorted(row.attempt for row in rows) == [1] * 10 + [2] * 10 + [3] * 10
