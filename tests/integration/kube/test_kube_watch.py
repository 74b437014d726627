"""Lists and watches: one of each per kind, and none of the ways in which they break loses a change."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import get_args

import pytest

from backend.contract.words import Phase
from backend.fleet.kube import observing, reflector
from tests.integration.kube.rig import KINDS, add_pods, until, watching
from tests.kube_emulator import Emulator
from tests.kube_emulator.faults import Ending
from tests.kube_emulator.scenes import node, running_pod


async def test_many_pods_come_in_pages_and_each_kind_costs_one_list_and_one_watch(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        names = add_pods(cluster, 1200)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            assert sorted(rig.names) == names
            for number in range(40):
                rig.set_ready(names[number], False)
            await until(lambda: sum(r.phase == Phase.NOT_READY for r in rig.fleet.observe()) == 40, "40 changes")
            asked = {name: count for name, count in cluster.counts.by_request.items() if name[0] in ("list", "watch")}
            assert asked.pop(("list", "pods")) == 3, "1,200 pods are three pages of 500"
            asked.pop(("list", "pods.metrics.k8s.io"), None)
            asked.pop(("list", "nodes.metrics.k8s.io"), None)
            assert asked == {
                **{("watch", kind): 1 for kind in KINDS},
                **{("list", kind): 1 for kind in KINDS if kind != "pods"},
            }


async def test_changes_are_seen_and_each_is_told_once(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 2)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            rig.heard.clear()
            before = rig.fleet.observe()
            assert rig.fleet.observe() is before, "observing is free"
            rig.set_ready("web-0000", False)
            await until(lambda: rig.replica("web-0000").phase == Phase.NOT_READY, "not ready")
            cluster.add("Pod", running_pod("new"))
            await rig.sees("new", "web-0000", "web-0001")
            rig.delete("Pod", "web-0001")
            await rig.sees("new", "web-0000")
            assert [found.name for found in rig.heard] == ["web-0000", "new", "web-0001"]
            kinds = [event.kind for event in rig.ledger.events("replica.")]
            assert kinds == ["replica.notready", "replica.started", "replica.ready", "replica.removed"]


@pytest.mark.parametrize("ending", get_args(Ending))
async def test_a_watch_that_ends_or_breaks_is_resumed_without_another_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    monkeypatch.setattr(observing, "_GRACE_S", 60.0)
    async with Emulator() as cluster:
        add_pods(cluster, 3)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            lists, before = rig.lists(), cluster.counts.of("watch", "pods")
            rig.set_ready("web-0000", False)
            await until(lambda: rig.replica("web-0000").phase == Phase.NOT_READY, "a change before")
            version = int(rig.fleet.pods.objects["web-0000"].metadata.resource_version)
            cluster.watches.drop(ending)
            cluster.add("Pod", running_pod("meanwhile"))
            rig.delete("Pod", "web-0001")
            await rig.sees("meanwhile", "web-0000", "web-0002")
            await until(lambda: cluster.counts.of("watch", "pods") > before, "watched again")
            assert rig.lists() == lists
            again = [seen for seen in cluster.counts.log if (seen.verb, seen.resource) == ("watch", "pods")][-1]
            assert int(again.query["resourceVersion"]) >= version, "what was seen is not sent again"
            assert rig.fleet.trouble() is None, "so short a break is no trouble to show"


async def test_too_old_a_version_brings_one_list_that_notices_what_was_missed(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 3)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            cluster.watches.stall(True)
            rig.delete("Pod", "web-0001")
            cluster.add("Pod", running_pod("meanwhile"))
            rig.set_ready("web-0000", False)
            cluster.forget_history()
            cluster.watches.stall(False)
            cluster.watches.drop("cut", table="pods")
            await rig.sees("meanwhile", "web-0000", "web-0002")
            await until(lambda: rig.replica("web-0000").phase == Phase.NOT_READY, "a change that was missed")
            assert rig.lists() == {**dict.fromkeys(KINDS, 1), "pods": 2}
            relist = [seen for seen in cluster.counts.log if (seen.verb, seen.resource) == ("list", "pods")][-1]
            assert relist.query["resourceVersionMatch"] == "NotOlderThan"
            assert "web-0001" in {found.name for found in rig.heard}, "its end is told"


@pytest.mark.parametrize("code", [410, 429, 500, 503, 504])
async def test_a_refused_watch_is_tried_again(tmp_path: Path, code: int) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 1)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            order = cluster.faults.answer(code, times=2, verb="watch", resource="pods")
            cluster.watches.drop("cut", table="pods")
            cluster.add("Pod", running_pod("meanwhile"))
            await until(lambda: order.hits == 2, "refused twice")
            await rig.sees("meanwhile", "web-0000")
            await rig.all_watching()
            assert cluster.counts.of("list", "pods") == (3 if code == 410 else 1)


async def test_the_server_is_given_the_time_it_asks_for(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.faults.answer(429, times=1, verb="list", resource="pods", retry_after_s=1)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            first, second = [s.ts for s in cluster.counts.log if (s.verb, s.resource) == ("list", "pods")]
            assert second - first >= 1.0


@pytest.mark.parametrize("fault", ["reset", "garbage"])
async def test_a_list_that_breaks_between_its_pages_is_begun_again(tmp_path: Path, fault: str) -> None:
    async with Emulator() as cluster:
        names = add_pods(cluster, 600)
        async with watching(cluster, tmp_path, adopt=False) as rig:
            getattr(cluster.faults, fault)(times=1, verb="list", resource="pods")
            await rig.fleet.adopt()
            await until(lambda: sorted(rig.names) == names, "all pods")
            assert rig.fleet.trouble() is None


async def test_a_server_that_dies_is_told_of_and_its_return_is_used_at_once(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 2)
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            lists = rig.lists()
            await cluster.stop_listening()
            await until(lambda: rig.ledger.events("platform.trouble"), "trouble is told")
            trouble = rig.fleet.trouble()
            assert trouble is not None
            assert (trouble.kind, str(cluster.port) in trouble.message) == ("unreachable", True)
            assert trouble.next_step
            assert rig.names == ["web-0000", "web-0001"], "what was seen last stays"
            cluster.add("Pod", running_pod("meanwhile"))
            rig.delete("Pod", "web-0000")
            await cluster.start()
            await rig.sees("meanwhile", "web-0001")
            await rig.all_watching()
            assert rig.fleet.trouble() is None
            assert rig.lists() == lists, "the watches go on where they were"
            await until(lambda: rig.ledger.events("platform.returned"), "its return is told")
            assert [e.kind for e in rig.ledger.events("platform.")] == ["platform.trouble", "platform.returned"]


async def test_a_server_that_comes_later_is_found(tmp_path: Path) -> None:
    cluster = Emulator()
    await cluster.start()
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")
    await cluster.stop_listening()
    try:
        async with watching(cluster, tmp_path, kubeconfig=str(kubeconfig)) as rig:
            trouble = rig.fleet.trouble()
            assert trouble is not None
            assert trouble.kind == "unreachable"
            add_pods(cluster, 1)
            await cluster.start()
            await rig.sees("web-0000")
            assert rig.fleet.trouble() is None
    finally:
        await cluster.stop()


async def test_a_connection_that_has_gone_silent_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "_SILENCE_S", 1.5)
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        await rig.all_watching()
        cluster.watches.stall(True)
        cluster.add("Pod", running_pod("unheard"))
        before = cluster.counts.of("watch", "pods")
        await until(lambda: cluster.counts.of("watch", "pods") > before, "another watch")
        cluster.watches.stall(False)
        await rig.sees("unheard")
        assert cluster.counts.of("list", "pods") == 1


async def test_a_list_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "_LIST_S", 3.0)
    async with Emulator() as cluster:
        add_pods(cluster, 1)
        cluster.faults.hang(times=1, verb="list", resource="pods")
        async with watching(cluster, tmp_path) as rig:
            await rig.sees("web-0000")


async def test_an_object_of_unknown_shape_hides_no_other(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 2)
        odd = running_pod("odd")
        odd["spec"]["nodeName"] = {"not": "a name"}
        cluster.add("Pod", odd)
        async with watching(cluster, tmp_path) as rig:
            await rig.sees("web-0000", "web-0001")
            assert rig.fleet.pods.unreadable == 1
            rig.set_ready("web-0001", False)
            await until(lambda: rig.replica("web-0001").phase == Phase.NOT_READY, "the watch goes on")


async def test_a_namespace_that_is_not_there_is_named_and_its_coming_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "_NAMESPACE_S", 0.1)
    async with Emulator() as cluster, watching(cluster, tmp_path, namespace="shop") as rig:
        trouble = rig.fleet.trouble()
        assert trouble is not None, "adopted, and nothing is wrong with a namespace that is not there"
        assert (trouble.kind, trouble.message) == (
            "not-found",
            "There is no namespace shop in context emulator.",
        )
        assert "default" in trouble.next_step
        cluster.registry.create("Namespace", {"metadata": {"name": "shop"}})
        await until(lambda: rig.fleet.trouble() is None, "it is there")
        cluster.add("Pod", running_pod("web", namespace="shop"))
        await rig.sees("web")


async def test_whatever_happens_to_watches_all_changes_are_seen_in_the_end(tmp_path: Path) -> None:
    rng = random.Random(5)
    async with Emulator() as cluster:
        names = set(add_pods(cluster, 20))
        async with watching(cluster, tmp_path) as rig:
            await rig.all_watching()
            for number in range(150):
                what = rng.random()
                if what < 0.3 or not names:
                    names.add(f"new-{number}")
                    cluster.add("Pod", running_pod(f"new-{number}"))
                elif what < 0.5:
                    gone = rng.choice(sorted(names))
                    names.discard(gone)
                    rig.delete("Pod", gone)
                elif what < 0.8:
                    rig.set_ready(rng.choice(sorted(names)), rng.random() < 0.5)
                elif what < 0.9:
                    cluster.watches.drop(rng.choice(get_args(Ending)))
                elif what < 0.94:
                    cluster.forget_history()
                else:
                    cluster.faults.answer(rng.choice([410, 500, 503]), verb="watch", resource="pods")
                if rng.random() < 0.2:
                    await asyncio.sleep(0.02)
            cluster.faults.clear()
            await rig.sees(*names)
            await rig.all_watching()

            def same() -> bool:
                versions = {n: o.metadata.resource_version for n, o in rig.fleet.pods.objects.items()}
                there = cluster.registry.all("Pod", "default")
                return versions == {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in there}

            await until(same, "every pod's newest version")


async def test_nodes_are_seen_with_what_is_on_them(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Node", node("node-1"))
        cluster.add("Node", node("node-2", ready=False))
        add_pods(cluster, 3)
        async with watching(cluster, tmp_path) as rig:
            await until(lambda: len(rig.fleet.nodes()) == 2, "two nodes")
            first, second = rig.fleet.nodes()
            assert (first.name, first.ready, first.replicas, first.version) == ("node-1", True, 3, "v1.36.0")
            assert (second.ready, bool(second.reason)) == (False, True)
            await until(lambda: rig.fleet.nodes()[0].cpu_percent is not None, "its measurements")
