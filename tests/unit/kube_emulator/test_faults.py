"""Every fault that a test may order does what it says, to the requests it is for, as often as was said."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.kube_emulator import Emulator
from tests.kube_emulator.scenes import running_pod
from tests.unit.kube_emulator.talk import get, until

PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (410, "Expired"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (409, "Conflict"),
    ],
)
async def test_answers_are_given_n_times(
    cluster: Emulator, http: aiohttp.ClientSession, code: int, reason: str
) -> None:
    order = cluster.faults.answer(code, times=2, verb="list", resource="pods")
    assert (await get(http, "/api/v1/nodes"))["kind"] == "NodeList", "it is not for others"
    for _ in range(2):
        assert (await get(http, PODS))["reason"] == reason
    assert (await get(http, PODS))["kind"] == "PodList"
    assert order.hits == 2


async def test_too_many_requests_tells_when_to_come_again(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    cluster.faults.answer(429, retry_after_s=3)
    async with http.get(PODS) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_a_request_that_hangs_goes_on_when_released(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    order = cluster.faults.hang(resource="pods")
    waiting = asyncio.ensure_future(get(http, PODS))
    await until(lambda: order.hits)
    assert (await get(http, "/api/v1/nodes"))["kind"] == "NodeList" and not waiting.done()
    cluster.faults.release()
    assert (await waiting)["kind"] == "PodList"


async def test_a_delay_is_a_delay(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    cluster.faults.delay(0.05)
    begun = asyncio.get_running_loop().time()
    await get(http, PODS)
    assert asyncio.get_running_loop().time() - begun >= 0.05


async def test_connections_are_reset_or_answered_with_garbage(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    cluster.faults.reset()
    with pytest.raises(aiohttp.ClientError):
        await http.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "c"}})
    cluster.faults.garbage()
    with pytest.raises(aiohttp.ClientError):
        await http.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "c"}})
    assert cluster.registry.all("ConfigMap") == [], "it was never served"
    assert (await get(http, PODS))["kind"] == "PodList"


async def test_the_server_goes_and_comes_back_on_its_port_with_all_it_had(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.add("Pod", running_pod("a"))
    url = cluster.url
    async with http.get(PODS, params={"watch": "1", "resourceVersion": str(cluster.store.version)}) as watch:
        await cluster.stop_listening()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await watch.content.readline()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(http, PODS)
    cluster.add("Pod", running_pod("b"))
    await cluster.start()
    assert cluster.url == url
    assert len((await get(http, PODS))["items"]) == 2


async def test_all_requests_are_counted_and_remembered(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    await get(http, PODS, limit=5)
    await get(http, f"{PODS}/nope")
    await get(http, "/apis/apps/v1/deployments")
    await get(http, f"{PODS}/nope/log")
    await get(http, "/version")
    assert dict(cluster.counts.by_request) == {
        ("list", "pods"): 1,
        ("get", "pods"): 1,
        ("list", "deployments.apps"): 1,
        ("get", "pods/log"): 1,
        ("get", "-"): 1,
    }
    assert [(seen.name, seen.status) for seen in cluster.counts.log][:2] == [("", 200), ("nope", 404)]
    counts = await get(http, "/emulator/counts")
    assert counts["list pods"] == 1 and cluster.counts.total() == 5
