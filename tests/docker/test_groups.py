"""Containers that belong together are one workload: seen, scaled and rolled as one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.contract.errors import Refused, TrinityError
from backend.contract.words import Phase
from tests.docker.engine import Engine
from tests.docker.fleet_rig import POLITE, SERVE, FleetRig, compose, fleet_on


def wanted(rig: FleetRig) -> dict[str, int]:
    return {held.spec.name: held.spec.replicas for held in rig.fleet.workloads()}


def names(rig: FleetRig, workload: str) -> list[str]:
    return sorted(status.name for status in rig.fleet.observe() if status.workload == workload)


async def test_a_compose_project_is_a_fleet_whose_services_scale(engine: Engine, busybox: str, tmp_path: Path) -> None:
    network = await asyncio.to_thread(lambda: engine.sdk.networks.create("shop_default", labels={"test": "compose"}))
    try:
        async with fleet_on(tmp_path, engine, busybox, label="compose", project="shop") as rig:
            await asyncio.gather(
                rig.run(
                    "shop-web-1",
                    *SERVE,
                    labels=compose("web", 1),
                    ports={"8080/tcp": ("127.0.0.1", 0)},
                    network="shop_default",
                    environment={"MODE": "fast"},
                    mem_limit="64m",
                    tmpfs={"/scratch": "size=1m"},
                    stop_signal="SIGKILL",
                ),
                rig.run("shop-db-1", labels=compose("db", 1), ports={"5432/tcp": ("127.0.0.1", 54329)}),
                rig.run("shop-web-run-1", labels=compose("web", 1) | {"com.docker.compose.oneoff": "True"}),
                rig.run("other-web-1", labels=compose("web", 1, project="other")),
            )
            await rig.phase("shop-web-1", Phase.READY)
            await rig.phase("shop-db-1", Phase.READY)
            assert names(rig, "web") == ["shop-web-1"] and len(rig.fleet.observe()) == 2, "one project, no one-off runs"
            assert wanted(rig) == {"web": 1, "db": 1}
            assert {held.kind for held in rig.fleet.workloads()} == {"compose"}

            assert await rig.fleet.scale("web", 3) == 1
            assert names(rig, "web") == ["shop-web-1", "shop-web-2", "shop-web-3"] and wanted(rig)["web"] == 3
            third = await rig.phase("shop-web-3", Phase.READY)
            ports = {status.port for status in rig.fleet.observe() if status.workload == "web"}
            assert None not in ports and len(ports) == 3, "each has a port of its own"
            made = await asyncio.to_thread(lambda: engine.api.inspect_container("shop-web-3"))
            assert made["Config"]["Labels"] == compose("web", 3) | {"test": "compose"}
            assert "MODE=fast" in made["Config"]["Env"] and made["HostConfig"]["Memory"] == 64 * 2**20
            assert list(made["NetworkSettings"]["Networks"]) == ["shop_default"]
            assert made["HostConfig"]["Tmpfs"] == {"/scratch": "size=1m"}
            assert third.memory_limit_bytes == 64 * 2**20

            assert await rig.fleet.scale("web", 1) == 3
            assert names(rig, "web") == ["shop-web-1"], "the highest numbers go"
            assert await rig.fleet.scale("web", 0) == 1
            await rig.phase("shop-web-1", Phase.NOT_READY, "stopped")
            assert wanted(rig)["web"] == 0, "the last one is kept, stopped, as the pattern"
            assert await rig.fleet.scale("web", 2) == 0
            assert names(rig, "web") == ["shop-web-1", "shop-web-2"]
            await rig.phase("shop-web-1", Phase.READY)
            with pytest.raises(Refused, match="publishes its port 5432 as 54329; only one"):
                await rig.fleet.scale("db", 2)
            assert wanted(rig)["db"] == 1
            described = await rig.fleet.describe("web")
            assert any("2 ready" in line for _, lines in described.sections for line in lines)
            assert "MODE=fast" in described.source, "no compose file is named: what its containers were made of"
    finally:
        await asyncio.to_thread(network.remove)


async def test_a_rolling_restart_goes_one_by_one_and_stops_at_the_first_that_is_not_ready(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    check = {"test": ["CMD-SHELL", "test ! -f /tmp/sick"], "interval": 200_000_000, "retries": 1}
    sick = "test -f /tmp/marked && touch /tmp/sick; " + POLITE[2]
    async with fleet_on(tmp_path, engine, busybox, label="roll") as rig:
        label = {"trinity.workload": "pool"}
        await asyncio.gather(
            *(rig.run(f"pool-{n}", "sh", "-c", sick, labels=label, healthcheck=check) for n in (1, 2, 3))
        )
        for n in (1, 2, 3):
            await rig.phase(f"pool-{n}", Phase.READY)
        before = {status.name: status.pid for status in rig.fleet.observe()}
        assert wanted(rig) == {"pool": 3}
        rig.changes.clear()
        said: list[str] = []
        assert "all 3 restarted" in await rig.fleet.rollout("pool", said.append)
        after = {status.name: status.pid for status in rig.fleet.observe()}
        assert all(after[name] not in (None, pid) for name, pid in before.items())
        assert len(said) == 3
        down: set[str] = set()
        for status in rig.changes:
            (down.discard if status.phase == Phase.READY else down.add)(status.name)
            assert len(down) <= 1, "never two of them at once"

        await asyncio.to_thread(lambda: engine.sdk.containers.get("pool-2").exec_run("touch /tmp/marked"))
        rig.fleet.platform.deeds.ready_s = 20.0
        with pytest.raises(TrinityError, match="stopped at pool-2: it is not Ready after 20 s"):
            await rig.fleet.rollout("pool", said.append)
        now = {status.name: status.pid for status in rig.fleet.observe()}
        assert now["pool-1"] != after["pool-1"] and now["pool-3"] == after["pool-3"], "those after it are left alone"


async def test_containers_with_one_label_are_one_workload_that_scales(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="group") as rig:
        await rig.run("worker", labels={"trinity.workload": "workers"})
        await rig.phase("worker", Phase.READY)
        assert await rig.fleet.scale("workers", 3) == 1
        assert names(rig, "workers") == ["worker", "worker-1", "worker-2"]
        assert await rig.fleet.scale("workers", 1) == 3
        assert names(rig, "workers") == ["worker"]
