"""Splicing with a real HAProxy edge, real proxies under shims and the real reconciler; the fleet is a fake one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

import httpx
import msgspec
import psutil
import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import TrinityError
from backend.contract.faults import FaultOrder, HolderRequest
from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase
from backend.daemon.splices import Splices
from backend.edge.runtime import RuntimeApi
from backend.reconcile.controller import Reconciler
from backend.reconcile.leases import Leases
from backend.reconcile.wanted import WantedStore
from backend.shim.holders import ask_holder
from tests.fakes.fleet import FakeFleet
from tests.integration.edge_bench import Bench, Engine, bench, client, until, workload


class SplicedFleet(FakeFleet):
    """A fake fleet whose replicas are real engines, with the ports a splice gave them."""

    def adopt_engine(self, engine: Engine, name: str, workload_name: str = "llm") -> None:
        self._set(
            ReplicaStatus(
                name=name,
                fleet="local",
                workload=workload_name,
                phase=Phase.READY,
                created_ts=time.time(),
                pid=engine.process.pid,
                port=engine.port,
            )
        )

    def restarted(self, name: str, engine: Engine) -> None:
        self._set(
            msgspec.structs.replace(self.statuses[name], phase=Phase.READY, pid=engine.process.pid, port=engine.port)
        )

    async def splice(self, replica: str, *, port: int, health_port: int | None) -> None:
        self._set(msgspec.structs.replace(self.statuses[replica], via_port=port, via_health_port=health_port))

    async def unsplice(self, replica: str) -> None:
        if replica in self.statuses:
            self._set(msgspec.structs.replace(self.statuses[replica], via_port=None, via_health_port=None))


class Stage:
    """Edge, engines, fleet, reconciler and the desk."""

    def __init__(self, b: Bench) -> None:
        self.bench, self.clock = b, SystemClock()
        self.fleet = SplicedFleet()
        self.reconciler: Reconciler
        self.splices: Splices

    async def up(self, replicas: int = 2) -> None:
        await self.bench.edge.start()
        for number in range(replicas):
            name = f"llm-{number}"
            self.bench.engines[name] = await Engine.start(name)
            self.fleet.adopt_engine(self.bench.engines[name], name)
        self.bench.specs = [workload("llm", replicas=replicas)]
        await self.daemon()
        await until(lambda: len(self.bench.edge.slots()) == replicas, what="slots filled")
        await until(lambda: all(_up(self, name) for name in self.bench.engines), what="all up")

    async def daemon(self) -> None:
        b = self.bench
        store = WantedStore(b.paths.wanted_file, b.sink, self.clock, fleet="local")
        self.reconciler = Reconciler(self.fleet, b.edge, b.sink, store, Leases(), self.clock)
        await self.reconciler.start(b.specs)
        self.splices = Splices(b.paths, self.fleet, b.edge, b.sink, self.clock, lambda: b.specs)

    def slot_port(self, name: str) -> int:
        return next(slot.port for slot in self.bench.edge.slots() if slot.replica == name)

    async def order(self, name: str, **keys: object) -> None:
        holder = self.splices.holder(name)
        assert holder is not None
        order = FaultOrder(**{"id": "f", "ttl_s": 100.0, **keys})  # type: ignore[arg-type]  # a test's own keys
        answer = await ask_holder(holder.socket_path, HolderRequest(id=1, op="fault", order=order))
        assert answer.faults[0].active

    async def down(self) -> None:
        await self.reconciler.stop()
        await self.splices.stop()
        left = [p for p in psutil.process_iter() if "backend.drills.proxy" in _words(p, self.bench)]
        assert left == []


def _words(process: psutil.Process, b: Bench) -> list[str]:
    try:
        words = process.cmdline()
    except psutil.Error:
        return []
    return words if any(str(b.paths.run_dir) in word for word in words) else []


@contextlib.asynccontextmanager
async def stage(replicas: int = 2) -> AsyncIterator[tuple[Stage, httpx.AsyncClient]]:
    async with bench() as b, client() as http:
        made = Stage(b)
        await made.up(replicas)
        try:
            yield made, http
        finally:
            await made.down()


class Traffic:
    """Requests one after the other on several lanes, streams among them, until stopped; each failure is kept."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url
        self.ok, self.failed = 0, list[str]()
        self._stop = asyncio.Event()
        self._lanes = [asyncio.create_task(self._lane(bool(n % 2))) for n in range(4)]

    async def _lane(self, stream: bool) -> None:
        wish = {"stream": stream, "first_s": 0.01, "tokens": 5, "gap_s": 0.02}
        while not self._stop.is_set():
            try:
                answer = await self._http.post(self._url, json=wish)
                good = answer.status_code == 200 and (not stream or answer.text.endswith("data: [DONE]\n\n"))
                if good:
                    self.ok += 1
                else:
                    self.failed.append(f"{answer.status_code} {answer.text[:200]}")
            except httpx.HTTPError as error:
                self.failed.append(repr(error))

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._lanes)

    async def more(self, count: int = 10) -> None:
        done = self.ok
        await until(lambda: self.ok >= done + count, what="served")


