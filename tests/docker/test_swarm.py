"""Swarm services are workloads: tasks as replicas, scaled, rolled, rolled back; nodes cordoned and drained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from docker.types import EndpointSpec, RestartPolicy, RollbackConfig, ServiceMode, UpdateConfig

from backend.contract.errors import Refused, TrinityError
from backend.contract.words import Phase
from tests.docker.engine import Engine
from tests.docker.fleet_rig import FleetRig, fleet_on, until

SERVE = ["sh", "-c", "trap 'exit 0' TERM; httpd -p 8080 -h /www; echo serving; while :; do sleep 0.05; done"]


@pytest.fixture
async def rig(engine: Engine, busybox: str, tmp_path: Path) -> AsyncIterator[FleetRig]:
    """A fleet on an engine that is a Swarm manager meanwhile, with a service `web` of one task."""
    await asyncio.to_thread(
        lambda: engine.api.init_swarm(
            advertise_addr="127.0.0.1", listen_addr="127.0.0.1:0", default_addr_pool=["10.213.0.0/16"]
        )
    )
    try:
        await asyncio.to_thread(
            lambda: engine.sdk.services.create(
                busybox,
                SERVE,
                name="web",
                labels={"test": "swarm"},
                container_labels={"test": "swarm"},
                mode=ServiceMode("replicated", 1),
                stop_grace_period=2_000_000_000,
                # No virtual addresses: kernels without IPVS have none.
                endpoint_spec=EndpointSpec(mode="dnsrr", ports={0: (8080, "tcp", "host")}),
                update_config=UpdateConfig(parallelism=1, delay=0, monitor=300_000_000, order="stop-first"),
                rollback_config=RollbackConfig(parallelism=1, delay=0, monitor=300_000_000),
                restart_policy=RestartPolicy("any", delay=200_000_000),
            )
        )
        async with fleet_on(tmp_path, engine, busybox, label="swarm", services=True) as found:
            await ready(found, 1)
            yield found
    finally:
        await asyncio.to_thread(lambda: engine.sdk.swarm.leave(force=True))


async def ready(rig: FleetRig, count: int) -> None:
    await until(
        lambda: [s.phase for s in rig.fleet.observe()] == [Phase.READY] * count,
        lambda: f"{count} tasks are Ready: {[(s.name, s.phase, s.reason) for s in rig.fleet.observe()]}",
    )


async def test_a_service_is_scaled_served_rolled_and_rolled_back(rig: FleetRig) -> None:
    workload = rig.fleet.workloads()[0]
    assert (workload.spec.name, workload.kind, workload.spec.replicas, workload.scalable) == ("web", "service", 1, True)
    assert await rig.fleet.scale("web", 5) == 1
    assert rig.fleet.workloads()[0].spec.replicas == 5
    await ready(rig, 5)
    assert [status.name for status in rig.fleet.observe()] == [f"web.{slot}" for slot in range(1, 6)]
    pids = {status.pid for status in rig.fleet.observe()}
    assert len(pids) == 5 and None not in pids
    await until(lambda: all(s.cpu_percent is not None for s in rig.fleet.observe()), "all are measured")
    for status in rig.fleet.observe():
        assert status.port is not None and status.node
        stream = await rig.fleet.dial(status.name, 8080)
        await stream.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in await stream.read()
        await stream.close()
    told = {view.source: view for view in rig.fleet.ports()}
    assert set(told) == {f"task web.{slot}" for slot in range(1, 6)}
    assert {view.node_port for view in told.values()} == {status.port for status in rig.fleet.observe()}
    assert told["task web.1"].url.endswith(f":{told['task web.1'].node_port}")
    assert await rig.fleet.scale("web", 1) == 5
    await ready(rig, 1)

    await rig.fleet.want_logs(["web.1"])
    assert rig.messages("web.1") == ["serving"]
    await rig.fleet.pause("web.1")
    await rig.phase("web.1", Phase.NOT_READY, "paused")
    await rig.fleet.unpause("web.1")
    before = await rig.phase("web.1", Phase.READY)
    await rig.fleet.kill("web.1")
    await until(lambda: any(s.pid not in (None, before.pid) for s in rig.fleet.observe()), "Swarm replaces it")
    killed = await rig.phase("web.1", Phase.READY)
    assert killed.restarts == 1 and killed.last_exit is not None

    said: list[str] = []
    assert "all 1 replaced" in await rig.fleet.rollout("web", said.append)
    rolled = await rig.phase("web.1", Phase.READY)
    assert rolled.pid != killed.pid
    assert "former revision" in await rig.fleet.rollback("web", said.append)
    await ready(rig, 1)
    described = await rig.fleet.describe("web")
    assert dict(described.sections)["Tasks, newest first"]
    assert (await rig.fleet.describe("web.1")).kind == "task"


async def test_a_node_is_cordoned_and_drained(rig: FleetRig) -> None:
    node = rig.fleet.nodes()[0]
    assert node.ready and node.schedulable and node.replicas == 1 and "manager" in node.roles
    await rig.fleet.cordon(node.name, on=True)
    assert not rig.fleet.nodes()[0].schedulable
    assert await rig.fleet.scale("web", 2) == 1
    await rig.phase("web.2", Phase.PENDING, "no suitable node")
    await rig.fleet.cordon(node.name, on=False)
    await ready(rig, 2)
    said: list[str] = []
    assert "no task of this fleet runs there" in await rig.fleet.drain_node(node.name, said.append, deadline_s=90.0)
    await rig.phase("web.1", Phase.PENDING)
    await rig.fleet.cordon(node.name, on=False)
    await ready(rig, 2)
    assert (await rig.fleet.describe(node.name)).kind == "node"


async def test_a_rollout_that_fails_says_where_it_stopped(rig: FleetRig) -> None:
    def spoil() -> None:
        service = rig.engine.sdk.services.get("web")
        spec = service.attrs["Spec"]
        spec["UpdateConfig"]["FailureAction"] = "pause"
        spec["TaskTemplate"]["ContainerSpec"]["Command"] = ["sh", "-c", "exit 9"]
        spec["TaskTemplate"]["RestartPolicy"] = {"Condition": "any", "Delay": 200_000_000}
        rig.engine.api._post_json(
            rig.engine.api._url("/services/{0}/update", service.id),
            data=spec,
            params={"version": service.attrs["Version"]["Index"]},
        ).raise_for_status()

    await asyncio.to_thread(spoil)
    await rig.phase("web.1", Phase.CRASH_LOOP, "failed")
    await until(lambda: rig.fleet.workloads()[0].rollout.startswith("stuck"), "the update is seen to be stuck")
    with pytest.raises(TrinityError, match="rollout of web stopped"):
        await rig.fleet.rollout("web", lambda words: None)


async def test_outside_of_a_swarm_its_verbs_are_known_to_be_impossible(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="alone", services=True) as rig:
        limits = rig.fleet.limits()
        assert {"cordon", "uncordon", "node-drain", "rollback", "evict"} == set(limits)
        assert all("Swarm" in limits[verb] for verb in ("cordon", "rollback"))
        with pytest.raises(Refused, match="no Swarm manager"):
            await rig.fleet.cordon("any", on=True)
