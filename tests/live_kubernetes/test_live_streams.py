"""Programs, connections, logs and descriptions on a cluster, and what an account without rights is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.contract.errors import Refused, Unreachable
from backend.contract.words import Phase
from backend.ledger.logs import LogReader
from tests.integration.kube.test_kube_streams import all_of
from tests.live_kubernetes.manifests import COUNTING, IDLE, NO_SERVER, template, workload
from tests.live_kubernetes.place import Cluster


async def test_programs_run_in_a_container(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("shell", template("shell", cluster.image, IDLE)))
        [name] = await cluster.ready(fleet, "shell", 1)
        stream = await fleet.exec(name, ["/bin/sh", "-c", "echo out; exit 3"], tty=False)
        assert await all_of(stream) == b"out\n"
        assert await stream.exit_code() == 3
        await stream.close()
        missing = await fleet.exec(name, ["/no/such/program"], tty=False)
        assert await missing.exit_code() in (126, 127)
        await missing.close()
        echo = await fleet.exec(name, ["cat"], tty=False)
        reading = asyncio.create_task(all_of(echo))
        await echo.write(b"0123456789abcdef" * 8192)
        await echo.end()
        async with asyncio.timeout(60.0):
            assert await reading == b"0123456789abcdef" * 8192
        await echo.close()


async def test_a_terminal_has_a_size(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("terminal", template("terminal", cluster.image, IDLE)))
        [name] = await cluster.ready(fleet, "terminal", 1)
        stream = await fleet.exec(name, ["/bin/sh"], tty=True, columns=101, rows=31)
        seen = b""

        async def shown(words: bytes) -> None:
            nonlocal seen
            async with asyncio.timeout(60.0):
                while words not in seen:
                    data = await stream.read()
                    assert data, f"the shell ended: {seen!r}"
                    seen += data

        await stream.resize(121, 41)
        await stream.write(b"stty size\n")
        await shown(b"41 121")
        await stream.write(b"exit 7\n")
        assert await stream.exit_code() == 7
        await stream.close()


async def test_a_port_is_reached_through_the_api_server(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        made = template("served", cluster.image, IDLE)
        made["spec"]["containers"][0] |= cluster.serving()
        await cluster.make("Deployment", workload("served", made))
        [name] = await cluster.ready(fleet, "served", 1)
        answer = b""
        async with asyncio.timeout(cluster.patience_s):
            while b"hello from a pod" not in answer:
                [status] = [status for status in fleet.observe() if status.workload == "served"]
                exited = status.last_exit is not None and status.last_exit.code == 42
                assert not exited, f"TRINITY_TEST_IMAGE cannot serve: {NO_SERVER}."
                try:
                    stream = await fleet.dial(name, 8080)
                    try:
                        await stream.write(b"GET /index.html HTTP/1.0\r\nHost: pod\r\n\r\n")
                        async with asyncio.timeout(10.0):  # not every server closes
                            while b"hello from a pod" not in answer and (data := await stream.read()):
                                answer += data
                    finally:
                        await stream.close()
                except (Unreachable, TimeoutError):
                    await asyncio.sleep(0.1)  # it does not listen yet
        with pytest.raises(Unreachable, match="Nothing listens at port 9"):
            await all_of(await fleet.dial(name, 9))


async def test_logs_go_on_without_doubles_or_gaps_where_the_connection_is_cut(cluster: Cluster, tmp_path: Path) -> None:
    async with (
        cluster.cuttable(tmp_path) as (kubeconfig, proxy),
        cluster.fleet(tmp_path, kubeconfig=kubeconfig) as fleet,
    ):
        await cluster.make("Deployment", workload("counting", template("counting", cluster.image, COUNTING)))
        [name] = await cluster.ready(fleet, "counting", 1)
        await fleet.want_logs([name])

        def lines() -> list[str]:
            return [row.message for row in LogReader(fleet.paths.logs_dir).tail(replicas=[name], limit=5000).rows]

        await cluster.until(lambda: len(lines()) >= 3, "three lines")
        for _ in range(2):
            before = len(lines())
            await proxy.cut()
            await asyncio.sleep(0.3)
            await proxy.heal()
            await cluster.until(lambda count=before: len(lines()) >= count + 3, "and some more")  # type: ignore[misc]
        seen = lines()
        assert seen == [f"line {number}" for number in range(1, len(seen) + 1)]
        await fleet.scale("counting", 0)


async def test_everything_can_be_described(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        made = template("described", cluster.image, IDLE, API_TOKEN="not to be shown")
        await cluster.make("Deployment", workload("described", made))
        [name] = await cluster.ready(fleet, "described", 1)
        node = next(status.node for status in fleet.observe() if status.name == name)
        for thing, kind in ((name, "Pod"), ("described", "Deployment"), (node, "Node")):
            found = await fleet.describe(thing)
            assert found.kind == kind
            assert found.sections[-1][0] in ("Events", "Not Shown")
            assert "not to be shown" not in found.source
            assert "not to be shown" not in str(found.sections)


async def test_a_reader_sees_pods_and_is_told_what_it_lacks(cluster: Cluster, tmp_path: Path) -> None:
    kubeconfig = await cluster.reader(tmp_path)
    async with cluster.fleet(tmp_path, kubeconfig=kubeconfig) as fleet:
        await cluster.make("Deployment", workload("guarded", template("guarded", cluster.image, IDLE)))
        [name] = await cluster.ready(fleet, "guarded", 1)
        await cluster.until(lambda: "scale" in fleet.limits(), "rights are known")
        rule = f"needs `patch` on `deployments/scale` (apps) in namespace {cluster.namespace}"
        assert fleet.limits()["scale"] == rule
        assert {"rollout", "kill", "evict", "exec", "forward", "cordon", "node-drain"} <= set(fleet.limits())
        with pytest.raises(Refused, match="needs `patch` on `deployments/scale`"):
            await fleet.scale("guarded", 2)
        with pytest.raises(Refused, match="needs `delete` on `pods`"):
            await fleet.kill(name)
        with pytest.raises(Refused, match="`pods/exec`"):
            await fleet.exec(name, ["true"], tty=False)


async def test_a_watch_is_resumed_after_the_api_server_was_away(cluster: Cluster, tmp_path: Path) -> None:
    async with (
        cluster.cuttable(tmp_path) as (kubeconfig, proxy),
        cluster.fleet(tmp_path, kubeconfig=kubeconfig) as fleet,
    ):
        await cluster.make("Deployment", workload("watched", template("watched", cluster.image, IDLE)))
        await cluster.ready(fleet, "watched", 1)
        lists = fleet.access.requests["list pods"]
        await proxy.cut()
        await cluster.change("Deployment", "watched", {"spec": {"replicas": 3}})
        await cluster.until(lambda: fleet.trouble() is not None, "trouble is told")
        trouble = fleet.trouble()
        assert trouble is not None
        assert trouble.kind == "unreachable"
        with pytest.raises(Unreachable):
            await fleet.scale("watched", 5)
        assert [status.phase for status in fleet.observe() if status.workload == "watched"] == [Phase.READY]
        await proxy.heal()
        await cluster.ready(fleet, "watched", 3)
        assert fleet.trouble() is None
        assert fleet.access.requests["list pods"] == lists, "taken up where it broke"
