"""Scale, logs, evictions, exec, forwards and the pod proxy, by the client library where it has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client
from kubernetes.aio.stream import WsApiClient

from tests.kube_emulator import ADMIN_TOKEN, Emulator
from tests.kube_emulator.logs import Output
from tests.kube_emulator.programs import Session
from tests.kube_emulator.scenes import running_pod, workload
from tests.unit.kube_emulator.talk import client_of, get

POD = "/api/v1/namespaces/default/pods/web-1"


@pytest.fixture
def pod(cluster: Emulator) -> dict[str, Any]:
    return cluster.add("Pod", running_pod("web-1"))


@pytest.fixture
def output(cluster: Emulator, pod: dict[str, Any]) -> Output:
    return cluster.logs.start(pod["metadata"]["uid"], "main")


async def test_scale_is_read_put_and_patched(cluster: Emulator, api: client.ApiClient) -> None:
    apps = client.AppsV1Api(api)
    cluster.add("StatefulSet", workload("db", replicas=2) | {"status": {"replicas": 2}})
    scale = await apps.read_namespaced_stateful_set_scale("db", "default")
    assert (scale.spec.replicas, scale.status.replicas, scale.status.selector) == (2, 2, "app=db")
    assert (
        await apps.patch_namespaced_stateful_set_scale("db", "default", {"spec": {"replicas": 5}})
    ).spec.replicas == 5
    scale.spec.replicas = 9
    with pytest.raises(client.ApiException) as refused:
        await apps.replace_namespaced_stateful_set_scale("db", "default", scale)
    assert refused.value.status == 409
    with pytest.raises(client.ApiException) as refused:
        await apps.patch_namespaced_stateful_set_scale("db", "default", {"spec": {"replicas": -1}})
    assert refused.value.status == 422


async def test_logs_by_tail_time_bytes_and_with_times(cluster: Emulator, api: client.ApiClient, output: Output) -> None:
    core = client.CoreV1Api(api)
    for number in range(5):
        output.say(f"line {number}", ts=1_700_000_000.25 + number)

    async def read(**query: Any) -> str:
        return str(await core.read_namespaced_pod_log("web-1", "default", **query))

    assert await read() == "line 0\nline 1\nline 2\nline 3\nline 4\n"
    assert await read(tail_lines=2) == "line 3\nline 4\n"
    assert await read(tail_lines=0) == ""
    assert await read(limit_bytes=9) == "line 0\nli"
    assert await read(tail_lines=1, timestamps=True) == "2023-11-14T22:13:24.250000000Z line 4\n"
    answer = await get_text(cluster, f"{POD}/log?sinceTime=2023-11-14T22:13:23Z")
    assert answer == "line 3\nline 4\n"


async def get_text(cluster: Emulator, path: str) -> str:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with aiohttp.request("GET", cluster.url + path, headers=headers) as answer:
        return await answer.text()


async def test_following_tells_new_lines_until_the_container_ends(
    cluster: Emulator, http: aiohttp.ClientSession, output: Output
) -> None:
    output.say("before")
    async with http.get(f"{POD}/log", params={"follow": "true"}) as answer:
        assert await answer.content.readline() == b"before\n"
        output.say("after\nand after")
        assert await answer.content.readline() == b"after\n"
        assert await answer.content.readline() == b"and after\n"
        output.end()
        assert await asyncio.wait_for(answer.content.readline(), 60) == b""


async def test_the_previous_container_and_the_lack_of_one(
    cluster: Emulator, http: aiohttp.ClientSession, pod: dict[str, Any], output: Output
) -> None:
    refused = await get(http, f"{POD}/log", previous="true")
    assert refused["message"] == 'previous terminated container "main" in pod "web-1" not found'
    output.say("last words")
    cluster.logs.start(pod["metadata"]["uid"], "main").say("born again")
    assert await get_text(cluster, f"{POD}/log?previous=true") == "last words\n"
    assert await get_text(cluster, f"{POD}/log") == "born again\n"


async def test_a_container_must_be_named_where_there_are_several(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    two = running_pod("two")
    two["spec"]["containers"].append({"name": "side", "image": "x"})
    cluster.add("Pod", two)
    path = "/api/v1/namespaces/default/pods/two/log"
    refused = await get(http, path)
    assert refused["message"] == "a container name must be specified for pod two, choose one of: [main side]"
    assert (await get(http, path, container="nope"))["code"] == 400
    assert await get_text(cluster, f"{path}?container=side") == ""


async def test_evictions_stop_at_the_disruption_budget(cluster: Emulator, api: client.ApiClient) -> None:
    for number in range(3):
        cluster.add("Pod", running_pod(f"web-{number}"))
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    cluster.add("PodDisruptionBudget", {"metadata": {"name": "keep-two"}, "spec": budget})
    core = client.CoreV1Api(api)

    async def evict(name: str) -> Any:
        return await core.create_namespaced_pod_eviction(name, "default", {"metadata": {"name": name}})

    await evict("web-0")
    with pytest.raises(client.ApiException) as refused:
        await evict("web-1")
    status = json.loads(refused.value.body)
    assert refused.value.status == 429
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    cause = "The disruption budget keep-two needs 2 healthy pods and has 2 currently"
    assert status["details"]["causes"] == [{"reason": "DisruptionBudget", "message": cause}]
    cluster.add("Pod", running_pod("web-3"))
    await evict("web-1")
    cluster.subresources.eviction_retry_after_s = 7
    with pytest.raises(client.ApiException) as again:
        await evict("web-2")
    assert again.value.headers["Retry-After"] == "7"
    assert [pod["metadata"]["name"] for pod in cluster.registry.all("Pod")] == ["web-2", "web-3"]


@pytest.fixture
async def streaming(cluster: Emulator) -> AsyncIterator[client.CoreV1Api]:
    plain = client_of(cluster)
    async with WsApiClient(plain.configuration) as found:
        yield client.CoreV1Api(found)
    await plain.close()


async def test_exec_runs_a_program_and_tells_its_exit_status(
    cluster: Emulator, pod: dict[str, Any], streaming: client.CoreV1Api
) -> None:
    async def run(*argv: str) -> tuple[str, str, int]:
        wants = {"stdout": True, "stderr": True, "stdin": False, "tty": False}
        opened = await streaming.connect_get_namespaced_pod_exec_without_preload_content(
            "web-1", "default", command=list(argv), **wants
        )
        streams = {1: b"", 2: b"", 3: b""}
        async with opened as socket:
            async for message in socket:
                streams[message.data[0]] += message.data[1:]
        return streams[1].decode(), streams[2].decode(), WsApiClient.parse_error_data(streams[3].decode())

    assert await run("echo", "hello", "there") == ("hello there\n", "", 0)
    assert await run("sh", "-c", "echo out; echo oops >&2; exit 3") == ("out\n", "oops\n", 3)

    async def double(session: Session) -> int:
        await session.out(str(2 * int(session.argv[1])))
        return 0

    cluster.programs.register("double", double)
    assert await run("double", "21") == ("42", "", 0)


async def test_a_program_that_is_not_there_and_a_pod_that_does_not_run(
    cluster: Emulator, pod: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    params = {"command": "nope", "stdout": "true"}
    async with http.ws_connect(f"{POD}/exec", params=params, protocols=("v5.channel.k8s.io",)) as socket:
        told = b"".join([message.data[1:] async for message in socket if message.data[0] == 3])
    assert json.loads(told)["reason"] == "InternalError" and 'exec: "nope"' in json.loads(told)["message"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/api/v1/namespaces/default/pods/gone/exec", params=params)
    assert refused.value.status == 404


async def test_a_terminal_takes_input_sizes_and_the_end_of_input(
    cluster: Emulator, pod: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    params = [("command", "cat"), ("stdin", "true"), ("stdout", "true"), ("tty", "true")]
    async with http.ws_connect(f"{POD}/exec", params=params, protocols=("v5.channel.k8s.io",)) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        assert (await socket.receive_bytes()) == b"\x01"
        await socket.send_bytes(b"\x00abc")
        assert (await socket.receive_bytes()) == b"\x01abc"
        await socket.send_bytes(b"\xff\x00")
        assert json.loads((await socket.receive_bytes())[1:])["status"] == "Success"
    params[0] = ("command", "sh")
    async with http.ws_connect(f"{POD}/exec", params=params, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b'\x04{"Width":132,"Height":50}')
        await socket.send_bytes(b"\x00stty; exit 4\n")
        told = b""
        async for message in socket:
            if message.data[0] == 3:
                assert json.loads(message.data[1:])["details"]["causes"][0]["message"] == "4"
            else:
                told += message.data[1:]
    assert told == b"$ stty; exit 4\r\n50 132\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = await reader.readline()
    if line.startswith(b"GET"):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\n" + line.split()[1][:4])
    else:
        writer.write(line.upper())
    await writer.drain()
    writer.close()


async def test_a_forward_leads_to_a_real_port_and_tells_of_refused_ones(
    cluster: Emulator, pod: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    cluster.streams.ports["default", "web-1", 8080] = server.sockets[0].getsockname()[:2]
    async with (
        server,
        http.ws_connect(f"{POD}/portforward", params={"ports": "8080"}, protocols=("v4.channel.k8s.io",)) as socket,
    ):
        assert await socket.receive_bytes() == b"\x00" + (8080).to_bytes(2, "little")
        assert await socket.receive_bytes() == b"\x01" + (8080).to_bytes(2, "little")
        await socket.send_bytes(b"\x00hello\n")
        assert await socket.receive_bytes() == b"\x00HELLO\n"
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    async with http.ws_connect(f"{POD}/portforward", params={"ports": "9"}, protocols=("v4.channel.k8s.io",)) as socket:
        frames = [message.data async for message in socket]
    assert frames[2][0] == 1 and b"connection refused" in frames[2]


async def test_the_pod_proxy_leads_to_its_port(
    cluster: Emulator, pod: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        cluster.streams.ports["default", "web-1", 8080] = server.sockets[0].getsockname()[:2]
        async with http.get(f"{POD}:8080/proxy/met/rics") as answer:
            assert (answer.status, await answer.text()) == (200, "/met")
    refused = await get(http, f"{POD}:9/proxy/metrics")
    assert refused["code"] == 503 and "connection refused" in refused["message"]


async def test_metrics_of_pods_and_nodes(cluster: Emulator, pod: dict[str, Any], api: client.ApiClient) -> None:
    cluster.metrics.usage["default", "web-1"] = (250, 64 << 20)
    custom = client.CustomObjectsApi(api)
    found = await custom.list_namespaced_custom_object("metrics.k8s.io", "v1beta1", "default", "pods")
    assert found["items"][0]["containers"] == [{"name": "main", "usage": {"cpu": "250000000n", "memory": "65536Ki"}}]
    cluster.metrics.on = False
    with pytest.raises(client.ApiException) as refused:
        await custom.list_namespaced_custom_object("metrics.k8s.io", "v1beta1", "default", "pods")
    assert refused.value.status == 404
