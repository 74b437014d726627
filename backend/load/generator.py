"""The run itself: send on schedule, judge each answer, report. One event loop, no threads.

Owns the order of sending, sending again, and the in-flight cap. No arrival waits for an answer and none is dropped in
silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final

from backend.contract.clock import Clock, SystemClock
from backend.contract.errors import Unreachable
from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.load.arrivals import arrivals
from backend.load.http1 import Client, Exchange
from backend.load.messages import LoadSummary, ProgressMessage
from backend.load.outcome import CANCELLED, CAP, Seen, Verdict, classify, is_sent_again, sentence
from backend.load.prompts import PlannedRequest, planner
from backend.load.spec import LoadSpec, Target, check_spec, target_of
from backend.load.summary import GOOD, Tally
from backend.load.vectors import VectorCheck
from backend.quantiles import quantile

PROGRESS_S: Final = 0.5
LEAD_S: Final = 0.05
"""From the end of the preparations to the schedule's zero."""

RowSinkCallback = Callable[[RequestRow], None]
ProgressCallback = Callable[[ProgressMessage], None]


async def run_load(
    spec: LoadSpec,
    on_row: RowSinkCallback | None = None,
    on_progress: ProgressCallback | None = None,
    *,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
) -> LoadSummary:
    """Run the schedule, wait for its last answer, return what it adds up to.

    `on_row` is called once for each request (an arrival's, and each time it is sent again), `on_progress` twice a
    second; neither may block. Setting `stop` ends the arrivals; requests in flight may finish within `spec.grace_s`.
    Raises UsageError or FileError for a wrong spec and Unreachable for a host name that does not resolve; a target that
    refuses connections is no error.
    """
    check_spec(spec)
    target = target_of(spec)
    plan = planner(spec)
    client = Client(
        await _resolve(target),
        target.port,
        tls=ssl.create_default_context() if target.tls else None,
        server_name=target.host,
        keepalive=spec.keepalive,
    )
    run = _Run(spec, target, client, plan, on_row, clock or SystemClock())
    progress = asyncio.create_task(run.report(on_progress)) if on_progress is not None else None
    try:
        return await run.go(stop or asyncio.Event())
    finally:
        client.close()
        if progress is not None:
            progress.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await progress


