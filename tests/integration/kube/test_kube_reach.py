"""Pods that get requests through our edge are reached by their own addresses, or where those lead nowhere from here,
through the API server; and the screen shows either as the replica's address.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.contract.fleet import WorkloadSpec
from backend.contract.words import Phase
from backend.fleet.kube import reach as reach_module
from tests.integration.kube.rig import Watched, until, watching
from tests.integration.kube.test_kube_verbs import quick, ready
from tests.kube_emulator import Emulator
from tests.kube_emulator.scenes import workload

ROUTED = WorkloadSpec(name="web", of="deployment/web", command=(), routes=("/",), port=8080)


def place(rig: Watched, name: str) -> tuple[str, int | None]:
    status = rig.replica(name)
    return status.host, status.port


async def asked(host: str, port: int | None) -> bytes:
    """What is answered to `hello`."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"hello")
    try:
        async with asyncio.timeout(60.0):
            return await reader.read()
    finally:
        writer.close()


async def shouting(cluster: Emulator, name: str) -> asyncio.Server:
    """A server behind port 8080 of a pod, which answers in capitals."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    cluster.streams.ports["default", name, 8080] = server.sockets[0].getsockname()[:2]
    return server


@pytest.mark.parametrize("reach", ["forward", "auto"])
async def test_a_pod_out_of_reach_is_reached_through_the_api_server(tmp_path: Path, reach: str) -> None:
    async with quick() as cluster, watching(cluster, tmp_path, reach=reach) as rig:
        rig.fleet.declare([ROUTED])
        # An address of this machine at which nobody listens: some networks answer for every other one.
        cluster.kubelet.pod_ip = lambda real: "127.99.99.99"  # type: ignore[method-assign]
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)
        assert place(rig, name) != ("127.99.99.99", 8080), "not before it is known"
        server = await shouting(cluster, name)
        await until(lambda: place(rig, name)[0] == "127.0.0.1" and place(rig, name)[1], "its way is known")
        assert await asked(*place(rig, name)) == b"HELLO"
        before = cluster.counts.of("get", "pods/portforward")
        _, writer = await asyncio.open_connection(*place(rig, name))
        writer.close()
        await writer.wait_closed()
        assert await asked(*place(rig, name)) == b"HELLO"
        assert cluster.counts.of("get", "pods/portforward") == before + 1, "a check that only connects costs nothing"
        del cluster.streams.ports["default", name, 8080]
        with pytest.raises(ConnectionError):
            await asked(*place(rig, name))
        host, port = place(rig, name)
        await rig.fleet.kill(name)
        await until(lambda: name not in rig.names, "it is gone")
        await until(lambda: not rig.fleet._reach._ending, "its listener too")
        with pytest.raises(ConnectionError):
            await asked(host, port)
        server.close()


async def test_a_pod_within_reach_is_reached_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_module, "_TRY_S", 60.0)
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        rig.fleet.declare([WorkloadSpec(name="web", of="web", command=(), routes=("/",), port=port)])
        made = workload("web", replicas=1)
        made["spec"]["template"]["metadata"]["annotations"] = {"emulator.test/run": "process"}
        made["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "1000"]
        cluster.kubelet.addresses.take = lambda: "127.0.0.1"  # type: ignore[method-assign]
        cluster.add("Deployment", made, namespace="default")
        [name] = await ready(rig, "web", 1)
        await until(lambda: place(rig, name) == ("127.0.0.1", port), "at its own address")
        assert cluster.counts.of("get", "pods/portforward") == 0
        server.close()


async def test_a_pod_that_gets_no_requests_is_shown_where_it_is(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path, reach="forward") as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)
        assert rig.replica(name).phase is Phase.READY
        assert place(rig, name)[0].startswith("10.244.")
        assert place(rig, name)[1] == 8080


async def test_where_nobody_answers_no_check_passes_until_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach_module, "_LISTENS_S", 3.0)
    async with quick() as cluster, watching(cluster, tmp_path, reach="forward") as rig:
        rig.fleet.declare([ROUTED])
        cluster.kubelet.pod_ip = lambda real: "127.99.99.99"  # type: ignore[method-assign]
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)
        server = await shouting(cluster, name)
        await until(lambda: place(rig, name)[0] == "127.0.0.1", "its way is known")
        here = place(rig, name)
        behind = cluster.streams.ports.pop(("default", name, 8080))
        with pytest.raises(ConnectionError):
            await asked(*here)
        with pytest.raises(ConnectionRefusedError):  # at once: this is what the edge's checks ask
            await asyncio.open_connection(*here)
        assert place(rig, name) == here, "it is the same replica at the same place"
        cluster.streams.ports["default", name, 8080] = behind
        async with asyncio.timeout(60.0):
            while True:
                try:
                    answer = await asked(*here)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                else:
                    break
        assert answer == b"HELLO"
        server.close()


async def test_who_hangs_up_leaves_no_stream_open(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path, reach="forward") as rig:
        rig.fleet.declare([ROUTED])
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)

        async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data.upper())

        server = await asyncio.start_server(patient, "127.0.0.1", 0)
        cluster.streams.ports["default", name, 8080] = server.sockets[0].getsockname()[:2]
        await until(lambda: place(rig, name)[0] == "127.0.0.1", "its way is known")
        reader, writer = await asyncio.open_connection(*place(rig, name))
        for words in (b"one", b"two"):
            writer.write(words)
            assert await reader.read(100) == words.upper(), "the connection is good for several requests"
        assert len(cluster.streams.open_streams) == 1
        writer.close()
        await until(lambda: not cluster.streams.open_streams, "its stream is closed")
        server.close()
