"""A cluster that runs an edge of ours: what clients of it see is what the daemon's snapshot, rows and previews say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from backend.config.fleet_file import parse_fleet_file
from backend.config.paths import StatePaths
from backend.config.resolve import resolve
from backend.contract.clock import SystemClock
from backend.contract.control import ReplicaView
from backend.contract.rows import RequestRow
from backend.daemon.parts import Parts
from tests.integration.discovery_rig import Rig, rig
from tests.integration.edge_bench import client
from tests.integration.kube.rig import until
from tests.kube_emulator import Emulator
from tests.kube_emulator.scenes import pod_template, running_pod, workload

A, B = "127.0.0.2", "127.0.0.3"


def of_release(part: str) -> dict[str, str]:
    """Labels as the chart writes them."""
    keys = {"name": "trinity", "instance": "shop", "component": part}
    return {f"app.kubernetes.io/{key}": text for key, text in keys.items()}


def add(cluster: Emulator, part: str, pods: dict[str, str]) -> None:
    """A part of a release: its Deployment, and running pods with these addresses."""
    name = f"shop-{part}"
    template = pod_template(name)
    template["metadata"]["labels"] = of_release(part)
    spec: dict[str, Any] = {"selector": {"matchLabels": of_release(part)}}
    cluster.add("Deployment", workload(name, replicas=len(pods), template=template, **spec))
    for pod, address in pods.items():
        made = running_pod(pod, ip=address)
        made["metadata"]["labels"] = of_release(part) | {"pod-template-hash": "abc"}
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-abc", "uid": "1", "controller": True}
        made["metadata"]["ownerReferences"] = [owner]
        cluster.add("Pod", made)


@contextlib.asynccontextmanager
async def logging(cluster: Emulator, edge: Rig, pod: str) -> AsyncIterator[None]:
    """What the edge writes is the pod's log."""
    told = 0

    async def tell() -> None:
        nonlocal told
        while True:
            lines = (edge.folder / "out").read_bytes().split(b"\n")[:-1]
            for line in lines[told:]:
                cluster.logs.current(cluster.registry.stored("Pod", "default", pod).uid, "main").say(line)
            told = len(lines)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def daemon(cluster: Emulator, place: Path) -> AsyncIterator[Parts]:
    """The parts of a daemon that looks after the namespace."""
    kubeconfig = cluster.write_kubeconfig(place / "kubeconfig")
    text = f"trinity: 1\nfleet: shop\ndriver: kubernetes\nkubernetes: {{kubeconfig: {kubeconfig}, reach: forward}}\n"
    config = resolve(parse_fleet_file(text, "t"), "t", text)
    parts = Parts(StatePaths(place / "s").create(), config, SystemClock())
    await parts.open()
    try:
        yield parts
    finally:
        await parts.close()


def view(parts: Parts, name: str) -> ReplicaView:
    return next(held for held in parts.snapshot().replicas if held.status.name == name)


def ended(parts: Parts) -> list[RequestRow]:
    rows = parts.ledger.recent("requests", where={"vantage": "edge"})
    return [row for row in rows if isinstance(row, RequestRow)]


async def ask(http: httpx.AsyncClient, edge: Rig, name: str) -> str:
    """A streamed answer; returns the address of who gave it."""
    answer = await http.post(edge.url, json={"stream": True}, headers={"x-request-id": name})
    assert answer.status_code == 200
    return str(answer.headers["x-trinity-replica"])


async def test_a_request_in_the_cluster_is_ttft_here(tmp_path: Path) -> None:
    async with Emulator() as cluster, rig(tmp_path, 2, 3) as edge, client() as http:
        add(cluster, "edge", {"shop-edge-abc-1": "127.0.0.1"})
        add(cluster, "llm", {"shop-llm-abc-1": A, "shop-llm-abc-2": B})
        cluster.streams.ports["default", "shop-edge-abc-1", 9090] = ("127.0.0.1", edge.ports["metrics"])
        pods = {A: "shop-llm-abc-1", B: "shop-llm-abc-2"}
        await edge.takes(http, A, B)
        async with logging(cluster, edge, "shop-edge-abc-1"):
            async with daemon(cluster, tmp_path) as parts:
                await until(lambda: parts.snapshot().has_edge, "the edge is seen")
                by = await ask(http, edge, "one")
                await until(lambda: view(parts, pods[by]).ttft.count >= 1, "the replica's TTFT")
                await until(lambda: any(row.request_id == "one" for row in ended(parts)), "its end, logged after it")
                await until(lambda: parts.snapshot().point.ttft.p50_s is not None, "the TTFT of all")
                await until(lambda: parts.snapshot().edge_up, "the edge is up")
                snapshot = parts.snapshot()
                assert (snapshot.edge_up, snapshot.edge_slots, snapshot.public_url) == (True, False, "")
                [row] = [row for row in ended(parts) if row.request_id == "one"]
                assert (row.workload, row.replica, row.stream) == ("shop-llm", pods[by], True)
                assert row.ttft_s is not None
                assert parts._ttft("shop-llm").count >= 1, "previews of the workload know it"
                for replica in edge.replicas.values():
                    replica.go.clear()
                waiting = [asyncio.create_task(http.post(edge.url, json={"wait": True})) for _ in range(3)]

                def in_flight() -> int:
                    return next(w.in_flight for w in parts.snapshot().workloads if w.name == "shop-llm")

                await until(lambda: in_flight() == 3, "what is under way is counted")
                for replica in edge.replicas.values():
                    replica.go.set()
                await asyncio.gather(*waiting)
                before = len(ended(parts))
            await ask(http, edge, "meanwhile")
            async with daemon(cluster, tmp_path) as parts:

                def known() -> list[str]:
                    return [row.request_id for row in ended(parts)]

                await until(lambda: "meanwhile" in known(), "what was missed is read")
                assert len(known()) >= before and len(set(known())) == len(known()), "each once"