async def _resolve(target: Target) -> str:
    """The address to connect to, once for the whole run; IPv4 first, as `localhost` listeners mostly are."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:
        raise Unreachable(f"The host name {target.host!r} does not resolve.", "Check the URL.") from None
    families = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(families[0][4][0])


class _Run:
    """One run's state."""

    def __init__(
        self,
        spec: LoadSpec,
        target: Target,
        client: Client,
        plan: Callable[[int], PlannedRequest],
        on_row: RowSinkCallback | None,
        clock: Clock,
    ) -> None:
        self.spec, self.target, self.client, self.plan, self.clock = spec, target, client, plan, clock
        self.on_row = on_row
        self.run_id = spec.run_id or os.urandom(4).hex()
        self.tally = Tally()
        self.vectors = VectorCheck(spec) if spec.kind == "embeddings" else None
        self.arrived = 0
        self.max_in_flight = 0
        self.in_flight: set[asyncio.Task[None]] = set()
        self.recent_lag: deque[float] = deque(maxlen=1000)
        self.start_mono = clock.mono() + LEAD_S
        self.wall_offset = clock.now() - clock.mono()
        self.head = self._head()

    async def go(self, stop: asyncio.Event) -> LoadSummary:
        sender = asyncio.create_task(self._send_all())
        stopper = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({sender, stopper}, return_when=asyncio.FIRST_COMPLETED)
            interrupted = not sender.done()
            if interrupted:
                sender.cancel()
                await asyncio.wait({sender})
            else:
                sender.result()
            await self._wait_in_flight(stopper)
        finally:
            for task in (sender, stopper, *self.in_flight):
                task.cancel()
        return self.tally.summary(
            duration_s=max(0.0, self.clock.mono() - self.start_mono),
            max_in_flight=self.max_in_flight,
            interrupted=interrupted,
            seed=self.spec.seed,
            run_id=self.run_id,
        )

    async def report(self, on_progress: ProgressCallback) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            count = self.tally.outcomes
            on_progress(
                ProgressMessage(
                    ts=self.clock.now(),
                    elapsed_s=max(0.0, self.clock.mono() - self.start_mono),
                    start_mono_s=self.start_mono,
                    arrivals=self.arrived,
                    in_flight=len(self.in_flight),
                    ok=count[RequestOutcome.OK],
                    slow=count[RequestOutcome.SLOW],
                    wrong=count[RequestOutcome.WRONG],
                    shed=count[RequestOutcome.SHED],
                    failed=count[RequestOutcome.FAILED],
                    refused_by_cap=self.tally.refused_by_cap,
                    tokens_out=self.tally.tokens_out,
                    lag_p99_s=quantile(self.recent_lag, 0.99),
                )
            )

    async def _send_all(self) -> None:
        for index, at in enumerate(arrivals(self.spec)):
            # Made before the wait: writing a long prompt must not make the request late.
            planned = self.plan(index)
            intended = self.start_mono + at
            await asyncio.sleep(max(0.0, intended - self.clock.mono()))
            self.arrived += 1
            if len(self.in_flight) >= self.spec.concurrency:
                self._take(self._capped_row(index, planned, intended))
                continue
            task = asyncio.create_task(self._one(index, planned, intended))
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)
            self.max_in_flight = max(self.max_in_flight, len(self.in_flight))

    async def _wait_in_flight(self, stopper: asyncio.Task[bool]) -> None:
        """All of them, or after a stop those that end within the grace; the rest are recorded as cancelled."""
        while self.in_flight and not stopper.done():
            await asyncio.wait({*self.in_flight, stopper}, return_when=asyncio.FIRST_COMPLETED)
        if self.in_flight:
            await asyncio.wait(self.in_flight, timeout=self.spec.grace_s)
        # First those that talk, so that their rows say what had come; then those that still connect.
        self.client.give_up(CANCELLED)
        await asyncio.sleep(0)
        while self.in_flight:
            for task in self.in_flight:
                task.cancel()
            await asyncio.wait(self.in_flight)

    async def _one(self, index: int, planned: PlannedRequest, intended: float) -> None:
        """One arrival to its end: its request, and the same again as often as the client repeats what failed."""
        attempt = 1
        while is_sent_again(await self._send(index, attempt, planned, intended), self.spec.retries):
            attempt += 1

    async def _send(self, index: int, attempt: int, planned: PlannedRequest, intended: float) -> RequestRow:
        sent = self.clock.mono()
        if attempt == 1:
            self.recent_lag.append(max(0.0, sent - intended))
        body, request_id = planned.body, self._id(index, attempt)
        request = b"%s%s\r\nContent-Length: %d\r\n\r\n" % (self.head, request_id.encode(), len(body)) + body
        try:
            exchange = await self.client.request(
                request, stream=planned.stream, keep_body=self.spec.kind != "get", timeout_s=self.spec.deadline_s
            )
        except asyncio.CancelledError:
            # Only a stop cancels: the request is recorded, then the task is really over.
            self._take(self._row(request_id, attempt, planned, intended, sent, None))
            raise
        row = self._row(request_id, attempt, planned, intended, sent, exchange)
        self._take(row)
        return row

    def _id(self, index: int, attempt: int) -> str:
        return f"{self.run_id}-{index}" if attempt == 1 else f"{self.run_id}-{index}.{attempt}"

    def _take(self, row: RequestRow) -> None:
        self.tally.add(row)
        if self.on_row is not None:
            self.on_row(row)

    def _row(
        self,
        request_id: str,
        attempt: int,
        planned: PlannedRequest,
        intended: float,
        sent: float,
        exchange: Exchange | None,
    ) -> RequestRow:
        spec = self.spec
        status, ttft, total, bytes_out, usage = -1, None, None, None, None
        outcome, termination, error = RequestOutcome.FAILED, CANCELLED, sentence(CANCELLED)
        if exchange is not None:
            latency = exchange.end_mono - min(intended, sent)
            seen = exchange.seen
            verdict = classify(seen, spec.kind, latency_s=latency, slow_over_s=spec.slow_over_s)
            verdict = self._checked(verdict, planned, seen)
            outcome, termination, error = verdict.outcome, verdict.termination, verdict.error
            status, total, usage = seen.status, exchange.end_mono - sent, exchange.usage
            bytes_out = exchange.body_bytes
            if planned.stream and exchange.first_byte_mono is not None and exchange.sent_mono is not None:
                ttft = max(0.0, exchange.first_byte_mono - exchange.sent_mono)
        return RequestRow(
            ts=sent + self.wall_offset,
            mono_s=sent,
            intended_ts=intended + self.wall_offset,
            vantage=Vantage.CLIENT,
            request_id=request_id,
            attempt=attempt,
            fleet=spec.fleet,
            workload=spec.workload,
            replica=(exchange.seen.replica or None) if exchange is not None else None,
            route=self.target.path,
            stream=planned.stream,
            status=status,
            termination=termination,
            outcome=outcome,
            ttft_s=ttft,
            total_s=total,
            bytes_in=len(planned.body),
            bytes_out=bytes_out,
            tokens_in=usage.prompt_tokens if usage else None,
            tokens_out=usage.completion_tokens if usage else None,
            drill_run=spec.drill_run,
            error=error or None,
        )

    def _checked(self, verdict: Verdict, planned: PlannedRequest, seen: Seen) -> Verdict:
        """The same verdict, unless the answer looks good and its vector is not."""
        if self.vectors is None or verdict.outcome not in GOOD:
            return verdict
        problem = self.vectors.problem(planned.text, seen.body)
        return verdict if problem is None else Verdict(RequestOutcome.WRONG, problem.name, problem.sentence)

    def _capped_row(self, index: int, planned: PlannedRequest, intended: float) -> RequestRow:
        return RequestRow(
            ts=self.clock.mono() + self.wall_offset,
            mono_s=self.clock.mono(),
            intended_ts=intended + self.wall_offset,
            vantage=Vantage.CLIENT,
            request_id=f"{self.run_id}-{index}",
            fleet=self.spec.fleet,
            workload=self.spec.workload,
            route=self.target.path,
            stream=planned.stream,
            status=-1,
            termination=CAP,
            outcome=RequestOutcome.FAILED,
            drill_run=self.spec.drill_run,
            error=sentence(CAP),
        )

    def _head(self) -> bytes:
        """Everything before the request's number: all requests share it."""
        spec = self.spec
        method = "GET" if spec.kind == "get" else "POST"
        headers = {
            "Host": self.target.authority,
            "User-Agent": "trinity-load",
            "Accept": "*/*",
            "Connection": "keep-alive" if spec.keepalive else "close",
            **({} if spec.kind == "get" else {"Content-Type": "application/json"}),
            **({"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}),
            **spec.headers,
        }
        lines = [f"{method} {self.target.path} HTTP/1.1", *itertools.starmap("{}: {}".format, headers.items())]
        return ("\r\n".join(lines) + "\r\nX-Request-ID: ").encode()
