"""Cordon and drain as kubectl does them: budgets are waited for, nothing is lost that kubectl would not lose."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import Refused, TrinityError
from backend.contract.words import Phase
from backend.fleet.kube.nodes import NodeVerbs
from tests.integration.kube.rig import Watched, until, watching
from tests.integration.kube.test_kube_verbs import quick, ready
from tests.kube_emulator.scenes import pod_template, workload


def on(rig: Watched, node: str) -> list[str]:
    return [status.name for status in rig.fleet.observe() if status.node == node]


def schedulable(rig: Watched, node: str) -> bool:
    return next(found.schedulable for found in rig.fleet.nodes() if found.name == node)


async def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        await until(lambda: len(rig.fleet.nodes()) == 2, "both nodes are seen")
        await rig.fleet.cordon("node-1", on=True)
        await rig.fleet.cordon("node-1", on=True)
        await until(lambda: not schedulable(rig, "node-1"), "it is shown as cordoned")
        cluster.add("Deployment", workload("web", replicas=3), namespace="default")
        await ready(rig, "web", 3)
        assert on(rig, "node-1") == []
        await rig.fleet.cordon("node-1", on=False)
        await until(lambda: schedulable(rig, "node-1"), "it is uncordoned")


async def test_a_drain_moves_pods_leaves_daemons_and_waits_for_budgets(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        rig.fleet._node_verbs = NodeVerbs(rig.fleet.access, retry_s=0.05)
        cluster.add("Deployment", workload("web", replicas=4), namespace="default")
        cluster.add("DaemonSet", workload("agent", replicas=None), namespace="default")
        await ready(rig, "web", 4)
        await ready(rig, "agent", 2)
        strict = {"metadata": {"name": "web"}, "spec": {"minAvailable": 4, "selector": {"matchLabels": {"app": "web"}}}}
        cluster.add("PodDisruptionBudget", strict, namespace="default")
        told: list[str] = []
        draining = asyncio.create_task(rig.fleet.drain_node("node-1", told.append, deadline_s=100.0))
        await until(lambda: any("may not leave yet" in words for words in told), "the budget says no")
        assert not draining.done()

        def loosen(obj: dict[str, Any]) -> dict[str, Any]:
            obj["spec"]["minAvailable"] = 3
            return obj

        cluster.registry.update("PodDisruptionBudget", "default", "web", loosen)
        assert await draining == "node node-1 drained: 2 pods moved; it stays cordoned"
        assert told[0] == "node node-1 cordoned"
        assert told[1].startswith("left where they are: default/agent-")
        assert any(words.startswith("default/web-") and words.endswith(" evicted") for words in told)
        await ready(rig, "web", 4)
        await until(lambda: not any(name.startswith("web") for name in on(rig, "node-1")), "none is seen there")
        assert not schedulable(rig, "node-1")


async def test_a_drain_ends_at_its_deadline_and_says_what_holds_it(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        rig.fleet._node_verbs = NodeVerbs(rig.fleet.access, retry_s=0.05)
        cluster.add("Deployment", workload("web", replicas=2), namespace="default")
        await ready(rig, "web", 2)
        strict = {
            "metadata": {"name": "web"},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
        }
        cluster.add("PodDisruptionBudget", strict, namespace="default")
        with pytest.raises(
            TrinityError, match=r"node-1 is not empty after 3 s: default/web-\S+ \(.*budget web needs 2"
        ):
            await rig.fleet.drain_node("node-1", lambda _: None, deadline_s=3.0)
        await until(lambda: not schedulable(rig, "node-1"), "it stays cordoned")


async def test_what_would_be_lost_is_named_and_nothing_is_done(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        await rig.fleet.cordon("node-2", on=True)
        template = pod_template("cache")
        template["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
        cluster.add("Deployment", workload("cache", replicas=1, template=template), namespace="default")
        bare = {"metadata": {"name": "alone"}, "spec": pod_template("alone")["spec"]}
        cluster.registry.create("Pod", bare, namespace="default")
        await until(lambda: len(on(rig, "node-1")) == 2, "both run")
        with pytest.raises(Refused) as refused:
            await rig.fleet.drain_node("node-1", lambda _: None)
        assert "default/alone would be gone for good" in refused.value.message
        assert "kubectl: --force" in refused.value.message
        assert "kubectl: --delete-emptydir-data" in refused.value.message
        assert schedulable(rig, "node-1")
        assert len(on(rig, "node-1")) == 2
        with pytest.raises(TrinityError, match="nobody"):
            await rig.fleet.drain_node("nobody", lambda _: None)


async def test_a_drain_may_be_kept_to_one_namespace(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        await rig.fleet.cordon("node-2", on=True)
        cluster.registry.create("Namespace", {"metadata": {"name": "other"}})
        cluster.add("Deployment", workload("theirs", replicas=1), namespace="other")
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        await ready(rig, "web", 1)
        await rig.fleet.cordon("node-2", on=False)
        ended = await rig.fleet.drain_node("node-1", lambda _: None, namespace="default", deadline_s=100.0)
        assert "1 pod moved" in ended
        await until(lambda: all(s.phase is Phase.READY and s.node == "node-2" for s in rig.fleet.observe()), "moved")
        assert [p.obj["spec"]["nodeName"] for p in cluster.registry.store.all("pods", "other")] == ["node-1"]
