"""The daemon's account as the Helm chart makes it: a real driver does everything with it, and is refused nothing that
the chart promises.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.contract.errors import Refused, Unreachable
from backend.deploy.places import HELM
from backend.fleet.kube import forward
from tests.integration.kube.rig import KINDS, until, watching
from tests.integration.kube.test_kube_verbs import quick, ready
from tests.kube_emulator.access import Rule
from tests.kube_emulator.scenes import pod_template, workload
from tests.unit.deploy.helm_program import find_helm, run

REVIEWS = Rule(("create",), ("selfsubjectrulesreviews", "selfsubjectaccessreviews"))
"""What every account may ask."""


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return find_helm(tmp_path_factory.mktemp("helm"))


def rules(helm: str, home: Path, *settings: str) -> tuple[Rule, ...]:
    """Of the daemon's Role and ClusterRole, the release in namespace `default`."""
    done = run(helm, "template", "trinity", str(HELM), "--namespace", "default", *settings, home=home)
    assert done.returncode == 0, done.stderr
    documents = [d for d in yaml.safe_load_all(done.stdout) if d and d["kind"] in ("Role", "ClusterRole")]
    found = [
        Rule(
            tuple(rule["verbs"]),
            tuple(rule["resources"]),
            tuple(rule["apiGroups"]),
            namespace="default" if document["kind"] == "Role" else "",
        )
        for document in documents
        for rule in document["rules"]
    ]
    assert found
    return (*found, REVIEWS)


def refused(cluster: Any) -> set[tuple[str, str]]:
    return {(seen.verb, seen.resource) for seen in cluster.counts.log if seen.user == "daemon" and seen.status == 403}


async def test_with_all_rights_of_the_chart_nothing_that_the_driver_does_is_refused(
    helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_DOUBT_S", 30.0)
    account = rules(helm, tmp_path, "--set", "daemon.write=true", "--set", "daemon.nodes=true")
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=2), namespace="default")
        for kind, name in (("StatefulSet", "db"), ("DaemonSet", "agent")):
            made = workload(name, replicas=None if kind == "DaemonSet" else 1, template=pod_template(name))
            cluster.add(kind, made, namespace="default")
        cluster.account("daemon", "daemon-token", account)
        config = cluster.write_kubeconfig(tmp_path / "config", token="daemon-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await rig.all_watching()
            first, _ = await ready(rig, "web", 2)
            await rig.fleet.want_logs(None)
            await until(lambda: set(rig.fleet.limits()) == {"pause", "unpause"}, "no verb is grey")
            for name in ("web", "db", first, "node-1"):
                assert (await rig.fleet.describe(name)).sections
            cluster.programs.register("/bin/true", _ends)
            session = await rig.fleet.exec(first, ["/bin/true"], tty=False)
            await session.close()
            with pytest.raises(Unreachable, match="Nothing listens at port 8000"):  # the API server let it that far
                await rig.fleet.dial(first, 8000)
            await rig.fleet.evict(first)
            await rig.fleet.scale("web", 3)
            await rig.fleet.scale("db", 2)
            await ready(rig, "web", 3)
            await ready(rig, "db", 2)
            for name in ("web", "db", "agent"):
                await rig.fleet.rollout(name, lambda _: None)
                await rig.fleet.rollback(name, lambda _: None)
            await ready(rig, "web", 3)
            [another, *_] = await ready(rig, "web", 3)
            await rig.fleet.restart(another, reason="a test")
            [victim] = (await ready(rig, "db", 2))[:1]
            await rig.fleet.kill(victim)
            await rig.fleet.drain_node("node-1", lambda _: None, deadline_s=100.0)
            await rig.fleet.cordon("node-1", on=False)
            await ready(rig, "web", 3)
            await until(lambda: cluster.counts.of("get", "pods/log"), "lines are read")
    assert not refused(cluster)


async def test_with_its_default_rights_the_driver_sees_all_but_nodes_and_asks_for_nothing_else(
    helm: str, tmp_path: Path
) -> None:
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        cluster.account("daemon", "daemon-token", rules(helm, tmp_path))
        config = cluster.write_kubeconfig(tmp_path / "config", token="daemon-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            [name] = await ready(rig, "web", 1)
            await rig.fleet.want_logs(None)
            await until(lambda: "scale" in rig.fleet.limits(), "rights are known")
            await until(lambda: cluster.watches.open() == len(KINDS) - 1, "all but nodes are watched")
            assert (await rig.fleet.describe(name)).sections
            await until(lambda: cluster.counts.of("get", "pods/log"), "lines are read")
            assert {resource for _, resource in refused(cluster)} <= {"nodes", "nodes.metrics.k8s.io"}
            with pytest.raises(Refused):
                await rig.fleet.scale("web", 2)


async def _ends(session: Any) -> int:
    await asyncio.sleep(0)
    return 0
