"""The fault proxy before a real server: neutral it changes nothing; each fault is felt, counted, healed, timed out."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.proxy_rig import Replica, Rig, proxied, until


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Rig, httpx.AsyncClient]]:
    async with proxied() as both:
        yield both


Pair = tuple[Rig, httpx.AsyncClient]


async def timed(work: Any) -> tuple[float, Any]:
    began = time.monotonic()
    result = await work
    return time.monotonic() - began, result


async def raw(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """All that comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


async def test_neutral_proxy_passes_everything_as_it_is(pair: Pair) -> None:
    rig, http = pair
    assert len((await http.get(rig.url("/size?n=3000000"))).content) == 3_000_000
    assert (await http.post(rig.url(), content=b"z" * 2_000_000)).text.endswith(" 2000000")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"y" * 1000

    assert (await http.post(rig.url(), content=pieces())).text.endswith(" 20000")
    assert (await http.get(rig.url("/close?n=70000"))).content == b"x" * 70_000
    assert (await http.get(rig.url("/stream?n=50"))).text.count("data:") == 50
    assert (await http.get(rig.url("/health", health=True))).status_code == 200


async def test_bytes_are_the_same_through_the_proxy_with_half_close_and_pipelining(pair: Pair) -> None:
    rig, _ = pair
    ask = b"GET /size?n=%d HTTP/1.1\r\nHost: x\r\n\r\n"
    several = (ask % 5) + (ask % 70_000) + b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + (ask % 1)
    for half_close, data in ((True, several), (True, ask % 9), (True, b"\x16\x03\x01 not HTTP at all")):
        straight = await raw(rig.replica.port, data, half_close=half_close)
        assert await raw(rig.ports.port, data, half_close=half_close) == straight


async def test_streams_are_not_gathered(pair: Pair) -> None:
    rig, http = pair
    async with http.stream("GET", rig.url("/stream?n=2&gap=1000")) as answer:
        assert await anext(answer.aiter_raw()) == b"data: 0\n\n", "long before the second"


async def test_latency_both_ways_and_only_while_it_lasts(pair: Pair) -> None:
    rig, http = pair
    fault = await rig.fault("latency", latency_s=0.08, jitter_s=0.01)
    took, _ = await timed(http.get(rig.url()))
    assert took >= 0.14
    one_way = await rig.fault("latency", latency_s=0.05, direction="to-edge")
    took, _ = await timed(http.get(rig.url()))
    assert took >= 0.18
    assert (await rig.heal(fault)).affected == 2 and (await rig.heal(one_way)).affected == 1
    await http.get(rig.url())
    assert ((await rig.report(fault)).affected, (await rig.report(one_way)).affected) == (2, 1)


async def test_bandwidth_limits_answers(pair: Pair) -> None:
    rig, http = pair
    fault = await rig.fault("bandwidth", bytes_per_s=100_000)
    took, answer = await timed(http.get(rig.url("/size?n=30000")))
    assert len(answer.content) == 30_000 and took >= 0.25
    assert (await rig.report(fault)).affected == 1


async def test_reset_is_seen_as_a_reset(pair: Pair) -> None:
    rig, http = pair
    seen = await rig.fault("latency", latency_s=0.001)
    waiting = asyncio.create_task(http.get(rig.url("/slow?s=1000")))
    await rig.touched(seen, 1)
    await rig.heal(seen)
    fault = await rig.fault("reset")
    with pytest.raises(httpx.ReadError):
        await waiting
    with pytest.raises(ConnectionResetError):
        await raw(rig.ports.port, b"GET / HTTP/1.1\r\n\r\n")
    assert (await rig.heal(fault)).affected == 2
    assert (await http.get(rig.url())).status_code == 200


@pytest.mark.parametrize("path", ["/size?n=5000", "/stream?n=500", "/close?n=5000"])
async def test_cut_breaks_the_transfer_visibly(pair: Pair, path: str) -> None:
    rig, http = pair
    fault = await rig.fault("cut", after_bytes=1000)
    got = bytearray()

    async def ask() -> None:
        async with http.stream("GET", rig.url(path)) as answer:
            async for data in answer.aiter_raw():
                got.extend(data)

    with pytest.raises(httpx.TransportError):
        await ask()
    assert 0 < len(got) <= 1000
    assert (await http.get(rig.url("/size?n=1000"))).status_code == 200  # as long as allowed: not touched
    assert (await rig.report(fault)).affected == 1


