"""An account sees beforehand what it may not do; what changes is learnt; a token that ends is renewed or told of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from tests.integration.kube.rig import until, watching
from tests.integration.kube.test_kube_verbs import quick, ready
from tests.kube_emulator import Emulator
from tests.kube_emulator.access import Account, Rule, reader
from tests.kube_emulator.kubeconfig import Login, write_exec_plugin, write_kubeconfig
from tests.kube_emulator.scenes import node, running_pod, workload

GREY = (
    "scale",
    "rollout",
    "rollback",
    "restart",
    "kill",
    "evict",
    "cordon",
    "uncordon",
    "node-drain",
    "forward",
    "exec",
)


async def test_a_read_only_account_sees_each_verb_grey_before_it_is_tried(tmp_path: Path) -> None:
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        cluster.account("reader", "reader-token", reader("default"))
        config = cluster.write_kubeconfig(tmp_path / "reader", token="reader-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            [name] = await ready(rig, "web", 1)
            await until(lambda: "scale" in rig.fleet.limits(), "rights are known")
            limits = rig.fleet.limits()
            assert set(GREY) <= set(limits)
            assert limits["scale"] == "needs `patch` on `deployments/scale` (apps) in namespace default"
            # What is tried all the same is refused by the same rule.
            deeds = {
                "scale": rig.fleet.scale("web", 2),
                "rollout": rig.fleet.rollout("web", lambda _: None),
                "kill": rig.fleet.kill(name),
                "evict": rig.fleet.evict(name),
                "cordon": rig.fleet.cordon("node-1", on=True),
                "node-drain": rig.fleet.drain_node("node-1", lambda _: None),
            }
            for verb, deed in deeds.items():
                with pytest.raises(Refused) as refused:
                    await deed
                assert "reader needs `" in refused.value.message, verb
                if verb != "node-drain":
                    assert refused.value.message.split("reader ")[1].rstrip(".") == limits[verb]
            seen = {(s.verb, s.resource) for s in cluster.counts.log if s.user == "reader" and s.status < 400}
            assert {verb for verb, _ in seen} <= {"get", "list", "watch", "create"}
            assert all("review" in resource for verb, resource in seen if verb == "create")


async def test_new_rights_are_noticed_at_the_next_refusal(tmp_path: Path) -> None:
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        cluster.account("ci", "ci-token", reader(but=("jobs",)))
        config = cluster.write_kubeconfig(tmp_path / "ci", token="ci-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await ready(rig, "web", 1)
            await until(lambda: "evict" in rig.fleet.limits(), "rights are known")
            await until(lambda: rig.fleet.jobs.state == "forbidden", "jobs are not seen")
            evicts = Rule(verbs=("create",), resources=("pods/eviction",), groups=("",))
            cluster.account("ci", "ci-token", (*reader(), evicts))
            reviews = cluster.counts.of("create", "selfsubjectrulesreviews.authorization.k8s.io")
            last = rig.fleet._rights._asking
            with pytest.raises(Refused):
                await rig.fleet.scale("web", 2)
            assert rig.fleet._rights._asking is last, "the last review is too young to ask again"
            rig.fleet._rights._not_before_mono = 0.0
            with pytest.raises(Refused):
                await rig.fleet.scale("web", 2)
            await until(lambda: "evict" not in rig.fleet.limits(), "asked again")
            assert cluster.counts.of("create", "selfsubjectrulesreviews.authorization.k8s.io") == reviews + 1
            await until(lambda: rig.fleet.jobs.state == "watching", "what was forbidden is looked at again")


async def test_a_token_that_expires_during_work_is_renewed_once_where_a_plugin_can(tmp_path: Path) -> None:
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        cluster.account("ci", "first")
        cluster.account("ci", "second")
        tokens = tmp_path / "tokens"
        tokens.write_text("first\nsecond\n")
        plugin = write_exec_plugin(tmp_path / "plugin.py", tokens)
        config = write_kubeconfig(tmp_path / "plugged", cluster.context(login=Login(plugin=plugin)))
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await ready(rig, "web", 1)
            cluster.access.expire("first")
            assert await rig.fleet.scale("web", 2) == 1
            await ready(rig, "web", 2)
            assert tokens.with_name("tokens.runs").read_text() == "2"


async def test_a_token_that_cannot_be_renewed_is_one_clear_sentence(tmp_path: Path) -> None:
    async with quick() as cluster:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        cluster.account("ci", "ci-token", expires_at=time.time() + 3600)
        config = cluster.write_kubeconfig(tmp_path / "ci", token="ci-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await ready(rig, "web", 1)
            cluster.access.expire("ci-token")
            with pytest.raises(Refused, match="does not accept the credentials of emulator") as refused:
                await rig.fleet.scale("web", 2)
            assert refused.value.next_step.startswith("Log in again")


async def test_an_api_server_that_is_away_or_silent_ends_a_verb_in_time(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        await ready(rig, "web", 1)
        cluster.faults.answer(500, verb="get", resource="deployments.apps/scale")
        with pytest.raises(TrinityError, match=r"Could not scale web: .*etcdserver") as failed:
            await rig.fleet.scale("web", 2)
        assert failed.value.next_step
        await cluster.stop_listening()
        with pytest.raises(Unreachable, match="connection refused"):
            await rig.fleet.scale("web", 2)
        await cluster.start()
        assert await rig.fleet.scale("web", 2) == 1


async def test_pods_workloads_and_nodes_are_described_with_their_events(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)
        pod = await rig.fleet.describe(name)
        assert pod.kind == "Pod"
        sections = dict(pod.sections)
        assert any("Started" in line for line in sections["Events"])
        assert any("Running since" in line for line in sections["Containers"])
        assert pod.source.startswith("apiVersion: v1\nkind: Pod\n")
        described = await rig.fleet.describe("web")
        assert described.kind == "Deployment"
        assert any(name in line for line in dict(described.sections)["Pods"])
        assert dict(described.sections)["Revisions"]
        machine = await rig.fleet.describe("node-1")
        assert machine.kind == "Node"
        with pytest.raises(UsageError, match="nothing that is called nobody"):
            await rig.fleet.describe("nobody")


async def test_a_description_says_what_it_may_not_show(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Node", node("node-1"))
        cluster.add("Pod", running_pod("web-1"))
        cluster.account("reader", "reader-token", reader(but=("events",)))
        config = cluster.write_kubeconfig(tmp_path / "reader", token="reader-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await rig.sees("web-1")
            sections = dict((await rig.fleet.describe("web-1")).sections)
            assert sections["Not Shown"][0].startswith("events: ")


async def test_an_incomplete_review_is_completed_rule_by_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters whose authorizers are not all RBAC (kubeadm's, most hosted ones) give no complete review to anybody."""
    async with quick() as cluster:
        whole = cluster.access.review

        def torn(account: Account, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
            answer = whole(account, body, kind)
            if kind == "SelfSubjectRulesReview":
                answer["status"] |= {"incomplete": True, "evaluationError": "node authorizer does not support it"}
                answer["status"]["resourceRules"] = []
            return answer

        monkeypatch.setattr(cluster.access, "review", torn)
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        evicts = Rule(verbs=("create",), resources=("pods/eviction",), groups=("",))
        cluster.account("ci", "ci-token", (*reader(), evicts))
        config = cluster.write_kubeconfig(tmp_path / "ci", token="ci-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            await ready(rig, "web", 1)
            await until(lambda: "scale" in rig.fleet.limits(), "rights are known")
            assert set(GREY) - set(rig.fleet.limits()) == {"evict"}