@pytest.mark.alone  # with one replica a health check that comes too late is a 503
async def test_splicing_and_unsplicing_the_only_replica_under_load_fails_no_request() -> None:
    async with stage(replicas=1) as (s, http):
        traffic = Traffic(http, s.bench.url)
        await traffic.more()
        for _ in range(3):
            holder = await s.splices.splice("llm-0")
            assert await s.splices.splice("llm-0") == holder
            assert s.slot_port("llm-0") == s.fleet.statuses["llm-0"].via_port != s.bench.engines["llm-0"].port
            await traffic.more()
            await s.splices.unsplice("llm")
            assert s.slot_port("llm-0") == s.bench.engines["llm-0"].port
            assert s.splices.holder("llm-0") is None
            await traffic.more()
        await traffic.end()
        assert traffic.failed == []
        await until(lambda: not list(s.bench.paths.run_dir.glob("*.proxy*")), what="no file of a proxy left")


async def test_a_proxy_stays_until_the_edge_itself_goes_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(replicas=1) as (s, http):
        await s.splices.splice("llm-0")
        tell, may_tell = RuntimeApi.tell, asyncio.Event()

        async def late(api: RuntimeApi, *commands: str) -> None:
            await may_tell.wait()
            await tell(api, *commands)

        monkeypatch.setattr(RuntimeApi, "tell", late)
        unspliced = asyncio.create_task(s.splices.unsplice("llm-0"))
        await until(lambda: s.slot_port("llm-0") == s.bench.engines["llm-0"].port, what="the table is straight")
        await asyncio.wait([unspliced], timeout=0.3)
        assert not unspliced.done(), "HAProxy does not know it yet"
        assert (await http.post(s.bench.url, json={})).status_code == 200
        may_tell.set()
        await unspliced
        assert (await http.post(s.bench.url, json={})).status_code == 200


async def test_fault_is_felt_through_the_edge_and_gone_after_unsplice() -> None:
    async with stage() as (s, http):
        for name in ("llm-0", "llm-1"):
            await s.splices.splice(name)
            await s.order(name, kind="http-error", status=500)
        assert (await http.post(s.bench.url, json={})).status_code == 500
        await s.splices.unsplice("llm")
        assert (await http.post(s.bench.url, json={})).status_code == 200


async def test_killed_replica_behind_a_neutral_proxy_loses_no_request_and_is_found_too() -> None:
    async with stage() as (s, http):
        await s.splices.splice("llm-0")
        traffic = Traffic(http, s.bench.url)
        await traffic.more(20)
        victim, cut = s.bench.engines["llm-0"], [0]
        victim.kill()
        await until(
            lambda: not _up(s, "llm-0"), what="not chosen any more"
        )  # by the edge alone: the fleet says nothing
        await traffic.more(20)
        cut[0] = len(traffic.failed)
        assert cut[0] <= 2, traffic.failed  # streams under way may break, and visibly
        fresh = s.bench.engines["llm-0"] = await Engine.start("llm-0")  # at another port: the proxy must be told
        s.fleet.restarted("llm-0", fresh)
        deadline = time.monotonic() + 60
        while (await http.post(s.bench.url, json={})).json()["replica"] != "llm-0":
            assert time.monotonic() < deadline, "the new process is never reached through the proxy"
        await traffic.more(20)
        await traffic.end()
        assert len(traffic.failed) == cut[0]
        assert all("PeerProtocol" in f or "ReadError" in f or "RemoteProtocol" in f for f in traffic.failed)
        assert s.slot_port("llm-0") == s.fleet.statuses["llm-0"].via_port