async def test_truncate_keeps_the_length_and_cuts_the_body(pair: Pair) -> None:
    rig, _ = pair
    fault = await rig.fault("truncate", after_bytes=10)
    got = await raw(rig.ports.port, b"GET /size?n=100 HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 100\r\n" in got and got.endswith(b"\r\n\r\n" + b"x" * 10)
    assert (await rig.report(fault)).affected == 1


@pytest.mark.parametrize("kind", ["blackhole", "partition"])
@pytest.mark.parametrize("direction", ["both", "to-replica", "to-edge"])
async def test_black_hole_and_partition_release_what_waits_when_healed(pair: Pair, kind: str, direction: str) -> None:
    rig, http = pair
    await http.get(rig.url())
    fault = await rig.fault(kind, direction=direction)
    waiting = [asyncio.create_task(http.post(rig.url(), content=b"12345")) for _ in range(3)]
    await rig.touched(fault, 3)
    assert not any(task.done() for task in waiting)
    await rig.heal(fault)
    assert [answer.text.split()[1] for answer in await asyncio.gather(*waiting)] == ["5"] * 3


async def test_stream_in_flight_stands_still_in_a_black_hole(pair: Pair) -> None:
    rig, http = pair
    async with http.stream("GET", rig.url("/stream?n=100000&gap=0.01")) as answer:
        parts = answer.aiter_raw()
        await anext(parts)
        fault = await rig.fault("blackhole")
        began = time.monotonic()

        async def drink() -> None:
            async with asyncio.timeout(0.3):
                while True:
                    await anext(parts)

        with pytest.raises(TimeoutError):
            await drink()
        assert time.monotonic() - began >= 0.29
    assert (await rig.heal(fault)).affected == 1


async def test_http_error_and_garbage_answer_without_the_replica(pair: Pair) -> None:
    rig, http = pair
    fault = await rig.fault("http-error", status=429)
    for _ in range(3):
        answer = await http.post(rig.url("/v1/chat/completions"), content=b"x" * 100_000)
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "fault_injected"
    assert (await rig.heal(fault)).affected == 3
    garbage = await rig.fault("garbage")
    answer = await http.get(rig.url())
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    with pytest.raises(UnicodeDecodeError):
        answer.json()
    assert (await rig.heal(garbage)).affected == 1
    assert (await http.get(rig.url())).status_code == 200


async def test_slow_tokens_delay_each_chunk(pair: Pair) -> None:
    rig, http = pair
    fault = await rig.fault("slow-tokens", latency_s=0.05)
    took, answer = await timed(http.get(rig.url("/stream?n=5")))
    assert answer.text.count("data:") == 5 and took >= 0.29  # five tokens and the end
    assert (await rig.report(fault)).affected == 1


async def test_health_lies_both_ways_while_requests_pass(pair: Pair) -> None:
    rig, http = pair
    bad = await rig.fault("health-lie", status=503)
    assert (await http.get(rig.url("/health", health=True))).status_code == 503
    assert (await http.get(rig.url("/health?x=1"))).status_code == 503
    assert (await http.get(rig.url())).status_code == 200
    assert (await rig.heal(bad)).affected == 2
    good = await rig.fault("health-lie", status=200)
    rig.replica.process.send_signal(signal.SIGSTOP)
    try:
        assert (await http.get(rig.url("/ready", health=True))).status_code == 200
    finally:
        rig.replica.process.send_signal(signal.SIGCONT)
    assert (await rig.heal(good)).affected == 1


async def test_poison_kills_the_replica_that_took_it_and_no_stranger(pair: Pair) -> None:
    rig, http = pair
    fault = await rig.fault("poison", marker="m")
    assert (await http.get(rig.url(), headers={"X-Trinity-Poison": "another"})).status_code == 200
    with pytest.raises(httpx.TransportError):
        await http.get(rig.url("/slow?s=1000"), headers={"X-Trinity-Poison": "m"})
    assert await rig.replica.process.wait() == -signal.SIGKILL
    assert (await rig.report(fault)).affected == 1


async def test_poison_spares_a_process_with_another_start_mark(pair: Pair) -> None:
    rig, http = pair
    await rig.ask(op="target", target=rig.replica.target().__class__(**{**as_keys(rig.replica), "mark": "1"}))
    fault = await rig.fault("poison", marker="m")
    assert (await http.get(rig.url("/slow?s=0.1"), headers={"X-Trinity-Poison": "m"})).status_code == 200
    report = await rig.report(fault)
    assert report.affected == 0 and "nothing was killed" in report.detail
    assert rig.replica.process.returncode is None


def as_keys(replica: Replica) -> dict[str, Any]:
    target = replica.target()
    return {name: getattr(target, name) for name in target.__struct_fields__}


async def test_share_is_chosen_by_the_seed_per_request_on_one_connection(pair: Pair) -> None:
    rig, http = pair

    async def statuses(seed: int) -> list[int]:
        fault = await rig.fault("http-error", status=500, share=0.5, seed=seed, id=f"seeded-{seed}")
        got = [(await http.get(rig.url())).status_code for _ in range(40)]
        assert (await rig.heal(fault)).affected == got.count(500)
        return got

    first, second = await statuses(1), await statuses(2)
    assert first != second and 8 <= first.count(500) <= 32


async def test_faults_compose_and_time_limits_end_them(pair: Pair) -> None:
    rig, http = pair
    error = await rig.fault("http-error", status=500)
    slow = await rig.fault("latency", latency_s=0.05)
    reset = await rig.fault("reset", share=0.0)
    took, answer = await timed(http.get(rig.url()))
    assert answer.status_code == 500 and took >= 0.09
    again = await rig.ask(op="fault", order=error)
    assert again.faults[0].affected == 1 and 0 < again.faults[0].left_s < 600.0
    assert ((await rig.heal(error)).active, (await rig.heal(slow)).active) == (False, False)
    brief = [await rig.fault("http-error", status=500, ttl_s=1.0), await rig.fault("latency", latency_s=9.0, ttl_s=1.0)]
    async with asyncio.timeout(60):
        while any([(await rig.report(order)).active for order in brief]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    assert {(await rig.report(order)).ended_by for order in brief} == {"ttl"}
    assert (await http.get(rig.url())).status_code == 200
    assert (await rig.ask(op="fault", order=brief[0])).faults[0].ended_by == "ttl", "an id is applied once"
    assert (await rig.heal(reset)).affected == 0


@pytest.mark.parametrize(
    "keys", [{"kind": "stop"}, {"kind": "http-error"}, {"kind": "latency"}, {"kind": "reset", "share": 2.0}]
)
async def test_order_that_cannot_be_held_is_refused_and_changes_nothing(pair: Pair, keys: dict[str, Any]) -> None:
    rig, http = pair
    with pytest.raises(AssertionError, match="error="):
        await rig.fault(**keys)
    assert (await rig.ask(op="faults")).faults == ()
    assert (await http.get(rig.url())).status_code == 200


async def test_control_socket_answers_nonsense_with_an_error(pair: Pair) -> None:
    rig, _ = pair
    reader, writer = await asyncio.open_unix_connection(rig.control)
    writer.write(b'{"id": 1, "op": "explode"}\nnot json\n{"id": 2, "op": "faults"}\n')
    answers = [await reader.readline() for _ in range(3)]
    assert b"error" in answers[0] and b"error" in answers[1] and b'"id":2' in answers[2]
    writer.close()


def refused(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


async def test_dead_replica_is_refused_through_the_proxy_until_it_is_back(pair: Pair) -> None:
    rig, http = pair
    await http.get(rig.url())
    port, health_port = rig.replica.port, rig.replica.health_port
    await rig.replica.kill()
    await until(lambda: refused(rig.ports.port) and refused(rig.ports.health_port or 0), "connections refused")
    lie = await rig.fault("health-lie", status=200)
    await until(lambda: not refused(rig.ports.health_port or 0), "a liar takes connections")
    assert (await http.get(rig.url("/", health=True))).status_code == 200
    with pytest.raises(httpx.TransportError):
        await http.get(rig.url())
    await rig.heal(lie)
    await until(lambda: refused(rig.ports.health_port or 0), "refused again")
    rig.replica = await Replica.start(port, health_port)
    await rig.ask(op="target", target=rig.replica.target())
    await until(lambda: not refused(rig.ports.port), "connections taken again")
    assert (await http.get(rig.url())).text.startswith(str(rig.replica.process.pid))


async def test_new_target_takes_the_next_connections(pair: Pair) -> None:
    rig, _ = pair
    other = await Replica.start()
    try:
        await rig.ask(op="target", target=other.target())
        async with httpx.AsyncClient(trust_env=False, timeout=100) as fresh:
            assert (await fresh.get(rig.url())).text.startswith(str(other.process.pid))
    finally:
        await other.kill()


async def ended(rig: Rig, act: Callable[[], None]) -> None:
    act()
    async with asyncio.timeout(60):
        await rig.process.wait()


async def test_sigterm_drains_what_is_under_way_and_releases_what_is_held(pair: Pair) -> None:
    rig, http = pair
    running = asyncio.create_task(http.get(rig.url("/slow?s=0.4")))
    fault = await rig.fault("blackhole", share=1.0)
    held = asyncio.create_task(http.post(rig.url(), content=b"123"))
    await rig.touched(fault, 2)
    await ended(rig, rig.process.terminate)
    assert (await running).status_code == 200 and (await held).text.endswith(" 3")
    assert rig.process.returncode == 0
    assert not Path(rig.control).exists() and refused(rig.ports.port)


async def test_kill_of_the_proxy_resets_its_connections_and_spares_the_replica(pair: Pair) -> None:
    rig, http = pair
    seen = await rig.fault("latency", latency_s=0.001)
    running = asyncio.create_task(http.get(rig.url("/slow?s=1000")))
    await rig.touched(seen, 1)
    await ended(rig, rig.process.kill)
    with pytest.raises(httpx.TransportError):
        await running
    assert refused(rig.ports.port) and not refused(rig.replica.port)
