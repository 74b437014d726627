"""Workloads on a cluster: scaled, rolled out, rolled back; and a rollout that gets nowhere says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.errors import Refused, TrinityError
from tests.live_kubernetes.manifests import IDLE, NOWHERE, template, workload
from tests.live_kubernetes.place import Cluster


async def test_a_deployment_is_seen_and_scaled(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("scaled", template("scaled", cluster.image, IDLE), replicas=2))
        names = await cluster.ready(fleet, "scaled", 2)
        status = next(status for status in fleet.observe() if status.name == names[0])
        assert status.pid
        assert status.node
        assert status.owner == "Deployment/scaled"
        assert await fleet.scale("scaled", 3) == 2
        await cluster.ready(fleet, "scaled", 3)
        assert await fleet.scale("scaled", 1) == 3
        await cluster.ready(fleet, "scaled", 1)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_rollout_replaces_every_pod_and_a_rollback_returns(cluster: Cluster, tmp_path: Path, kind: str) -> None:
    name = f"rolled-{kind.lower()}"
    async with cluster.fleet(tmp_path) as fleet:
        more = {"serviceName": name} if kind == "StatefulSet" else {}
        made = template(name, cluster.image, IDLE, VERSION="one")
        await cluster.make(kind, workload(name, made, replicas=2, **more))
        await cluster.ready(fleet, name, 2)
        pids = {status.pid for status in fleet.observe() if status.workload == name}
        told: list[str] = []
        ended = await fleet.rollout(name, told.append)
        assert "success" in ended or "complete" in ended
        assert told[0] == f"{kind.lower()}.apps/{name} restarted"
        await cluster.until(
            lambda: pids.isdisjoint({status.pid for status in fleet.observe() if status.workload == name}),
            "none of the former is left",
        )
        await cluster.ready(fleet, name, 2)

        made = template(name, cluster.image, IDLE, VERSION="two")
        await cluster.change(kind, name, {"spec": {"template": {"spec": made["spec"]}}})
        told.clear()
        assert "rolled back to revision 2" in await fleet.rollback(name, told.append)
        kept = await cluster.get(kind, name)
        assert kept["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "one"
        await cluster.ready(fleet, name, 2)


async def test_a_rollout_to_an_image_that_nobody_has_ends_with_the_cause(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        made = template("stuck", cluster.image, IDLE)
        await cluster.make("Deployment", workload("stuck", made, progressDeadlineSeconds=cluster.deadline_s))
        [first] = await cluster.ready(fleet, "stuck", 1)
        made["spec"]["containers"][0]["image"] = NOWHERE
        await cluster.change("Deployment", "stuck", {"spec": {"template": {"spec": made["spec"]}}})
        await cluster.until(
            lambda: any("ImagePull" in status.reason for status in fleet.observe() if status.workload == "stuck"),
            "ErrImagePull or ImagePullBackOff is shown",
        )
        with pytest.raises(TrinityError) as failed:
            await fleet.rollout("stuck", lambda _: None)
        assert "exceeded its progress deadline" in failed.value.message
        assert "ImagePull" in failed.value.message
        assert first in {status.name for status in fleet.observe()}, "the old pod still serves"
        made["spec"]["containers"][0]["image"] = cluster.image
        await cluster.change("Deployment", "stuck", {"spec": {"template": {"spec": made["spec"]}}})
        await cluster.ready(fleet, "stuck", 1)


async def test_what_has_no_history_is_not_rolled_back(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("plain", template("plain", cluster.image, IDLE)))
        await cluster.ready(fleet, "plain", 1)
        with pytest.raises(Refused, match="no former revision"):
            await fleet.rollback("plain", lambda _: None)
