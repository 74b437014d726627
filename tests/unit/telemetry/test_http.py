"""Health and monitoring answers, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import httpx
import msgspec
import pytest

from backend.contract.control import SeriesPoint, Snapshot
from backend.telemetry.exporter import Exposition
from backend.telemetry.http import Health, health_app, monitoring_app
from tests.unit.telemetry.scenes import replica, snapshot


class Told:
    """A provider that says what it is told."""

    def __init__(self) -> None:
        self.now = snapshot(replicas=[replica()])
        self.asked: list[int] = []

    def snapshot(self) -> Snapshot:
        return self.now

    def exposition(self) -> Exposition:
        return Exposition(snapshot=self.now)

    def series(self, seconds: int) -> Sequence[SeriesPoint]:
        self.asked.append(seconds)
        return (self.now.point,)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def health(told: Told) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(health_app(told)), base_url="http://t") as client:
        yield client


@pytest.fixture
async def monitoring(told: Told) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(monitoring_app(told)), base_url="http://t") as client:
        yield client


def read(answer: httpx.Response) -> Health:
    return msgspec.json.decode(answer.content, type=Health)


async def test_live_while_nothing_is_ready(told: Told, health: httpx.AsyncClient) -> None:
    told.now = snapshot(ready=0, edge_up=False)
    assert (await health.get("/health/live")).status_code == 200


async def test_ready_needs_one_replica_of_each_wanted_workload_and_the_edge(
    told: Told, health: httpx.AsyncClient
) -> None:
    answer = await health.get("/health/ready")
    assert (answer.status_code, read(answer).workloads) == (200, {"llm": "2/2"})
    told.now = snapshot(ready=1)
    assert (await health.get("/health/ready")).status_code == 200
    told.now = snapshot(ready=0)
    answer = await health.get("/health/ready")
    assert (answer.status_code, read(answer).reason) == (503, "no replica is Ready in llm")
    told.now = snapshot(edge_up=False)
    assert read(await health.get("/health/ready")).reason == "the edge is down"
    told.now = msgspec.structs.replace(snapshot(edge_up=False), has_edge=False)
    assert (await health.get("/health/ready")).status_code == 200, "a platform's fleet may have no edge at all"
    told.now = snapshot(ready=0, wanted=0)
    assert (await health.get("/health/ready")).status_code == 200


async def test_startup_stays_started(told: Told, health: httpx.AsyncClient) -> None:
    told.now = snapshot(ready=0)
    answer = await health.get("/health/startup")
    assert (answer.status_code, read(answer).status) == (503, "starting")
    told.now = snapshot(ready=1)
    assert (await health.get("/health/startup")).status_code == 200
    told.now = snapshot(ready=0)
    assert (await health.get("/health/startup")).status_code == 200


async def test_metrics_are_prometheus_text(monitoring: httpx.AsyncClient) -> None:
    answer = await monitoring.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "trinity_total_requests 0" in answer.text


async def test_status_and_dashboard_are_json(told: Told, monitoring: httpx.AsyncClient) -> None:
    assert (await monitoring.get("/status")).json()["fleet"] == "local"
    assert len((await monitoring.get("/dashboard")).json()["series"]) == 1
    await monitoring.get("/dashboard?seconds=60")
    assert told.asked == [600, 60]


@pytest.mark.parametrize("asked", ["0", "3601", "-1", "ten", "", "9" * 5000, "\uff11"])
async def test_a_wrong_span_is_refused(asked: str, monitoring: httpx.AsyncClient) -> None:
    answer = await monitoring.get("/dashboard", params={"seconds": asked})
    assert answer.status_code == 400
    assert "1 to 3600" in answer.json()["message"]


async def test_the_root_lists_what_there_is(monitoring: httpx.AsyncClient, health: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/status", "/dashboard"):
        assert f'href="{path}"' in (await monitoring.get("/")).text
    assert 'href="/health/ready"' in (await health.get("/")).text
    assert (await health.get("/nothing")).status_code == 404
