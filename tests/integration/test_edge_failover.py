"""The edge when replicas die: nothing is lost before the first byte, and a broken stream is seen to break."""

from __future__ import annotations

import asyncio
import math
import time

import httpx
import msgspec
import pytest

from backend.contract.mercy import allowed_extra, budget_reserve
from backend.contract.rows import RequestRow
from backend.contract.words import Vantage
from backend.edge.config import BUDGET_WINDOW_S
from tests.integration.edge_bench import Bench, Engine, bench, client, until

MOST_AT_ONCE = 60


class Tally:
    """What clients got."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed: list[str] = []
        self.truncated = 0
        self.silent: list[str] = []

    async def one(self, http: httpx.AsyncClient, url: str, wish: dict[str, object]) -> None:
        began = False
        text = b""
        try:
            async with http.stream("POST", url, json=wish) as answer:
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code} {(await answer.aread())[:200]!r}")
                    return
                async for data in answer.aiter_raw():
                    began = True
                    text += data
        except httpx.HTTPError as error:
            if began:
                self.truncated += 1
            else:
                self.failed.append(repr(error))
            return
        if wish.get("stream") and not text.endswith(b"data: [DONE]\n\n"):
            self.silent.append(text[-80:].decode())
        self.ok += 1


async def load(b: Bench, http: httpx.AsyncClient, tally: Tally, stop: asyncio.Event, per_s: float = 80) -> None:
    """Mixed streams and plain requests until `stop`: as many as come, but never so many that the edge must turn some
    away because the machine is slow."""
    running: set[asyncio.Task[None]] = set()
    number = 0
    while not stop.is_set():
        if len(running) >= MOST_AT_ONCE:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        wish: dict[str, object] = {"first_s": 0.03}
        if number % 2:
            wish |= {"stream": True, "tokens": 4, "gap_s": 0.01}
        task = asyncio.create_task(tally.one(http, b.url, wish))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        await asyncio.sleep(1 / per_s)
    await asyncio.gather(*running)


async def test_killed_replica_loses_no_request_that_had_no_byte() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        tally, stop = Tally(), asyncio.Event()
        loader = asyncio.create_task(load(b, http, tally, stop))
        await until(lambda: tally.ok > 20, what="load")
        for round_ in range(5):
            name = f"llm-{round_ % 2}"
            engine = b.engines[name]
            engine.kill()
            await engine.process.wait()
            done = tally.ok
            await until(lambda done=done: tally.ok > done + 15, what="served by the other")
            b.engines[name] = await type(engine).start(name, engine.port)
            await until(lambda: all(s.up for s in b.edge.observe().servers), what="back up")
            done = tally.ok
            await until(lambda done=done: tally.ok > done + 15, what="served by both")
        await until(lambda: tally.ok >= 220, what="enough requests")
        stop.set()
        await loader
        assert tally.failed == []
        assert tally.silent == []
        total = tally.ok + tally.truncated
        await until(lambda: len(b.sink.requests()) == total, what="a row per request")
        rows = b.sink.requests()
        assert [r for r in rows if r.retries and r.outcome == "ok"], "the kills must have hit requests"
        broken = [r for r in rows if r.outcome == "failed"]
        assert len(broken) == tally.truncated
        assert all(r.termination.startswith("S") and r.stream for r in broken)


async def test_replica_that_dies_while_the_other_is_full_still_loses_nothing() -> None:
    """The dead one has the fewest connections: it must not be chosen again until the attempts are used up."""
    async with bench() as b, client() as http:
        await b.up(2, slots=2)
        tally = Tally()
        wishes: list[dict[str, object]] = [{"go": b.held, "stream": bool(n % 2)} for n in range(8)]
        running = [asyncio.create_task(tally.one(http, b.url, wish)) for wish in wishes]
        await until(lambda: sum(s.in_flight for s in b.edge.observe().servers) == 4, what="both full")
        await asyncio.sleep(0.6)  # the time at the one that dies
        b.engines["llm-0"].kill()
        b.release()
        await asyncio.gather(*running)
        assert tally.failed == [] and tally.ok == 8
        await until(lambda: len(b.sink.requests()) == 8, what="rows")
        retried = [r for r in b.sink.requests() if r.retries]
        assert len(retried) >= 2
        assert {row.replica for row in retried} == {"llm-1"}
        # The two that it held: their time there is none without a replica. Others may have waited, then met its death.
        assert sum((row.total_s or 0.0) - (row.queue_s or 0.0) > 0.5 for row in retried) >= 2


async def test_ttft_of_a_retried_stream_counts_the_attempt_that_failed() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        sent = time.monotonic()
        wish = {"stream": True, "go": b.held}
        running = asyncio.create_task(http.post(b.url, json=wish, headers={"x-request-id": "twice"}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        busy = next(s.replica for s in b.edge.observe().servers if s.in_flight)
        await asyncio.sleep(0.4)  # the first attempt's time
        b.engines[busy].kill()
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers if s.replica != busy), what="second try")
        await asyncio.sleep(0.2)
        b.release()
        assert (await running).status_code == 200
        took = time.monotonic() - sent
        await until(lambda: bool(b.sink.requests()), what="row")
        row = b.sink.requests()[0]
        assert row.retries == 1 and row.ttft_s is not None and 0.59 < row.ttft_s <= took + 0.003
        attempts = b.sink.requests(Vantage.ATTEMPT)
        assert [(a.attempt, a.outcome) for a in attempts] == [(1, "failed"), (2, "ok")]
        assert {a.request_id for a in attempts} == {"twice"}
        second = attempts[1].ttft_s
        assert attempts[0].replica == busy and second is not None and 0.19 < second < row.ttft_s - 0.39


async def test_stream_that_began_ends_visibly_when_its_replica_dies() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        got = b""
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - which step breaks is what the test is about
            async with http.stream("POST", b.url, json={"stream": True, "hold": b.held}) as answer:
                async for data in answer.aiter_raw():
                    got += data
                    b.engines["llm-0"].kill()
        assert got.startswith(b"data: ")
        await until(lambda: bool(b.sink.requests()), what="row")
        row = b.sink.requests()[0]
        assert (row.status, row.termination, row.outcome) == (200, "SD", "failed")


async def test_prompt_of_one_megabyte_is_tried_again() -> None:
    async with bench() as b, client() as http:
        await b.up(2)
        wish = {"go": b.held, "p": "x" * (1024 * 1024 - 256)}
        running = asyncio.create_task(http.post(b.url, json=wish))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        busy = next(s.replica for s in b.edge.observe().servers if s.in_flight)
        b.engines[busy].kill()
        b.release()
        answer = await running
        assert answer.status_code == 200 and answer.json()["body_bytes"] > 1024 * 1023
        await until(lambda: bool(b.sink.requests()), what="row")
        assert b.sink.requests()[0].retries == 1


async def test_prompt_that_kills_is_given_up_after_two_replicas() -> None:
    async with bench() as b, client() as http:
        await b.up(4)
        running = asyncio.create_task(http.post(b.url, json={"go": b.held}))
        killed = []
        for _ in range(2):
            await until(
                lambda: any(s.in_flight for s in b.edge.observe().servers if s.replica not in killed), what="in flight"
            )
            busy = next(s.replica for s in b.edge.observe().servers if s.in_flight and s.replica not in killed)
            killed.append(busy)
            await asyncio.sleep(0.05)  # one that dies within 5 ms was dying already
            b.engines[busy].kill()
        answer = await running
        assert answer.status_code == 503 and "retry-after" not in answer.headers
        error = answer.json()["error"]
        assert error["code"] == "request_kills_replicas" and error["request_id"] == answer.headers["x-request-id"]
        assert len(set(killed)) == 2
        await until(lambda: bool(b.sink.requests()), what="row")
        row = b.sink.requests()[0]
        assert (row.outcome, row.error, row.attempt, row.retries) == ("failed", "request_kills_replicas", 2, 1)
        [event] = b.sink.events("request.poison")
        assert event.severity == "error" and event.attributes["request_id"] == row.request_id
        assert event.attributes["replicas"] == ", ".join(killed) and event.attributes["attempts"] == 2


async def test_ejected_replica_is_not_chosen_whatever_its_health_says() -> None:
    """It hangs: its health check passes, its requests never answer."""
    async with bench() as b, client() as http:
        await b.up(2)
        waiting = asyncio.create_task(http.post(b.url, json={"first_s": 1000.0}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        stuck = next(s.replica for s in b.edge.observe().servers if s.in_flight)
        streaming = asyncio.create_task(http.post(b.url, json={"stream": True, "hold": b.held}))
        await until(lambda: sum(s.in_flight for s in b.edge.observe().servers) == 2, what="both in flight")
        other = next(n for n in b.engines if n != stuck)
        await b.edge.eject("llm", stuck)
        answers = await asyncio.gather(*(http.post(b.url, json={}) for _ in range(10)))
        assert {a.json()["replica"] for a in answers} == {other}
        await asyncio.sleep(1.0)  # several health checks pass meanwhile
        assert (await http.post(b.url, json={})).json()["replica"] == other
        await until(lambda: not next(s for s in b.edge.observe().servers if s.replica == stuck).up, what="seen so")
        waiting.cancel()
        b.release()
        assert (await streaming).content.endswith(b"[DONE]\n\n")
        await b.fill(stuck)
        await until(lambda: all(s.up for s in b.edge.observe().servers), what="back")
        answers = await asyncio.gather(*(http.post(b.url, json={"first_s": 0.1}) for _ in range(4)))
        assert {a.json()["replica"] for a in answers} == {stuck, other}


async def test_request_of_two_ejected_replicas_counts_as_their_killer() -> None:
    async with bench() as b, client() as http:
        await b.up(4)
        running = asyncio.create_task(http.post(b.url, json={"go": b.held}))
        ejected: list[str] = []
        for _ in range(2):
            await until(
                lambda: any(s.in_flight for s in b.edge.observe().servers if s.replica not in ejected), what="in flight"
            )
            ejected.append(
                next(s.replica for s in b.edge.observe().servers if s.in_flight and s.replica not in ejected)
            )
            await asyncio.sleep(0.05)  # as with those that die
            await b.edge.eject("llm", ejected[-1])
        answer = await running
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "request_kills_replicas")
        await until(lambda: bool(b.sink.events("request.poison")), what="event")


@pytest.mark.parametrize("budget", [True, False])
async def test_extra_attempts_stay_within_their_budget(budget: bool) -> None:
    """A replica that resets every request at once is a retry storm without a budget."""
    async with bench(retry_budget=budget) as b, client() as http:
        b.specs = [msgspec.structs.replace(b.specs[0], slots=1)]
        await b.up(0)
        for number in range(2):
            b.engines[f"llm-{number}"] = await Engine.start(f"llm-{number}")
            await b.fill(f"llm-{number}", slots=1)
        began = time.monotonic()
        answers = [await http.post(b.url, json={"reset": True}) for _ in range(60)]
        windows = 1 + math.ceil((time.monotonic() - began) / BUDGET_WINDOW_S)  # each has a reserve of its own
        await until(lambda: len(b.sink.requests()) == 60, what="rows")
        rows, attempts = b.sink.requests(), b.sink.requests(Vantage.ATTEMPT)
        extra = sum(r.retries for r in rows)
        assert len(attempts) == 60 + extra, "every attempt has its row"
        assert {a.status_code for a in answers} == {503}
        if budget:
            assert 10 <= extra <= allowed_extra(60, slots=1) + (windows - 2) * budget_reserve(1)
            assert {a.json()["error"]["code"] for a in answers} >= {"retry_budget_spent"}
            assert {r.error for r in rows} >= {"retry_budget_spent"}
        else:
            assert extra > 2 * allowed_extra(60, slots=1), "at least one for each of the sixty"


async def test_without_retries_each_lost_request_is_answered_and_has_its_rows() -> None:
    """On connections that are used again too: HAProxy closes such a one in silence where its own server did."""
    async with bench() as b, client() as http:
        await b.up(2)
        await b.edge.set_retries(on=False)
        for _ in range(10):
            assert (await http.post(b.url, json={})).status_code == 200
        answers = [await http.post(b.url, json={"reset": True}) for _ in range(6)]
        assert {a.status_code for a in answers} == {503}
        await until(lambda: len(b.sink.requests()) == 16, what="rows")
        assert sum(r.outcome == "failed" for r in b.sink.requests()) == 6
        assert len(b.sink.requests(Vantage.ATTEMPT)) == 16


async def test_budget_switch_is_one_workloads_own() -> None:
    async with bench() as b, client() as http:
        other = msgspec.structs.replace(b.specs[0], name="embedding", routes=("/embed",))
        b.specs = [*b.specs, other]
        await b.up(1)
        await b.add("embedding-0", workload_name="embedding")
        await b.edge.set_retries(on=False, workload="llm")
        observed = lambda: {w.workload: w.retries_on for w in b.edge.observe().workloads}  # noqa: E731
        await until(lambda: observed() == {"llm": False, "embedding": True}, what="observed")
        assert b.edge.observe().retries_on
        for path in ("/v1/x", "/embed"):
            assert (await http.post(b.edge.public_url + path, json={"reset": True})).status_code == 503
        await until(lambda: len(b.sink.requests()) == 2, what="rows")
        retries = {r.workload: r.retries for r in b.sink.requests()}
        assert retries["llm"] == 0 and retries["embedding"] > 0


@pytest.mark.parametrize("how", ["configured", "switched"])
async def test_without_retries_a_killed_replica_does_lose_requests(how: str) -> None:
    async with bench(retries=how != "configured") as b, client() as http:
        await b.up(2)
        if how == "switched":
            await b.edge.set_retries(on=False)
        await until(lambda: not b.edge.observe().retries_on and b.edge.observe().starts == 2, what="observed")
        pid = b.edge.observe().pid
        running = asyncio.create_task(http.post(b.url, json={"go": b.held}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        busy = next(s.replica for s in b.edge.observe().servers if s.in_flight)
        b.engines[busy].kill()
        answer = await running
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "replica_failed"
        if how == "switched":
            assert b.edge.observe().pid == pid, "no reload"
            await b.edge.set_retries(on=True)
            other = next(n for n in b.engines if n != busy)
            assert (await http.post(b.url, json={})).json()["replica"] == other


async def test_marked_down_replica_gives_its_waiting_requests_to_others() -> None:
    """A hung replica: its health check passes, its requests never answer."""
    async with bench() as b, client() as http:
        await b.up(2)
        running = asyncio.create_task(http.post(b.url, json={"go": b.held, "stream": True}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        busy = next(s.replica for s in b.edge.observe().servers if s.in_flight)
        await b.edge.mark_down("llm", busy)
        b.release()
        answer = await running
        assert answer.status_code == 200 and busy not in answer.text
        await until(lambda: bool(b.sink.requests()), what="row")
        row: RequestRow = b.sink.requests()[0]
        assert row.retries == 1 and row.replica != busy


async def test_deadline_ends_a_request_that_gets_no_first_byte() -> None:
    async with bench() as b, client() as http:
        b.specs = [msgspec.structs.replace(b.specs[0], request_deadline_s=1.0)]
        await b.up(2)
        for stream in (False, True):
            sent = time.monotonic()
            answer = await http.post(b.url, json={"first_s": 1000, "stream": stream})
            assert answer.status_code == 504, stream
            assert answer.json()["error"]["code"] == "deadline_exceeded"
            assert time.monotonic() - sent > 0.95


async def test_full_queue_turns_away_at_once_and_ejects_nobody() -> None:
    async with bench(max_queue=3) as b, client() as http:
        await b.up(1, slots=1)
        running = [asyncio.create_task(http.post(b.url, json={"go": b.held})) for _ in range(12)]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)  # turned away while all others wait
        b.release()
        answers = await asyncio.gather(*running)
        codes = [a.status_code for a in answers]
        assert 200 in codes and 429 in codes and set(codes) == {200, 429}
        turned = next(a for a in answers if a.status_code == 429)
        assert turned.headers["retry-after"] == "1" and turned.json()["error"]["code"] == "queue_full"
        assert (await inner_status(b)).startswith("UP")
        await until(lambda: len(b.sink.requests()) == 12, what="rows")
        assert {r.outcome for r in b.sink.requests()} == {"ok", "shed"}


async def test_filling_a_slot_that_was_marked_down_makes_it_up_and_cuts_nothing() -> None:
    async with bench() as b, client() as http:
        await b.up(1)
        await b.edge.mark_down("llm", "llm-0")
        await b.fill("llm-0")
        assert (await inner_status(b)).startswith("UP"), "at once: HAProxy's own check was not waited for"
        await b.edge.mark_down("llm", "llm-0")
        async with asyncio.timeout(60):
            while not (await inner_status(b)).startswith("UP"):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.01)
        running = asyncio.create_task(http.post(b.url, json={"go": b.held}))
        await until(lambda: any(s.in_flight for s in b.edge.observe().servers), what="in flight")
        await b.fill("llm-0")
        b.release()
        assert (await running).status_code == 200
        await until(lambda: bool(b.sink.requests()), what="row")
        assert b.sink.requests()[0].retries == 0


async def inner_status(b: Bench) -> str:
    """What HAProxy says now of the first slot's server."""
    stats = await b.edge._api.stats()
    return next(s.status for s in stats if (s.proxy, s.server) == ("llm:0", "s"))
