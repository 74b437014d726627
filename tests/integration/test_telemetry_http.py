"""The monitoring endpoints on real sockets: ports, owners, shutdown, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.errors import PortTaken, UsageError
from backend.telemetry.exporter import Exposition
from backend.telemetry.http import health_app, monitoring_app, port_owner, serve, serve_on
from tests.unit.telemetry.scenes import replica, snapshot

HOST = "127.0.0.1"


class Provider:
    def snapshot(self) -> Snapshot:
        return snapshot(replicas=[replica()])

    def exposition(self) -> Exposition:
        return Exposition(snapshot=self.snapshot())

    def series(self, seconds: int) -> Sequence[SeriesPoint]:
        return ()


async def test_both_endpoints_serve_and_free_their_ports() -> None:
    monitoring = await serve(monitoring_app(Provider()), HOST, 0)
    health = await serve(health_app(Provider()), HOST, 0, purpose="health")
    async with httpx.AsyncClient(timeout=60.0) as client:
        text = (await client.get(f"{monitoring.url}/metrics")).text
        assert len(list(text_string_to_metric_families(text))) > 30
        answers = await asyncio.gather(*(client.get(f"{health.url}/health/ready") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        await asyncio.gather(monitoring.close(), health.close())  # With connections still kept alive.
    await monitoring.close()
    for port in (monitoring.port, health.port):
        again = await serve(health_app(Provider()), HOST, port)
        await again.close()


async def test_a_taken_port_names_its_owner() -> None:
    first = await serve(health_app(Provider()), HOST, 0)
    with pytest.raises(PortTaken) as taken:
        await serve(monitoring_app(Provider()), HOST, first.port, purpose="monitoring")
    assert f"(pid {os.getpid()})" in taken.value.owner
    assert str(taken.value).startswith(f"Port {first.port} on 127.0.0.1 (monitoring) is already used by ")
    await first.close()
    assert port_owner(first.port) == "another program"


async def test_an_address_of_nobody_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match=r"Cannot listen on 192\.0\.2\.1:0 \(monitoring\)"):
        await serve(monitoring_app(Provider()), "192.0.2.1", 0)


async def test_signals_stay_with_the_daemon() -> None:
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
    server = await serve(health_app(Provider()), HOST, 0)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(heard.wait(), 60)
    async with httpx.AsyncClient(timeout=60.0) as client:
        assert (await client.get(f"{server.url}/health/live")).status_code == 200
    await server.close()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    server = await serve_on(health_app(Provider()), listener)
    async with httpx.AsyncClient(timeout=60.0, transport=httpx.AsyncHTTPTransport(uds=path)) as client:
        assert (await client.get("http://t/health/live")).status_code == 200
    assert server.host == path
    await server.close()