def _up(s: Stage, name: str) -> bool:
    return any(server.up for server in s.bench.edge.observe().servers if server.replica == name)


async def test_dead_proxy_is_noticed_and_its_replica_served_straight() -> None:
    async with stage() as (s, http):
        holder = await s.splices.splice("llm-0")
        traffic = Traffic(http, s.bench.url)
        await traffic.more()
        os.kill(holder.pid, signal.SIGKILL)
        await until(lambda: s.slot_port("llm-0") == s.bench.engines["llm-0"].port, what="straight")
        await until(lambda: _up(s, "llm-0"), what="up")
        await traffic.more()
        await traffic.end()
        assert len(traffic.failed) <= 2, traffic.failed
        assert len(s.bench.sink.events("proxy.died")) == 1
        again = await s.splices.splice("llm-0")
        assert again.pid != holder.pid


async def test_proxy_of_a_dead_daemon_serves_on_and_goes_without_a_failed_request() -> None:
    async with stage(replicas=1) as (s, http):
        holder = await s.splices.splice("llm-0")
        await s.order("llm-0", kind="latency", latency_s=0.05)
        traffic = Traffic(http, s.bench.url)
        await traffic.more()
        await s.reconciler.stop()  # what a killed daemon leaves: nobody acts, the proxy and its fault go on
        await s.splices.close()
        await traffic.more()
        long = asyncio.create_task(http.post(s.bench.url, json={"stream": True, "tokens": 30, "gap_s": 0.05}))
        await traffic.more()
        await s.fleet.unsplice("llm-0")  # a new daemon's fleet knows of no splice
        await s.daemon()
        await s.splices.adopt_leftovers()
        assert s.slot_port("llm-0") == s.bench.engines["llm-0"].port
        assert (await long).text.endswith("data: [DONE]\n\n"), "the proxy waits for what it has"
        await until(lambda: not psutil.pid_exists(holder.pid), what="the proxy ended")
        await traffic.more()
        await traffic.end()
        assert traffic.failed == []


async def test_replica_without_a_process_cannot_be_spliced() -> None:
    async with stage(replicas=1) as (s, _):
        with pytest.raises(TrinityError, match="no process"):
            await s.splices.splice("llm-9")
        await s.splices.unsplice("llm-9")


async def test_long_stream_outlives_the_unsplice_and_another_splice_need_not_wait() -> None:
    async with stage(replicas=1) as (s, http):
        first = await s.splices.splice("llm-0")
        wish = {"stream": True, "tokens": 80, "gap_s": 0.05}
        running = asyncio.create_task(http.post(s.bench.url, json=wish))
        await until(lambda: any(w.in_flight for w in s.bench.edge.observe().workloads), what="under way")
        await s.splices.unsplice("llm-0")
        second = await s.splices.splice("llm-0")
        assert not running.done()
        assert second.socket_path != first.socket_path and psutil.pid_exists(first.pid)
        assert (await running).text.endswith("data: [DONE]\n\n")
        await until(lambda: not psutil.pid_exists(first.pid), what="the first proxy ended")


async def test_taking_down_does_not_wait_for_a_proxy_that_drains() -> None:
    async with stage(replicas=1) as (s, http):
        await s.splices.splice("llm-0")
        running = asyncio.create_task(http.post(s.bench.url, json={"first_s": 30}))
        await until(lambda: any(w.in_flight for w in s.bench.edge.observe().workloads), what="under way")
        await s.splices.unsplice("llm-0")
        async with asyncio.timeout(20):  # its request takes longer
            await s.splices.stop()
        s.bench.engines["llm-0"].kill()
        assert (await running).status_code == 503


async def test_connections_that_are_taken_and_reset_are_tried_elsewhere_like_refused_ones() -> None:
    async with stage() as (s, http):
        await s.splices.splice("llm-0")
        await s.order("llm-0", kind="reset", share=0.5, seed=3)
        answers = [await http.post(s.bench.url, json={}) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        holder = s.splices.holder("llm-0")
        assert holder is not None
        reports = (await ask_holder(holder.socket_path, HolderRequest(id=1, op="faults"))).faults
        assert reports[0].affected > 0, "some must have met the fault"
